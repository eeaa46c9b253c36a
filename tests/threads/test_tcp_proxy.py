"""The proxy that treats connections badly: each treatment does what it says, and no more."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import EARLY

PATIENCE = 30.0
"""The longest wait for what has to come, in seconds."""

DATA = bytes(range(256)) * 40


class Line:
    """A connection through a proxy, both ends of it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.proxy = TcpProxy(self.listener.getsockname()[1])

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a new connection."""
        near = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=PATIENCE)
        far, _ = self.listener.accept()
        far.settimeout(PATIENCE)
        return near, far


@pytest.fixture
def line() -> Iterator[Line]:
    """Return a proxy and the listener behind it."""
    line = Line()
    line.listener.settimeout(PATIENCE)
    with line.listener, line.proxy:
        yield line


def receive(end: socket.socket, size: int) -> bytes:
    """Read so many bytes, or all up to the end."""
    data = b""
    while len(data) < size and (piece := end.recv(size - len(data))):
        data += piece
    return data


def test_bytes_pass_both_ways_and_so_does_each_end(line: Line) -> None:
    """What is sent arrives, and one direction may end before the other."""
    near, far = line.connect()
    with near, far:
        near.sendall(DATA)
        assert receive(far, len(DATA)) == DATA
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
        far.sendall(b"still here")
        assert receive(near, 10) == b"still here"
        far.close()
        assert near.recv(1) == b""


def test_much_data_passes_whole(line: Line) -> None:
    """More than the proxy and the system hold passes as it is read."""
    near, far = line.connect()
    with near, far:
        sending = threading.Thread(target=near.sendall, args=(DATA * 1000,))
        sending.start()
        assert receive(far, len(DATA) * 1000) == DATA * 1000
        sending.join()


def test_what_was_stalled_comes_later_and_whole(line: Line) -> None:
    """Nothing passes while it is stalled, and nothing of it is lost."""
    near, far = line.connect()
    with near, far:
        line.proxy.stall("up")
        near.sendall(DATA)
        far.sendall(b"down")
        assert receive(near, 4) == b"down"  # The other direction goes on.
        assert line.proxy.passed == {"up": 0, "down": 4}
        line.proxy.clear()
        assert receive(far, len(DATA)) == DATA


def test_a_stalled_connection_pushes_back(line: Line) -> None:
    """A sender cannot get rid of more than the system's buffers take."""
    near, far = line.connect()
    with near, far:
        line.proxy.stall()
        near.settimeout(0.2)
        with pytest.raises(TimeoutError):
            near.sendall(bytes(64 * 1024 * 1024))


def test_a_reset_reaches_both_ends(line: Line) -> None:
    """Each end is told by a RST, not by a regular end."""
    near, far = line.connect()
    with near, far:
        line.proxy.reset()
        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        assert line.proxy.connections == 0
        assert line.connect()


def test_a_half_open_connection_is_silent_until_it_is_reset(line: Line) -> None:
    """Sending succeeds, nothing arrives, and no end is notified; a cleared one is reset."""
    near, far = line.connect()
    with near, far:
        line.proxy.half_open()
        near.sendall(DATA)
        far.close()
        near.settimeout(0.1)
        with pytest.raises(TimeoutError):
            near.recv(1)
        assert line.proxy.passed == {"up": 0, "down": 0}
        near.settimeout(PATIENCE)
        line.proxy.clear()
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_dribbled_bytes_come_in_small_pieces(line: Line) -> None:
    """No piece is larger than asked for, and they take their time."""
    near, far = line.connect()
    with near, far:
        line.proxy.dribble(100, 0.01)
        begun = time.monotonic()
        near.sendall(DATA[:1000])
        assert receive(far, 1000) == DATA[:1000]
        assert time.monotonic() - begun >= 9 * 0.01 - EARLY
        assert line.proxy.pieces["up"] >= 10


def test_delayed_bytes_come_later(line: Line) -> None:
    """Each direction has its delay."""
    near, far = line.connect()
    with near, far:
        line.proxy.delay(0.2, "down")
        begun = time.monotonic()
        near.sendall(b"up")
        assert receive(far, 2) == b"up"
        far.sendall(b"down")
        assert receive(near, 4) == b"down"
        assert time.monotonic() - begun >= 0.2 - EARLY


def test_limited_bytes_take_their_time(line: Line) -> None:
    """So many bytes need at least size divided by bandwidth, but for the last piece."""
    near, far = line.connect()
    with near, far:
        line.proxy.limit(50_000)
        begun = time.monotonic()
        near.sendall(DATA)
        assert receive(far, len(DATA)) == DATA
        # 10,240 bytes in pieces of 500: the last of 21 begins 20 pieces after the first.
        assert time.monotonic() - begun >= 10_000 / 50_000 - EARLY


def test_a_refused_connection_is_reset(line: Line) -> None:
    """New connections do not reach the address; those that are here go on."""
    near, far = line.connect()
    with near, far:
        line.proxy.refuse()
        with pytest.raises(ConnectionResetError):  # While connecting, or behind it.
            with socket.create_connection(("127.0.0.1", line.proxy.port), timeout=PATIENCE) as refused:
                refused.recv(1)
        near.sendall(b"here")
        assert receive(far, 4) == b"here"
        assert line.proxy.accepted == 1
        line.proxy.clear()
        assert line.connect()


def test_a_closed_proxy_leaves_no_thread() -> None:
    """Its end is that of its connections and its thread."""
    before = threading.active_count()
    line = Line()
    with line.listener, line.proxy:
        near, far = line.connect()
    with near, far:
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", line.proxy.port), timeout=PATIENCE)
    assert threading.active_count() == before
