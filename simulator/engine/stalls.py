"""Whether a simulation stands still because an actor blocks for real: pure observation, with time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Observation", "StallDetector"]

__engine__ = True

BUSY = 0.1
"""The share of a processor above which a thread that makes no progress is computing and not blocked."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of a simulation at one moment, as seen from outside."""

    time: float
    """Real seconds."""
    progress: int
    """A number that grows whenever an actor or a timer has its turn."""
    processor: float
    """Seconds of processor time used so far by the thread that runs."""
    is_outside: bool
    """Whether the creating thread runs: it may take as long as it likes."""
    is_runnable: bool
    """Whether the operating system would let that thread run, if it had a processor free."""


class StallDetector:
    """Judges observations, and reports when the simulation has been blocked for ``limit`` seconds.

    Args:
        limit: Real seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._first: Observation | None = None
        self._last: Observation | None = None

    def observe(self, seen: Observation) -> bool:
        """Record an observation; return whether the simulation is stalled.

        A gap between two of more than the limit, as when the machine slept, starts the count anew.
        """
        first, last = self._first, self._last
        self._last = seen
        if (
            first is None
            or last is None
            or seen.is_outside
            or seen.is_runnable
            or seen.progress != first.progress
            or seen.time - last.time > self._limit
            or seen.processor - last.processor > BUSY * (seen.time - last.time)
        ):
            self._first = seen
            return False
        return seen.time - first.time >= self._limit
