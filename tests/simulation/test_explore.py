"""Three planted bugs are found, made small and replayed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.exploring.exploration import Failure, explore
from tests.simulation import planted

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)  # thousands of runs, under whatever else the machine does

SEEDS = range(200)
LATENCY = 0.01
"""Seconds, always the same: only the schedule tells runs apart."""

SYMPTOMS = {
    "lost_update": "AssertionError at planted.py:{} in lost_update",
    "lock_order": "SimulationDeadlock at planted.py:{} in clerk",
    "duplicate": "AssertionError at planted.py:{} in duplicate",
}
PLACES = {
    "lost_update": "assert account.read() == 40",
    "lock_order": "with shelves[target]:",
    "duplicate": "assert len(received) ==",
}


def line_of(text: str) -> int:
    """Return the number of the one line of the planted programs that has this text."""
    lines = Path(planted.__file__).read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return number


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return where failures are kept."""
    return tmp_path_factory.mktemp("failures")


@pytest.fixture(scope="module")
def found(directory: Path) -> dict[tuple[str, str], tuple[Failure, str]]:
    """Return each bug's failure and report under each schedule that finds it."""
    failures = {}
    for program in planted.PROGRAMS:
        for schedule in ("random", "pct"):
            reports: list[str] = []
            failure = explore(
                program,
                SEEDS,
                schedule=schedule,
                latency=LATENCY,
                save=directory / f"{program.__name__}-{schedule}.json",
                report=reports.append,
            )
            assert failure is not None, f"{program.__name__} is not found by {schedule}"
            failures[program.__name__, schedule] = (failure, *reports)
    return failures


CASES = [(program.__name__, schedule) for program in planted.PROGRAMS for schedule in ("random", "pct")]


@pytest.mark.parametrize(("name", "schedule"), CASES)
def test_bug_is_found_and_made_small(found, name: str, schedule: str):
    """Within 200 seeds; what is left fails in the same way, with at most 2 faults and 10 preemptions."""
    failure, _ = found[name, schedule]
    assert str(failure.symptom) == SYMPTOMS[name].format(line_of(PLACES[name]))
    assert failure.run.symptom == failure.found.symptom
    assert failure.is_repeatable
    assert len(failure.plan) <= 2
    assert 1 <= len(failure.deviations) <= 10
    assert len(failure.found.deviations) > len(failure.deviations)
    assert len(failure.plan) < max(1, len(failure.found.plan))


@pytest.mark.parametrize("name", SYMPTOMS)
def test_first_in_first_out_does_not_find_it(name: str):
    """None of the same 200 seeds."""
    assert explore(getattr(planted, name), SEEDS, schedule="fifo", latency=LATENCY, save=None) is None


def test_every_kept_failure_is_the_same_20_times_in_a_fresh_process(found, directory: Path):
    """The same exception at the same place, and the same transcript to the byte, under another hash seed."""
    program = (
        "import json, sys; from simulator import replay\n"
        "for path in sys.argv[1:]:\n"
        "    made = [replay(path) for _ in range(20)]\n"
        "    print(json.dumps([sum(one.is_same and one.is_identical for one in made), str(made[0].run.symptom)]))"
    )
    paths = [str(failure.path) for failure, _ in found.values()]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "20", "PYTHONPATH": str(ROOT)},
    )
    counted = [json.loads(line) for line in done.stdout.splitlines()]
    assert counted == [[20, str(failure.symptom)] for failure, _ in found.values()]


@pytest.mark.parametrize("name", SYMPTOMS)
def test_printed_line_replays_it(found, name: str):
    """The last line of the report, as a shell takes it, fails as it did and shows where."""
    failure, report = found[name, "random"]
    python, *arguments = shlex.split(report.splitlines()[-1])
    assert (python, arguments[:3]) == ("python", ["-m", "simulator", "replay"])

    done = subprocess.run(
        [sys.executable, *arguments, "--chart"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"fails as it did: {failure.symptom}"
    assert "enabled" in done.stdout
    assert "planted.py" in done.stderr


def test_report_says_what_is_left(found):
    """The seed, the symptom, faults and changes of order of how many, each told."""
    failure, report = found["duplicate", "random"]
    first, text, faults, changes, _ = report.splitlines()
    assert first == f"seed {failure.seed} fails: {failure.symptom}"
    assert text.strip().startswith("received ['book 0'")
    assert faults.startswith(f"  needs {len(failure.plan)} of 5 faults: ")
    assert "at time=3.005 reset name=buyer" in faults
    count = f"{len(failure.deviations)} of {len(failure.found.deviations)}"
    assert changes.startswith(f"  needs {count} changes of order among tasks: ")
    assert "main/buy" in changes
