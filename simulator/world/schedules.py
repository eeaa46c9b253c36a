"""Which of several actors runs next: in order, by chance, or as recorded.

A schedule is asked at each *decision*: a place where more than one actor could go on. The first candidate is what
first-in-first-out would take (at a preemption point the actor that is running), so index 0 means "nothing special" and
any other index is a *deviation*. The last candidate may be `TIMER`: what is due at this very instant, such as a packet's
arrival, which then comes before actors that are ready. A run is described by its deviations; leaving some out makes a simpler run, which is
how a failing schedule is shrunk. Not the business of this module: who is a candidate, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from simulator.world.seeds import Seeds, pick

__all__ = ["TIMER", "Deviation", "PctSchedule", "RandomSchedule", "ReplaySchedule", "Schedule", "schedule_named"]

TIMER = -1
"""Stands among the candidates for the next timer."""

Deviation = tuple[int, int]
"""The number of a decision, from 1, and the index taken there, above 0."""


class Schedule:
    """Takes decisions and records the deviations among them; first-in-first-out, until a subclass picks otherwise."""

    def __init__(self) -> None:
        self.decisions = 0
        self.deviations: list[Deviation] = []

    def choose(self, candidates: Sequence[int], *, is_preemption: bool) -> int:
        """Return the index of the actor that goes on.

        Args:
            candidates: The serial numbers of actors, at least one, in the order in which they became ready; then
                `TIMER`, if a timer may come before all of them.
            is_preemption: Whether the first candidate is running and could go on.
        """
        if len(candidates) == 1:
            return 0
        self.decisions += 1
        index = self._pick(candidates, is_preemption)
        if index:
            self.deviations.append((self.decisions, index))
        return index

    def yielded(self, actor: int) -> None:
        """Take note that an actor gave up its turn of its own accord."""

    def _pick(self, candidates: Sequence[int], is_preemption: bool) -> int:
        return 0


class RandomSchedule(Schedule):
    """Any ready actor, each as likely as the others; preempts with a given probability.

    Args:
        stream: Where chance comes from.
        probability: Of preempting at each preemption point where another actor is ready; 0 draws nothing there.
    """

    def __init__(self, stream: Random, *, probability: float = 0.1) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"probability of preemption: {probability} is not between 0 and 1")
        self._stream = stream
        self._probability = probability

    def _pick(self, candidates: Sequence[int], is_preemption: bool) -> int:
        if is_preemption:
            if self._probability == 0 or self._stream.random() >= self._probability:
                return 0
            return 1 + pick(self._stream, len(candidates) - 1)
        return pick(self._stream, len(candidates))


class PctSchedule(Schedule):
    """Strict priorities drawn at random, changed at a few random decisions.

    Finds a bug that needs ``depth`` ordered events among ``actors`` actors with probability of at least
    ``1 / (actors * length ** (depth - 1))``, however long the rest of the run.

    Args:
        stream: Where chance comes from.
        depth: How many ordering constraints the bugs looked for have; ``depth - 1`` priorities change.
        length: Over how many decisions the changes are spread; about as many as a run takes.

    Source: Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (2010), section 3.
        Beyond it, an actor that yields falls behind all others, since a strict priority would let it yield for ever.
    """

    def __init__(self, stream: Random, *, depth: int = 3, length: int = 1000) -> None:
        super().__init__()
        if depth < 1 or length < 1:
            raise ValueError(f"depth {depth} and length {length} must be at least 1")
        self._stream = stream
        self._priorities: dict[int, float] = {}
        self._changes = {1 + pick(stream, length) for _ in range(depth - 1)}
        self._lowest = 0.0

    def yielded(self, actor: int) -> None:
        self._lowest -= 1
        self._priorities[actor] = self._lowest

    def _pick(self, candidates: Sequence[int], is_preemption: bool) -> int:
        priorities = self._priorities
        for actor in candidates:
            if actor not in priorities:
                priorities[actor] = 1 + self._stream.random()
        best = max(range(len(candidates)), key=lambda index: priorities[candidates[index]])
        if self.decisions in self._changes:
            self.yielded(candidates[best])
            best = max(range(len(candidates)), key=lambda index: priorities[candidates[index]])
        return best


class ReplaySchedule(Schedule):
    """Repeats recorded deviations; one that points beyond the candidates is left out."""

    def __init__(self, deviations: Iterable[Deviation]) -> None:
        super().__init__()
        self._recorded = dict(deviations)

    def _pick(self, candidates: Sequence[int], is_preemption: bool) -> int:
        index = self._recorded.get(self.decisions, 0)
        return index if index < len(candidates) else 0


def schedule_named(name: str, seeds: Seeds) -> Schedule | None:
    """Return the schedule of that name, on the seed's stream ``schedule``; None for first-in-first-out.

    Raises:
        ValueError: If there is none; the text lists them.
    """
    if name == "fifo":
        return None
    if name == "random":
        return RandomSchedule(seeds.stream("schedule"))
    if name == "pct":
        return PctSchedule(seeds.stream("schedule"))
    raise ValueError(f"no schedule is named {name!r}: there are 'fifo', 'random' and 'pct'")
