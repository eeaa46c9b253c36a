"""Bugs that only a crash shows are found, made small, replayed, and told where they came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import check, explore, faults, why
from simulator.cli.main import main
from simulator.exploring.exploration import Failure, replay
from simulator.faults import plans
from tests.simulation import crashing

PROGRAM = "tests.simulation.crashing:hasty_store"


@pytest.fixture(scope="module")
def failure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failure]:
    """Return the failure of the store that answers too early."""
    save = tmp_path_factory.mktemp("failures") / "store.json"
    found = explore(crashing.hasty_store, range(20), plan=crashing.plan, latency=0.02, report=None, save=save)
    assert found is not None
    yield found


def test_what_was_told_and_not_synchronized_is_lost(failure: Failure) -> None:
    """Of four faults the crash of the machine is left; the failure is the program's own assertion."""
    assert failure.symptom.kind == "AssertionError"
    assert "stored <= kept" in failure.symptom.source
    (left,) = failure.plan
    assert isinstance(left, faults.At)
    assert left.fault.word == "crash"
    assert failure.is_repeatable
    assert "crash who=store how=machine" in str(failure)


def test_it_is_replayed_from_its_file(failure: Failure) -> None:
    """With the same transcript, byte for byte."""
    assert failure.path is not None
    again = replay(failure.path)
    assert again.is_same
    assert again.is_identical


def test_it_is_told_where_it_came_from(failure: Failure) -> None:
    """The run is repeated up to each instant, crash and disk included, to the byte."""
    origin = why(failure, runs=4, points=4)
    assert origin.runs > 4


def test_workers_find_the_same(failure: Failure) -> None:
    """In processes of their own, which find the program by its name; the report is that of running in order."""
    found = explore(
        crashing.hasty_store, range(20), plan=crashing.plan, latency=0.02, report=None, save=None, executor="processes"
    )
    assert found is not None
    assert (found.seed, found.symptom, found.plan) == (failure.seed, failure.symptom, failure.plan)


def test_the_store_that_synchronizes_first_passes() -> None:
    """Under the same plans."""
    assert explore(crashing.careful_store, range(20), plan=crashing.plan, latency=0.02, report=None) is None


@pytest.mark.parametrize("schedule", ["late", "random"])
def test_crashes_go_with_other_schedules(schedule: str) -> None:
    """Lateness and permutation find it too, and a run of each is repeated byte for byte."""
    found = explore(
        crashing.hasty_store, range(40), schedule=schedule, plan=crashing.plan, latency=0.02, report=None, save=None
    )
    assert found is not None
    assert found.is_repeatable


def test_a_plan_in_a_file_may_have_crashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the command line; the run fails there as well."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(plans.to_json([faults.at(6, faults.crash("store", "machine", restart_after=1))])))
    assert main(["run", PROGRAM, "--plan", str(plan), "--chart"]) == 1
    printed = capsys.readouterr()
    assert "crash: store" in printed.out + printed.err
    assert "lost: [" in printed.out + printed.err


def test_check_is_content_with_crashes_and_warns_of_globals_that_stay() -> None:
    """Once for each global that a life changed and the next one finds so; not of those that are only read."""
    said: list[str] = []
    checked = check(crashing.keeper, report=said.append)
    names = ["CACHE", "CALLS", "SEEN"]
    assert sorted(text.split(" the global ")[1].split()[0] for text in checked.warnings) == names
    assert checked.warnings[0].startswith("life 2 of 'keeper' finds the global CALLS of tests.simulation.crashing as ")
    assert said[0].count("\nwarning: life 2 of 'keeper' finds") == 3


def test_check_warns_of_nothing_where_nothing_stays() -> None:
    """A lock at the top of a module is released; what is only read is no matter."""
    assert check(crashing.counter, report=None).warnings == ()
