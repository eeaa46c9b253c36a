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


THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n"
"""Begins a thread, so that a copy of the process would not be whole."""


def script(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script, in a process that has one thread at first."""
    path = tmp_path / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_script_without_a_guard_is_told_so(tmp_path: Path):
    """Each process that begins anew imports it, and would start processes itself."""
    done = script(
        THREAD + "from simulator import explore\n"
        "def program(sim):\n    sim.sleep(1)\n"
        "explore(program, range(9), executor='processes', save=None)\n",
        tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("meshsync.errors.UsageError: the workers cannot start")
    assert "__name__ == '__main__'" in done.stderr.splitlines()[-1]


COUNTING = """
import os, signal
from pathlib import Path
from simulator import explore
os.write(1, b"begun\\n")
signal.signal(signal.SIGTERM, lambda number, frame: print("terminated", flush=True))
def program(sim):
    sim.sleep(1)
    if sim.seed == 12 and not Path("mark").exists():
        Path("mark").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    assert sim.seed != 30
if __name__ == "__main__":
    explore(program, range(40), executor="processes", save=None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else is it known how many threads there are")
def test_processes_are_copies_of_one_without_other_threads(tmp_path: Path):
    """The script is imported once then, else by each of them; killed ones or not, the report is the same."""
    reports = []
    for is_killed in (False, True):
        for before in ("", THREAD):
            (tmp_path / "mark").unlink(missing_ok=True)
            if not is_killed:
                (tmp_path / "mark").touch()
            done = script(before + COUNTING, tmp_path)
            lines = done.stdout.splitlines()
            assert done.stderr == ""
            if not is_killed:
                assert (lines.count("begun") == 1) == (not before)
            assert (tmp_path / "mark").exists()
            place = "script.py:14" if before else "script.py:12"
            reports.append("\n".join(line for line in lines if line != "begun").replace(place, "the line"))
    assert set(reports) == {reports[0]}
    assert reports[0].startswith("seed 30 fails: AssertionError at the line in program")


@pytest.mark.skipif(sys.platform != "linux", reason="no such call")
@pytest.mark.parametrize("before", ["", THREAD], ids=["copies", "anew"])
def test_no_process_is_left_when_the_driver_is_killed(tmp_path: Path, before):
    """A worker is told of it by the system, wherever it is."""
    source = (
        "import os\n"
        "from simulator import explore\n"
        "def program(sim):\n"
        "    sim.sleep(1)\n"
        "    if sim.seed == 20:\n"
        "        os.kill(os.getppid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    explore(program, range(10**6), executor='processes', schedule='fifo', save=None)\n"
    )
    done = script(before + source, tmp_path)  # Which returns when no process has its standard output any more.
    assert done.returncode == -9


@pytest.mark.skipif(sys.platform != "linux", reason="no such call")
def test_no_process_is_left_that_was_still_starting_when_the_driver_was_killed(tmp_path: Path):
    """It asks whose child it is, after it has asked for the signal."""
    source = (
        "import os, time\n"
        "driver = os.getppid()\n"
        "if __name__ == '__mp_main__':\n"
        "    try:\n"
        "        os.close(os.open('first', os.O_CREAT | os.O_EXCL))\n"
        "    except FileExistsError:\n"
        "        while os.getppid() == driver:\n"
        "            time.sleep(0.01)\n"
        "from simulator import explore\n"
        "def program(sim):\n"
        "    os.kill(os.getppid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    explore(program, range(10**6), executor='processes', schedule='fifo', save=None)\n"
    )
    done = script(THREAD + source, tmp_path)
    assert done.returncode == -9
    assert (tmp_path / "first").exists()


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
