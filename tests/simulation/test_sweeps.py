"""A search on real processes: those of the standard library, loky's and Dask's; killed, interrupted, and going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import WorkerDied
from simulator.exploring.exploration import explore
from tests.support import sweeping
from tests.support.crews import WORKERS
from tests.support.sweeping import MARK, dies_at_twelve, dies_once, is_overdue_at_times, overtakes

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)  # processes that start, under whatever else the machine does

SEEDS = range(40)


def searched(program: Any, **options: Any) -> tuple[Any, ...]:
    """Return all that a search tells."""
    reports: list[str] = []
    failure = explore(program, SEEDS, **{"save": None, "report": reports.append} | options)
    assert failure is not None
    return failure.seed, failure.runs, failure.run.digests, failure.run.deviations, failure.run.lates, reports


@pytest.mark.parametrize("workers", WORKERS)
def test_report_is_that_of_running_in_order(workers):
    """The seed, the counts, the transcripts, what is left of it and the text."""
    expected = searched(is_overdue_at_times)
    with WORKERS[workers]() as executor:
        assert searched(is_overdue_at_times, executor=executor) == expected
    assert expected[:2] == (30, expected[1])


@pytest.mark.parametrize("workers", ["processes", "loky", "dask"])
def test_guided_report_is_that_of_running_in_order(workers):
    """Wherever a seed and its mutants run; the one that fails is a mutant."""
    expected = searched(overtakes, schedule="guided")
    with WORKERS[workers]() as executor:
        assert searched(overtakes, schedule="guided", executor=executor) == expected
    assert expected[1] > 1 + expected[0] + 1


@pytest.mark.parametrize("workers", ["processes", "loky", "dask"])
def test_killed_worker_changes_nothing(workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process dies in the midst of the search; what it had is run by another."""
    mark = tmp_path / "mark"
    monkeypatch.setenv(MARK, str(mark))
    with ExitStack() as stack:
        executor = stack.enter_context(WORKERS[workers]())
        found = searched(dies_once, executor=executor)
    assert mark.exists()
    assert found == searched(dies_once)  # The mark is there, so that it kills nothing here.
    assert found[0] == 30


@pytest.mark.parametrize("workers", ["processes", "loky"])
def test_seed_that_kills_its_process_is_a_failure(workers):
    """It is named with the signal that ended the process, and this process lives."""
    with WORKERS[workers]() as executor:
        failure = explore(dies_at_twelve, SEEDS, save=None, report=None, executor=executor)
    assert failure is not None
    assert (failure.seed, type(failure.error)) == (12, WorkerDied)
    assert "SIGKILL" in str(failure)


def command(*arguments: str, cwd: Path, mark: Path) -> subprocess.CompletedProcess[str]:
    """Run the simulator's command line."""
    return subprocess.run(
        [sys.executable, "-m", "simulator", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(mark)},
    )


@pytest.mark.parametrize("workers", [[], ["--workers", "3"]], ids=["default", "three"])
def test_interrupted_command_goes_on(tmp_path: Path, workers):
    """Ctrl-C prints the line that goes on, and that finds what an uninterrupted search finds."""
    mark, program = tmp_path / "mark", f"{sweeping.__file__}:interrupts_once"
    asked = ("explore", program, "--seeds", "0:40", "--latency", "0.01", "--schedule", "late", *workers)
    interrupted = command(*asked, cwd=tmp_path, mark=mark)
    assert interrupted.returncode == 130, interrupted.stderr
    *_, line = interrupted.stdout.splitlines()
    assert line == "python -m simulator explore --resume search-interrupts_once.json"
    assert json.loads((tmp_path / "search-interrupts_once.json").read_text())["done"] <= 13

    again = command(*line.split()[3:], cwd=tmp_path, mark=mark)
    whole = command(*asked, cwd=tmp_path, mark=mark)
    assert again.returncode == whole.returncode == 1
    assert again.stdout == whole.stdout
    assert again.stdout.startswith("seed 30 fails: AssertionError")
    assert not (tmp_path / "search-interrupts_once.json").exists()


def test_script_without_a_guard_is_told_so(tmp_path: Path):
    """Each process imports it, and would start processes itself."""
    script = tmp_path / "script.py"
    script.write_text(
        "from simulator import explore\n"
        "def program(sim):\n    sim.sleep(1)\n"
        "explore(program, range(9), executor='processes', save=None)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("meshsync.errors.UsageError: the workers cannot start")
    assert "__name__ == '__main__'" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="no such call")
def test_two_processes_have_a_processor_each(tmp_path: Path):
    """Where there are two; of more processes than processors the last runs where it may."""
    allowed = os.sched_getaffinity(0)
    source = (
        "import os\n"
        "from simulator.engine.os_process import own_processor\n"
        "with own_processor():\n"
        "    print(sorted(os.sched_getaffinity(0)), flush=True)\n"
        "    input()\n"
    )
    number = len(allowed) + 1
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", source],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                    env={**os.environ, "TMPDIR": str(tmp_path)},
                )
            )
            for _ in range(number)
        ]
        lines = [process.stdout.readline().strip() for process in processes if process.stdout]
        for process in processes:
            process.communicate("\n")
    assert sorted(lines) == sorted([*(str([one]) for one in allowed), str(sorted(allowed))])
