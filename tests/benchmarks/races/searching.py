"""Searches one race's programs with one schedule, and returns what was found, as data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulator import explore
from simulator.exploring.exploration import Failure
from simulator.exploring.runs import Program
from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.race import Race

__all__ = ["Search", "search"]


@dataclass(slots=True)
class Search:
    """What a schedule found of a race."""

    race: str
    schedule: str
    seeds: int
    first: int = 0
    """The first of them."""
    found: int | None = None
    """How many seeds of the racy program were tried before the first with the planted symptom; None if none has it."""
    runs: int = 0
    """How many runs it took to find that, the pilot's and all mutants included."""
    left: int = 0
    """How many deviations and late steps are left of that after shrinking."""
    latest: float = 0.0
    """By how many seconds the latest of those steps is late."""
    is_repeatable: bool = True
    others: dict[int, str] = field(default_factory=dict)
    """Those of them that fail with another symptom, by how many were tried before each."""
    milliseconds: float = 0.0
    """Of real time for a seed of the racy program, without shrinking; 0 if it was found too soon to tell."""
    repaired_seeds: int = 0
    """With how many seeds the repaired program was run."""
    repaired_fails: dict[int, str] = field(default_factory=dict)
    """Those with which it failed, likewise."""
    notes: list[str] = field(default_factory=list)
    """What `explore` reported of runs that do not count, of the racy program and then of the repaired one."""


def search(
    name: str, schedule: str, seeds: int, repaired_seeds: int, shrinking: int = 500, *, first: int = 0
) -> Search:
    """Run the racy program until its planted symptom shows, and the repaired one with all seeds."""
    race = RACES[name]
    result = Search(race.name, schedule, seeds, first, repaired_seeds=repaired_seeds)
    begun, spent = time.perf_counter(), 0.0
    for failure in _failures(race.racy, race, schedule, range(first, first + seeds), result.notes):
        tried = int(failure.seed) - first
        result.runs += failure.runs
        if race.symptom.matches(failure.symptom):
            spent = time.perf_counter() - begun
            result.found = tried
            break
        result.others[tried] = str(failure.symptom)
    tried = seeds if result.found is None else result.found + 1
    result.milliseconds = round((spent or time.perf_counter() - begun) / tried * 1000, 1)
    if result.found is not None and shrinking:
        _shrink(race, schedule, result, shrinking)
    for failure in _failures(race.repaired, race, schedule, range(first, first + repaired_seeds), result.notes):
        result.repaired_fails[int(failure.seed) - first] = f"{failure.symptom}: {failure.error}"[:200]
    return result


def _failures(program: Program, race: Race, schedule: str, seeds: range, notes: list[str]) -> Iterator[Failure]:
    """Yield the failing runs in the order of seeds."""
    while seeds:
        failure = explore(
            program,
            seeds,
            schedule=schedule,
            latency=race.law,
            shrinking=0,
            save=None,
            report=notes.append,
        )
        if failure is None:
            return
        notes.pop()  # The text of this failure.
        yield failure
        seeds = range(int(failure.seed) + 1, seeds.stop)


def _shrink(race: Race, schedule: str, result: Search, shrinking: int) -> None:
    """Find it again as it was found, and make it small."""
    # The same first seed as when it was found: there the pilot is from which lateness follows.
    first = result.first + max(result.others, default=-1) + 1
    failure = explore(
        race.racy,
        range(first, result.first + result.seeds),
        schedule=schedule,
        latency=race.law,
        shrinking=shrinking,
        save=None,
        report=None,
    )
    is_same = failure is not None and int(failure.seed) - result.first == result.found
    assert failure is not None and is_same, "the search is not deterministic"
    result.is_repeatable = failure.is_repeatable
    lates = failure.run.lates
    result.left = len(failure.deviations) + len(lates)
    result.latest = max((one.by / 1e9 for one in lates), default=0.0)
