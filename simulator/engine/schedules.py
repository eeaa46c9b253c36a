"""Which of several actors runs next: in order, by chance, or as recorded.

A schedule is asked at each *decision*: a place where several actors could go on. The first candidate is the choice of
first-in-first-out, at a preemption point the actor that is running; to choose another is a *deviation*. That may be
`TIMER`: a timer due at this very instant, such as a packet's arrival, may come before actors that are ready. An actor
that is passed over is *set back* behind all other events of that instant.

A run is described by its deviations; leaving some out makes a simpler run, which is how a failing schedule is shrunk.
So a deviation is identified by facts that leaving out another one hardly ever changes: the actor, and how often the
schedule had been asked about it, not a count of all decisions. Not the business of this module: which actors are
candidates, and when.

Beside the choice of who goes on, a schedule may be asked how late a *step* is: the end of a sleep or of a wait, an
actor's wake-up or first turn, a delivery on a link. Sleeps and timers are lower bounds, so that lateness is legal; how
it is drawn, recorded and repeated is in ``lateness.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from simulator.engine.seeds import pick

__all__ = ["TIMER", "Deviation", "Late", "PctSchedule", "RandomSchedule", "Schedule"]

__engine__ = True

TIMER = "timer"
"""Stands among the candidates for the next timer; no actor has this path."""


class Deviation(NamedTuple):
    """A decision that was not first-in-first-out's."""

    actor: str
    """The path of the actor that would have gone on."""
    is_preemption: bool
    """Whether that actor was running; else it was ready before the others."""
    visit: int
    """How many times the schedule had been asked about that actor in that way, this time included."""
    taken: str
    """The path of the actor that went on instead, or `TIMER`."""

    def __str__(self) -> str:
        return f"{self.taken} before {self.actor} {'went on' if self.is_preemption else 'began'}, time {self.visit}"


class Late(NamedTuple):
    """A step that came later than it could."""

    who: str
    """The path of the actor, the name of the participant, or that of the link."""
    step: int
    """The number of its steps of that kind so far, this one included."""
    by: int
    """Nanoseconds."""
    kind: str = "step"
    """``sleep``, ``wait`` (the end of its time limit), ``turn`` (the first, or after a notification), ``delivery`` or
    ``timer``. Each is counted by itself: whether an actor waits in vain first does not change which sleep it is."""

    def __str__(self) -> str:
        return f"{self.who} is {self.by / 1e9:g} s late at its {self.kind} {self.step}"


class Schedule:
    """Makes decisions and records the deviations among them; first-in-first-out, until a subclass picks otherwise.

    Attributes:
        is_late: Whether it is to be asked how late each step is.
    """

    is_late = False

    def __init__(self) -> None:
        self.decisions: int = 0
        self.deviations: list[Deviation] = []
        self.lates: list[Late] = []
        """The steps that were late, in the order of being asked."""
        self._visits: dict[tuple[str, bool], int] = {}
        self._visit = 0
        self._set_back = 0

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        """Return the index of the actor that goes on. Those before it are set back, and so is one that is preempted.

        Args:
            candidates: The paths of actors, at least one, in the order in which they became ready; then `TIMER`, if a
                timer may come before all of them; then the actors that were set back, to wait until no other event is
                left at this instant. With one candidate there is no decision, but it counts as a visit.
            is_preemption: Whether the first candidate is running and could go on.
            set_back: How many candidates were set back.
        """
        first = candidates[0]
        self._visit = self._visits[first, is_preemption] = self._visits.get((first, is_preemption), 0) + 1
        if len(candidates) == 1:
            return 0
        self.decisions += 1
        self._set_back = set_back
        index = self._pick(candidates, is_preemption)
        if index:
            self.deviations.append(Deviation(first, is_preemption, self._visit, candidates[index]))
        return index

    def yielded(self, actor: str) -> None:
        """Record that an actor gave up its turn of its own accord."""

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        """Return by how many nanoseconds a step is late.

        Args:
            who: See `Late.who`.
            due: When it would come, in nanoseconds.
            limit: The nanoseconds of a time limit, if it is the end of one, which may never come; else 0.
            kind: See `Late.kind`.
        """
        return 0

    def _pick(self, candidates: Sequence[str], is_preemption: bool) -> int:
        return 0


class RandomSchedule(Schedule):
    """Any ready actor, each as likely as the others; preempts with a given probability.

    An actor that is set back stays behind until no other event is left at its instant, or an actor that has its turn
    meanwhile is preempted too: so one preemption is enough to let others overtake in several steps.

    Args:
        stream: The source of chance.
        probability: Of preempting at each preemption point where another actor is ready; 0 draws nothing there.
    Raises:
        ValueError: If ``probability`` is not between 0 and 1.
    """

    def __init__(self, stream: Random, *, probability: float = 0.1) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"probability of preemption: {probability} is not between 0 and 1")
        self._stream = stream
        self._probability = probability

    def _pick(self, candidates: Sequence[str], is_preemption: bool) -> int:
        ahead = len(candidates) - self._set_back
        if is_preemption:
            if self._probability == 0 or self._stream.random() >= self._probability:
                return 0
            return 1 + pick(self._stream, (ahead if ahead > 1 else len(candidates)) - 1)
        return pick(self._stream, ahead or len(candidates))


LENGTHS = (10, 30, 100, 300, 1000)
"""Numbers of decisions among which the change that matters may be the only one."""


class PctSchedule(Schedule):
    """Strict priorities drawn at random, changed at a few random decisions.

    Finds a bug that needs ``depth`` ordered events among ``actors`` actors with probability of at least
    ``1 / (actors * length ** (depth - 1))``, however long the rest of the run.

    Args:
        stream: The source of chance.
        depth: How many ordering constraints the bugs looked for have; ``depth - 1`` priorities change.
        length: Over how many decisions the changes are spread; about as many as a run has. None for a run of unknown
            length: one of `LENGTHS` by chance, and as many changes again each time that it is over.
    Raises:
        ValueError: If ``depth`` or ``length`` is below 1.

    Source: Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (2010), section 3.
        Beyond it, an actor that yields falls behind all others, since a strict priority would let it yield for ever.
    """

    def __init__(self, stream: Random, *, depth: int = 3, length: int | None = None) -> None:
        super().__init__()
        is_endless = length is None
        if length is None:
            length = LENGTHS[pick(stream, len(LENGTHS))]
        if depth < 1 or length < 1:
            raise ValueError(f"depth {depth} and length {length} must be at least 1")
        self._stream = stream
        self._priorities: dict[str, float] = {}
        self._depth = depth
        self._length = length
        self._over = length if is_endless else None
        self._changes = self._draw_changes()
        self._lowest = 0.0

    def _draw_changes(self) -> set[int]:
        return {self.decisions + 1 + pick(self._stream, self._length) for _ in range(self._depth - 1)}

    def yielded(self, actor: str) -> None:
        self._lowest -= 1
        self._priorities[actor] = self._lowest

    def _pick(self, candidates: Sequence[str], is_preemption: bool) -> int:
        priorities = self._priorities
        for actor in candidates:
            if actor not in priorities:
                priorities[actor] = 1 + self._stream.random()
        best = max(range(len(candidates)), key=lambda index: priorities[candidates[index]])
        if self.decisions in self._changes:
            self.yielded(candidates[best])
            best = max(range(len(candidates)), key=lambda index: priorities[candidates[index]])
        if self.decisions == self._over:
            self._over = self.decisions + self._length
            self._changes = self._draw_changes()
        return best
