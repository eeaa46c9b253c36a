"""A simulated connection as its client sees it: the `Transport` of production code over two links.

It behaves as ``meshsync.transport.websocket`` does, down to the texts of its errors: nobody but a task in ``receive``
(or ``close``) reads, answers pings, writes what a sender left over and watches the heartbeat. While such a task waits,
the timers of the links do that work in its name, and wake it only if there is something for it.

Timers run when no task can, and nobody waits while holding the lock for something else; so a timer always finds the
lock free. Not the business of this module: what travels, how long it takes, and how a connection comes about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from meshsync.errors import ConnectionLost, MeshsyncError, ProtocolError, SendTimeout
from meshsync.protocol import frames as wire
from meshsync.protocol import heartbeat, send_buffer
from meshsync.protocol.frames import CloseFrame
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.lifecycle import move
from meshsync.transport.interfaces import TransportStats
from simulator.engine.kernel import Kernel
from simulator.network.heartbeat_timer import Pulse
from simulator.network.links import ControlFrame, Frame, Link, close_frame, frame, framed
from simulator.network.traffic import Traffic

__all__ = ["SimulatedTransport"]


class Life(Enum):
    """Where a connection is in its life."""

    OPEN = "open"
    CLOSING = "closing"
    """We want to end: flushing, or waiting for the answer to our goodbye."""
    ENDED = "ended"


_MOVES = {
    Life.OPEN: {Life.CLOSING, Life.ENDED},
    Life.CLOSING: {Life.ENDED},
    Life.ENDED: set[Life](),
}


_OPEN, _CLOSING, _HAS_ENDED = Life.OPEN, Life.CLOSING, Life.ENDED
# Not asked for by name at each packet: before 3.12 that is a call in Python.


@dataclass(frozen=True, slots=True)
class _End:
    """How a connection ended; every caller gets an error of its own made from it."""

    text: str
    code: int | None = None
    reason: str = ""
    clean: bool = False


_CLOSED_HERE = _End("the connection was closed on this side", reason="closed on this side")
_RESET = _End("the connection broke: Connection reset by peer", reason="Connection reset by peer")
_DROPPED = _End("the other side dropped the connection without a goodbye", reason="dropped")
_DEAD = _End("the other side gives no sign of life", reason="no sign of life")
_INTERRUPTED = _End("a call was interrupted while bytes were on their way", reason="interrupted")

_PING = frame(ControlFrame.PING, is_masked=True)
_PONG = frame(ControlFrame.PONG, is_masked=True)


class SimulatedTransport:
    """One live connection in a simulation; see `meshsync.transport.interfaces.Transport`.

    Args:
        up: What carries to the room.
        down: What comes from there. This transport is told of it from here on.
        heartbeat_interval: Seconds of silence before a ping; None for no heartbeat.
        heartbeat_timeout: Seconds from the ping to giving up.
        send_buffer: The most bytes accepted and unwritten.
        max_packet: The largest packet to take, in bytes.
        ended: Called once, when the connection has ended at this end.
    """

    def __init__(
        self,
        kernel: Kernel,
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
        self._now = runtime.monotonic
        self._lock = runtime.condition()
        self._up = up
        self._down = down
        self._pulse = Pulse(kernel, self._work_for_others, interval=heartbeat_interval, timeout=heartbeat_timeout)
        self._limit = send_buffer
        self._max_packet = max_packet
        self._ended = ended
        self._life = Life.OPEN
        self._end: _End | None = None
        self._fault: ProtocolError | None = None
        self._is_paused = False
        self._is_reading = False
        self._is_due = True
        """Whether there may be work that nobody has done, since no task was in ``receive``."""
        self._goodbye: Frame[Traffic] | None = None
        """What `close` will say, until it is said."""
        self._waiters: deque[object] = deque()
        self._buffer: deque[Frame[Traffic]] = deque()
        self._buffered = 0
        self._is_stalled = False
        """Whether the link last took less than was there. Only then does a write that goes on show that the peer lives:
        a link takes writes to a dead one too, up to its window."""
        self._inbox: list[bytes] = []
        self._written = 0
        self._bytes_sent = 0
        self._bytes_received = 0
        self._packets_received = 0
        down.on_arrival = self._work_for_others
        up.on_room = self._work_for_others

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes], timeout: float | None) -> None:
        """Accept the whole batch, or nothing of it; see `meshsync.transport.interfaces.Transport.send`."""
        frames = framed(packets, is_masked=True)
        size = sum([size for _, size in frames])
        with self._lock:
            if self._life is not _OPEN or self._waiters or not self._has_room(size):
                self._await_room(size, timeout)
            is_idle = not self._buffer
            self._buffer.extend(frames)
            self._buffered += size
            # If something waits already, whoever is in receive() will write it all.
            if is_idle:
                self._write()

    def _has_room(self, size: int) -> bool:
        return not self._buffered or self._buffered + size <= self._limit

    def _await_room(self, size: int, timeout: float | None) -> None:
        """Wait, lock held, until ``size`` bytes may be accepted, in order of arrival: large batches must not starve."""
        deadline = None if timeout is None else self._now() + timeout
        ticket = object()
        self._waiters.append(ticket)
        try:
            while True:
                if self._life is not Life.OPEN:
                    raise self._loss()
                if self._waiters[0] is ticket and self._has_room(size):
                    return
                left = None if deadline is None else deadline - self._now()
                if left is not None and left <= 0:
                    raise SendTimeout(
                        f"no room for {size} bytes within {timeout:g} s: {self._buffered} bytes wait to be written",
                        retryable=True,
                    )
                self._lock.wait(left)
        finally:
            self._waiters.remove(ticket)
            self._lock.notify_all()

    # --- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None) -> Sequence[bytes]:
        """Return all complete packets; see `meshsync.transport.interfaces.Transport.receive`.

        Raises:
            RuntimeError: If another task is in ``receive``.
        """
        with self._lock:
            deadline = None if timeout is None else self._now() + timeout
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
                    left = None if deadline is None else deadline - self._now()
                    if left is not None and left <= 0:
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
        """Read what has come, write what waits, and look whether the peer is alive."""
        if self._is_paused or self._life is _HAS_ENDED:
            return
        self._is_due = False
        self._read()
        if self._buffer or self._goodbye is not None:
            self._write()
        beat = None if self._life is _HAS_ENDED else self._pulse.look()
        if beat is None:
            return
        if beat is heartbeat.Beat.ASKED:
            self._say(_PING, is_background=True)
        elif beat is heartbeat.Beat.DEAD:
            self._finish(_DEAD)

    def _read(self) -> None:
        is_pinged = False
        frames = self._down.read()
        if frames:
            self._pulse.alive()
        for content, size in frames:
            if self._life is _HAS_ENDED:
                return
            self._bytes_received += size
            if type(content) is bytes:
                self._take(content)
            elif isinstance(content, CloseFrame):
                self._hear(content)
            elif content is ControlFrame.END:
                self._finish(self._end or _DROPPED)
            elif content is ControlFrame.PING:
                is_pinged = True
        if is_pinged and self._life is not _HAS_ENDED:
            self._say(_PONG, is_background=True)

    def _take(self, packet: bytes) -> None:
        if len(packet) <= self._max_packet:
            self._packets_received += 1
            self._inbox.append(packet)
            return
        self._fault = fault = ProtocolError(f"a packet of more than {self._max_packet} bytes", code=1009)
        self._say(close_frame(fault.code, str(fault), is_masked=True))
        self._finish(_End(str(fault), fault.code, str(fault)))

    def _write(self) -> None:
        if self._is_paused or self._life is _HAS_ENDED:
            return
        if self._buffer:
            taken = self._up.fill(self._buffer)
            if taken:
                size = sum([size for _, size in taken])
                self._written += len(taken)
                self._buffered -= size
                self._bytes_sent += size
                if self._is_stalled:
                    self._pulse.alive()
                if self._waiters:
                    self._lock.notify_all()
            self._is_stalled = bool(self._buffer)
        if self._goodbye is not None and not self._buffer:
            said, self._goodbye = self._goodbye, None
            self._say(said)

    def _say(self, what: Frame[Traffic], *, is_background: bool = False) -> None:
        """Send a control frame, which waits for no window."""
        self._bytes_sent += what[1]
        self._up.put((what,), is_background=is_background)

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        """End the connection; see `meshsync.transport.interfaces.Transport.close`.

        Half of ``timeout`` at most is spent on flushing; what has not left by then is dropped.

        Raises:
            ValueError: If ``code`` is no close code that may be sent; nothing has changed.
        """
        bye = close_frame(code, reason, is_masked=True)
        with self._lock:
            if timeout <= 0:
                self._finish()
            if self._life is not Life.OPEN:
                return
            self._move(Life.CLOSING, _CLOSED_HERE)
            self._goodbye = bye
            try:
                self._await_end(timeout)
            except BaseException:
                self._finish(_INTERRUPTED)
                raise

    def _await_end(self, timeout: float) -> None:
        """Wait, lock held, until the connection has ended, which it has done at the latest after ``timeout``."""
        begun = self._now()
        deadline, flush_until = begun + timeout, begun + timeout / 2
        while True:
            now = self._now()
            if now >= deadline:
                self._finish()
            elif now >= flush_until:
                self._buffer.clear()
                self._buffered = 0
            self._work()
            if self._life is Life.ENDED:
                return
            self._lock.wait((deadline if now >= flush_until else flush_until) - now)

    def _hear(self, said: CloseFrame) -> None:
        if self._life is Life.CLOSING and self._goodbye is None:
            self._finish(_End(_CLOSED_HERE.text, said.code, said.reason, clean=True))
            return
        self._say(close_frame(said.code, said.reason, is_masked=True))
        what = f"{said.code or 'no code'}{': ' + said.reason if said.reason else ''}"
        self._finish(_End(f"the other side closed the connection ({what})", said.code, said.reason, clean=True))

    def _move(self, life: Life, end: _End) -> None:
        self._life = move(_MOVES, self._life, life, "a connection")
        self._end = end
        self._lock.notify_all()

    def _finish(self, end: _End | None = None) -> None:
        """End, lock held: the one way to it. Without ``end``, as was foreseen when the connection left OPEN."""
        if self._life is Life.ENDED:
            return
        self._goodbye = None
        self._pulse.stop()
        self._up.finish()
        self._ended()
        self._move(Life.ENDED, end or self._end or _CLOSED_HERE)

    def _loss(self) -> ConnectionLost:
        end = self._end or _CLOSED_HERE
        return ConnectionLost(end.text, code=end.code, reason=end.reason, clean=end.clean)

    def _error(self) -> MeshsyncError:
        if self._fault is not None:
            return ProtocolError(str(self._fault), code=self._fault.code)
        return self._loss()

    # --- what happens to it -------------------------------------------------------------------------------------------

    def broke(self) -> None:
        """Learn that the connection was reset; what had arrived can still be received."""
        with self._lock:
            if self._life is not Life.ENDED:
                self._read()
                self._finish(self._end or _RESET)

    def pause(self) -> None:
        """Neither read nor write from here on, as if the process were stopped; what is asked for waits."""
        with self._lock:
            self._is_paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        with self._lock:
            self._is_paused = False
        self._work_for_others()

    # --- figures ------------------------------------------------------------------------------------------------------

    def stats(self) -> TransportStats:
        """Return what was carried so far; bytes are those of WebSocket frames."""
        with self._lock:
            return TransportStats(
                bytes_sent=self._bytes_sent,
                bytes_received=self._bytes_received,
                packets_sent=self._written,
                packets_received=self._packets_received,
                bytes_buffered=self._buffered,
            )

    def written(self) -> int:
        """Return how many accepted packets the link has taken."""
        with self._lock:
            return self._written
