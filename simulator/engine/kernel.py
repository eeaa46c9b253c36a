"""The virtual clock and the one heap of timers: no threads, no randomness, no real time.

Time is a whole number of nanoseconds since the start, so that sums are exact and equal instants are equal. Timers due
at the same instant are called in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

__all__ = ["Kernel", "Timer"]

__engine__ = True

SECOND = 1_000_000_000
"""Nanoseconds in a second."""


class Timer:
    """A callback that will be called once, unless cancelled."""

    __slots__ = ("_kernel", "callback", "is_background", "when")

    def __init__(self, kernel: Kernel, when: int, callback: Callable[[], object], is_background: bool) -> None:
        self._kernel = kernel
        self.when: int = when
        """The instant it is due, in nanoseconds since the start."""
        self.callback: Callable[[], object] | None = callback
        """The function to call; None once it was taken or cancelled."""
        self.is_background: bool = is_background
        """Whether it recurs for ever by itself, such as a heartbeat, and so is no sign of progress."""

    @property
    def is_pending(self) -> bool:
        return self.callback is not None

    def cancel(self) -> None:
        """Prevent the call; does nothing if it was made or cancelled before."""
        if self.callback is not None:
            self.callback = None
            self._kernel._forget(self)

    def __repr__(self) -> str:
        state = "pending" if self.is_pending else "done"
        return f"<Timer at {self.when / SECOND:.9f} s, {state}{', background' if self.is_background else ''}>"


class Kernel:
    """A clock that moves only when the next timer is taken."""

    __slots__ = ("_cancelled", "_heap", "_sequence", "foreground", "late", "now")

    def __init__(self) -> None:
        self.now: int = 0
        """Nanoseconds since the start."""
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0
        self.foreground: int = 0
        """How many timers are pending that are not background ones."""
        self.late: Callable[[str, int, int, str], int] | None = None
        """Returns by how many nanoseconds a step is late, as `Schedule.late`; None if none ever is. Those that make
        timers ask it, and heartbeats do not."""

    def __len__(self) -> int:
        """Return how many timers are pending."""
        return len(self._heap) - self._cancelled

    @property
    def next_deadline(self) -> int | None:
        """When the next timer is due, in nanoseconds; None if there is none."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def instant(self, seconds: float) -> int:
        """Return the first instant at which ``seconds`` have passed, in nanoseconds since the start.

        Rounded up, and by the value that a reader of the clock sees: the first instant whose value in seconds is not
        less than ``now`` in seconds plus ``seconds``. Rounded down, a wait for a fraction of a nanosecond would end at
        the instant it began, and a loop that waits for the rest of a time limit would go on for ever at one instant.

        Raises:
            ValueError: If ``seconds`` is not a number.
            OverflowError: If it is infinite.
        """
        now = self.now
        if seconds <= 0:
            return now
        target = now / SECOND + seconds
        when = int(target * SECOND + 0.5)
        while when / SECOND < target:
            when += 1
        return when if when > now else now + 1

    def after(self, seconds: float, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """Call ``callback`` when ``seconds`` have passed; zero or less means at this instant, after all others.

        Args:
            background: See `Timer.is_background`.
        """
        return self.at(self.instant(seconds), callback, background=background)

    def at(self, when: int, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """Call ``callback`` at an instant, in nanoseconds since the start; one that is past means now."""
        if when < self.now:  # noqa: PLR1730  # no call, at each message
            when = self.now
        timer = Timer(self, when, callback, background)
        self._sequence = sequence = self._sequence + 1
        heappush(self._heap, (when, sequence, timer))
        if not background:
            self.foreground += 1
        return timer

    def take(self) -> Callable[[], object] | None:
        """Move the clock to the next timer and return its callback; None, and no move, if there is none."""
        heap = self._heap
        while heap:
            when, _, timer = heappop(heap)
            callback = timer.callback
            if callback is None:
                self._cancelled -= 1
                continue
            timer.callback = None
            if not timer.is_background:
                self.foreground -= 1
            self.now = when
            return callback
        return None

    def move(self, when: int) -> None:
        """Move the clock forward to an instant in nanoseconds; no timer is taken.

        Raises:
            ValueError: If that is in the past, or a timer is due before it; the clock has not moved.
        """
        due = self.next_deadline
        if when < self.now or (due is not None and due < when):
            raise ValueError(f"cannot move the clock from {self.now} to {when}: the next timer is due at {due}")
        self.now = when

    def _forget(self, timer: Timer) -> None:
        """Count a cancelled timer, and clear the heap when they are in the majority: time-outs rarely happen."""
        if not timer.is_background:
            self.foreground -= 1
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            # The order of the rest follows from instant and sequence, not from the heap's shape.
            heapify(self._heap)
            self._cancelled = 0
