"""Seed after seed until one fails: which case a seed is, what counts as failing, and how far a search has come.

Runs are made here, or by the workers of a sweep; the result is the same. What is left of a failing run after shrinking
is not this module's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from random import Random
from typing import TypeAlias

from meshsync.errors import UsageError
from simulator.engine.lateness import Pilot, PilotSchedule
from simulator.engine.seeds import Seeds
from simulator.errors import WorkerDied, WorkerFailed
from simulator.exploring.crews import Crew
from simulator.exploring.guided import MUTANTS, Trial, try_seed
from simulator.exploring.jobs import TURN, Outcome, make_job, outcome_of
from simulator.exploring.runs import Case, Program, Run, Symptom, run
from simulator.exploring.sweeps import Progress, sweep
from simulator.faults import Fault
from simulator.faults.plans import Planned

__all__ = ["GUIDED", "MIXED", "Plan", "Search"]

MIXED = "mixed"
"""The schedule that differs from seed to seed."""
GUIDED = "guided"
"""That of ``late``, and of mutants of each seed's run."""
_MIX = (
    *("late", "late+random", "late", "late+pct", "late", "random"),
    *("late", "late+random", "late", "late+pct", "late", "pct"),
)
"""Of twelve seeds ten are late, and six have another order among actors that can run."""

Plan: TypeAlias = "Iterable[Planned | Fault] | Callable[[Random], Iterable[Planned | Fault]]"
"""Faults, or a callable that draws them anew for each seed; of its argument only ``random()`` may be used."""


class Search:
    """Runs seed after seed.

    Args:
        base: What all runs have in common.
        name: By which workers find the program; not needed without them.
    """

    def __init__(
        self,
        program: Program,
        base: Case,
        plan: Plan,
        stall_after: float | None,
        count_overdue: bool,
        name: str | None = None,
    ) -> None:
        self._program = program
        self._base = base
        self._plan = plan if callable(plan) else tuple(plan)
        self._trial = Trial(MUTANTS if base.schedule == GUIDED else 0, count_overdue, stall_after)
        self._name = name
        self.pilot: Pilot | None = None
        self.done: int = 0
        """How many seeds have run without failing, from the first one on without a gap."""
        self.runs: int = 0
        self.overdue: list[int | str] = []
        """Those of them that failed by a time limit alone, which they passed by lateness."""
        self.overdue_runs: int = 0
        """How many runs did: of one seed several may."""

    @property
    def overdue_text(self) -> str:
        """What is to be said of them."""
        seeds = ", ".join(map(str, self.overdue[:10])) + (" …" if len(self.overdue) > 10 else "")
        return (
            f"none of {self.done} seeds fails, but {len(self.overdue)} of them"
            + ("" if self.overdue_runs == len(self.overdue) else f", in {self.overdue_runs} of {self.runs} runs,")
            + f" passed a time limit by lateness and ended with that: {seeds}; count_overdue=True (--count-overdue)"
            " takes that for a failure"
        )

    def find(self, seeds: Iterable[int | str], progress: Progress, crew: Crew | None = None) -> Run | None:
        """Return the first run that fails, in the order of seeds, or None.

        Those that are done already are left out.

        Args:
            crew: Makes the runs; None to make them here.
        Raises:
            UsageError: If there is no seed, or the workers cannot run the program.
            SweepBroken: If the workers are gone.
        """
        rest = iter(seeds)
        first = next(rest, None)
        if first is None:
            raise UsageError("there is no seed to try: seeds is empty; give some, as range(100)")
        case = self._case(0, first)
        if "late" in case.schedule and self.pilot is None:
            pilot = PilotSchedule()
            self.runs += 1
            case = replace(case, schedule="fifo")
            found = run(self._program, case, schedule=pilot, stall_after=self._trial.stall_after)
            self.pilot = pilot.result
            if found.error is not None:
                return found
        cases = self._cases(chain([first], rest))
        return self._find_here(cases, progress) if crew is None else self._find_there(cases, progress, crew)

    def _find_here(self, cases: Iterator[Case], progress: Progress) -> Run | None:
        for case in cases:
            tried = try_seed(self._program, case, self._trial)
            self.runs += tried.runs
            if self._is_final(outcome := outcome_of(tried)):
                return tried.run
            self._pass(case, outcome)
            progress(self.done, 0)
        return None

    def _find_there(self, cases: Iterator[Case], progress: Progress, crew: Crew) -> Run | None:
        name = self._name
        assert name is not None
        with_workers: deque[Case] = deque()
        before = self.done

        def jobs() -> Iterator[str]:
            for case in cases:
                with_workers.append(case)
                yield make_job(name, self._program, case, self._trial)

        outcomes = sweep(
            crew, jobs(), self._trial.count_overdue, lambda done, failing: progress(before + done, failing)
        )
        with closing(outcomes):
            for outcome in outcomes:
                case = with_workers.popleft()
                if outcome.refusal:
                    raise UsageError(outcome.refusal)
                self.runs += outcome.runs
                if self._is_final(outcome):
                    outcomes.close()  # The workers stop, and the processor is free for shrinking.
                    return self._made_here(case, outcome, name)
                self._pass(case, outcome)
        return None

    def _made_here(self, case: Case, outcome: Outcome, name: str) -> Run:
        """Return a worker's run, made again here for its exception and transcripts, unless a process dies of it."""
        error: WorkerFailed = WorkerFailed(f"on a worker, and not in this process: {outcome.text}")
        symptom = outcome.symptom
        if outcome.has_died:
            error, symptom = WorkerDied(outcome.text), Symptom("WorkerDied", name)
        else:
            with TURN:
                found = try_seed(self._program, case, self._trial).run
            if found.error is not None:
                return found
        return Run(case=case, error=error, symptom=symptom, transcripts={}, planned=case.plan, end=0.0)

    def _is_final(self, outcome: Outcome) -> bool:
        return outcome.is_final(count_overdue=self._trial.count_overdue)

    def _pass(self, case: Case, outcome: Outcome) -> None:
        self.done += 1
        self.overdue_runs += outcome.overdue
        if outcome.is_overdue:
            self.overdue.append(case.seed)

    def _cases(self, seeds: Iterable[int | str]) -> Iterator[Case]:
        """Yield the case of each seed that is not done."""
        done = self.done
        for number, seed in enumerate(seeds):
            if number < done:
                continue
            case = self._case(number, seed)
            if "late" in case.schedule:
                assert self.pilot is not None
                stream = Seeds(seed).stream("explore/lateness")
                case = replace(case, lateness=self.pilot.draw(stream), lates=self.pilot.aim(stream))
            yield case

    def _case(self, number: int, seed: int | str) -> Case:
        """Return the case of a seed, whose lateness is not yet drawn."""
        entries = self._plan(Seeds(seed).stream("explore/plan")) if callable(self._plan) else self._plan
        case = replace(self._base, seed=seed, plan=tuple(entries))
        if self._base.schedule == MIXED:
            case = replace(case, schedule=_MIX[number % len(_MIX)])
        elif self._base.schedule == GUIDED:
            case = replace(case, schedule="late")
        return case
