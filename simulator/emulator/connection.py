"""One client's WebSocket: frames in bulk both ways, its heartbeat, and its end.

aiohttp does the handshake. All frames of one read are handled at once, and all messages of one turn of the loop to a
participant are written in one buffer, each framed once for all its recipients.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import frames
from meshsync.protocol.heartbeat import Beat, Heartbeat, Outflow
from meshsync.runtime.lifecycle import move
from meshsync.transport.acknowledgements import unacknowledged
from simulator.admission import Admission
from simulator.emulator.rates import Rate
from simulator.emulator.settings import Settings
from simulator.room.seat import CARRIER_MOVES, CarrierState, Parcel, Seat, SeatedRoom

__all__ = ["GatewayConnection", "HandshakeSocket"]

_log = logging.getLogger("simulator.emulator")


_PACKET_MARGIN = 64 * 1024
"""Bytes by which one WebSocket message may be larger than the largest message: a whole one may come as one packet, and
its seat checks its size."""

_LONGEST_FRAME = 16
"""Largest messages in one WebSocket frame. A packet is cut at the size above, and its message refused; a frame that is
longer ends the connection."""

_HIGH_WATER = 256 * 1024
"""Bytes in the transport's buffer beyond which messages wait in their seat's queue, so that pings overtake them."""

_BATCH = 1024 * 1024
"""Bytes of messages taken from a queue at once."""

_JOINED = 64 * 1024
"""Bytes up to which a message is joined with its neighbours instead of being written by itself."""


class HandshakeSocket(web.WebSocketResponse):
    """aiohttp's end of a WebSocket, which does the handshake and nothing after it."""

    early = b""
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


class GatewayConnection(asyncio.Protocol):
    """One client's connection and its seat. It replaces aiohttp as the transport's protocol after the handshake.

    aiohttp gives frames one by one, which for a stream costs more than all of the room's work on them.
    """

    def __init__(self, name: str, transport: asyncio.Transport, settings: Settings, early: bytes = b"") -> None:
        self.name = name
        self._early = early
        """What the client sent in one go with its handshake."""
        self.state = CarrierState.OPEN
        self._transport = transport
        limits = settings.limits
        self._linger = limits.linger
        self._loop = asyncio.get_running_loop()
        self._decoder = frames.FrameDecoder(
            masked=True, max_size=limits.message + _PACKET_MARGIN, longest=_LONGEST_FRAME * limits.message
        )
        self._heartbeat = Heartbeat(self._loop.time(), interval=limits.heartbeat, timeout=limits.heartbeat / 2)
        self._rate = None if limits.rate is None else Rate(limits.rate, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._bytes_written = 0
        """Bytes given to the transport."""
        self._seat: Seat | None = None
        self._is_scheduled = False
        """Whether a flush is scheduled."""
        self._pending: deque[bytes] = deque()
        """Whole frames drained from the seat's queue and not written yet."""
        self._is_full = False
        """Whether the transport's buffer is above its limit."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        self._aiohttp = transport.get_protocol()
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(self)

    async def run(self, room: SeatedRoom, admission: Admission) -> None:
        """Serve the client until its connection ends."""
        try:
            self._seat = room.take(
                admission.name,
                wake=self._wake,
                role=admission.role,
                rights=admission.rights,
                version=admission.version,
                token_version=admission.token_version,
            )
        except InvalidMessage as error:
            self.end(1008, str(error))
        self._beat()
        if self._early:
            self.data_received(self._early)
            self._early = b""
        try:
            await self._ended
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._seat is not None:
                self._seat.leave()
            self._transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Handle data. After our close frame it is dropped.

        It has to be read all the same: closing a socket with unread bytes resets the connection, and the client would
        not get the close frame.
        """
        seat = self._seat
        if seat is None or self.state is not CarrierState.OPEN:
            return
        self._heartbeat.alive(self._loop.time())
        try:
            self._handle(data, seat)
        except Exception:
            _log.exception("a connection failed for no fault of its client's")
            self.end(1011, "internal error")

    def _handle(self, data: bytes, seat: Seat) -> None:
        decoder = self._decoder
        packets: list[bytes] = []
        fault: ProtocolError | None = None
        try:
            decoder.feed(data, packets)
        except ProtocolError as error:
            fault = error
        ping = decoder.take_ping()
        if ping is not None:
            self._write(frames.encode_control(frames.Opcode.PONG, ping, None))
        if packets and self._rate is not None and not self._rate.take(_count_starts(packets), self._loop.time()):
            seat.lose(ProtocolError(f"sends more than {self._rate.per_second:g} messages a second", code=1008))
        elif packets:
            # Its own flush goes before its recipients': so the sender's reply is written first.
            self._schedule()
            seat.feed(packets)
        if fault is not None:
            seat.lose(fault)
        elif decoder.close is not None:
            seat.leave()
            self.end(decoder.close.code or 1000, "")

    def eof_received(self) -> bool:
        """Let the transport close: a client that sends no more reads no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End; aiohttp is notified too."""
        self._aiohttp.connection_lost(exc)
        self._move(CarrierState.ENDED)
        if not self._ended.done():  # It is cancelled if the gateway's loop is ending.
            self._ended.set_result(None)

    def _beat(self) -> None:
        """Ping a silent client, and cut one that stays silent."""
        beat = self._heartbeat.look(self._loop.time(), self._outflow())
        if beat is Beat.ASKED:
            self._write(frames.encode_control(frames.Opcode.PING, b"", None))
        elif beat is Beat.DEAD:
            self._transport.abort()
        if self._heartbeat.deadline is not None:
            self._timer = self._loop.call_at(self._heartbeat.deadline, self._beat)

    def _outflow(self) -> Outflow:
        """Return what has become of the bytes written: a ping waits behind them, in our buffer and in the system's."""
        buffered = self._transport.get_write_buffer_size()
        connection = self._transport.get_extra_info("socket")
        waiting = None if self._transport.is_closing() else unacknowledged(connection.fileno())
        if waiting is None:
            # The system's buffer is about as large as ours.
            return Outflow(self._bytes_written, buffered + min(self._bytes_written - buffered, _HIGH_WATER))
        return Outflow(self._bytes_written, min(self._bytes_written, buffered + waiting), is_known=True)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self._bytes_written += len(data)
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Let messages wait in the seat's queue, so that pings overtake them."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Resume writing."""
        self._is_full = False
        self._schedule()

    def _wake(self) -> None:
        if not self._is_full:
            self._schedule()
        elif self._seat is not None and self._seat.fault is not None:
            self.end(self._seat.fault.code, str(self._seat.fault))  # Without waiting for a client that does not read.

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        seat, transport = self._seat, self._transport
        if seat is None or self.state is not CarrierState.OPEN or transport.is_closing():
            return
        pending = self._pending
        if not pending and not self._is_full:
            pending.extend(_join(seat.drain(_BATCH)))
        # Little more than its limit goes to the transport, which would move the rest forward at each write.
        while pending and not self._is_full:
            self._write(pending.popleft())
        is_empty = not pending and not seat.queued
        if seat.fault is not None and (self._is_full or is_empty):
            self.end(seat.fault.code, str(seat.fault))
        elif not is_empty and not self._is_full:
            self._schedule()

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
        transport = self._transport
        if transport.is_closing():
            return False
        transport.resume_reading()
        self._write(frames.encode_close(code, reason, None))
        with suppress(OSError):  # The client has reset it.
            transport.write_eof()
        self._loop.call_later(self._linger, transport.abort)
        return True

    def cut(self) -> None:
        """End the TCP connection without a close frame."""
        self._transport.abort()

    def _move(self, state: CarrierState) -> None:
        self.state = move(CARRIER_MOVES, self.state, state, "a connection")


def _count_starts(packets: list[bytes]) -> int:
    """Return how many packets begin a message: those with the index 0."""
    return sum(packet[8:12] == b"\0\0\0\0" for packet in packets)


def _join(parcels: list[Parcel]) -> list[bytes]:
    """Return the buffers to write for these messages: small ones joined, large ones a frame at a time."""
    buffers: list[bytes] = []
    small: list[bytes] = []
    for parcel in parcels:
        wire = parcel.wire
        if wire is None:
            packets = parcel.packets()
            is_small = parcel.output.size <= _JOINED
            wire = [frames.encode(part, None) for part in ([packets] if is_small else ([p] for p in packets))]
            parcel.wire = wire
        if len(wire) == 1:
            small += wire
            continue
        buffers += (b"".join(small), *wire)
        small.clear()
    buffers.append(b"".join(small))
    return [buffer for buffer in buffers if buffer]
