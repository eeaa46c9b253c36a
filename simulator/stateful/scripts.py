"""What Hypothesis draws: who does what after which pause, who goes on, and what is late; all of it before a run.

The smallest value of each part is the plain one: no operation, no pause, first-in-first-out, nothing late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from simulator.engine.lateness import Lateness, LateSchedule, focus_of, schedule_named
from simulator.engine.schedules import Late, Schedule
from simulator.engine.seeds import Seeds
from simulator.faults import Fault
from simulator.faults.plans import Planned
from simulator.stateful.rules import Bundle, Consumed, Rule

__all__ = ["Bounds", "DrawnLate", "DrawnLateness", "DrawnStep", "Pick", "Script", "schedule_of", "scripts"]

_ORDERS = ("fifo", "random", "pct")
_MILLISECOND = 1_000_000
"""Nanoseconds in a millisecond."""
_OWN = (
    ("main/{}", "turn"),
    ("{}#1/up", "delivery"),
    ("{}#1/down", "delivery"),
    ("main/{}", "sleep"),
    ("main/{}", "wait"),
)
"""Kinds of steps of each participant that can be late: whose, where its name is put in, and which."""
_OTHERS = 16
"""Kinds of steps of all others: of servers, scripted participants and more threads."""
_VISITS = 12
"""Steps of each that can be late."""
_LATES = 4
"""The most late steps of a run: a failure that needs more is hard to read, and hardly ever does."""


@dataclass(frozen=True, slots=True, repr=False)
class Pick:
    """A place in a bundle, which is looked up in the run."""

    bundle: Bundle
    place: int
    """From the newest value, 0, to older ones, and round again."""
    is_consumed: bool

    def __repr__(self) -> str:
        return f"{self.bundle.name}[-{self.place + 1}]"


@dataclass(frozen=True, slots=True, repr=False)
class DrawnStep:
    """An operation of a participant."""

    rule: Rule
    pause: float
    """Seconds that it waits before."""
    arguments: dict[str, Any]
    """By name; a `Pick` for a value out of a bundle."""

    def __repr__(self) -> str:
        call = f"{self.rule.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"
        return f"{call} after {self.pause:g} s" if self.pause else call


@dataclass(frozen=True, slots=True)
class DrawnLate:
    """A late step, before it is known whose it is: which is a matter of the run."""

    kind: int
    """Of which steps, from 0: those of the participants, and then all others in the order in which they first come."""
    step: int
    """Which of these, from 1; counted, as kinds are, from the first operation on."""
    more: int
    """How many of those behind it are as late."""
    by: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True, repr=False)
class Script:
    """All that one run of a machine follows from."""

    parts: dict[str, list[DrawnStep]]
    """The operations of each participant, by name."""
    order: str = "fifo"
    """The schedule, by name: who goes on among several."""
    seed: int = 0
    lates: tuple[DrawnLate, ...] = ()
    plan: tuple[Planned | Fault, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{name}={steps!r}" for name, steps in self.parts.items() if steps]
        options = [
            *([f"order={self.order!r}"] if self.order != "fifo" else []),
            *([f"seed={self.seed}"] if self.seed else []),
            *([f"lates={[(one.kind, one.step, one.more, one.by) for one in self.lates]}"] if self.lates else []),
            *([f"plan={list(self.plan)}"] if self.plan else []),
        ]
        return f"Script({', '.join([*parts, *options])})"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a script may go."""

    steps: int
    """The most operations of a participant."""
    longest_pause: float
    """Seconds."""
    latest: float
    """Seconds; 0 if nothing is to be late."""
    plan: SearchStrategy[Any]


def scripts(rules: Sequence[Rule], participants: Sequence[str], bounds: Bounds) -> SearchStrategy[Script]:
    """Return the strategy of the scripts of a machine."""
    parts = {
        name: st.lists(st.one_of([_steps(one, bounds) for one in own]), max_size=bounds.steps) if own else st.just([])
        for name in participants
        for own in [[one for one in rules if not one.names or name in one.names]]
    }
    latest = round(bounds.latest * 1000)
    visits = st.just(1) | st.integers(1, 4) | st.integers(1, _VISITS)
    more = st.just(0) | st.integers(0, _VISITS)
    kinds = len(_OWN) * len(participants) + _OTHERS
    late = st.builds(DrawnLate, st.integers(0, kinds - 1), visits, more, _milliseconds(latest, least=1))
    lates = st.lists(late, max_size=_LATES) if latest else st.just([])

    @st.composite
    def script(draw: DrawFn) -> Script:
        # What is drawn first becomes smallest: the operations that are left are those of the first participants.
        drawn = {name: draw(parts[name]) for name in reversed(parts)}
        plan = draw(bounds.plan)
        chance = draw(st.sampled_from(_ORDERS)), draw(st.integers(0, 2**16)), tuple(draw(lates))
        return Script({name: drawn[name] for name in parts}, *chance, plan)

    return script()


def _milliseconds(most: int, *, least: int = 0) -> SearchStrategy[int]:
    """Return a strategy of times, of which short ones are as likely as long ones."""
    spans = [st.integers(least, max(least, min(most, span))) for span in (20, 200, most) if span <= max(most, 20)]
    return st.one_of(st.just(least), *spans)


def _steps(rule: Rule, bounds: Bounds) -> SearchStrategy[DrawnStep]:
    arguments = {name: _argument(given) for name, given in rule.arguments.items()}
    pauses = _milliseconds(round(bounds.longest_pause * 1000)).map(lambda pause: pause / 1000)
    return st.builds(DrawnStep, st.just(rule), pauses, st.fixed_dictionaries(arguments))


def _argument(given: SearchStrategy[Any] | Bundle | Consumed) -> SearchStrategy[Any]:
    if isinstance(given, SearchStrategy):
        return given
    bundle = given.bundle if isinstance(given, Consumed) else given
    return st.builds(Pick, st.just(bundle), st.integers(0, 15), st.just(isinstance(given, Consumed)))


# --- in the run -------------------------------------------------------------------------------------------------------


class DrawnLateness(LateSchedule):
    """Makes steps late that were drawn before it was known whose they are; none before `begin` is called."""

    def __init__(self, lates: Sequence[DrawnLate], base: Schedule | None, participants: Iterable[str]) -> None:
        super().__init__(Random(0), Lateness(0, 0), base)
        self._drawn = {
            (one.kind, step): one.by * _MILLISECOND
            for one in reversed(lates)
            for step in range(one.step, one.step + one.more + 1)
        }
        # A number is that of the same steps in all scripts, or hardly any could be made smaller.
        own = [(who.format(name), kind) for name in participants for who, kind in _OWN]
        self._kinds = {key: number for number, key in enumerate(own)}
        self._is_begun = False
        self._visits_since: Counter[int] = Counter()

    def begin(self) -> None:
        """Count steps from here on."""
        self._is_begun = True

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        key = who, kind
        step = self._steps[key] = self._steps.get(key, 0) + 1
        if not self._is_begun or focus_of(who) == "client":  # What is late for a client's reader is so on its link.
            return 0
        number = self._kinds.setdefault(key, len(self._kinds))
        self._visits_since[number] += 1
        by = self._drawn.get((number, self._visits_since[number]), 0)
        if by:
            self.lates.append(Late(who, step, by, kind))
        return by


def schedule_of(script: Script) -> Schedule | None:
    """Return the schedule of a run; None for first-in-first-out with nothing late."""
    base = schedule_named(script.order, Seeds(script.seed))
    return DrawnLateness(script.lates, base, script.parts) if script.lates else base
