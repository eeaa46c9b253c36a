"""The connection of a participant without a client and a thread: messages travel as values, never as packets.

It uses the same links as any other connection, with the same delays, partitions, resets, silence, pauses and bandwidth.
It has a heartbeat at both ends too. What its participant does with the messages is not this module's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

from meshsync.errors import ProtocolError
from meshsync.protocol.frames import CloseFrame
from meshsync.protocol.heartbeat import Beat
from meshsync.protocol.operations import Request
from meshsync.protocol.packets import Reassembler
from meshsync.runtime.lifecycle import move
from simulator.network.frames import ControlFrame, Frame, close_frame, frame
from simulator.network.heartbeat_timer import HeartbeatTimer
from simulator.network.network import Guest, Network, SimulatedConnection
from simulator.network.room_end import RoomEnd
from simulator.network.traffic import Traffic
from simulator.room.members import Member
from simulator.room.rules import Output
from simulator.room.seat import Parcel

__all__ = ["HeadlessEnd", "Listener"]

_LARGEST = 64 * 1024 * 1024
"""The largest message that it accepts, in bytes, as clients do."""

_OVERHEAD = 64
"""Bytes of a message on the wire besides its JSON and attachment: about the size of ids and framing."""


class Listener(Protocol):
    """The object that a connection notifies."""

    def received(self, output: Output) -> None:
        """Called for each message of the room."""

    def resumed(self) -> None:
        """Called when a pause is over."""

    def ended(self) -> None:
        """Called once, when the connection has ended."""


class HeadlessState(Enum):
    """The life of a participant's end."""

    OPEN = "open"
    LEAVING = "what was sent still goes out, then a close frame"
    ENDED = "ended"


_MOVES = {
    HeadlessState.OPEN: {HeadlessState.LEAVING, HeadlessState.ENDED},
    HeadlessState.LEAVING: {HeadlessState.ENDED},
    HeadlessState.ENDED: set[HeadlessState](),
}

_PING = frame(ControlFrame.PING, is_masked=True)
_PONG = frame(ControlFrame.PONG, is_masked=True)


class _HeadlessRoomEnd(RoomEnd):
    """The room's end: sends the room's messages as they are."""

    def _frames(self, parcel: Parcel) -> tuple[Sequence[Frame[Traffic]], int]:
        output = parcel.output
        size = output.size
        return ((output, size),), size


class HeadlessEnd:
    """The participant's end, open from construction, without a handshake.

    Args:
        guest: The participant, and its room.
        opening: Requests that the room handles at once, without a delay.
    """

    def __init__(self, network: Network, guest: Guest, listener: Listener, opening: Iterable[Request] = ()) -> None:
        beats = network.heartbeats
        connection = network.open(guest.name)
        self.connection: SimulatedConnection = connection
        network.admit(connection, guest)
        connection.transport = self
        self._state = HeadlessState.OPEN
        self._listener = listener
        self._up, self._down = connection.up, connection.down
        self._outgoing: deque[Frame[Traffic]] = deque()
        self._is_paused = False
        self._reassembler = Reassembler(_LARGEST)
        self._heartbeat = HeartbeatTimer(
            network.kernel, self._look, self._down, self._up, interval=beats.interval, timeout=beats.timeout
        )
        self._down.on_arrival = self._read
        self._up.on_room = self._write
        connection.carrier = carrier = _HeadlessRoomEnd(
            network.kernel,
            connection.up,
            connection.down,
            lambda wake: guest.room.take(
                guest.name, wake=wake, role=guest.role, rights=guest.rights, version=guest.version
            ),
            heartbeat_interval=beats.interval,
            heartbeat_timeout=beats.timeout,
            ended=connection.room_ended,
        )
        self.member: Member = carrier.seat.member
        for request in opening:
            carrier.seat.ask(request)

    @property
    def is_open(self) -> bool:
        """Whether the participant is connected, as far as it knows."""
        return self._state is HeadlessState.OPEN

    @property
    def is_paused(self) -> bool:
        """Whether the participant is paused."""
        return self._is_paused

    def send(self, request: Request, size: int) -> None:
        """Send a request with ``size`` bytes of content. It waits here while the link has no room."""
        self._outgoing.append((request, size + _OVERHEAD))
        self._write()

    def leave(self) -> None:
        """Send a close frame behind the sent requests, and receive nothing more. Again does nothing."""
        if self._state is HeadlessState.OPEN:
            self._move(HeadlessState.LEAVING)
            self._write()

    # --- the work -----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        if self._is_paused or self._state is HeadlessState.ENDED:
            return
        if self._outgoing:
            self._up.fill(self._outgoing)
            if self._outgoing:
                self._heartbeat.watch()
        if self._state is HeadlessState.LEAVING and not self._outgoing:
            self._up.put((close_frame(1000, "", is_masked=True),))
            self._finish()

    def _read(self) -> None:
        if self._is_paused:
            return
        for content, _ in self._down.read():
            if self._state is not HeadlessState.OPEN:
                return
            self._heartbeat.alive()
            if isinstance(content, Output):
                self._listener.received(content)
            elif content is ControlFrame.PING:
                self._up.put((_PONG,), is_background=True)
            elif isinstance(content, CloseFrame):
                self._up.put((close_frame(content.code, content.reason, is_masked=True),))
                self._finish()
            elif content is ControlFrame.END:
                self._finish()
            elif isinstance(content, bytes):
                self._check(content)

    def _check(self, packet: bytes) -> None:
        """Check a packet, which only a fault sends here: as with clients, a malformed one ends the connection."""
        try:
            for _ in self._reassembler.feed((packet,)):
                pass
        except ProtocolError as error:
            self._up.put((close_frame(error.code, str(error)[:100], is_masked=True),))
            self._finish()

    def _look(self) -> None:
        if self._is_paused:
            return
        beat = self._heartbeat.look()
        if beat is Beat.ASKED:
            self._up.put((_PING,), is_background=True)
        elif beat is Beat.DEAD:
            self._finish()

    def _finish(self) -> None:
        if self._state is HeadlessState.ENDED:
            return
        self._move(HeadlessState.ENDED)
        self._outgoing.clear()
        self._heartbeat.stop()
        self._up.finish()
        self.connection.client_ended()
        self._listener.ended()

    def _move(self, state: HeadlessState) -> None:
        self._state = move(_MOVES, self._state, state, "an end")

    # --- what happens to it -------------------------------------------------------------------------------------------

    def broke(self) -> None:
        """End, since the connection was reset; messages that had arrived are still received."""
        self._is_paused = False
        self._read()
        self._finish()

    def pause(self) -> None:
        """Neither read nor write from here on."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        if self._is_paused:
            self._is_paused = False
            self._read()
            if self._state is HeadlessState.OPEN:
                self._listener.resumed()
            self._write()
            if self._state is not HeadlessState.ENDED:
                self._look()
