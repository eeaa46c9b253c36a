"""Checks every so many turns: collecting garbage, and whether the clock moves at all."""

from __future__ import annotations

import gc

__all__ = ["Housekeeping"]

__engine__ = True

INTERVAL = 16_384
"""Turns between two checks: about a tenth of a second of work."""
FULL_COLLECTION = 64
"""Checks between two collections of the oldest garbage; one takes as long as the process is large."""


class Housekeeping:
    """Collects garbage at turns that are the same in each run, and nowhere else, and finds a clock that stands still.

    Args:
        max_steps: How many turns one instant may take; detected up to an interval late.
    """

    def __init__(self, max_steps: int) -> None:
        self.due: int = min(INTERVAL, max_steps)
        """The turn of the next check."""
        self._interval = self.due
        self._max_steps = max_steps
        self._looks = 0
        self._instant = 0
        self._turns_here = 0

    def look(self, turn: int, now: int) -> bool:
        """Collect garbage; return whether the clock has stood still for too long, and count anew if so.

        Args:
            now: Nanoseconds since the start.
        """
        self.due = turn + self._interval
        self._looks += 1
        gc.collect(2 if self._looks % FULL_COLLECTION == 0 else 1)
        if now != self._instant:
            self._instant = now
            self._turns_here = 0
            return False
        self._turns_here += self._interval
        if self._turns_here < self._max_steps:
            return False
        self._turns_here = 0
        return True
