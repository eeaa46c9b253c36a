"""Ready-made participants without a thread that join and leave repeatedly."""

from __future__ import annotations

from simulator.latency import Law, as_law
from simulator.latency import exponential as exponential_law
from simulator.participants.participant import Participant

__all__ = ["Visitor", "churn"]


class Visitor(Participant):
    """Joins and leaves repeatedly.

    Args:
        stay: The time in the room, in seconds or as a law.
        away: The time between two visits, likewise; at least a millisecond.
        visits: The number of visits; None for no limit.
        greeting: The type of a broadcast when it joins; None for none.
    """

    def __init__(
        self,
        name: str,
        stay: float | Law = 60.0,
        away: float | Law = 30.0,
        *,
        visits: int | None = None,
        greeting: str | None = None,
        role: str = "user",
    ) -> None:
        super().__init__(name, role)
        self.stay: Law = as_law(stay)
        self.away: Law = as_law(away)
        self.visits = visits
        self.greeting = greeting
        self.visited: int = 0
        """Visits so far."""

    def on_start(self) -> None:
        """Stay for a while."""
        self.visited += 1
        if self.greeting is not None:
            self.broadcast(self.greeting, {"visit": self.visited})
        self.after(self.stay, self._go)

    def _go(self) -> None:
        self.leave()
        self._return_later()

    def on_end(self) -> None:
        """Come back later, also after a fault."""
        self._return_later()

    def _return_later(self) -> None:
        if self.visits is None or self.visited < self.visits:
            seconds = max(self.away.draw(self.random), _SHORTEST_ABSENCE)
            self._simulator.here.network.kernel.after(seconds, self.come_back)


_SHORTEST_ABSENCE = 0.001
"""Seconds: the clock has to move between two visits."""


def churn(
    count: int,
    *,
    stay: float | Law | None = None,
    away: float | Law | None = None,
    prefix: str = "visitor",
    visits: int | None = None,
    greeting: str | None = None,
) -> tuple[Visitor, ...]:
    """Return ``count`` visitors, named ``visitor-1`` and so on.

    Args:
        stay: The time of each in the room; by default exponential, with a mean of 60 seconds.
        away: The time between its visits; by default exponential, with a mean of 30 seconds.
        prefix: The beginning of their names.
        visits: The number of visits of each; None for no limit.
        greeting: See `Visitor`.
    """
    here = exponential_law(60.0) if stay is None else as_law(stay)
    gone = exponential_law(30.0) if away is None else as_law(away)
    return tuple(
        Visitor(f"{prefix}-{number}", here, gone, visits=visits, greeting=greeting) for number in range(1, count + 1)
    )
