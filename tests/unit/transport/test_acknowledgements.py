"""What the system tells of bytes on their way."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import pytest

from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.acknowledgements import UNSENT_LIMIT, unacknowledged
from meshsync.transport.shared_socket import SharedSocket
from tests.support.scripted import wait_until
from tests.support.scripted_server import LONG, SMALL

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection whose second one soon has its buffer full."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.settimeout(LONG)
    return ours, theirs


def fill(ours: socket.socket) -> int:
    """Write until the system accepts no more, and return how many bytes it accepted."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += ours.send(bytes(65536))
    return sent


@linux
def test_bytes_count_until_the_peers_system_has_them() -> None:
    """What its buffer has no room for is unacknowledged; once it has read, nothing is."""
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        sent = fill(ours)
        waiting = unacknowledged(ours.fileno())
        assert waiting is not None
        assert 0 < waiting < sent
        left = sent
        while left:
            left -= len(theirs.recv(left))
        wait_until(lambda: unacknowledged(ours.fileno()) == 0)


@linux
def test_little_lies_unsent_in_the_system() -> None:
    """At most the limit and one write lie there, beside what the peer has: a ping is not behind megabytes."""
    ours, theirs = tcp_pair()
    with theirs:
        shared = SharedSocket(ours, ThreadRuntime())
        sent = 0
        while size := shared.wire.send(bytes(65536), []):
            sent += size
        assert sent <= UNSENT_LIMIT + 65536 + 4 * SMALL
        outflow = shared.outflow(sent, 7)
        assert (outflow.end, outflow.is_known) == (sent + 7, True)
        assert 7 < outflow.unacknowledged < sent
        shared.shut_down()


def test_a_descriptor_without_a_queue_tells_nothing() -> None:
    """A file has no such count."""
    with open(os.devnull, "rb") as file:
        assert unacknowledged(file.fileno()) is None


def test_where_the_system_does_not_tell_its_buffer_is_taken_to_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most all that was sent, at most the size of the buffer."""
    monkeypatch.setattr("meshsync.transport.shared_socket.unacknowledged", lambda descriptor: None)
    ours, theirs = tcp_pair()
    with theirs:
        size = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        shared = SharedSocket(ours, ThreadRuntime())
        for sent, before in [(100, 107), (10**9, size + 7)]:
            outflow = shared.outflow(sent, 7)
            assert (outflow.end, outflow.unacknowledged, outflow.is_known) == (sent + 7, before, False)
        shared.shut_down()
