"""The room's end of a simulated connection: does the work of the gateway, on timers and without a thread.

The meaning of requests, admission and delays are not this module's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from meshsync.protocol.frames import CloseFrame
from meshsync.protocol.heartbeat import INTERVAL, TIMEOUT, Beat
from meshsync.protocol.operations import Request
from meshsync.runtime.lifecycle import move
from simulator.engine.clock import Clock
from simulator.engine.kernel import Timer
from simulator.network.frames import ControlFrame, Frame, close_frame, frame, framed
from simulator.network.heartbeat_timer import HeartbeatTimer
from simulator.network.links import Link
from simulator.network.traffic import Traffic
from simulator.room.seat import CARRIER_MOVES, CarrierState, Parcel, Seat

__all__ = ["LINGER", "RoomEnd"]

LINGER = 2.0
"""Seconds for a client to answer a close frame before its connection is cut, as at the gateway."""


_OPEN = CarrierState.OPEN  # Not looked up by name at each packet: before 3.12 that is a call in Python.

_PING = frame(ControlFrame.PING, is_masked=False)
_PONG = frame(ControlFrame.PONG, is_masked=False)


class RoomEnd:
    """Carries packets, or requests of a participant without a client, between two links and a seat.

    Args:
        up: The link from the client. It notifies this carrier from here on.
        down: The link to the client.
        take: Takes the seat, given the function to call when there is something to drain.
        heartbeat_interval: Seconds of silence before a ping; None for no heartbeat.
        heartbeat_timeout: Seconds from the ping to the loss of the connection.
        ended: Called once, when the connection has ended at this end.

    Raises:
        InvalidMessage: If the room cannot write the participant's name or role; nothing is left behind.
    """

    def __init__(
        self,
        kernel: Clock,
        up: Link[Traffic],
        down: Link[Traffic],
        take: Callable[[Callable[[], None]], Seat],
        *,
        heartbeat_interval: float | None = INTERVAL,
        heartbeat_timeout: float = TIMEOUT,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.state: CarrierState = CarrierState.OPEN
        self._kernel = kernel
        self._up = up
        self._down = down
        self._ended = ended
        self._outgoing: deque[Frame[Traffic]] = deque()
        """The rest of a message that is not whole on the link."""
        self._linger: Timer | None = None
        self._seat: Seat | None = None
        self._seat = take(self._flush)
        self._heartbeat = HeartbeatTimer(
            kernel, self._look, up, down, interval=heartbeat_interval, timeout=heartbeat_timeout
        )
        up.on_arrival = self._arrived
        down.on_room = self._flush
        self._flush()
        self._arrived()

    @property
    def seat(self) -> Seat:
        """The seat that it carries for."""
        assert self._seat is not None
        return self._seat

    # --- from the client ----------------------------------------------------------------------------------------------

    def _arrived(self) -> None:
        packets: list[bytes] = []
        for content, _ in self._up.read():
            if type(content) is bytes:
                packets.append(content)
                continue
            self._feed(packets)
            packets = []
            if content is ControlFrame.PING and self.state is _OPEN:
                self._down.put((_PONG,), is_background=True)
            elif isinstance(content, CloseFrame):
                self._answer(content)
            elif content is ControlFrame.END:
                self._finish()
            elif isinstance(content, Request) and self.state is _OPEN:
                self.seat.ask(content)
        self._feed(packets)
        if self.state is _OPEN:
            self._heartbeat.alive()

    def _feed(self, packets: list[bytes]) -> None:
        if packets and self.state is _OPEN and self._seat is not None:
            self._seat.feed(packets)

    def _answer(self, close: CloseFrame) -> None:
        if self.state is CarrierState.OPEN:
            self.seat.leave()
            self._down.put((close_frame(close.code, close.reason, is_masked=False),))
        self._finish()

    def _look(self) -> None:
        beat = self._heartbeat.look()
        if beat is Beat.ASKED:
            self._down.put((_PING,), is_background=True)
        elif beat is Beat.DEAD:
            self._finish()

    # --- to the client ------------------------------------------------------------------------------------------------

    def push_raw(self, packets: Sequence[bytes]) -> None:
        """Send packets unchecked, behind the message that is being sent."""
        self._outgoing.extend(framed(packets, is_masked=False)[0])
        self._flush()

    def _flush(self) -> None:
        """Write what the window allows; called by the seat for a new message, by the link when it has room."""
        seat, outgoing = self._seat, self._outgoing
        if seat is None or self.state is not _OPEN:
            return
        while outgoing or seat.queued:
            if not outgoing:
                # One message at a time, so that each has a delay of its own.
                (parcel,) = seat.drain(0)
                frames, size = self._frames(parcel)
                if self._down.offer(frames, size):
                    continue
                outgoing.extend(frames)
            self._down.fill(outgoing)
            if outgoing:
                self._heartbeat.watch()
                break  # The rest waits in the seat's queue, which is bounded.
        if outgoing and seat.is_overfull:  # Its room is patient, and leaves that to its carrier.
            seat.overflow()
        if seat.fault is not None:
            self.end(seat.fault.code, str(seat.fault))

    def _frames(self, parcel: Parcel) -> tuple[Sequence[Frame[Traffic]], int]:
        """Return a message's frames and their bytes; overridden for participants without packets."""
        return framed(parcel.packets(), is_masked=False)

    # --- ending -------------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """Send a close frame, and wait `LINGER` for the answer. Unsent messages are dropped. Again does nothing."""
        if self.state is not CarrierState.OPEN:
            return
        self._move(CarrierState.LEAVING)
        self._outgoing.clear()
        self._heartbeat.stop()
        self._down.put((close_frame(code, reason, is_masked=False),))
        self._linger = self._kernel.after(LINGER, self._finish)
        self.seat.leave()

    def broke(self, *, leaves: bool = True, at_once: bool = True) -> None:
        """End without a close frame, since the connection was reset or dropped. Unsent messages are dropped.

        Args:
            leaves: Whether the participant leaves; else the seat stays taken until its `Seat.leave` is called.
            at_once: Whether what was sent is lost too, which is up to the links.
        """
        self._finish(leaves=leaves)

    def _finish(self, *, leaves: bool = True) -> None:
        if self.state is CarrierState.ENDED:
            return
        self._move(CarrierState.ENDED)
        self._outgoing.clear()
        self._heartbeat.stop()
        if self._linger is not None:
            self._linger.cancel()
        self._down.finish()
        self._ended()
        if leaves:
            self.seat.leave()

    def _move(self, state: CarrierState) -> None:
        self.state = move(CARRIER_MOVES, self.state, state, "a carrier")
