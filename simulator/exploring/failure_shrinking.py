"""A failing run made smaller: what is left of its faults, late steps and deviations is needed for it to fail so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from simulator.engine.aiming import Targets
from simulator.engine.schedules import Deviation, Late, RandomSchedule, Schedule
from simulator.engine.seeds import Seeds
from simulator.engine.traced_schedule import TracedSchedule
from simulator.errors import ActorsRefuse, WorldStalled
from simulator.exploring.runs import Case, Program, Run, run
from simulator.exploring.shrinking import shrink

__all__ = ["FEW", "SAMPLES", "FailureShrinker"]

FEW = 5
"""Preemptions that a reader can follow; with more, it is worth looking for another way to the same failure."""
_FINE = 1_000_000
"""Nanoseconds to which lateness is found out."""
FEW_LATE = 2
"""Late steps and preemptions, likewise."""
SAMPLES = 200
"""How many random schedules, or single late steps, to try for that."""


class FailureShrinker:
    """Makes a failing run smaller, within a budget of runs."""

    def __init__(self, program: Program, found: Run, budget: int, stall_after: float | None) -> None:
        self._program = program
        self._stall_after = stall_after
        self._budget = budget
        self.best: Run = found
        self._symptom = found.symptom
        self.runs: int = 0
        self.is_repeatable: bool = True

    def shrink(self) -> Run:
        """Return the smallest run that was found to fail in the same way."""
        if isinstance(self.best.error, (ActorsRefuse, WorldStalled)) or self._budget < 1:
            return self.best  # each such run takes seconds, and leaves threads behind
        if not self._try(self.best.case):
            self.is_repeatable = False
            return self.best
        seed = replace(self.best.case, deviations=None, lates=())
        self._shrink_plan(lambda left_out: replace(seed, left_out=left_out))
        if self.best.lates:
            # Most failures of lateness need no other order among actors.
            self._try(replace(self.best.case, deviations=()))
            self._shrink_lates()
        self._shrink_schedule()
        self._shrink_plan(lambda left_out: replace(self.best.case, left_out=left_out))
        if self.best.lates:
            self._shrink_lates()
            self._merge_lates()
            if len(self.best.lates) + len(self.best.deviations) > FEW_LATE:
                self._begin_anew()
            self._halve_lates()
        return self.best

    def _begin_anew(self) -> None:
        """Look for a single step that is late and fails in the same way."""
        traced = TracedSchedule()
        self.runs += 1
        run(self._program, self._in_time(), schedule=traced, stall_after=self._stall_after)
        if not (targets := Targets(traced.steps)).steps:
            return
        stream = Seeds(self.best.case.seed).stream("explore/one late step")
        for _ in range(SAMPLES):
            if self._try(replace(self._in_time(), lates=(targets.aim(stream),))):
                return

    def _in_time(self) -> Case:
        """Return the best case without lateness and another order."""
        return replace(self.best.case, deviations=(), lates=())

    def _shrink_lates(self) -> None:
        """Leave late steps out."""

        def attempt(kept: Sequence[Late]) -> Sequence[Late] | None:
            return self.best.lates if self._try(replace(self.best.case, lates=tuple(kept))) else None

        shrink(self.best.lates, attempt)

    def _merge_lates(self) -> None:
        """Have one late step do what two did, as long as that is possible: several small ones are harder to read."""
        while any(map(self._try, self._merged())):
            pass

    def _merged(self) -> Iterator[Case]:
        """Yield the best case with one late step left out, and another one later by as much."""
        lates = self.best.lates
        for gone, into in permutations(range(len(lates)), 2):
            longer = lates[into]._replace(by=lates[into].by + lates[gone].by)
            kept = [longer if number == into else late for number, late in enumerate(lates) if number != gone]
            yield replace(self.best.case, lates=tuple(kept))

    def _halve_lates(self) -> None:
        """Make what is late less so, down to a millisecond, as long as the failure stays."""
        for number in range(len(self.best.lates)):
            least = 0
            while number < len(self.best.lates):
                lates = self.best.lates
                most = lates[number].by
                half = (least + most) // 2
                if most - least <= max(_FINE, most // 16):
                    break
                changed = (*lates[:number], lates[number]._replace(by=half), *lates[number + 1 :])
                if not self._try(replace(self.best.case, lates=changed)):
                    least = half

    def _shrink_plan(self, without: Callable[[tuple[int, ...]], Case]) -> None:
        """Leave faults out, under the schedule of the seed, or if that does not fail, the present one."""
        numbers = range(len(self.best.planned))

        def attempt(kept: Sequence[int]) -> Sequence[int] | None:
            left_out = tuple(number for number in numbers if number not in kept)
            tries = (without(left_out), replace(self.best.case, left_out=left_out))
            return kept if any(map(self._try, dict.fromkeys(tries))) else None

        shrink([number for number in numbers if number not in self.best.case.left_out], attempt)

    def _shrink_schedule(self) -> None:
        """Leave deviations out; where too many are left, begin anew from others that fail in the same way."""
        self._shrink_deviations()
        smallest = self.best
        for number in range(0 if self.best.lates else SAMPLES):
            if len(smallest.deviations) <= FEW:
                break
            schedule = RandomSchedule(Seeds(smallest.case.seed).stream(f"explore/sample {number}"))
            if self._try(smallest.case, schedule):
                self._shrink_deviations()
                smallest = min(smallest, self.best, key=lambda one: len(one.deviations))
        self.best = smallest

    def _shrink_deviations(self) -> None:
        def attempt(kept: Sequence[Deviation]) -> Sequence[Deviation] | None:
            is_same = self._try(replace(self.best.case, deviations=tuple(kept)))
            return self.best.deviations if is_same else None

        shrink(self.best.deviations, attempt)

    def _try(self, case: Case, schedule: Schedule | None = None) -> bool:
        """Run a case, and keep it as the best if it fails in the same way."""
        if self.runs >= self._budget:
            return False
        self.runs += 1
        again = run(self._program, case, schedule=schedule, stall_after=self._stall_after)
        if again.symptom != self._symptom:
            return False
        self.best = again
        return True
