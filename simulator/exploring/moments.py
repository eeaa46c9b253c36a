"""What happened at the instants of a run, and how probable its failure was there, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.exploring.estimates import Estimate

__all__ = ["Event", "Point"]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened at one instant of the failing run."""

    number: int
    """From 0, which is the beginning."""
    time_ns: int
    """Nanoseconds since the start."""
    text: str

    @property
    def time(self) -> float:
        """Virtual seconds since the start."""
        return self.time_ns / 1e9


@dataclass(frozen=True, slots=True)
class Point:
    """The probability of the failure when an event has happened as it did, and all later chance is open."""

    event: Event
    """The last of those that happened as they did."""
    estimate: Estimate
    first: Event
    """The first event with the same probability; ``event`` unless points were merged."""

    @property
    def time(self) -> float:
        """Virtual seconds since the start."""
        return self.event.time

    @property
    def probability(self) -> float:
        """The estimate, in [0, 1]."""
        return self.estimate.share

    @property
    def interval(self) -> tuple[float, float]:
        """Where the probability lies, with a confidence of 95 %."""
        return self.estimate.interval
