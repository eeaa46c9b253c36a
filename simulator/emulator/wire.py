"""A real connection behind two simulated links: what comes and goes is delayed, held, throttled or lost on them.

A `Wire` lies between a socket's transport and the `GatewayConnection`, for which it is the transport. So a connection
on which nothing of that is wanted has none, and costs nothing. All bytes pass it alike: messages, pings and pongs,
close frames. As links do, it keeps the order of one connection and loses nothing while that is open; and it accepts no
more than fits into the link's window, so that a sender is held up by TCP, on the real connection or at the room.

The names and the times of faults are not its business: it is the client's end that `simulator.network` knows.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from simulator.network.frames import ControlFrame, Frame
from simulator.network.links import Link, LinkState
from simulator.network.network import ROOM_GONE, SimulatedConnection
from simulator.network.traffic import Traffic

__all__ = ["Wire", "reset"]

_HIGH_WATER = 256 * 1024
"""Bytes that wait for room on the link before the connection is told to pause."""

_PIECE = 64 * 1024
"""Bytes that travel as one."""

_SLOW_PIECE = 1400
"""Likewise on a link of limited bandwidth, which carries pieces whole: about what a packet of TCP has."""

_SOME = 16
"""Pieces that are read at once, before it is asked again whether the reader pauses."""


class Wire(asyncio.Transport, asyncio.Protocol):
    """Carries one connection. It is the transport of the room's end, the protocol of the socket's transport.

    Args:
        real: The socket's transport.
        connection: Its links and its place in the network.
        linger: Seconds from the close frame's arrival until the socket is closed.

    Attributes:
        closed: Done when the socket is closed, which may be long after the room's end has ended.
    """

    def __init__(self, real: asyncio.Transport, connection: SimulatedConnection, linger: float) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._http = real.get_protocol()
        """What had the socket before, and closes it when it learns of its end."""
        self._real = real
        self._connection = connection
        self._linger = linger
        self._protocol: asyncio.Protocol | None = None
        """The room's end."""
        self._incoming: deque[Frame[Traffic]] = deque()
        """What the link up has no room for; meanwhile nothing is read from the socket."""
        self._outgoing: deque[Frame[Traffic]] = deque()
        """What the link down has no room for."""
        self._waiting = 0
        """The bytes of that."""
        self._in_transit = 0
        """Bytes from the room that the socket's transport does not have yet."""
        self._is_read = True
        """Whether the room reads."""
        self._is_full = False
        """Whether the room was told to pause writing."""
        self._is_real_full = False
        """Whether the socket takes nothing for now."""
        self._is_paused = False
        """Whether the client's end is paused by a fault."""
        self._is_finishing = False
        """Whether the room writes no more."""
        self._has_client_ended = False
        """Whether the client writes no more."""
        self._is_real_ended = False
        """Whether all was written to the socket that there will be."""
        self._is_real_gone = False
        self._error: Exception | None = None
        """What the socket was lost by."""
        connection.transport = self
        connection.up.on_arrival, connection.up.on_room = self._deliver_up, self._fill_up
        connection.down.on_arrival, connection.down.on_room = self._deliver_down, self._fill_down

    def take_over(
        self, protocol: asyncio.Protocol, http: asyncio.BaseProtocol, *, is_full: bool, is_read: bool
    ) -> None:
        """Carry a connection that has been served without it so far.

        Args:
            http: What had the socket before that.
            is_full: Whether it was told to pause writing.
            is_read: Whether it reads.
        """
        self._is_full = self._is_real_full = is_full
        self._is_read = is_read
        self._http = http
        self.set_protocol(protocol)
        self._real.resume_reading()

    # --- the socket's protocol ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Put data onto the link up."""
        self._incoming.extend(_pieces(data, self._connection.up))
        self._fill_up()

    def eof_received(self) -> bool:
        """Let the end travel behind the data; the socket is kept for the answer.

        It is closed if that is through, and on a silent connection: the client has given up by itself, and there is
        nothing left to be kept from it.
        """
        self._has_client_ended = True
        self._finish_up()
        return not self._is_real_ended and self._connection.up.state is not LinkState.SILENT

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the socket is closed; the room learns of it behind what is in transit."""
        self._is_real_gone, self._error = True, exc
        self._finish_up()
        self._connection.client_ended()
        self._http.connection_lost(exc)
        if not self.closed.done():  # It is cancelled if the gateway's loop is ending.
            self.closed.set_result(None)
        self._deliver_down()  # It goes nowhere, and nothing waits for it.

    def pause_writing(self) -> None:
        """Leave on the link down what arrives there; a client that reads nothing is not waited for at the end."""
        self._is_real_full = True
        if self._is_room_gone:
            self._loop.call_later(self._linger, self._real.abort)

    def resume_writing(self) -> None:
        """Go on."""
        self._is_real_full = False
        self._deliver_down()
        self._fill_down()

    # --- up -----------------------------------------------------------------------------------------------------------

    def _fill_up(self) -> None:
        self._connection.up.fill(self._incoming)
        self._read_on()

    def _read_on(self) -> None:
        """Read from the socket, unless the link has no room or the client is paused."""
        if self._incoming or self._is_paused:
            self._real.pause_reading()
        elif not self._real.is_closing():
            self._real.resume_reading()

    def _finish_up(self) -> None:
        up = self._connection.up
        if up.state is LinkState.OPEN:
            up.put(tuple(self._incoming))
            self._incoming.clear()
            up.finish()

    def _deliver_up(self) -> None:
        up = self._connection.up
        while self._is_read:
            frames = up.read(_SOME)
            if not frames:
                return
            for content, _ in frames:
                if isinstance(content, bytes) and not self._is_room_gone:
                    self._room.data_received(content)
                elif content is ControlFrame.END:
                    self._end_up()

    def _end_up(self) -> None:
        """Tell the room that the client has ended."""
        if self._is_real_gone:
            self._end_room(self._error)
        elif not self._is_room_gone:
            self._room.eof_received()
            self.close()

    # --- down ---------------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Put data onto the link down, or let it wait there."""
        if self._is_room_gone or self._is_finishing:
            return
        self._in_transit += len(data)
        self._waiting += len(data)
        self._outgoing.extend(_pieces(bytes(data), self._connection.down))
        self._fill_down()

    def _fill_down(self) -> None:
        for _, size in self._connection.down.fill(self._outgoing):
            self._waiting -= size
        if self._is_finishing and not self._outgoing:
            self._connection.down.finish()
        if self._waiting > _HIGH_WATER and not self._is_full:
            self._is_full = True
            self._room.pause_writing()
        elif self._is_full and not self._waiting and not self._is_real_full:
            self._is_full = False
            self._room.resume_writing()

    def _deliver_down(self) -> None:
        while self._is_real_gone or not (self._is_real_full or self._is_paused):
            frames = self._connection.down.read(_SOME)
            if not frames:
                return
            for content, size in frames:
                if isinstance(content, bytes):
                    self._in_transit -= size
                if self._is_real_gone:
                    continue
                if isinstance(content, bytes):
                    self._real.write(content)
                elif content is ControlFrame.END:
                    self._end_real()

    def _end_real(self) -> None:
        """Close the socket behind all that has arrived, in good time for its client."""
        self._is_real_ended = True
        if self._has_client_ended:
            self._real.close()
        elif not self._real.is_closing():
            with suppress(OSError):  # The client has reset it.
                self._real.write_eof()
            self._loop.call_later(self._linger, self._real.abort)

    # --- the room's transport -----------------------------------------------------------------------------------------

    @property
    def _room(self) -> asyncio.Protocol:
        assert self._protocol is not None
        return self._protocol

    @property
    def _is_room_gone(self) -> bool:
        return self._connection.ended in ROOM_GONE

    def get_write_buffer_size(self) -> int:
        """Return the bytes on their way down, those in the socket's transport included."""
        return self._in_transit + self._real.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set those of the socket's transport."""
        self._real.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Leave on the link up what arrives there."""
        self._is_read = False

    def resume_reading(self) -> None:
        """Go on, in another turn of the loop."""
        self._is_read = True
        self._loop.call_soon(self._deliver_up)

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""
        return self._is_room_gone or self._is_finishing

    def write_eof(self) -> None:
        """Write no more: the socket is closed behind all that was written."""
        self._is_finishing = True
        self._fill_down()

    def close(self) -> None:
        """End the room's end; what was written goes out."""
        if not self._is_room_gone:
            self.write_eof()
            self._end_room(None)

    def abort(self) -> None:
        """End the room's end, and cut the socket, unless what was written before an end is on its way.

        On a silent link the client is not to learn of it; a broken one is reset by the network.
        """
        down = self._connection.down
        is_stuck = bool(self._outgoing) or self._is_real_full
        self._end_room(None)
        if down.state in (LinkState.OPEN, LinkState.FINISHED) and (is_stuck or not self._is_finishing):
            self._real.abort()

    def _end_room(self, error: Exception | None) -> None:
        if not self._is_room_gone:
            self._connection.room_ended()
            self._loop.call_soon(self._room.connection_lost, error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows."""
        return self._real.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is given what arrives; before there is one, one that does nothing."""
        return self._protocol or asyncio.Protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what arrives to another protocol, and take the place of the present one at the socket."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol
        self._real.set_protocol(self)

    # --- what happens to the client's end -----------------------------------------------------------------------------

    def broke(self) -> None:
        """Reset the socket."""
        reset(self._real)

    def pause(self) -> None:
        """Neither read from the socket nor write to it, as if its client did not."""
        self._is_paused = True
        self._read_on()

    def resume(self) -> None:
        """Go on after a pause."""
        if self._is_paused:
            self._is_paused = False
            self._read_on()
            self._deliver_down()

    def cut(self, *, if_left: bool = False) -> None:
        """Close the socket.

        Args:
            if_left: Only if the room's end has ended and nothing is on its way.
        """
        if not if_left or (self._is_room_gone and self._connection.down.state is LinkState.SILENT):
            self._real.abort()


def reset(transport: asyncio.Transport) -> None:
    """Break a TCP connection so that its peer notices at once: with RST, and without what was not sent."""
    connection = transport.get_extra_info("socket")
    with suppress(OSError):  # It is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _pieces(data: bytes, link: Link[Traffic]) -> Iterator[Frame[Traffic]]:
    """Return data as frames of a link."""
    length = _PIECE if link.bandwidth is None else _SLOW_PIECE
    if len(data) <= length:
        yield data, len(data)
        return
    for begin in range(0, len(data), length):
        piece = data[begin : begin + length]
        yield piece, len(piece)
