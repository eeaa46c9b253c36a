"""Steps made late on purpose: by so much that each comes just behind another event of a run that was recorded.

A random amount of lateness mostly changes nothing but times. One that is aimed changes an order: the step comes between
two events, any such place as likely as another.

Source: measured on the bench of races, at equal numbers of runs: the table is in ``docs/races.md``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

from simulator.engine.kernel import SECOND
from simulator.engine.schedules import Late
from simulator.engine.seeds import pick

__all__ = ["Step", "Targets"]

__engine__ = True

_BEHIND = SECOND
"""Nanoseconds: up to so much behind an event comes what is to come behind it."""
_FAR = 14 * SECOND
"""Nanoseconds: of events that are farther away only the next one is a target. A connection whose heartbeat is not
answered for 15 s ends, which is another fault than lateness."""
_BEHIND_ALL = 0.2
"""The probability that a step comes behind all of the run, by up to as long as that took: as what is later than a lease
that the run did not come to the end of."""
_MICROSECOND = 1000


class Step(NamedTuple):
    """A step of a task in which the program's code runs, of a participant or a link; see `Late`."""

    who: str
    kind: str
    number: int
    """See `Late.step`."""
    due: int
    """When it could come, in nanoseconds."""
    by: int = 0
    """By how much later it came."""

    @property
    def came(self) -> int:
        """When it came, in nanoseconds."""
        return self.due + self.by


class Targets:
    """The steps of a recorded run, and the places in time at which others can come."""

    def __init__(self, steps: Iterable[Step]) -> None:
        given = tuple(steps)
        last = max((step.came for step in given if step.kind != "wait"), default=0)
        # The ends of time limits beyond the end of the run never came.
        self.steps: tuple[Step, ...] = tuple(step for step in given if step.came <= last)
        self._came = sorted({step.came for step in self.steps})
        by_who: dict[str, list[Step]] = {}
        for step in self.steps:
            by_who.setdefault(step.who, []).append(step)
        self._by_who = tuple(by_who.values())

    def aim(self, stream: Random) -> Late:
        """Return a step that is late; there must be one.

        In half of the draws each step is as likely as another, in the others each of those that have some.
        """
        steps: Sequence[Step] = self.steps
        if stream.random() < 0.5:
            steps = self._by_who[pick(stream, len(self._by_who))]
        step = steps[pick(stream, len(steps))]
        begin, end = self._place(step.due, stream)
        by = begin + int(stream.random() * (end - begin)) - step.due
        return Late(step.who, step.number, max(1, by // _MICROSECOND) * _MICROSECOND, step.kind)

    def _place(self, due: int, stream: Random) -> tuple[int, int]:
        """Return between which instants a step comes that was due at one."""
        came, last = self._came, self._came[-1]
        if stream.random() < _BEHIND_ALL and last - due <= _FAR:
            return last, last + min(max(last - came[0], _BEHIND), _FAR)
        later = bisect_right(came, due)
        place = later + pick(stream, max(1, bisect_right(came, due + _FAR) - later))
        begin = came[place] if place < len(came) else due
        return begin, min([begin + _BEHIND, *came[place + 1 : place + 2]])
