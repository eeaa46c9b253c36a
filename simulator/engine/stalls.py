"""Whether a simulation stands still because an actor blocks for real: pure observation, with time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BusyDetector", "Observation", "StallDetector"]

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
    """Whether the creating thread runs where it may take as long as it likes, as between two cells of a notebook."""
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


class BusyDetector:
    """Reports once that a turn has lasted for ``limit`` seconds, as of an actor that computes, which nothing stops.

    Args:
        limit: Real seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._first: Observation | None = None
        self._is_reported = False

    def observe(self, seen: Observation) -> bool:
        """Record an observation; return whether to report the turn."""
        first = self._first
        if first is None or seen.is_outside or seen.progress != first.progress:
            self._first, self._is_reported = seen, False
            return False
        if self._is_reported or seen.time - first.time < self._limit:
            return False
        self._is_reported = True
        return True
