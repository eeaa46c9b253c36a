"""WebSocket connections under real threads, real time and real signals."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from meshsync.errors import ConnectionLost, SendTimeout
from meshsync.protocol.frames import FrameDecoder, encode
from meshsync.protocol.heartbeat import Beat
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.acknowledgements import unacknowledged
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Endpoint
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport
from tests.support.effort import calls_of
from tests.support.scripted_server import LONG, SMALL, ScriptedPeer, ScriptedServer


@contextmanager
def echo_server(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that returns every packet; one thread does all of it, since TLS allows no two at once."""
    urls: list[str] = []
    stop: list[Any] = []
    started = threading.Event()

    async def echo(connection: ServerConnection) -> None:
        async for packet in connection:
            await connection.send(packet)

    async def run() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(end.set))
        async with serve(echo, "127.0.0.1", 0, ssl=context, max_size=None, compression=None, close_timeout=1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            urls.append(f"{'wss' if context else 'ws'}://localhost:{port}/")
            started.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(LONG)
    yield urls[0]
    stop[0]()
    thread.join(LONG)


class LeapingRuntime(ThreadRuntime):
    """Real threads on a clock that the test can advance: what silence does is tried without waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def leap(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += seconds


class Echo(Protocol):
    """Opens a connection whose packets come back."""

    def __call__(self, runtime: ThreadRuntime = ..., **options: float) -> WebSocketTransport: ...


@pytest.fixture(params=["plain", "tls"])
def echo(request: pytest.FixtureRequest) -> Iterator[Echo]:
    """Yield what opens connections, and close them at the end."""
    ours: ssl.SSLContext | None = None
    theirs: ssl.SSLContext | None = None
    if request.param == "tls":
        authority = trustme.CA()
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(theirs)
        ours = ssl.create_default_context()
        authority.configure_trust(ours)
    with echo_server(theirs) as url:
        opened: list[WebSocketTransport] = []

        def connect(runtime: ThreadRuntime | None = None, **options: Any) -> WebSocketTransport:
            endpoint = Endpoint(url, lambda: "", ssl_context=ours)
            opened.append(WebSocketConnector(endpoint, runtime or ThreadRuntime(), **options).connect(LONG))
            return opened[-1]

        yield connect
        for transport in opened:
            transport.close(5)


def collect(transport: WebSocketTransport, count: int) -> list[bytes]:
    """Receive until ``count`` packets have come."""
    packets: list[bytes] = []
    while len(packets) < count:
        more = transport.receive(LONG)
        assert more
        packets += more
    return packets


def test_fifty_senders_and_a_waiting_reader(echo: Echo) -> None:
    """Batches of 50 threads come back whole and in each thread's order."""
    connection = echo()
    runtime = ThreadRuntime()

    def send(sender: int) -> None:
        for batch in range(40):
            connection.send([b"%d %d %d " % (sender, batch, part) + bytes(200) for part in range(5)], LONG)

    tasks = [runtime.spawn(partial(send, sender), name=f"sender {sender}") for sender in range(50)]
    packets = [packet.split(b" ")[:3] for packet in collect(connection, 50 * 40 * 5)]
    assert all(task.join(LONG) and task.error is None for task in tasks)
    for sender in range(50):
        own = [(int(batch), int(part)) for who, batch, part in packets if int(who) == sender]
        assert own == [(batch, part) for batch in range(40) for part in range(5)]
    # Batches are not mixed: each one's five packets stand together.
    assert all(packets[place][:2] == packets[place + 4][:2] for place in range(0, len(packets), 5))


def test_full_duplex(echo: Echo) -> None:
    """32 MiB go out from two threads while they come back to a third, in order, through a buffer of 1 MiB."""
    connection = echo()
    runtime = ThreadRuntime()
    count = 256

    def send(sender: int) -> None:
        for number in range(count):
            connection.send([bytes([sender, number]) + random.Random(number).randbytes(65534)], LONG)

    tasks = [runtime.spawn(partial(send, sender), name=f"sender {sender}") for sender in (0, 1)]
    packets = collect(connection, 2 * count)
    assert all(task.join(LONG) and task.error is None for task in tasks)
    for sender in (0, 1):
        own = [packet for packet in packets if packet[0] == sender]
        assert [packet[1] for packet in own] == list(range(count))
        assert all(packet[2:] == random.Random(packet[1]).randbytes(65534) for packet in own)


def test_closing_while_everybody_is_busy(echo: Echo) -> None:
    """Senders and a reader at full speed all learn of the end, and close returns in time."""
    connection = echo()
    runtime = ThreadRuntime()

    def send() -> None:
        with pytest.raises(ConnectionLost):
            while True:
                connection.send([bytes(5000)] * 10, LONG)

    def receive() -> None:
        with pytest.raises(ConnectionLost):
            while True:
                connection.receive(None)

    tasks = [runtime.spawn(send, name="sender") for _ in range(8)] + [runtime.spawn(receive, name="reader")]
    while connection.stats().packets_received < 1000:
        time.sleep(0.01)
    closing = runtime.spawn(lambda: connection.close(3), name="closer")
    assert closing.join(LONG)
    assert all(task.join(LONG) and task.error is None for task in tasks)
    assert connection._socket.connection.fileno() == -1


def test_pings_keep_an_idle_connection(echo: Echo) -> None:
    """A peer that says nothing but answers pings is not given up: five silences of 1500 s are more than 1000 + 1000."""
    runtime = LeapingRuntime()
    transport = echo(runtime, heartbeat_interval=1000.0, heartbeat_timeout=1000.0)
    for _ in range(5):
        runtime.leap(1500)
        assert list(transport.receive(0)) == []
        while transport._heartbeat.state is Beat.ASKED:
            assert list(transport.receive(0.01)) == []
        assert transport._heartbeat.state is Beat.ALIVE
    transport.send([b"still here"], LONG)
    assert list(transport.receive(LONG)) == [b"still here"]


def test_a_paused_reader_does_not_kill_its_peer() -> None:
    """After a pause longer than interval and timeout together, receive first reads and asks, and goes on."""
    runtime = LeapingRuntime()
    with ScriptedServer(receive_buffer=SMALL) as server:
        accepting = server.begin_to_accept()
        transport = WebSocketConnector(
            Endpoint(server.url, lambda: ""), runtime, heartbeat_interval=1000, heartbeat_timeout=1000
        ).connect(LONG)
        peer = accepting.result(LONG)
        runtime.leap(3000)
        assert list(transport.receive(0)) == []
        peer.send([b"alive"])
        assert list(transport.receive(LONG)) == [b"alive"]
        transport.close(0)


@contextmanager
def leaping(receive_buffer: int | None = SMALL) -> Iterator[tuple[LeapingRuntime, WebSocketTransport, ScriptedPeer]]:
    """Connect on a clock that leaps, with a heartbeat of 1000 + 1000 s."""
    runtime = LeapingRuntime()
    with ScriptedServer(receive_buffer=receive_buffer) as server:
        accepting = server.begin_to_accept()
        transport = WebSocketConnector(
            Endpoint(server.url, lambda: ""), runtime, heartbeat_interval=1000, heartbeat_timeout=1000
        ).connect(LONG)
        yield runtime, transport, accepting.result(LONG)
        transport.close(0)


def fill(transport: WebSocketTransport) -> None:
    """Send until neither the systems nor the buffer accept more."""
    with pytest.raises(SendTimeout):
        while True:
            transport.send([bytes(50_000)], 0)
    before = None
    while before != (before := waiting(transport)):
        transport.receive(0.25)  # acknowledgements may be 40 ms late


def waiting(transport: WebSocketTransport) -> int:
    """Return the bytes that the peer's system has not acknowledged."""
    count = unacknowledged(transport._socket.connection.fileno())
    assert count is not None
    return count


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what the system does by itself."""
    for _ in range(3000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def assert_loss(runtime: LeapingRuntime, transport: WebSocketTransport) -> None:
    """Check that the peer is given up now: at the first look, or the second if the first found an acknowledgement."""
    with pytest.raises(ConnectionLost, match="no sign of life"):
        for _ in range(2):
            transport.receive(0)
            runtime.leap(20)


linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what was acknowledged")


@linux
def test_a_peer_that_reads_slowly_is_not_given_up() -> None:
    """No byte comes back for ten times the heartbeat, but what lies before the ping progresses; then it stops."""
    with leaping() as (runtime, transport, peer):
        fill(transport)
        for _ in range(10):
            before = waiting(transport)
            while waiting(transport) >= before:
                assert peer.socket.recv(20_000)  # past the protocol, which would answer the ping
            runtime.leap(20)
            assert list(transport.receive(0)) == []
            runtime.leap(960)
            assert list(transport.receive(0)) == []
        runtime.leap(2100)
        assert_loss(runtime, transport)


@linux
def test_a_peer_that_reads_nothing_is_given_up_in_time() -> None:
    """What the system accepts after the write stalled, such as the ping itself, prolongs nothing: 1000 + 1000 s."""
    with leaping() as (runtime, transport, _):
        fill(transport)
        runtime.leap(1010)
        assert list(transport.receive(0)) == []
        assert transport._heartbeat.state is Beat.ASKED
        for _ in range(3):
            assert list(transport.receive(0.02)) == []
        runtime.leap(1000)
        assert_loss(runtime, transport)


@linux
def test_a_stopped_program_is_given_up_though_its_system_acknowledges() -> None:
    """All is acknowledged, the ping too, and no answer comes within 1000 s."""
    with leaping(receive_buffer=None) as (runtime, transport, _):

        def send() -> None:
            transport.send([b"anybody there?"], LONG)
            until(lambda: waiting(transport) == 0)

        send()
        runtime.leap(1010)
        assert list(transport.receive(0)) == []
        for _ in range(9):
            send()
            runtime.leap(100)
            assert list(transport.receive(0)) == []
        send()
        runtime.leap(120)
        assert_loss(runtime, transport)


def test_waiting_costs_no_processor_time() -> None:
    """A reader with nothing to read, and one with nothing it may write, sleep: in 0.5 s they make a few calls."""
    with ScriptedServer(receive_buffer=SMALL) as server:
        accepting = server.begin_to_accept()
        transport = WebSocketConnector(Endpoint(server.url, lambda: ""), ThreadRuntime()).connect(LONG)
        accepting.result(LONG)
        for _ in range(2):
            transport.receive(0)
            assert calls_of(lambda: transport.receive(0.5)) < 1000
            with pytest.raises(SendTimeout):
                while True:
                    transport.send([bytes(50_000)], 0)
        transport.close(0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_ctrl_c_never_tears_the_wire() -> None:
    """Interrupted at random while sending and receiving, a connection is either whole or ended; never torn.

    The far end sees a prefix of what was sent, in order and without a broken frame; we see a prefix of what it sent.
    """

    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    chance = random.Random(5)
    survivals = losses = 0
    try:
        for _ in range(300):
            if converse(chance.uniform(0.00005, 0.003)):
                survivals += 1
            else:
                losses += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert losses > 0
    assert survivals > 0


def converse(strike_after: float) -> bool:
    """Send and receive until interrupted, check what both ends saw, and return whether the connection lives."""
    ours, theirs = socket.socketpair()
    runtime = ThreadRuntime()
    transport = WebSocketTransport(SharedSocket(ours, runtime), runtime)
    arrived: list[bytes] = []

    def read() -> None:  # in a thread of its own, where no signal strikes
        decoder = FrameDecoder(masked=True)
        with suppress(ConnectionError):  # an aborted connection may end so
            while data := theirs.recv(1 << 20):
                decoder.feed(data, arrived)
                if decoder.close is not None:
                    theirs.sendall(b"\x88\x00")
                    return

    reading = ThreadRuntime().spawn(read, name="far end")
    received: list[bytes] = []
    said = number = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, strike_after)
        while True:
            theirs.send(encode([b"%d" % said], None))
            said += 1
            transport.send([b"%d " % number + bytes(3000)] * 3, LONG)
            number += 1
            received.extend(transport.receive(0))
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
    is_alive = True
    try:
        while transport.stats().bytes_buffered:  # A send would wait for room, which only a reader makes.
            received.extend(transport.receive(0.01))
        transport.send([b"after"], LONG)
        transport.close(LONG)
    except ConnectionLost:
        is_alive = False
    assert reading.join(LONG)
    assert reading.error is None
    theirs.close()
    expected = [b"%d " % place + bytes(3000) for place in range(number + 1) for _ in range(3)]
    if is_alive:
        assert arrived.pop() == b"after"
        assert len(arrived) in (3 * number, 3 * number + 3)
    assert arrived == expected[: len(arrived)]
    assert [int(packet) for packet in received] == list(range(len(received)))
    return is_alive
