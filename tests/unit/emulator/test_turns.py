"""A gateway's connections among each other: turns, reading that waits, and clients that do not read."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol import frames
from meshsync.protocol.codec import decode_push, encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Broadcast, Disable, Enable, Push, Reply, Request, Send, SetAttributes
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, Reassembler, split
from simulator.admission import Admission
from simulator.emulator.connection import GatewayConnection
from simulator.emulator.flushes import Flushes
from simulator.emulator.limits import Limits
from simulator.emulator.memory import Memory
from simulator.emulator.rooms import EmulatedRoom, RoomNotes
from simulator.emulator.settings import Settings
from simulator.emulator.wire import Wire
from simulator.room.rules import Room

A3 = dialect("A3")
PING = frames.encode_control(frames.Opcode.PING, b"?", b"\x01\x02\x03\x04")
PONG = frames.encode_control(frames.Opcode.PONG, b"?", None)


def wire(*requests: Request) -> bytes:
    """Return requests as a client's frames."""
    packets = [packet for request in requests for packet in split(1, *encode_request(request, A3))]
    return frames.encode(packets, bytes(4 * len(packets)))


class ScriptedTransport:
    """A transport whose client reads what the test lets it read, of no more than the transport's own buffer."""

    def __init__(self, plain: socket.socket, reads: bool) -> None:
        self.reads = reads
        self.written = bytearray()
        self.buffered = 0
        self.is_reading = True
        self.is_closed = False
        self._plain = plain
        self._high = 0
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()

    def write(self, data: bytes) -> None:
        self.written += data
        if self.reads:
            return
        was_full, self.buffered = self.buffered > self._high, self.buffered + len(data)
        if not was_full and self.buffered > self._high:
            self._protocol.pause_writing()

    def read_all(self) -> None:
        """Let the client read, now and from here on."""
        self.reads, self.buffered = True, 0
        self._protocol.resume_writing()

    def read_some(self, size: int) -> None:
        """Let the client read some of what is in the transport's buffer."""
        self.buffered -= size
        if self.buffered <= self._high:
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_extra_info(self, name: str) -> object:
        return self._plain if name == "socket" else None

    def is_closing(self) -> bool:
        return self.is_closed

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def write_eof(self) -> None: ...

    def abort(self) -> None:
        self.is_closed = True


class ScriptedWire(ScriptedTransport):
    """A wire that takes over from a transport."""

    def take_over(
        self, protocol: asyncio.BaseProtocol, http: asyncio.BaseProtocol, *, is_full: bool, is_read: bool
    ) -> None:
        self._protocol = protocol


class House:
    """A room with clients, in a loop whose time is the test's."""

    def __init__(self, plain: socket.socket, *, queue_limit: int, memory: int) -> None:
        numbers = itertools.count()
        self.now = 0.0
        self.memory = Memory(memory)
        self.ready: list[str] = []
        """What the loop shows that it has to do in the turn."""
        self.flushes = Flushes(asyncio.get_running_loop().call_soon, ready=self.ready)
        self.room = EmulatedRoom(
            Room("lab", ids=lambda: f"p-{next(numbers)}"),
            (),
            RoomNotes("lab", lambda *about: None),
            queue_limit=queue_limit,
            message_limit=MAX_MESSAGE_SIZE,
            held=self.memory.queues,
            flushes=self.flushes,
            vacated=lambda room: None,
        )
        self._settings = Settings("secret", Limits(queue=queue_limit))
        self._plain = plain
        self._tasks: list[asyncio.Task[None]] = []
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]

    async def join(self, name: str, *, reads: bool = True) -> tuple[GatewayConnection, ScriptedTransport]:
        """Let a client in, with messaging enabled."""
        transport = ScriptedTransport(self._plain, reads)
        connection = GatewayConnection(
            name, cast(asyncio.Transport, transport), self._settings, self.memory, self.flushes
        )
        admission = Admission(name, "user", None, None, None)
        self._tasks.append(asyncio.create_task(connection.run(self.room, admission)))
        await self.settle()
        connection.data_received(wire(Enable()))
        await self.settle()
        transport.written.clear()
        return connection, transport

    def read(self, connection: GatewayConnection, data: bytes) -> None:
        """Let the loop read data for a connection from its socket."""
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))

    async def settle(self, turns: int = 5) -> None:
        """Let the loop turn."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def settle_all(self, is_settled: Callable[[], bool]) -> int:
        """Let the loop turn until something holds, and return how often."""
        for turn in range(100_000):
            if is_settled():
                return turn
            await asyncio.sleep(0)
        raise AssertionError("it never came to hold")

    async def pass_time(self, seconds: int) -> None:
        """Let time pass, with some turns of the loop in each second."""
        for _ in range(seconds):
            self.now += 1.0
            await self.settle()

    def end(self) -> None:
        """Cancel what is left."""
        for task in self._tasks:
            task.cancel()

    def names(self) -> list[str]:
        """Return who is in the room."""
        return [seat.member.name for seat in self.room.seats]


def run(scene: Callable[[House], Awaitable[None]], *, queue_limit: int = 64 << 20, memory: int = 1 << 30) -> None:
    """Play a scene in a house."""

    async def play() -> None:
        with socket.socket() as plain:
            house = House(plain, queue_limit=queue_limit, memory=memory)
            try:
                await scene(house)
            finally:
                house.end()

    asyncio.run(play())


def pushes(written: bytearray) -> list[Push]:
    """Return the pushes in what was written to a client."""
    packets: list[bytes] = []
    frames.FrameDecoder(masked=False).feed(bytes(written), packets)
    messages = map(decode_push, Reassembler(2 * MAX_MESSAGE_SIZE).feed(packets))
    return [message for message in messages if isinstance(message, Push)]


BURSTS = {
    "updates": [SetAttributes({"x": [[]] * 15_000}), *[SetAttributes({"k": 1})] * 3000],
    "toggles": [SetAttributes({"x": "a" * 60_000}), *[Disable(), Enable()] * 1000],
    "broadcasts": [Broadcast("chat", {"n": 1})] * 3000,
}


@pytest.mark.parametrize("burst", BURSTS)
def test_burst_is_handled_in_turns_with_others_in_between(burst: str) -> None:
    """A ping that comes while the first part of it is handled is answered long before the rest is."""

    async def scene(house: House) -> None:
        mal, of_mal = await house.join("mal")
        ben, of_ben = await house.join("ben")
        _, of_eve = await house.join("eve")
        data = wire(*BURSTS[burst])
        of_ben.written.clear()

        mal.data_received(data)
        assert not of_mal.is_reading
        ben.data_received(PING)
        await house.settle(1)
        assert PONG in of_ben.written
        assert not of_mal.is_reading

        assert await house.settle_all(lambda: of_mal.is_reading) >= 2
        await house.settle_all(lambda: house.memory.queues.size == 0)
        assert pushes(of_eve.written) == pushes(of_ben.written)
        assert house.names() == ["mal", "ben", "eve"]
        assert len(pushes(of_eve.written)) >= (3000 if burst != "toggles" else 2000)

    run(scene)


def test_client_is_read_no_faster_than_others_read_what_it_causes() -> None:
    """Ben reads nothing yet: after some megabytes nothing more is read of Ada, and everything once he has read."""

    async def scene(house: House) -> None:
        ada, of_ada = await house.join("ada")
        _, of_ben = await house.join("ben", reads=False)
        sent = 0
        while of_ada.is_reading:
            ada.data_received(wire(Broadcast("data", {}, bytes(100_000))))
            await house.settle()
            sent += 1
        assert 8 << 20 < sent * 100_000 < 9 << 20
        before = len(of_ada.written)
        ada.data_received(wire(Broadcast("data", {}, bytes(100_000))) + PING)
        await house.settle()
        assert len(of_ada.written) == before

        of_ben.read_all()
        await house.settle_all(lambda: of_ada.is_reading)
        await house.settle_all(lambda: len(pushes(of_ben.written)) == sent + 1)
        assert PONG in of_ada.written

    run(scene)


def test_one_that_does_not_read_holds_up_nobody_for_long_and_is_cut_by_its_own_clock() -> None:
    """After a second it counts no more; when too much waits for it, it is disconnected, and told why."""

    async def scene(house: House) -> None:
        ada, of_ada = await house.join("ada")
        _, of_mal = await house.join("mal", reads=False)
        one = wire(Broadcast("data", {}, bytes(100_000)))
        while of_ada.is_reading:
            ada.data_received(one)
            await house.settle()
        await house.pass_time(2)
        assert of_ada.is_reading

        sent = 0
        while "mal" in house.names() and sent < 100:
            ada.data_received(one)
            assert "mal" in house.names()  # Never in the turn that produces the bytes.
            await house.settle()
            sent += 1
        assert house.names() == ["ada"]
        assert b"reads too slowly" in of_mal.written
        assert (house.memory.queues.size, sent > 10) == (0, True)

    run(scene, queue_limit=4_000_000)


def test_one_that_reads_is_never_cut_however_much_waits() -> None:
    """Ten times its limit is put into its queue by one that leaves; it reads all of it, a part each second."""

    async def scene(house: House) -> None:
        _, of_ben = await house.join("ben", reads=False)
        ada, of_ada = await house.join("ada")
        of_ben.written.clear()
        for _ in range(10):
            ada.data_received(wire(Broadcast("data", {}, bytes(1_000_000))))
            await house.settle()
            while not of_ada.is_reading:
                of_ben.read_some(of_ben.buffered)
                await house.settle()
                await house.pass_time(1)
        for _ in range(100):
            of_ben.read_some(of_ben.buffered)
            await house.pass_time(1)

        assert house.names() == ["ben", "ada"]
        assert len(pushes(of_ben.written)) >= 10

    run(scene, queue_limit=1_000_000)


def test_paused_sender_is_not_taken_for_dead() -> None:
    """Its pongs are not read while it is held up: that is not its fault."""

    async def scene(house: House) -> None:
        ada, of_ada = await house.join("ada")
        _, of_ben = await house.join("ben", reads=False)
        while of_ada.is_reading:
            ada.data_received(wire(Broadcast("data", {}, bytes(100_000))))
            await house.settle()
        for _ in range(120):
            of_ben.read_some(of_ben.buffered // 100)  # So that its connection is alive.
            ada._seat.account.outstanding += 1 << 40  # Whatever it does.
            await house.pass_time(1)
        assert not of_ada.is_closed

    run(scene)


def test_client_is_pinged_when_it_was_silent_and_not_while_it_talks() -> None:
    """Each read counts from when it came, not from when the heartbeat is looked at next."""

    async def scene(house: House) -> None:
        ben, of_ben = await house.join("ben")
        for _ in range(5):
            await house.pass_time(20)
            ben.data_received(wire(SetAttributes({"k": 1})))
        await house.settle()
        assert of_ben.written == b""
        await house.pass_time(29)
        assert of_ben.written == b""
        await house.pass_time(2)
        assert of_ben.written == frames.encode_control(frames.Opcode.PING, b"", None)
        assert not of_ben.is_closed
        await house.pass_time(20)
        assert of_ben.is_closed

    run(scene)


def test_ping_without_content_is_answered() -> None:
    """As any other."""

    async def scene(house: House) -> None:
        ben, of_ben = await house.join("ben")
        ben.data_received(frames.encode_control(frames.Opcode.PING, b"", b"\x01\x02\x03\x04"))
        assert of_ben.written == frames.encode_control(frames.Opcode.PONG, b"", None)

    run(scene)


def test_pongs_of_a_client_that_reads_nothing_do_not_pile_up() -> None:
    """Of 10,000 pings only the latest is answered once it reads again."""

    async def scene(house: House) -> None:
        ada, _ = await house.join("ada")
        mal, of_mal = await house.join("mal", reads=False)
        for _ in range(5):
            ada.data_received(wire(Broadcast("data", {}, bytes(100_000))))
            await house.settle()
        before = len(of_mal.written)
        for _ in range(10_000):
            mal.data_received(PING)
            await house.settle(1)
        assert len(of_mal.written) == before
        of_mal.read_all()
        await house.settle()
        assert of_mal.written.count(PONG) == 1

    run(scene)


def test_half_a_message_in_single_bytes_is_counted_and_takes_little_more() -> None:
    """300,000 reads of a byte: what is held is what came, and no object for each."""

    async def scene(house: House) -> None:
        mal, _ = await house.join("mal")
        before = house.memory.used
        mal.data_received(b"\x82\xff" + (4 << 20).to_bytes(8, "big") + bytes(4))
        for _ in range(300_000):
            mal.data_received(bytes(1))
        assert 300_000 <= house.memory.used - before < 310_000
        assert len(mal._intake._decoder._parts) < 30

    run(scene)


def test_largest_holder_goes_when_memory_is_full_and_the_others_stay() -> None:
    """The one that reads nothing is disconnected with a reason; what was held for it is free again."""

    async def scene(house: House) -> None:
        ada, of_ada = await house.join("ada")
        await house.join("ben")
        _, of_mal = await house.join("mal", reads=False)
        for _ in range(70):
            ada.data_received(wire(Broadcast("data", {}, bytes(100_000))))
            await house.settle()
            if "mal" not in house.names():
                break
        assert house.names() == ["ada", "ben"]
        assert b"memory is full" in of_mal.written
        assert house.memory.queues.size == 0
        assert of_ada.is_reading

    run(scene, memory=5_000_000)


def test_sender_goes_on_when_the_one_it_waited_for_is_gone() -> None:
    """What waited for it counts no more."""

    async def scene(house: House) -> None:
        ada, of_ada = await house.join("ada")
        mal, _ = await house.join("mal", reads=False)
        while of_ada.is_reading:
            ada.data_received(wire(Broadcast("data", {}, bytes(100_000))))
            await house.settle()
        mal.connection_lost(None)
        await house.settle()
        assert of_ada.is_reading
        assert house.names() == ["ada"]
        assert house.memory.queues.size == 0

    run(scene)


def test_what_was_held_for_a_message_is_free_once_it_is_handled() -> None:
    """It comes in reads none of which is worth a look at what is held, and so does the next message."""

    async def scene(house: House) -> None:
        ada, _ = await house.join("ada")
        before = house.memory.used
        data = wire(Broadcast("data", {}, bytes(100_000)))
        for begin in range(0, len(data), 2000):
            ada.data_received(data[begin : begin + 2000])
            if begin == 80_000:
                assert 70_000 < house.memory.used - before < 120_000
        await house.settle()
        ada.data_received(PING)
        assert abs(house.memory.used - before) < 4096

    run(scene)


# --- written beside the transport -------------------------------------------------------------------------------------


at_once = pytest.mark.parametrize("is_alone", [False, True], ids=["in its turn", "at once"])
"""Whether a message is all that the loop has to do, so that it is written where it is handled."""


def run_on_sockets(scene: Callable[[House, socket.socket], Awaitable[None]], is_alone: bool) -> None:
    """Play a scene in a house whose clients share a socket that takes what is written beside their transports."""

    async def play() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            house = House(ours, queue_limit=64 << 20, memory=1 << 30)
            house.ready += [] if is_alone else ["another read"]
            try:
                await scene(house, theirs)
            finally:
                house.end()

    asyncio.run(play())


def drained(end: socket.socket) -> bytearray:
    """Return what has come to a socket."""
    data = bytearray()
    with suppress(BlockingIOError):
        while some := end.recv(65536):
            data += some
    return data


@at_once
def test_a_message_goes_beside_a_transport_that_holds_nothing_and_else_through_it(is_alone: bool) -> None:
    """Ben's holds something back from some time on, and until he has read it."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        ben, of_ben = await house.join("ben")
        drained(end)
        ways: list[tuple[int, int]] = []
        for held in (0, 500, 500, 0, 0):
            of_ben.buffered = held
            ben.data_received(PING)  # The pong goes by the transport in any case.
            await house.settle()
            of_ben.written.clear()
            before = ben.bytes_written
            house.read(ada, wire(Broadcast("chat", {"n": 1})))
            await house.settle()
            pushed = [len(pushes(where)) for where in (drained(end), of_ben.written)]
            ways.append((pushed[0], pushed[1]))
            assert ben.bytes_written > before
        assert ways == [(1, 0), (0, 1), (0, 1), (1, 0), (1, 0)]

    run_on_sockets(scene, is_alone)


@at_once
def test_what_is_sent_raw_is_not_overtaken_by_a_message_beside_the_transport(is_alone: bool) -> None:
    """Both go by the transport, in their order."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        ben, of_ben = await house.join("ben")
        drained(end)
        ben.push_raw([b"raw"])
        house.read(ada, wire(Broadcast("chat", {"n": 1})))
        await house.settle()
        packets: list[bytes] = []
        frames.FrameDecoder(masked=False).feed(bytes(of_ben.written), packets)
        assert (packets[0], len(packets)) == (b"raw", 3)
        assert pushes(drained(end)) == []

    run_on_sockets(scene, is_alone)


ENDS: dict[str, Callable[[GatewayConnection], object]] = {
    "lost": lambda one: one.connection_lost(None),
    "cut": lambda one: one.cut(),
    "told": lambda one: one.end(1001, "closing"),
    "broken": lambda one: one.broke(leaves=False),
    "closing": lambda one: one.write_rest([b"some"]),
}


@at_once
@pytest.mark.parametrize("way", ENDS)
def test_nothing_is_written_beside_a_transport_that_ends(way: str, is_alone: bool) -> None:
    """Its descriptor may soon be another connection's, and behind a close frame nothing may follow."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        ben, of_ben = await house.join("ben")
        drained(end)
        of_ben.is_closed = way == "closing"
        assert ben.lane is not None
        ENDS[way](ben)
        assert ben.lane is None
        house.read(ada, wire(Broadcast("chat", {"n": 1})))
        await house.settle()
        assert "chat" not in [push.type for push in pushes(drained(end))]

    run_on_sockets(scene, is_alone)


@at_once
def test_nothing_is_written_beside_a_wire(is_alone: bool) -> None:
    """What goes to a client whose connection was put behind one is delayed, held and lost like all else."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        ben, of_ben = await house.join("ben")
        drained(end)
        wired = ScriptedWire(of_ben._plain, reads=True)
        ben.reroute(lambda transport: cast(Wire, wired))
        for _ in range(3):
            house.read(ada, wire(Broadcast("chat", {"n": 1})))
            await house.settle()
        assert len(pushes(wired.written)) == 3
        assert pushes(drained(end)) == []

    run_on_sockets(scene, is_alone)


@pytest.mark.parametrize("is_first", [False, True])
def test_single_message_is_written_before_the_loop_turns_its_sender_first(is_first: bool) -> None:
    """Unless the loop has more to do, or something is due already: then all of it is written together."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        await house.join("ben")
        await house.join("cleo")
        drained(end)
        if not is_first:
            house.flushes.add(ada)
        house.read(ada, wire(Broadcast("chat", {"n": 1})))
        assert house.memory.queues.size == (0 if is_first else house.room.seats[1].queued + house.room.seats[0].queued)
        written = drained(end)
        assert bool(written) is is_first
        await house.settle()
        packets: list[bytes] = []
        frames.FrameDecoder(masked=False).feed(bytes(written + drained(end)), packets)
        messages = map(decode_push, Reassembler().feed(packets))
        assert [type(message) for message in messages] == [Reply, Push, Push]
        assert ada.seat.account.outstanding == 0

    run_on_sockets(scene, is_alone=True)


def test_messages_that_come_together_are_written_together() -> None:
    """Ben has one write for both, in which they have their order, and ada one for both answers."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        _, of_ben = await house.join("ben")
        drained(end)
        house.read(ada, wire(Broadcast("chat", {"n": 1}), Broadcast("chat", {"n": 2})))
        assert [push.message["n"] for push in pushes(of_ben.written)] == [1, 2]
        assert pushes(drained(end)) == []

    run_on_sockets(scene, is_alone=True)


def test_message_to_oneself_comes_before_its_acknowledgement() -> None:
    """Though the answer to a sender is written before what others get."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        drained(end)
        house.read(ada, wire(Send(ada.seat.member.id, "chat", {})))
        packets: list[bytes] = []
        frames.FrameDecoder(masked=False).feed(bytes(drained(end)), packets)
        assert [type(message) for message in map(decode_push, Reassembler().feed(packets))] == [Push, Reply]

    run_on_sockets(scene, is_alone=True)


def test_message_without_participants_for_some_goes_to_the_others() -> None:
    """A seat without a carrier of ours has its queue, a lost one nothing."""

    async def scene(house: House, end: socket.socket) -> None:
        ada, _ = await house.join("ada")
        ben, _ = await house.join("ben")
        woken: list[str] = []
        cleo = house.room.take("cleo", wake=lambda: woken.append("cleo"))
        cleo.ask(Enable())
        ben.seat.lose(ProtocolError("planted"))
        await house.settle()
        cleo.clear()
        woken.clear()
        drained(end)
        house.read(ada, wire(Broadcast("chat", {"n": 1})))
        assert (woken, len(cleo.drain(1)), ada.seat.account.outstanding) == (["cleo"], 1, 0)
        assert pushes(drained(end)) == []

    run_on_sockets(scene, is_alone=True)
