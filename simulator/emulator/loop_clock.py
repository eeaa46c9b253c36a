"""The time of an asyncio loop as a `Clock`, for links, scripted participants and faults on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil

from simulator.engine.kernel import SECOND, Kernel, Timer

__all__ = ["LoopClock"]

_LONGEST_TURN = 0.01
"""Seconds after which the loop gets its turn, however many callbacks are due."""


class LoopClock:
    """Calls back in the loop when the real time has come. All methods run in the loop.

    The order among callbacks of one instant is a kernel's, that in which they were made: asyncio keeps none.

    Args:
        failed: Called with what a callback raises; the others go on.
    """

    late: Callable[[str, int, int, str], int] | None = None
    """See `Clock.late`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._failed = failed
        self._begin = loop.time()
        self._timers = Kernel()
        self._handle: asyncio.Handle | None = None
        """Set while the loop is to call back."""
        self._due = 0
        """When, in nanoseconds."""

    @property
    def now(self) -> int:
        """Nanoseconds since the start, never fewer than before."""
        return int((self._loop.time() - self._begin) * SECOND)

    def instant(self, seconds: float) -> int:
        """See `Clock.instant`."""
        return self.now + max(0, ceil(seconds * SECOND))

    def after(self, seconds: float, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """See `Clock.after`."""
        return self.at(self.instant(seconds), callback, background=background)

    def at(self, when: int, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """See `Clock.at`."""
        timer = self._timers.at(max(when, self.now), callback, background=background)
        self._arm()
        return timer

    def stop(self) -> None:
        """Call nothing back any more."""
        while self._timers.take() is not None:
            pass
        self._arm()

    def _arm(self) -> None:
        due = self._timers.next_deadline
        if self._handle is not None:
            if due == self._due:
                return
            self._handle.cancel()
            self._handle = None
        if due is None:
            return
        self._due = due
        if due <= self.now:
            self._handle = self._loop.call_soon(self._fire)
        else:
            self._handle = self._loop.call_at(self._begin + due / SECOND, self._fire)

    def _fire(self) -> None:
        self._handle = None
        end = self.now + int(_LONGEST_TURN * SECOND)
        due = self._timers.next_deadline
        while due is not None and due <= self.now < end:
            self._call(self._timers.take())
            due = self._timers.next_deadline
        self._arm()

    def _call(self, callback: Callable[[], object] | None) -> None:
        try:
            if callback is not None:
                callback()
        except Exception as error:
            self._failed(error)
