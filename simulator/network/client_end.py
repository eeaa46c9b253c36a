"""A simulated connection as its client sees it: the `Transport` of production code over two links.

It behaves as ``meshsync.transport.websocket`` does, down to the texts of its errors: only a task in ``receive``
(or ``close``) reads, answers pings, writes buffered frames and watches the heartbeat. While such a task waits, the
timers of the links do that work in its place, and wake it only for packets or the end.

Timers run when no task can, and no task waits for something else while it holds the lock; so a timer always finds the
lock free. Payloads, delays and the opening of connections are not this module's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from errno import ECONNRESET

from meshsync.errors import ConnectionLost, MeshsyncError, ProtocolError
from meshsync.protocol import frames as wire
from meshsync.protocol import heartbeat, send_buffer
from meshsync.protocol.frames import CloseFrame
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime, Shield
from meshsync.runtime.lifecycle import move
from meshsync.transport.endings import (
    CLOSED_HERE,
    DROPPED,
    INTERRUPTED,
    MOVES,
    NO_SIGN_OF_LIFE,
    Ending,
    Life,
    broke,
    closed_by_peer,
    closed_here,
    protocol_broken,
)
from meshsync.transport.interfaces import TransportStats
from meshsync.transport.senders import WaitingSenders
from simulator.engine.clock import Clock
from simulator.network.frames import ControlFrame, Frame, close_frame, frame, framed
from simulator.network.heartbeat_timer import HeartbeatTimer
from simulator.network.links import Link
from simulator.network.traffic import Traffic

__all__ = ["SimulatedTransport"]


_OPEN, _CLOSING, _HAS_ENDED = Life.OPEN, Life.CLOSING, Life.ENDED
# Not looked up by name at each packet: before 3.12 that is a call in Python.


_RESET = broke(ConnectionResetError(ECONNRESET, "Connection reset by peer"))

_ABORTED = Ending("the program whose connection this was has crashed")

_PING = frame(ControlFrame.PING, is_masked=True)
_PONG = frame(ControlFrame.PONG, is_masked=True)


class FrameBuffer(send_buffer.BoundedBytes):
    """Frames of packets that were accepted and are not on the link yet; bounded in bytes."""

    __slots__ = ("frames", "packets_written")

    bytes_buffered: int

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.frames: deque[Frame[Traffic]] = deque()
        self.packets_written: int = 0

    def accept(self, frames: Collection[Frame[Traffic]], size: int, *, is_reserved: bool = False) -> None:
        """Append frames of ``size`` bytes together."""
        self._append(self.frames, frames, size, len(frames), is_reserved)

    def advance(self, taken: Sequence[Frame[Traffic]]) -> int:
        """Count frames as written to the link; return their bytes."""
        size = self.bytes_buffered  # All are, as nearly always.
        if self.frames:
            size = 0
            for _, length in taken:
                size += length
        self.packets_written += len(taken)
        self.bytes_buffered -= size
        return size

    def clear(self) -> None:
        """Drop all frames."""
        self.frames.clear()
        self.bytes_buffered = 0


class SimulatedTransport:
    """One live connection in a simulation; see `meshsync.transport.interfaces.Transport`.

    Args:
        up: The link to the room.
        down: The link from the room. It notifies this transport from here on.
        heartbeat_interval: Seconds of silence before a ping; None for no heartbeat.
        heartbeat_timeout: Seconds from the ping to the loss of the connection.
        send_buffer: The most bytes accepted and unwritten.
        max_packet: The largest packet to accept, in bytes.
        ended: Called once, when the connection has ended at this end.
    """

    def __init__(
        self,
        kernel: Clock,
        runtime: Runtime,
        up: Link[Traffic],
        down: Link[Traffic],
        *,
        heartbeat_interval: float | None = heartbeat.INTERVAL,
        heartbeat_timeout: float = heartbeat.TIMEOUT,
        send_buffer: int = send_buffer.LIMIT,
        max_packet: int = wire.MAX_SIZE,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._runtime = runtime
        self._lock = runtime.condition()
        self._up = up
        self._down = down
        self._heartbeat = HeartbeatTimer(
            kernel, self._work_for_others, down, up, interval=heartbeat_interval, timeout=heartbeat_timeout
        )
        self._max_packet = max_packet
        self._ended = ended
        self._life = Life.OPEN
        self._ending: Ending | None = None
        self._fault: ProtocolError | None = None
        self._is_paused = False
        self._is_reading = False
        self._is_due = True
        """Whether work may be left, since no task was in ``receive``."""
        self._close_frame: Frame[Traffic] | None = None
        """The close frame of `close`, until it is sent."""
        self._buffer = FrameBuffer(send_buffer)
        self._senders = WaitingSenders(runtime, self._lock, self._buffer, self._check_open)
        self._inbox: list[bytes] = []
        self._bytes_sent = 0
        self._bytes_received = 0
        self._packets_received = 0
        down.on_arrival = self._work_for_others
        up.on_room = self._work_for_others

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes], timeout: float | None, *, is_reserved: bool = False) -> None:
        """Accept the whole batch, or nothing of it; see `meshsync.transport.interfaces.Transport.send`."""
        frames, size = framed(packets, is_masked=True)
        with self._lock:
            if self._life is not _OPEN or self._senders.tickets or not self._buffer.has_room(size):
                if is_reserved:
                    self._senders.use_reserve(size)
                else:
                    self._senders.await_room(size, timeout)
            is_idle = not self._buffer.frames
            self._buffer.accept(frames, size, is_reserved=is_reserved)
            # If frames wait already, the task in receive() will write them all.
            if is_idle:
                self._write()

    # --- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None, shield: Shield | None = None) -> Sequence[bytes]:
        """Return all complete packets; see `meshsync.transport.interfaces.Transport.receive`.

        Raises:
            RuntimeError: If another task is in ``receive``; nothing has changed.
        """
        with self._lock:
            deadline = None if timeout is None else Deadline(self._runtime, timeout)
            if self._is_reading:
                raise RuntimeError("another task is in receive(): only one may be at a time")
            self._is_reading = True
            try:
                while True:
                    if self._is_due and not self._inbox:
                        self._work()
                    if self._inbox:
                        packets, self._inbox = self._inbox, []
                        return packets
                    if self._life is _HAS_ENDED:
                        raise self._error()
                    left = None if deadline is None else deadline.left()
                    if left == 0:
                        return []
                    self._lock.wait(left)
            finally:
                self._is_reading = False

    # --- the work, lock held ------------------------------------------------------------------------------------------

    def _work_for_others(self) -> None:
        """Do the work of a task that waits in ``receive`` or ``close``, in a timer."""
        with self._lock:
            if self._is_reading or self._life is _CLOSING:
                self._work()
                if self._inbox:
                    self._lock.notify_all()
            else:
                self._is_due = True

    def _work(self) -> None:
        """Read what has arrived, write what waits, and look at the heartbeat."""
        if self._is_paused or self._life is _HAS_ENDED:
            return
        self._is_due = False
        self._read()
        if self._buffer.frames or self._close_frame is not None:
            self._write()
        beat = None if self._life is _HAS_ENDED else self._heartbeat.look()
        if beat is None:
            return
        if beat is heartbeat.Beat.ASKED:
            self._put(_PING, is_background=True)
        elif beat is heartbeat.Beat.DEAD:
            self._finish(NO_SIGN_OF_LIFE)

    def _read(self) -> None:
        is_pinged = False
        frames = self._down.read()
        if not frames:
            return
        self._heartbeat.alive()
        inbox, max_packet = self._inbox, self._max_packet
        for content, size in frames:
            self._bytes_received += size
            if type(content) is bytes and len(content) <= max_packet:
                self._packets_received += 1
                inbox.append(content)
                continue
            if type(content) is bytes:
                self._refuse_packet()
            elif isinstance(content, CloseFrame):
                self._receive_close(content)
            elif content is ControlFrame.END:
                self._finish(self._ending or DROPPED)
            elif content is ControlFrame.PING:
                is_pinged = True
            if self._life is _HAS_ENDED:
                return
        if is_pinged:
            self._put(_PONG, is_background=True)

    def _refuse_packet(self) -> None:
        self._fault = fault = ProtocolError(f"a packet of more than {self._max_packet} bytes", code=1009)
        self._put(close_frame(fault.code, str(fault), is_masked=True))
        self._finish(protocol_broken(fault))

    def _write(self) -> None:
        if self._is_paused or self._life is _HAS_ENDED:
            return
        waiting = self._buffer.frames
        if waiting:
            taken = self._up.fill(waiting)
            if taken:
                self._bytes_sent += self._buffer.advance(taken)
                if self._senders.tickets:
                    self._lock.notify_all()
            if waiting:
                self._heartbeat.watch()
        if self._close_frame is not None and not waiting:
            closing, self._close_frame = self._close_frame, None
            self._put(closing)

    def _put(self, control: Frame[Traffic], *, is_background: bool = False) -> None:
        """Send a control frame, which waits for no window."""
        self._bytes_sent += control[1]
        self._up.put((control,), is_background=is_background)

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        """End the connection; see `meshsync.transport.interfaces.Transport.close`.

        Flushing ends after half of ``timeout``; what is unwritten by then is dropped.

        Raises:
            ValueError: If ``code`` is no close code that may be sent; nothing has changed.
        """
        closing = close_frame(code, reason, is_masked=True)
        with self._lock:
            if timeout <= 0:
                self._finish()
            if self._life is not Life.OPEN:
                return
            self._move(Life.CLOSING, CLOSED_HERE)
            self._close_frame = closing
            try:
                self._await_end(timeout)
            except BaseException:
                self._finish(INTERRUPTED)
                raise

    def _await_end(self, timeout: float) -> None:
        """Wait, lock held, until the connection has ended; after ``timeout`` seconds, end it."""
        deadline, flushing = Deadline(self._runtime, timeout), Deadline(self._runtime, timeout / 2)
        while True:
            if deadline.is_over:
                self._finish()
            elif flushing.is_over:
                self._buffer.clear()
            self._work()
            if self._life is Life.ENDED:
                return
            self._lock.wait((deadline if flushing.is_over else flushing).left())

    def _receive_close(self, close: CloseFrame) -> None:
        if self._life is Life.CLOSING and self._close_frame is None:
            self._finish(closed_here(close, clean=True))
            return
        self._put(close_frame(close.code, close.reason, is_masked=True))
        self._finish(closed_by_peer(close, clean=True))

    def _move(self, life: Life, ending: Ending) -> None:
        self._life = move(MOVES, self._life, life, "a connection")
        self._ending = ending
        self._lock.notify_all()

    def _finish(self, ending: Ending | None = None) -> None:
        """End the connection, lock held; nothing else does. Without ``ending``, by the one set on leaving OPEN."""
        if self._life is Life.ENDED:
            return
        self._close_frame = None
        self._heartbeat.stop()
        self._up.finish()
        self._ended()
        self._move(Life.ENDED, ending or self._ending or CLOSED_HERE)

    def _loss(self) -> ConnectionLost:
        return (self._ending or CLOSED_HERE).loss()

    def _check_open(self) -> None:
        if self._life is not _OPEN:
            raise self._loss()

    def _error(self) -> MeshsyncError:
        if self._fault is not None:
            return ProtocolError(str(self._fault), code=self._fault.code)
        return self._loss()

    # --- what happens to it -------------------------------------------------------------------------------------------

    def broke(self) -> None:
        """End, since the connection was reset; packets that had arrived can still be received."""
        with self._lock:
            if self._life is not Life.ENDED:
                self._read()
                self._finish(self._ending or _RESET)

    def abort(self) -> None:
        """End without a close frame, as the process has ended: what is written still arrives, what is buffered is lost.

        In TCP's words a FIN: the stream ends. On a link that is silent, that does not arrive either.
        """
        with self._lock:
            self._finish(_ABORTED)

    def pause(self) -> None:
        """Neither read nor write from here on, as if the process were stopped; calls wait."""
        with self._lock:
            self._is_paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        with self._lock:
            self._is_paused = False
        self._work_for_others()

    # --- figures ------------------------------------------------------------------------------------------------------

    def stats(self) -> TransportStats:
        """Return the counts so far; bytes are those of WebSocket frames."""
        with self._lock:
            return TransportStats(
                bytes_sent=self._bytes_sent,
                bytes_received=self._bytes_received,
                packets_sent=self._buffer.packets_written,
                packets_received=self._packets_received,
                bytes_buffered=self._buffer.bytes_buffered,
                waiting_senders=len(self._senders.tickets),
            )

    def accepted(self, *, is_reserved: bool = False) -> int:
        """Return how many packets ``send`` has accepted."""
        return self._buffer.packets_reserved if is_reserved else self._buffer.packets_accepted

    def written(self) -> int:
        """Return how many accepted packets are on the link."""
        with self._lock:
            return self._buffer.packets_written
