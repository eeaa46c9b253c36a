"""One client's WebSocket: frames in bulk both ways, its heartbeat, and its end.

aiohttp does the handshake. The frames of one read are handled in bulk, but no more of them in one turn of the loop than
`_TURN` allows, and all messages of one turn to a participant are written in one buffer, each framed once for all its
recipients. A client is read from no faster than others read what it causes; one that reads nothing is no measure.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import frames
from meshsync.protocol.heartbeat import Beat, Heartbeat
from meshsync.runtime.lifecycle import move
from simulator.admission import Admission
from simulator.emulator.flushes import Flushes, Lane
from simulator.emulator.framing import join
from simulator.emulator.intake import intake_for
from simulator.emulator.memory import Memory
from simulator.emulator.settings import Settings
from simulator.emulator.sockets import descriptor_of, outflow
from simulator.emulator.wire import Wire
from simulator.network.network import SimulatedConnection
from simulator.room.seat import CARRIER_MOVES, CarrierState, Seat, SeatedRoom

__all__ = ["READ_SIZE", "GatewayConnection", "HandshakeSocket"]

_log = logging.getLogger("simulator.emulator")


_HIGH_WATER = 256 * 1024
"""Bytes in the transport's buffer beyond which messages wait in their seat's queue, so that pings overtake them."""

_BATCH = 256 * 1024
"""Bytes of messages taken from a queue at once."""

READ_SIZE = 256 * 1024
"""Bytes that are read at once, as many as asyncio reads. It makes room for them at each read, for which it may have to
ask the system, and to give most of it back: three calls, as dear as reading."""

_TURN = 1024 * 1024
"""What one client's messages may cost in one turn of the loop, in the effort of `Seat.feed`; a message is never cut.
It takes some milliseconds, and then the other connections have theirs."""

_PART = _TURN // 16
"""The effort after which a turn looks at the clock."""

_LONGEST_TURN = 0.01
"""Seconds after which a turn ends at its next look at the clock, whatever its effort."""

_OPEN = CarrierState.OPEN  # Not looked up by name at each flush: before 3.12 that is a call in Python.

_OUTSTANDING = 8 * 1024 * 1024
"""Bytes that a client may have caused and that wait for others, before it is no longer read from. A quarter of what may
wait for one participant, if that is less."""

_IDLE = 24 * 1024
"""Bytes of a connection for which nothing waits. Source: 22 KB each of 400 on CPython 3.11."""

_NOTED = 4096
"""Bytes that a connection may hold, beside those of an idle one, before they are noted: to find out how many it holds
takes as long as to write a message."""

_LOOK = 1.0
"""Seconds between two looks at a client for which messages wait."""

_PACE = 10.0
"""Seconds in which a client must be able to read what waits for it, at the speed seen. One that is slower does not hold
up those that send to it: they would not get their pongs."""

_LAST_PACE = 60.0
"""Likewise, of a client for which more waits than its limit allows. One that is slower is disconnected."""


class HandshakeSocket(web.WebSocketResponse):
    """aiohttp's end of a WebSocket, which does the handshake and nothing after it."""

    early: bytes = b""
    """The bytes that came behind the handshake's request."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Do the handshake.

        Raises:
            HTTPUpgradeRequired: If the client asks for another version. Source: RFC 6455, section 4.4.
        """
        version = request.headers.get("Sec-WebSocket-Version", "13").strip()
        if version != "13":
            raise web.HTTPUpgradeRequired(headers={"Sec-WebSocket-Version": "13"}, text="version 13 is spoken here")
        # aiohttp would give them to a reader of its own, of which nothing is read.
        self.early = getattr(request.protocol, "_message_tail", b"")
        if self.early:
            request.protocol._message_tail = b""
        return await super().prepare(request)

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        return False


class GatewayConnection(asyncio.BufferedProtocol, asyncio.Protocol):
    """One client's connection and its seat. It replaces aiohttp as the transport's protocol after the handshake.

    aiohttp gives frames one by one, which for a stream costs more than all of the room's work on them.
    """

    def __init__(
        self,
        name: str,
        transport: asyncio.Transport,
        settings: Settings,
        memory: Memory,
        flushes: Flushes,
        early: bytes = b"",
        buffer: memoryview | None = None,
    ) -> None:
        self.name = name
        self._memory = memory
        self._flushes = flushes
        self._buffer = memoryview(bytearray(READ_SIZE)) if buffer is None else buffer
        self._early = early
        """What the client sent in one go with its handshake."""
        self.state: CarrierState = CarrierState.OPEN
        self._transport = transport
        limits = settings.limits
        self._linger = limits.linger
        self._loop = asyncio.get_running_loop()
        self._intake = intake_for(limits, self._loop.time)
        self._unnoted = 0
        """Bytes by which what is held for it may differ from what was noted: those read since, and the held ones, which
        may have been handled."""
        self._outstanding = min(_OUTSTANDING, limits.queue // 4)
        self._is_held_up = False
        """Whether nothing is read, since what was read is not handled yet, or causes too much."""
        self._heartbeat = Heartbeat(self._loop.time(), interval=limits.heartbeat, timeout=limits.heartbeat / 2)
        self._heard_at: float | None = None
        """When it was last read from, in the loop's time; None once its heartbeat knows."""
        self._timer: asyncio.TimerHandle | None = None
        self.bytes_written: int = 0
        """Bytes given to the transport."""
        self._descriptor = descriptor_of(transport)
        """Where to write to; None if only the transport can."""
        self.lane: Lane | None = None
        """Set while nothing is pending, and the transport holds nothing back."""
        self._seat: Seat | None = None
        self.place: SimulatedConnection | None = None
        """Its place on the network of faults, if it has one."""
        self._leaves = True
        """Whether its participant leaves when it ends."""
        self._pending: deque[bytes] = deque()
        """Whole frames drained from the seat's queue and not written yet."""
        self._is_full = False
        """Whether the transport's buffer is above its limit."""
        self._pong: bytes | None = None
        """The latest pong that waits until the transport's buffer is below its limit."""
        self._looking: asyncio.TimerHandle | None = None
        """Set while messages wait."""
        self._seen = 0
        """Bytes that had left the transport's buffer at the last look."""
        self._keeps_up = True
        """Whether it reads what waits for it, as far as was seen."""
        self._reason = "the connection was lost"
        """Why it ended, where its client has not closed it."""
        self.refusal: str | None = None
        """Why its client got no seat; None if it did."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        self._aiohttp = transport.get_protocol()
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(self)

    async def run(self, room: SeatedRoom, admission: Admission) -> None:
        """Serve the client until its connection ends."""
        try:
            self._seat = _take_seat(room, admission, self._wake, self)
            self._seat.account.limit = self._outstanding
            if self.place is not None:
                self.place.carrier = self
        except InvalidMessage as error:
            self.refusal = str(error)
            self.end(1008, self.refusal)
        self._beat()
        if self._early:
            self.data_received(self._early)
            self._early = b""
        self._note()
        try:
            await self._ended
        finally:
            for timer in (self._timer, self._looking):
                if timer is not None:
                    timer.cancel()
            if self._seat is not None:
                if self._leaves:
                    self._seat.leave(self._reason)
                self._seat.clear()
                self._seat.account.relieved = None
            self._memory.note(self, 0)
            self._transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the loop reads to. It serves all connections: each read is copied before the next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Handle what was read, and write what it led to."""
        if self._accept(bytes(self._buffer[:nbytes])):
            self._flushes.begin_read(is_single=self._intake.is_single)
            self._take_turn()
            self._flushes.end_read()

    def data_received(self, data: bytes) -> None:
        """Handle data that did not come from the loop's own socket."""
        if self._accept(data):
            self._take_turn()

    def _accept(self, data: bytes) -> bool:
        """Note data, and return whether it can be handled now. After our close frame it is dropped.

        It has to be read all the same: closing a socket with unread bytes resets the connection, and the client would
        not get the close frame.
        """
        if self._seat is None or self.state is not _OPEN:
            return False
        self._heard_at = self._loop.time()
        self._unnoted += len(data)
        self._intake.add(data)
        return not self._is_held_up

    def _take_turn(self) -> None:
        seat, intake = self._seat, self._intake
        if seat is None or self.state is not _OPEN:
            return
        try:
            if not self._flushes.is_alone:
                # Its own flush goes before its recipients': so the sender's reply is written first.
                self._flushes.add(self)
            begin = self._loop.time()
            left = _TURN - _PART + intake.feed(seat, _PART)
            while left > 0 and not intake.is_empty and self._loop.time() - begin < _LONGEST_TURN:
                left -= _PART - intake.feed(seat, _PART)
            ping, is_empty = intake.ping, intake.is_empty
            if ping is not None:
                intake.ping = None
                self._answer(ping)
            if is_empty and intake.fault is not None:
                seat.lose(intake.fault)
            elif is_empty and intake.close is not None:
                seat.leave(f"closed with code {intake.close.code or 1000}")
                self.end(intake.close.code or 1000, "")
            elif not is_empty or self._is_held_up or seat.account.outstanding > self._outstanding:
                self._hold_up(seat)
            if self._unnoted >= _NOTED:
                self._note()
        except Exception:
            _log.exception("a connection failed for no fault of its client's")
            self.end(1011, "internal error")

    def _hold_up(self, seat: Seat) -> None:
        """Read on, or wait for the next turn, or until less is outstanding of what this client caused."""
        is_ahead = seat.account.outstanding > self._outstanding
        if self._intake.is_empty and not is_ahead:
            if self._is_held_up:
                self._is_held_up = False
                self._transport.resume_reading()
            return
        if not self._is_held_up:
            self._is_held_up = True
            self._transport.pause_reading()
        if is_ahead:
            seat.account.relieved = self._schedule_turn
        else:
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        self._loop.call_soon(self._take_turn)

    def _answer(self, ping: bytes) -> None:
        """Send a pong; while the client reads nothing, the latest one waits alone (RFC 6455, section 5.5.3)."""
        pong = frames.encode_control(frames.Opcode.PONG, ping, None)
        if self._is_full:
            self._pong = pong
        else:
            self._write(pong)

    def eof_received(self) -> bool:
        """Let the transport close: a client that sends no more reads no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End; aiohttp is notified too."""
        self.lane = self._descriptor = None  # The system may give it to another connection.
        self._aiohttp.connection_lost(exc)
        self._move(CarrierState.ENDED)
        if not self._ended.done():  # It is cancelled if the gateway's loop is ending.
            self._ended.set_result(None)

    def _beat(self) -> None:
        """Ping a silent client, and cut one that stays silent; after our close frame ``linger`` cuts it."""
        if self.state is not _OPEN:
            return
        if self._is_held_up:
            self._heard_at = self._loop.time()  # What it sends meanwhile is not read.
        if self._heard_at is not None:
            self._heartbeat.alive(self._heard_at)
            self._heard_at = None
        beat = self._heartbeat.look(self._loop.time(), outflow(self._transport, self.bytes_written, _HIGH_WATER))
        if beat is Beat.ASKED:
            self._write(frames.encode_control(frames.Opcode.PING, b"", None))
        elif beat is Beat.DEAD:
            self.cut("silent: no sign of life within the heartbeat's time")
        if self._heartbeat.deadline is not None:
            self._timer = self._loop.call_at(self._heartbeat.deadline, self._beat)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self.bytes_written += len(data)
        self.lane = None
        self._transport.write(data)

    def write_rest(self, rest: Sequence[bytes]) -> None:
        """Write a message, or the rest of one, by the transport."""
        self.lane = None
        self._pending.extend(rest)
        self.flush()

    def pause_writing(self) -> None:
        """Let messages wait in the seat's queue, so that pings overtake them."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Resume writing."""
        self._is_full = False
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._write(pong)
        self._flushes.add(self)

    def _wake(self) -> None:
        if not self._is_full:
            self._flushes.add(self)
        elif self._seat is not None and self._seat.fault is not None:
            self.end(self._seat.fault.code, str(self._seat.fault))  # Without waiting for a client that does not read.
        elif not self._keeps_up:
            self._flushes.add(self)  # More may wait than its limit allows.
        else:
            self._watch()

    def flush(self) -> None:
        """Write what waits, as much as the transport takes at once."""
        seat, transport = self._seat, self._transport
        if seat is None or self.state is not _OPEN or transport.is_closing():
            if seat is not None and seat.is_overfull and not self._leaves:
                seat.overflow()  # Nothing reads for a participant that is gone and listed all the same.
            return
        pending = self._pending
        if not pending and not self._is_full:
            pending.extend(join(seat.drain(_BATCH)))
        # Little more than its limit goes to the transport, which would move the rest forward at each write.
        while pending and not self._is_full:
            self._write(pending.popleft())
        if pending or seat.queued or seat.fault is not None:
            self._go_on(seat)
        elif self._descriptor is not None and not transport.get_write_buffer_size():
            self.lane = (self._descriptor, seat)

    def _go_on(self, seat: Seat) -> None:
        """Arrange for what could not be written yet, or end the connection of a seat that is lost."""
        is_empty = not self._pending and not seat.queued
        if seat.fault is not None and (self._is_full or is_empty):
            self.end(seat.fault.code, str(seat.fault))
        elif not is_empty:
            self._watch()
            if not self._is_full:
                self._flushes.add(self)
            elif seat.is_overfull and not self._keeps_up:
                seat.overflow()

    # --- what is held -------------------------------------------------------------------------------------------------

    @property
    def _own(self) -> int:
        """Bytes that are held for it, its queue apart."""
        seat = self._seat
        of_room = seat.half_received + seat.member.held if seat is not None and seat.is_taken else 0
        unwritten = sum(map(len, self._pending)) + self._transport.get_write_buffer_size()
        return _IDLE + self._intake.held + unwritten + of_room

    @property
    def holds(self) -> int:
        """Bytes that are held for it."""
        return self._own + (0 if self._seat is None else self._seat.queued)

    def _note(self) -> None:
        if not self._ended.done():
            own = self._own
            self._unnoted = own - _IDLE
            self._memory.note(self, own)

    def evict(self, reason: str) -> None:
        """Disconnect it, since it holds the most of all."""
        if self._seat is not None:
            self._seat.lose(ProtocolError(reason, code=1013))
        self.end(1013, reason)
        self._note()

    # --- judging a client for which messages wait ---------------------------------------------------------------------

    def _watch(self) -> None:
        if self._looking is None:
            self._seen = self._count_sent()
            self._looking = self._loop.call_later(_LOOK, self._look)

    def _count_sent(self) -> int:
        """Return how many bytes the system has taken."""
        return self.bytes_written - self._transport.get_write_buffer_size()

    def _look(self) -> None:
        """Judge by what has left since the last look whether it keeps up."""
        self._looking = None
        seat = self._seat
        if seat is None or self.state is not CarrierState.OPEN:
            return
        waiting = seat.queued + sum(map(len, self._pending))
        sent = self._count_sent() - self._seen
        pace = _LAST_PACE if seat.is_overfull else _PACE
        self._keeps_up = sent * pace >= waiting * _LOOK
        seat.count(self._keeps_up)
        self._note()
        if waiting:
            self._watch()
            if not self._keeps_up:
                self._flushes.add(self)

    # --- ending -------------------------------------------------------------------------------------------------------

    @property
    def fault(self) -> ProtocolError | None:
        """The fault for which the client was disconnected; None if there was none."""
        return None if self._seat is None else self._seat.fault

    def end(self, code: int, reason: str) -> bool:
        """Send a close frame, and cut the connection after ``linger`` seconds. Again does nothing.

        Returns:
            Whether the close frame was sent: the connection may be gone.
        """
        if self.state is not CarrierState.OPEN:
            return False
        self._move(CarrierState.LEAVING)
        self.lane = None
        self._reason = f"disconnected with code {code}: {reason}"
        self._intake.drop()
        self._pending.clear()
        if self._seat is not None:
            self._seat.clear()
        transport = self._transport
        if transport.is_closing():
            return False
        transport.resume_reading()
        self._write(frames.encode_close(code, reason, None))
        with suppress(OSError):  # The client has reset it.
            transport.write_eof()
        self._loop.call_later(self._linger, transport.abort)
        return True

    def cut(self, reason: str = "cut by the emulator") -> None:
        """End the TCP connection without a close frame."""
        if self.state is CarrierState.OPEN:
            self._reason = reason
        self.lane = None
        self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether it is served."""
        return self.state is _OPEN and not self._transport.is_closing()

    @property
    def seat(self) -> Seat:
        """The seat of its participant."""
        assert self._seat is not None
        return self._seat

    def reroute(self, carry: Callable[[asyncio.Transport], Wire]) -> None:
        """Be carried by a wire from now on."""
        self.lane = self._descriptor = None
        wire = carry(self._transport)
        self._transport = wire
        http, self._aiohttp = self._aiohttp, wire.get_protocol()
        wire.take_over(self, http, is_full=self._is_full, is_read=not self._is_held_up)

    def broke(self, *, leaves: bool = True, at_once: bool = True) -> None:
        """End without a close frame, since the connection was reset or dropped.

        Args:
            leaves: Whether the participant leaves; else the seat stays taken until its `Seat.leave` is called.
            at_once: Whether what was written is lost; else the end follows it.
        """
        self._leaves = leaves
        self.lane = None
        (self._transport.abort if at_once else self._transport.close)()

    def push_raw(self, packets: Sequence[bytes]) -> None:
        """Send packets unchecked, behind the message that is being sent."""
        self.lane = None
        self._pending.extend(frames.encode([packet], None) for packet in packets)
        self._flushes.add(self)

    def _move(self, state: CarrierState) -> None:
        self.state = move(CARRIER_MOVES, self.state, state, "a connection")


def _take_seat(room: SeatedRoom, admission: Admission, wake: Callable[[], None], carrier: GatewayConnection) -> Seat:
    seat = room.take(
        admission.name,
        wake=wake,
        role=admission.role,
        rights=admission.rights,
        version=admission.version,
        token_version=admission.token_version,
    )
    seat.carrier = carrier
    return seat
