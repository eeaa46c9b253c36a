"""A schedule whose questions are kept: which steps there were, when each came, and who could go on at each decision.

With that a run can be changed on purpose: a step made so late that it comes after another one, another actor chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simulator.engine.aiming import Step
from simulator.engine.lateness import focus_of
from simulator.engine.schedules import Deviation, Late, Schedule

__all__ = ["Decision", "TracedSchedule"]

__engine__ = True

MOST = 100_000
"""Steps, and decisions, that are kept of a run."""


class Decision(NamedTuple):
    """A place where several could go on; see `Deviation`."""

    actor: str
    is_preemption: bool
    visit: int
    candidates: tuple[str, ...]
    """Of which the first is first-in-first-out's choice."""


class TracedSchedule(Schedule):
    """Does as another schedule, which it asks, and keeps the questions.

    The run is the same as under that one alone.
    """

    is_late = True

    def __init__(self, inner: Schedule | None = None) -> None:
        super().__init__()
        self._inner = inner or Schedule()
        self.deviations: list[Deviation] = self._inner.deviations
        self.lates: list[Late] = self._inner.lates
        self._numbers: dict[tuple[str, str], int] = {}
        self.steps: list[Step] = []
        """In the order of being asked."""
        self.decided: list[Decision] = []

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        first = candidates[0]
        visit = self._visits[first, is_preemption] = self._visits.get((first, is_preemption), 0) + 1
        if len(candidates) > 1 and len(self.decided) < MOST:
            self.decided.append(Decision(first, is_preemption, visit, tuple(candidates)))
        return self._inner.choose(candidates, is_preemption=is_preemption, set_back=set_back)

    def yielded(self, actor: str) -> None:
        self._inner.yielded(actor)

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        by = self._inner.late(who, due, limit, kind)
        number = self._numbers[who, kind] = self._numbers.get((who, kind), 0) + 1
        if focus_of(who) != "client" and len(self.steps) < MOST:
            self.steps.append(Step(who, kind, number, due, by))
        return by
