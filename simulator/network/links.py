"""One direction of a connection, as physics: frames arrive in order, delayed; or the connection has ended.

Like TCP, a link never loses, duplicates or reorders frames while its connection is open. It delays by a law, takes time
to carry bytes if its bandwidth is limited, and accepts none while its window is full of bytes in flight or unread. It
can be frozen, so that its time stands still; silenced, after which nothing arrives and no end is notified; and reset,
which loses what is in flight. It runs on timers of the kernel alone. What frames mean is not this module's business.

It differs from a real wire in two points. A frame is never torn: it is in flight as a whole or not at all, and reading
frees whole frames. And frames put in at once, such as the packets of one message, have one delay in common, so that
messages of many packets are not slower than the law.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Generic, Protocol, TypeAlias, TypeVar

from meshsync.runtime.lifecycle import move
from simulator.engine.clock import Clock
from simulator.engine.kernel import SECOND, Timer
from simulator.latency import MICROSECONDS, Law
from simulator.network.frames import ControlFrame, Frame, Payload, frame, size_of

__all__ = ["WINDOW", "Link", "LinkState", "Tap"]

WINDOW = 4 * 1024 * 1024
"""Bytes that a link accepts before its reader has read any: the buffers of two sockets and the path between them.

Source: Linux grows a socket's buffers to 4 MiB for writing and 6 MiB for reading (tcp(7)).
"""

_MICROSECOND = 1000
"""Nanoseconds in a microsecond."""

Served_contra = TypeVar("Served_contra", contravariant=True)
"""What a service takes: as `Payload`."""

Tap: TypeAlias = "Callable[[Link[Payload], str, Sequence[Frame[Payload]]], None]"
"""Called with frames that were ``"sent"``, ``"arrived"`` or were ``"lost"``. It must not use the link."""


class Service(Protocol[Served_contra]):
    """Takes time for what arrives, before it is read."""

    def book(self, now: int, frames: Sequence[Frame[Served_contra]]) -> int:
        """Return for how many nanoseconds, from an instant of the kernel's clock on, frames wait and are served."""


class LinkState(Enum):
    """The life of a link."""

    OPEN = "open"
    FINISHED = "its sender has ended it; what is in flight still arrives"
    SILENT = "nothing arrives any more, and no end is notified"
    BROKEN = "the connection has ended"


_S = LinkState
_HAS_ENDED = (_S.FINISHED, _S.BROKEN)  # Not looked up by name at each frame: before 3.12 that is a call in Python.
_DELIVERS = (_S.OPEN, _S.FINISHED)
_OPEN, _SILENT = _S.OPEN, _S.SILENT
_MOVES = {
    _S.OPEN: {_S.FINISHED, _S.SILENT, _S.BROKEN},
    _S.FINISHED: {_S.SILENT, _S.BROKEN},
    _S.SILENT: {_S.BROKEN},
    _S.BROKEN: set[LinkState](),
}


class _Burst(Generic[Payload]):
    """Frames that arrive together. Times are in nanoseconds of the link's own clock."""

    __slots__ = ("arrives", "begins", "delay", "frames", "is_background", "lasts", "size")

    def __init__(
        self, frames: Sequence[Frame[Payload]], size: int, delay: int, is_background: bool, begins: int
    ) -> None:
        self.frames = frames
        self.size = size
        self.delay = delay
        self.is_background = is_background
        self.begins = begins
        """When its first byte goes onto the wire."""
        self.lasts = 0
        """How long it occupies the wire."""
        self.arrives = begins + delay
        """When its last byte arrives, unless an earlier burst arrives later: nothing overtakes."""


class Link(Generic[Payload]):
    """One direction of one connection, which carries payloads of one type.

    Args:
        stream: The random stream of its delays; no other link has it.
        delay: The law of delays.
        name: For the tap.
        echo: The law of the other direction; its median is the time until the sender is notified that bytes were read.
            By default the same.
        bandwidth: Bytes per second; None for no limit.
        window: The most bytes in flight or unread; beyond it, nothing more is accepted.
        tap: Called for all frames.

    Attributes:
        tap: As above; another may take its place.
        service: Takes time for what arrives; None for none.
        on_arrival: Called when there is something to read.
        on_room: Called when `fill` may accept more, after it has left some frames.
    """

    def __init__(
        self,
        kernel: Clock,
        stream: Random,
        *,
        delay: Law,
        name: str = "",
        echo: Law | None = None,
        bandwidth: float | None = None,
        window: int = WINDOW,
        tap: Tap[Payload] | None = None,
    ) -> None:
        self.name = name
        self.state: LinkState = LinkState.OPEN
        self.tap = tap
        self.service: Service[Payload] | None = None
        self._in_service: _Burst[Payload] | None = None
        self.on_arrival: Callable[[], None] = _nothing
        self.on_room: Callable[[], None] = _nothing
        self._kernel = kernel
        self._stream = stream
        self._law = delay
        self._delay = delay.along(kernel)
        self._echo = _median(echo or delay)
        self._bandwidth = bandwidth
        self._window = window
        self._flight: deque[_Burst[Payload]] = deque()
        self._foreground = 0
        """The number of bursts in flight that are not background."""
        self._timer: Timer | None = None
        self._free_at = 0
        """When the wire has carried all bursts."""
        self._unread: list[Frame[Payload]] = []
        self._unread_size = 0
        self._charged = 0
        """Bytes accepted that the sender is not notified to have been read."""
        self.bytes_accepted: int = 0
        """Bytes accepted since the beginning."""
        self._echoes: deque[tuple[int, int]] = deque()
        """When the sender is notified that bytes were read, and how many."""
        self._is_wanted = False
        """Whether the sender waits for room."""
        self._echo_timer: Timer | None = None
        self._frozen_at: int | None = None
        """When the link was frozen, by the kernel's clock; None if it is not frozen."""
        self._behind = 0
        """Nanoseconds for which the link was frozen: its clock is behind the kernel's by these."""
        self._echoes_held_at: int | None = None
        """Since when, by its own clock, echoes do not come back; None if they do."""

    # --- figures ------------------------------------------------------------------------------------------------------

    @property
    def bandwidth(self) -> float | None:
        """Bytes per second; None for no limit."""
        return self._bandwidth

    @property
    def in_flight(self) -> int:
        """Bytes that have not arrived."""
        return sum(burst.size for burst in self._flight)

    @property
    def unread(self) -> int:
        """Bytes that have arrived and are not read."""
        return self._unread_size

    @property
    def unacknowledged(self) -> int:
        """Bytes accepted of which the sender is not notified that they have arrived.

        Whole frames are acknowledged when they are read, and of one that is on a slow wire what has come of it so far:
        a frame can be as large as a message, and is no less a sign of life than many small ones.
        """
        now, size = self._now() if self._echoes_held_at is None else self._echoes_held_at, self._charged
        for when, read in self._echoes:
            if when > now:
                break
            size -= read
        if self._flight and self._flight[0].lasts:
            burst = self._flight[0]
            came = (now - self._echo - burst.delay - burst.begins) * burst.size // burst.lasts
            size -= min(max(0, came), burst.size)
        return size

    @property
    def arriving_at(self) -> int | None:
        """When the last byte arrived of a frame that is arriving, by the kernel's clock; None if no frame is."""
        if not self._flight or self._flight[0].begins + self._flight[0].delay >= self._now():
            return None
        return self._kernel.now if self._frozen_at is None else self._frozen_at

    # --- the sender's end ---------------------------------------------------------------------------------------------

    def offer(self, frames: Sequence[Frame[Payload]], size: int) -> bool:
        """Move frames of ``size`` bytes together onto the link if the window allows all of them; return whether it did.

        If not, nothing has changed.
        """
        if self.state is not _OPEN and self.state in _HAS_ENDED:
            return False
        echoes = self._echoes
        if echoes:
            now = self._echoes_held_at
            if now is None:
                now = self._kernel.now - self._behind if self._frozen_at is None else self._now()
            while echoes and echoes[0][0] <= now:
                self._charged -= echoes.popleft()[1]
        if self._charged + size > self._window:
            return False
        self._carry(frames, size, False)
        return True

    def fill(self, queue: deque[Frame[Payload]]) -> Sequence[Frame[Payload]]:
        """Move frames from the front of ``queue`` onto the link, as many as the window allows, and return them.

        A frame larger than the window is accepted alone, when nothing else is in flight or unread. If frames are left,
        ``on_room`` is called when there may be room for them.
        """
        if self.state in _HAS_ENDED:
            return ()
        taken, size = list(queue), 0
        for _, length in taken:
            size += length
        if not taken or self.offer(taken, size):
            queue.clear()
            return taken
        room = self._window - self._charged
        size = count = 0
        for _, length in queue:
            if size + length > room and (count or self._charged):
                break
            size += length
            count += 1
        taken = [queue.popleft() for _ in range(count)]
        if taken:
            self._carry(taken, size, False)
        if queue:
            self._is_wanted = True
            self._await_echo()
        return taken

    def put(self, frames: Sequence[Frame[Payload]], *, is_background: bool = False) -> None:
        """Accept frames beyond the window, as is right for control frames. On an ended link it does nothing.

        Args:
            is_background: Whether they are no sign that work is in progress, such as pings.
        """
        if self.state not in _HAS_ENDED:
            self._carry(frames, size_of(frames), is_background)

    def _carry(self, frames: Sequence[Frame[Payload]], size: int, is_background: bool) -> None:
        """Send frames of ``size`` bytes."""
        self._charged += size
        self.bytes_accepted += size
        tap = self.tap
        if tap is not None:
            tap(self, "sent", frames)
        if self.state is _SILENT:
            self._lose(frames)
            return
        delay = self._delay.draw_us(self._stream) * _MICROSECOND
        kernel = self._kernel
        if kernel.late is not None and not is_background:
            delay += kernel.late(self.name, kernel.now + delay, 0, "delivery")
        now = kernel.now - self._behind if self._frozen_at is None else self._now()
        if self._bandwidth is None and self._free_at <= now:
            self._free_at = now
            self._launch(_Burst(frames, size, delay, is_background, now))
        else:
            # One after the other: on a slow wire the first arrives long before the last, and is a sign of life.
            for one in frames:
                burst = _Burst((one,), one[1], delay, is_background, now)
                self._schedule(burst, now)
                self._launch(burst)

    def finish(self, *, is_background: bool = False) -> None:
        """End it behind what is in flight: the reader gets ``ControlFrame.END`` last. Again does nothing.

        Args:
            is_background: See ``put``.
        """
        self.put((_END,), is_background=is_background)
        if self.state is LinkState.OPEN:
            self._move(LinkState.FINISHED)

    def _launch(self, burst: _Burst[Payload]) -> None:
        flight = self._flight
        flight.append(burst)
        if not burst.is_background:
            self._foreground += 1
        timer = self._timer
        if timer is None:
            if self._frozen_at is None:
                self._set_timer(flight[0].arrives)
        elif timer.is_background and not burst.is_background:
            self._arm()

    def _schedule(self, burst: _Burst[Payload], now: int) -> None:
        begins = now if now > self._free_at else self._free_at
        lasts = 0 if self._bandwidth is None else -int(-burst.size * SECOND // self._bandwidth)
        self._free_at = begins + lasts
        burst.begins, burst.lasts, burst.arrives = begins, lasts, begins + lasts + burst.delay

    # --- the reader's end ---------------------------------------------------------------------------------------------

    def read(self, count: int | None = None) -> list[Frame[Payload]]:
        """Return the frames that have arrived, at most ``count``, in order; an echo later they free the window."""
        frames = self._unread
        if not frames:
            return []
        if count is None:
            self._unread, size = [], self._unread_size
        else:
            self._unread, frames = frames[count:], frames[:count]
            size = size_of(frames)
        self._unread_size -= size
        if size and (self.state is _OPEN or self.state in _DELIVERS):
            now = self._kernel.now - self._behind if self._frozen_at is None else self._now()
            self._echoes.append((now + self._echo, size))
            if self._is_wanted:
                self._await_echo()
        return frames

    def _arrive(self) -> None:
        self._timer = None
        kernel = self._kernel
        now = kernel.now - self._behind  # A frozen link has no timer.
        flight, service, tap = self._flight, self.service, self.tap
        # In order, so that a burst with a shorter delay waits for the bursts put in before it.
        while flight and (burst := flight[0]).arrives <= now:
            if service is not None and burst is not self._in_service:
                self._in_service = burst
                burst.arrives = now + service.book(kernel.now, burst.frames)
                continue
            del flight[0]
            if not burst.is_background:
                self._foreground -= 1
            self._unread += burst.frames
            self._unread_size += burst.size
            if tap is not None:
                tap(self, "arrived", burst.frames)
        if flight:
            self._set_timer(flight[0].arrives)
        on_arrival = self.on_arrival
        on_arrival()

    # --- what happens to it -------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop its clock: nothing arrives, and the window is not freed. Again does nothing."""
        if self._frozen_at is None:
            self._frozen_at = self._kernel.now
            self._disarm()

    def thaw(self) -> None:
        """Restart its clock: frames in flight arrive later by the time it was frozen. Again does nothing."""
        if self._frozen_at is not None:
            self._behind += self._kernel.now - self._frozen_at
            self._frozen_at = None
            self._arm()
            self._await_echo()

    def hold_echoes(self, *, is_held: bool) -> None:
        """Keep from the sender that bytes were read, as when the way back is cut; or no more. Again does nothing."""
        if is_held == (self._echoes_held_at is not None):
            return
        now, since = self._now(), self._echoes_held_at
        if since is None:
            self._echoes_held_at = now
            if self._echo_timer is not None:
                self._echo_timer.cancel()
                self._echo_timer = None
            return
        self._echoes_held_at = None
        # Those under way stood still meanwhile, and what was read since then is acknowledged now.
        begun = since + self._echo
        self._echoes = deque(
            (when + now - since if when <= begun else now + self._echo, read) for when, read in self._echoes
        )
        self._await_echo()

    def flush(self) -> None:
        """Let all that is in flight arrive at once, in order; a frozen link has to be thawed before."""
        self._free_at = now = self._now()
        for burst in self._flight:
            burst.arrives = min(burst.arrives, now)
        self._arm()

    def silence(self) -> None:
        """Lose the frames in flight and all later ones, without notifying an end; the window is never freed again."""
        if self.state in _DELIVERS:
            self._move(LinkState.SILENT)
            self._stop()

    def reset(self) -> None:
        """End it and lose the frames in flight; arrived ones can still be read. Again does nothing.

        The caller notifies both ends.
        """
        if self.state is not LinkState.BROKEN:
            self._move(LinkState.BROKEN)
            self._stop()

    def abandon(self) -> None:
        """Lose the frames in flight if it is frozen: once both ends have ended, no repair thaws it."""
        if self._frozen_at is not None:
            self.reset()

    def change_delay(self, delay: Law, echo: Law | None = None) -> None:
        """Delay frames by another law from now on."""
        if delay != self._law:
            self._law, self._delay = delay, delay.along(self._kernel)
        self._echo = _median(echo or delay)

    def change_bandwidth(self, bandwidth: float | None) -> None:
        """Set the bytes per second of the wire; a burst that is on it at the moment keeps its rate."""
        if bandwidth == self._bandwidth:
            return
        self._bandwidth = bandwidth
        now = self._now()
        waiting = [burst for burst in self._flight if burst.begins > now]
        begun = self._flight[-len(waiting) - 1] if len(waiting) < len(self._flight) else None
        self._free_at = begun.begins + begun.lasts if begun else now
        for burst in waiting:
            self._schedule(burst, now)
        self._arm()

    # --- time ---------------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        """Return the time by the link's own clock, in nanoseconds."""
        return (self._kernel.now if self._frozen_at is None else self._frozen_at) - self._behind

    def _arm(self) -> None:
        """Set the timer for the next arrival."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flight and self._frozen_at is None:
            self._set_timer(self._flight[0].arrives)

    def _set_timer(self, arrives: int) -> None:
        self._timer = self._kernel.at(arrives + self._behind, self._arrive, background=not self._foreground)

    def _await_echo(self) -> None:
        is_still = self._frozen_at is not None or self._echoes_held_at is not None
        if self._is_wanted and self._echoes and self._echo_timer is None and not is_still:
            self._echo_timer = self._kernel.at(self._echoes[0][0] + self._behind, self._apply_echo)

    def _apply_echo(self) -> None:
        self._echo_timer = None
        self._is_wanted = False
        self.on_room()  # calls `fill`, which counts the bytes read

    def _disarm(self) -> None:
        for timer in (self._timer, self._echo_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._echo_timer = None

    def _stop(self) -> None:
        self._disarm()
        for burst in self._flight:
            self._lose(burst.frames)
        self._flight.clear()
        self._foreground = 0
        self._echoes.clear()

    def _lose(self, frames: Sequence[Frame[Payload]]) -> None:
        if self.tap is not None:
            self.tap(self, "lost", frames)

    def _move(self, state: LinkState) -> None:
        self.state = move(_MOVES, self.state, state, "a link")


_END = frame(ControlFrame.END, is_masked=False)


def _median(law: Law) -> int:
    """Return a law's median in nanoseconds: a whole number of microseconds, as all results of logarithms."""
    return round(law.quantile(0.5) * MICROSECONDS) * _MICROSECOND


def _nothing() -> None:
    """Do nothing: there is no handler."""
