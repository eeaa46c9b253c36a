"""The bench of races across time is sound: each race is there, none shows by itself, and its repair ends it."""

from __future__ import annotations

import ast
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.exploring.runs import Case, Program, Run, run
from tests.benchmarks.races import race as definitions
from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.lateness import late
from tests.benchmarks.races.race import LateStep, Planted, Race
from tests.benchmarks.races.searching import search

DIRECTORY = Path(definitions.__file__).parent
TOOLS = {"__main__", "catalogue", "failures", "lateness", "origins", "race", "searching"}
"""Modules there that are no races."""
SEEDS = range(5)

every_race = pytest.mark.parametrize("race", RACES.values(), ids=list(RACES))


def run_late(program: Program, race: Race, seed: int) -> Run:
    """Run a program whose moments are late, and check that they came."""
    with ExitStack() as stack:
        moments = {event: stack.enter_context(late(event)) for event in race.moments}
        made = run(program, Case(seed, race.law))
    assert not [event for event, moment in moments.items() if not moment.came]
    return made


@every_race
def test_race_does_not_show_by_itself(race: Race):
    """First in first out, with latencies as they are, both programs pass."""
    for program in (race.racy, race.repaired):
        for seed in SEEDS:
            made = run(program, Case(seed, race.law))
            assert made.error is None, f"seed {seed}: {made.symptom}"


@every_race
def test_race_shows_when_its_moment_is_late(race: Race):
    """With the planted symptom."""
    for seed in SEEDS:
        made = run_late(race.racy, race, seed)
        assert race.symptom.matches(made.symptom), f"seed {seed}: {made.symptom}"


@every_race
def test_repaired_program_passes_when_that_moment_is_late(race: Race):
    """It is the repair that counts, not another timing."""
    for seed in SEEDS:
        made = run_late(race.repaired, race, seed)
        assert made.error is None, f"seed {seed}: {made.symptom}"


@every_race
def test_places_are_lines_of_the_module(race: Race):
    """The symptom's is one line of its function; a late step's is there."""
    text = (DIRECTORY / f"{race.name}.py").read_text(encoding="utf-8")
    source = text.partition("\nRACE = ")[0].splitlines()
    (function,) = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == race.symptom.function
    ]
    assert sum(race.symptom.line in line for line in source[function.lineno : function.end_lineno]) == 1
    for event in race.moments:
        assert not isinstance(event, LateStep) or any(event.line in line for line in source)


def test_every_module_of_a_race_is_in_the_catalogue():
    """None is forgotten."""
    assert {path.stem for path in DIRECTORY.glob("*.py")} - TOOLS == set(RACES)


def test_search_tells_what_is_found():
    """The first seed of a racy program, small; in order of arrival nothing; and that the repaired program passes."""
    blind = search("late_reply", "fifo", seeds=3, repaired_seeds=3)
    assert (blind.found, blind.others, blind.repaired_fails) == (None, {}, {})

    found = search("late_reply", "late", seeds=100, repaired_seeds=3)
    assert found.found is not None
    assert found.left >= 1
    assert found.is_repeatable
    assert found.repaired_fails == {}


def test_find_by_another_symptom_does_not_count(monkeypatch: pytest.MonkeyPatch):
    """It is listed, and the search goes on."""
    wrong = replace(RACES["late_reply"], symptom=Planted("KeyError", "forecast", "assert not wrong"))
    monkeypatch.setitem(RACES, "late_reply", wrong)
    found = search("late_reply", "late", seeds=10, repaired_seeds=0)
    assert found.found is None
    assert found.others
    assert all(text.startswith("AssertionError") for text in found.others.values())
