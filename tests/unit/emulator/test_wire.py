"""A wire on virtual time: what comes and goes over its links, when, in which order, and what an end does to them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from simulator import faults, latency
from simulator.emulator.wire import Wire
from simulator.engine.kernel import Kernel
from simulator.engine.seeds import Seeds
from simulator.latency import Law
from simulator.network.network import Network

MS = 10**6


class RecordingTransport(asyncio.Transport):
    """A socket's transport: keeps what is written, and what else it is told."""

    def __init__(self, log: list[tuple[int, str]], now: Callable[[], int]) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self.written = bytearray()
        self.is_reading = True
        self._log = log
        self._now = now
        self._is_closing = False

    def _note(self, what: str) -> None:
        self._log.append((self._now() // MS, what))

    def write(self, data: Any) -> None:
        self.written += data
        self._note(f"written {len(data)}")

    def write_eof(self) -> None:
        self._note("eof")

    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._note("aborted")

    def close(self) -> None:
        self._is_closing = True
        self._note("closed")

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class RoomEnd(asyncio.Protocol):
    """The room's end of a connection: keeps what it is told."""

    def __init__(self, log: list[tuple[int, str]], now: Callable[[], int]) -> None:
        self.received = bytearray()
        self.is_full = False
        self._log = log
        self._now = now

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._log.append((self._now() // MS, f"received {len(data)}"))

    def eof_received(self) -> bool:
        self._log.append((self._now() // MS, "the client's end"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._log.append((self._now() // MS, f"lost: {exc}"))

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False


class Bench:
    """A wire between a recording transport and a recording end, on a clock that is moved by hand."""

    def __init__(self, up: Law | float = 0.010, down: Law | float = 0.020, **options: Any) -> None:
        self.kernel = Kernel()
        self.network = Network(self.kernel, Seeds(7), up=up, down=down, **options)
        self.place = self.network.open("ada")
        self.log: list[tuple[int, str]] = []
        now = lambda: self.kernel.now  # noqa: E731
        self.real, self.room = RecordingTransport(self.log, now), RoomEnd(self.log, now)
        self.wire = Wire(self.real, self.place, 2.0)
        self.wire.set_protocol(self.room)

    async def run(self, until: float = 1e6) -> None:
        """Let so many seconds pass, the loop's turns included."""
        for _ in range(3):
            await asyncio.sleep(0)
        while (due := self.kernel.next_deadline) is not None and due <= until * 10**9:
            callback = self.kernel.take()
            assert callback is not None
            callback()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def looped(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Return a test that runs in a loop."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@looped
async def test_bytes_take_the_delay_of_their_direction() -> None:
    """Both ways at once; what lies between is on its way and counts as unsent."""
    bench = Bench()
    bench.wire.data_received(b"up")
    bench.wire.write(b"down")
    assert bench.wire.get_write_buffer_size() == 4
    await bench.run()
    assert bench.log == [(10, "received 2"), (20, "written 4")]
    assert bench.wire.get_write_buffer_size() == 0


@looped
async def test_order_is_kept_and_nothing_is_lost_under_any_law() -> None:
    """A thousand pieces each way, with delays between 1 µs and seconds."""
    wild = latency.lognormal(0.01, 2.0)
    bench = Bench(wild, wild)
    sent = [bytes([number % 256]) * (number % 97 + 1) for number in range(1000)]
    for piece in sent:
        bench.wire.data_received(piece)
        bench.wire.write(piece)
    await bench.run()
    assert bench.room.received == b"".join(sent) == bench.real.written


@looped
async def test_a_sender_is_held_up_when_the_window_is_full() -> None:
    """With 100 kB of window: the socket is not read from, the room is told to pause above 256 KiB, and both go on."""
    bench = Bench(window=100_000)
    for _ in range(3):
        bench.wire.data_received(bytes(60_000))
    assert not bench.real.is_reading
    bench.wire.write(bytes(300_000))
    assert not bench.room.is_full
    bench.wire.write(bytes(300_000))
    assert bench.room.is_full
    await bench.run()
    assert bench.real.is_reading and not bench.room.is_full
    assert (len(bench.room.received), len(bench.real.written)) == (180_000, 600_000)


@looped
async def test_a_socket_that_takes_nothing_holds_the_room_up() -> None:
    """What arrives for it stays on the link, and goes on when it takes more."""
    bench = Bench(window=100_000)
    bench.wire.pause_writing()
    bench.wire.write(bytes(400_000))
    await bench.run()
    assert bench.room.is_full and not bench.real.written
    bench.wire.resume_writing()
    await bench.run()
    assert not bench.room.is_full and len(bench.real.written) == 400_000


@looped
async def test_a_room_that_does_not_read_holds_the_client_up() -> None:
    """What has arrived for it waits, and the socket is not read from beyond the window."""
    bench = Bench(window=100_000)
    bench.wire.pause_reading()
    for _ in range(3):
        bench.wire.data_received(bytes(60_000))
    await bench.run()
    assert not bench.room.received and not bench.real.is_reading
    bench.wire.resume_reading()
    await bench.run()
    assert len(bench.room.received) == 180_000 and bench.real.is_reading


@looped
async def test_a_slow_link_carries_small_pieces() -> None:
    """At 14 kB a second the first of 1,400 bytes is there after 0.1 s and a delay, and so on."""
    bench = Bench(bandwidth=14_000)
    bench.wire.write(bytes(4200))
    await bench.run()
    assert bench.log == [(120, "written 1400"), (220, "written 1400"), (320, "written 1400")]


@looped
async def test_a_partition_stops_both_ways_and_loses_nothing() -> None:
    """What was in transit takes the rest of its delay after repair."""
    bench = Bench()
    fault = faults.partition({"ada"})
    bench.wire.data_received(b"up")
    bench.kernel.at(5 * MS, lambda: bench.network.strike(fault))
    bench.kernel.at(1000 * MS, lambda: bench.network.lift(fault))
    await bench.run()
    assert bench.log == [(1005, "received 2")]


@looped
async def test_a_paused_client_neither_reads_nor_writes() -> None:
    """Its socket is not read from, and what has arrived for it is written when the pause is over."""
    bench = Bench()
    bench.place.pause(1.0)
    assert not bench.real.is_reading
    bench.wire.write(b"down")
    await bench.run(0.9)
    assert bench.log == []
    await bench.run()
    assert bench.log == [(1000, "written 4")]
    assert bench.real.is_reading


@looped
async def test_the_clients_end_arrives_behind_its_data() -> None:
    """And the answer to it is a closed socket, behind what was written."""
    bench = Bench()
    bench.wire.data_received(b"up")
    bench.wire.write(b"down")
    assert bench.wire.eof_received()
    await bench.run()
    assert bench.log == [
        (10, "received 2"),
        (10, "the client's end"),
        (10, "lost: None"),
        (20, "written 4"),
        (30, "closed"),
    ]


@looped
async def test_a_lost_socket_is_told_to_the_room_a_delay_later() -> None:
    """With its error; what the room writes meanwhile goes nowhere, and nothing of the connection is left."""
    bench = Bench()
    error = ConnectionResetError("reset")
    bench.wire.data_received(b"up")
    bench.wire.connection_lost(error)
    bench.wire.write(b"down")
    await bench.run()
    assert bench.log == [(10, "received 2"), (10, "lost: reset")]
    assert bench.network.connections() == ()
    assert bench.wire.closed.done()


@looped
async def test_what_was_written_before_an_end_arrives_though_the_room_is_gone() -> None:
    """The room's end is over at once, the socket when its data is through."""
    bench = Bench()
    bench.wire.write(b"a close frame")
    bench.wire.write_eof()
    bench.wire.abort()
    await bench.run()
    assert bench.log == [(0, "lost: None"), (20, "written 13"), (20, "eof")]
    assert bench.wire.eof_received() is False  # The client's answer: the socket is closed.


@looped
async def test_a_cut_is_one_at_once() -> None:
    """Unless an end was written before it."""
    bench = Bench()
    bench.wire.write(b"never read")
    bench.wire.abort()
    await bench.run()
    assert bench.log == [(0, "aborted"), (0, "lost: None"), (20, "written 10")]


@looped
async def test_a_client_that_reads_nothing_is_not_waited_for() -> None:
    """The room has ended, and what it wrote cannot go out."""
    bench = Bench()
    bench.wire.pause_writing()
    bench.wire.write(b"a close frame")
    bench.wire.write_eof()
    bench.wire.abort()
    await bench.run()
    assert (0, "aborted") in bench.log


@looped
async def test_on_a_silent_connection_neither_end_learns_anything() -> None:
    """When the room gives up, the client is told nothing; when the client does, its socket is closed."""
    bench = Bench()
    bench.place.silence()
    bench.wire.data_received(b"up")
    bench.wire.write(b"down")
    bench.wire.abort()
    await bench.run()
    assert bench.log == [(0, "lost: None")]
    assert bench.wire.eof_received() is False


@looped
async def test_a_reset_breaks_both_ends_at_once() -> None:
    """What is in transit is lost."""
    bench = Bench()

    class Carrier:
        def broke(self, *, leaves: bool = True) -> None:
            bench.wire.abort()

    bench.place.carrier = Carrier()  # type: ignore[assignment]
    bench.wire.data_received(b"up")
    bench.wire.write(b"down")
    with pytest.MonkeyPatch.context() as patched:  # There is no socket.
        patched.setattr("simulator.emulator.wire.reset", lambda transport: transport.abort())
        bench.place.reset()
    await bench.run()
    assert bench.log == [(0, "aborted"), (0, "lost: None")]


@looped
async def test_a_connection_that_was_served_is_taken_over_as_it_is() -> None:
    """A room that was told to pause is told to go on when the socket takes more; one that does not read does not."""
    bench = Bench()
    room = RoomEnd(bench.log, lambda: bench.kernel.now)
    room.is_full = True
    bench.real.is_reading = False
    bench.wire.take_over(room, asyncio.Protocol(), is_full=True, is_read=False)
    assert bench.real.is_reading  # Up to the window.
    bench.wire.data_received(b"up")
    await bench.run()
    assert not room.received and room.is_full
    bench.wire.resume_writing()
    assert not room.is_full


@looped
async def test_calming_the_network_lets_everything_arrive_now() -> None:
    """Delays, pauses and partitions end; what is in transit does not wait for them."""
    bench = Bench(100.0, 100.0)
    bench.wire.data_received(b"up")
    bench.wire.write(b"down")
    bench.network.strike(faults.partition({"ada"}))
    bench.place.pause(1000)
    bench.network.calm()
    bench.wire.write(b"later")
    await bench.run(1.0)
    assert sorted(bench.log) == [(0, "received 2"), (0, "written 4"), (0, "written 5")]
