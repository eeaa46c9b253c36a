"""Steps that come late: how a schedule draws that, records it and repeats it; and the pilot from which the scales come.

Events whose order matters lie milliseconds to seconds apart, so that another order within one instant changes nothing.
Lateness does: with a probability, each step is late by a share of a scale. Both are drawn anew for each seed, the scale
from the times of a *pilot*, a run without lateness: what is as late as two events of the program are apart can change
their order, and what is as late as a time limit can pass it. In five of six runs instead some steps of the pilot
are late, each by so much that it comes behind another event (see ``aiming.py``).

Source: a model with four kinds of races, whose halves are 10 ms to 1 s apart: another order within an instant, 100 ns
    of jitter, and rare huge delays found none in 2,000 seeds; this found all, in 1.5 to 10 % of the seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from simulator.engine.aiming import Step, Targets
from simulator.engine.kernel import SECOND
from simulator.engine.schedules import Deviation, Late, PctSchedule, RandomSchedule, Schedule
from simulator.engine.seeds import Seeds, pick

__all__ = [
    "SCHEDULES",
    "LateSchedule",
    "Lateness",
    "Pilot",
    "PilotSchedule",
    "ReplaySchedule",
    "focus_of",
    "schedule_named",
]

__engine__ = True

PROBABILITIES = (0.02, 0.1, 0.5)
"""That a step is late; one of them for each seed."""
FOCI = ("one", "one", "program", "program", "links", "all")
"""Whose steps may be late, see `Lateness.focus`; one of them for each seed, as often as it is here. Where less is late
at a time, what fails is more often one step alone."""
_READER = "/meshsync reader of "
"""Marks the path of a client's task that runs none of the program's code."""
REACH = 1.5
"""The latest, in scales."""
_MICROSECOND = 1000
_DEFAULT_SCALES = (SECOND // 100, SECOND // 10, SECOND, 10 * SECOND)
"""Nanoseconds; one of them where there was no pilot."""
_MOST = 100_000
"""Events of a pilot that are kept."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How often and how much steps are late in one run."""

    probability: float
    scale: int
    """Nanoseconds; a step that is late is so by up to ``REACH`` times as much."""
    focus: str = "all"
    """Whose steps may be late: ``"program"``, those of tasks in which the program's code runs, and of participants;
    ``"links"``, deliveries; ``"all"``, also those of the client's own tasks; else those of one, by `Late.who`."""


class LateSchedule(Schedule):
    """Makes steps late by chance.

    Args:
        stream: The source of chance, of lateness alone.
        base: Takes the decisions about who goes on; None for first-in-first-out.
    """

    is_late = True

    def __init__(self, stream: Random, lateness: Lateness, base: Schedule | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._lateness = lateness
        self._base = base
        if base is not None:
            self.deviations: list[Deviation] = base.deviations
        self._steps: dict[tuple[str, str], int] = {}

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        if self._base is None:
            return 0
        return self._base.choose(candidates, is_preemption=is_preemption, set_back=set_back)

    def yielded(self, actor: str) -> None:
        if self._base is not None:
            self._base.yielded(actor)

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        step = self._steps[who, kind] = self._steps.get((who, kind), 0) + 1
        lateness = self._lateness
        if lateness.focus not in ("all", who, focus_of(who)) or self._stream.random() >= lateness.probability:
            return 0
        by = int(self._stream.random() * REACH * lateness.scale) // _MICROSECOND * _MICROSECOND
        if by:
            self.lates.append(Late(who, step, by, kind))
        return by


class ReplaySchedule(Schedule):
    """Repeats recorded deviations and lateness; a deviation whose ``taken`` is no candidate then is left out."""

    def __init__(self, deviations: Iterable[Deviation] = (), lates: Iterable[Late] = ()) -> None:
        super().__init__()
        self._recorded = {(one.actor, one.is_preemption, one.visit): one.taken for one in deviations}
        self._late = {(one.who, one.kind, one.step): one.by for one in lates}
        self.is_late: bool = bool(self._late)
        self._steps: dict[tuple[str, str], int] = {}
        self.instants: list[int] = []
        """When each of `lates` was due, in nanoseconds."""

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        step = self._steps[who, kind] = self._steps.get((who, kind), 0) + 1
        by = self._late.get((who, kind, step), 0)
        if by:
            self.lates.append(Late(who, step, by, kind))
            self.instants.append(due)
        return by

    def _pick(self, candidates: Sequence[str], is_preemption: bool) -> int:
        taken = self._recorded.get((candidates[0], is_preemption, self._visit))
        return candidates.index(taken) if taken in candidates else 0


class AimedSchedule(ReplaySchedule):
    """Makes given steps late, and lets another schedule take the decisions about who goes on.

    Args:
        base: None for first-in-first-out.
    """

    def __init__(self, lates: Iterable[Late], base: Schedule | None = None) -> None:
        super().__init__((), lates)
        self._base = base or Schedule()
        self.deviations: list[Deviation] = self._base.deviations

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        return self._base.choose(candidates, is_preemption=is_preemption, set_back=set_back)

    def yielded(self, actor: str) -> None:
        self._base.yielded(actor)


# --- scales -----------------------------------------------------------------------------------------------------------


class PilotSchedule(Schedule):
    """Makes nothing late, and keeps when steps came."""

    is_late = True

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[int, None] = {}
        self._who: dict[str, None] = {}
        self._limits: dict[int, None] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._steps: list[Step] = []

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        return 0

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        number = self._numbers[who, kind] = self._numbers.get((who, kind), 0) + 1
        if focus_of(who) != "client":
            self._who[who] = None
            if len(self._steps) < _MOST:
                self._steps.append(Step(who, kind, number, due))
        if limit:
            self._limits[_rounded(limit)] = None
        elif len(self._times) < _MOST:
            self._times[due] = None
        return 0

    @property
    def result(self) -> Pilot:
        """What was kept."""
        return Pilot(tuple(self._times), tuple(self._limits), tuple(self._who), tuple(self._steps))


@dataclass(frozen=True)
class Pilot:
    """The times of a run without lateness, in nanoseconds."""

    times: tuple[int, ...]
    """The instants at which steps came, each once: else those at which much happens would be most of them."""
    limits: tuple[int, ...]
    """The time limits, to two digits: what is left of one, again and again, is not another one."""
    who: tuple[str, ...] = ()
    """Each that had a step, the client's own tasks aside."""
    steps: tuple[Step, ...] = ()
    """Theirs."""

    def draw(self, stream: Random) -> Lateness:
        """Draw the lateness of a run from a stream: a scale is the gap between two events, or a time limit."""
        probability = PROBABILITIES[pick(stream, len(PROBABILITIES))]
        focus = FOCI[pick(stream, len(FOCI))]
        if focus == "one":
            focus = self.who[pick(stream, len(self.who))] if self.who else "all"
        return Lateness(probability, self._draw_scale(stream), focus)

    @cached_property
    def _targets(self) -> Targets:
        return Targets(self.steps)

    def aim(self, stream: Random) -> tuple[Late, ...]:
        """Draw which of its steps are late in a run, each to come behind another one; none in one of six runs."""
        if not self.steps or stream.random() >= _SHARE_OF_AIMED:
            return ()
        targets = self._targets
        lates = [targets.aim(stream) for _ in range(_AIMED[pick(stream, len(_AIMED))])]
        return tuple({(late.who, late.kind, late.step): late for late in lates}.values())

    def _draw_scale(self, stream: Random) -> int:
        if self.limits and stream.random() < _SHARE_OF_LIMITS:
            return self.limits[pick(stream, len(self.limits))]
        for _ in range(_ATTEMPTS if self.times else 0):
            gap = abs(self.times[pick(stream, len(self.times))] - self.times[pick(stream, len(self.times))])
            if gap >= _LEAST:
                return gap
        return _DEFAULT_SCALES[pick(stream, len(_DEFAULT_SCALES))]


_SHARE_OF_AIMED = 5 / 6
"""The probability that lateness is aimed."""
_AIMED = (8, 13, 21)
"""Steps that are late then, at most; one of these for each seed."""
_SHARE_OF_LIMITS = 0.2
"""The probability that a scale is a time limit."""
_ATTEMPTS = 10
"""Pairs of events that are drawn until two are apart."""
_LEAST = SECOND // 1000
"""Nanoseconds that two events have to be apart: what is nearer, the choice among actors puts in another order."""


def focus_of(who: str) -> str:
    """Return whether it is of the ``"program"``, or of the ``"links"``, or a task of the ``"client"`` itself."""
    # A link's name ends with its direction; an actor's path begins with that of the first one.
    if who.endswith(("/up", "/down")) and not who.startswith("main/"):
        return "links"
    return "client" if _READER in who else "program"


def _rounded(duration: int) -> int:
    """Return a duration to two digits."""
    unit = int(10 ** max(0, len(str(duration)) - 2))
    return (duration + unit // 2) // unit * unit


# --- by name ----------------------------------------------------------------------------------------------------------

SCHEDULES = ("fifo", "random", "pct", "late", "late+random", "late+pct")
"""The names of schedules; behind the plus is who goes on among several."""


def schedule_named(
    name: str, seeds: Seeds, lateness: Lateness | None = None, lates: Sequence[Late] = ()
) -> Schedule | None:
    """Return the schedule of that name, on the seed's streams ``schedule`` and ``lateness``.

    Args:
        lateness: Of one that has it; drawn from the seed, without a pilot, if that is None.
        lates: The steps that are late, in place of drawing them; empty to draw them.
    Returns:
        None for first-in-first-out.
    Raises:
        ValueError: If no schedule has that name; the text lists the names.
    """
    if name not in SCHEDULES:
        raise ValueError(f"no schedule is named {name!r}: there are {', '.join(map(repr, SCHEDULES))}")
    kind, _, base_name = name.rpartition("+")
    base: Schedule | None = None
    if base_name == "random":
        base = RandomSchedule(seeds.stream("schedule"))
    elif base_name == "pct":
        base = PctSchedule(seeds.stream("schedule"))
    if "late" not in (kind, base_name):
        return base
    if lates:
        return AimedSchedule(lates, base)
    stream = seeds.stream("lateness")
    return LateSchedule(stream, lateness or Pilot((), ()).draw(stream), base)
