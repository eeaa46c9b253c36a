"""A seed and its mutants: its run, and runs that differ from an earlier one of these in a few choices.

A mutant is a parent of later ones if some mailbox saw an order of arrivals that it had not seen in this seed's runs: so
one new order leads to the next. All follows from the seed, so that it may run anywhere. Which changes are made is here;
that a run is repeated with other choices is `ReplaySchedule`'s business.

A step is made late by so much that it comes just behind another event of its parent's run, so that a change is one of
an order, and not only of a time: see ``simulator/engine/aiming.py``.

Source: Fray's Fest (NSDI 2026), for actors and mailboxes: five choices changed, sixteen mutants, kept for a new order
    of arrivals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from simulator.engine.aiming import Targets
from simulator.engine.lateness import ReplaySchedule, schedule_named
from simulator.engine.schedules import Deviation, Schedule
from simulator.engine.seeds import Seeds, pick
from simulator.engine.traced_schedule import Decision, TracedSchedule
from simulator.exploring.runs import Case, Program, Run, run

__all__ = ["MUTANTS", "Trial", "Tried", "try_seed"]

MUTANTS = 16
"""Of a seed, at most."""
CHANGES = 5
"""Choices in which a mutant differs from its parent."""
_OF_WHO = 0.2
"""The probability that a change is of who goes on, where several could, and not of what is late."""
_BACK = 0.5
"""The probability that a choice is taken back in which the parent is not first in first out, or not in time."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done with a seed."""

    mutants: int = 0
    """The most of them; 0 for its run alone."""
    count_overdue: bool = False
    """Whether a run fails that is overdue."""
    stall_after: float | None = 5.0
    """Real seconds for which an actor may block outside the simulation; None for ever."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a seed."""

    run: Run
    """The first that fails; else one that is overdue; else its own."""
    runs: int = 1
    """How many were made of it."""
    overdue: int = 0
    """How many of those were overdue, and did not count."""


def try_seed(program: Program, case: Case, trial: Trial) -> Tried:
    """Run the case of a seed, and then mutants of it until one fails."""
    shown, made, overdue = None, 0, 0
    for one in _runs(program, case, trial):
        made += 1
        if one.error is not None and (trial.count_overdue or not one.is_overdue):
            return Tried(one, made, overdue)
        overdue += one.is_overdue
        if shown is None or (one.is_overdue and not shown.is_overdue):
            shown = one
    assert shown is not None
    return Tried(shown, made, overdue)


def _runs(program: Program, case: Case, trial: Trial) -> Iterator[Run]:
    if not trial.mutants:
        yield run(program, case, stall_after=trial.stall_after)
        return
    seeds = Seeds(case.seed)
    traced = TracedSchedule(schedule_named(case.schedule, seeds, case.lateness, case.lates))
    stream = seeds.stream("explore/guided")
    parents: list[Parent] = []
    seen: set[bytes] = set()
    for _ in range(1 + trial.mutants):
        made = run(program, case, schedule=traced, stall_after=trial.stall_after)
        yield made
        # One that a time limit cut short has less to change.
        if not parents or made.error is None:
            arrived = arrivals(made)
            if not parents or not arrived <= seen:
                parents.append(Parent(made.case, Targets(traced.steps), tuple(traced.decided)))
            seen |= arrived
        case = parents[pick(stream, len(parents))].mutant(stream)
        traced = TracedSchedule(repeating(case))


def repeating(case: Case) -> Schedule:
    return ReplaySchedule(case.deviations or (), case.lates)


def arrivals(made: Run) -> set[bytes]:
    """Return a digest of each mailbox's order of arrivals: who sent it what, and what it saw of the room."""
    boxes: dict[tuple[str, str], hashlib.blake2b] = {}
    for room, transcript in made.transcripts.items():
        for record in transcript:
            box = boxes.get((room, record.recipient))
            if box is None:
                box = boxes[room, record.recipient] = hashlib.blake2b(
                    f"{room}\0{record.recipient}\0".encode(), digest_size=16
                )
            box.update(f"{record.kind}\0{record.sender}\0{record.type}\0{record.outcome}\n".encode())
    return {box.digest() for box in boxes.values()}


@dataclass(frozen=True, slots=True)
class Parent:
    """A run that mutants differ from."""

    case: Case
    """With its deviations, and what was late."""
    targets: Targets
    decided: tuple[Decision, ...]

    def mutant(self, stream: Random) -> Case:
        """Return a case that differs in a few choices.

        Half of what the parent had besides is taken back, so that mutants of mutants do not come to have ever more.
        """
        deviations = {one[:3]: one for one in self.case.deviations or () if stream.random() >= _BACK}
        lates = {(one.who, one.kind, one.step): one for one in self.case.lates if stream.random() >= _BACK}
        for _ in range(CHANGES):
            if self.decided and (not self.targets.steps or stream.random() < _OF_WHO):
                decision = self.decided[pick(stream, len(self.decided))]
                others = decision.candidates[1:]
                deviations[decision[:3]] = Deviation(*decision[:3], others[pick(stream, len(others))])
            elif self.targets.steps:
                late = self.targets.aim(stream)
                lates[late.who, late.kind, late.step] = late
        return replace(self.case, deviations=tuple(deviations.values()), lates=tuple(lates.values()))
