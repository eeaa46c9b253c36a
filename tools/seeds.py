"""Run pytest as one environment of tox does: which tests on this Python, how many examples, under which hash seeds.

    python -m tools.seeds [arguments of pytest]

On the Pythons of `WHOLE` everything runs. On the others all runs but what ``tests/conftest.py`` marks as
``one_python``: what is named in `ONE_PYTHON`, and the tests and parameters that are marked where they stand, as that or
as ``once``. Plain ``pytest`` leaves out nothing. One run has all examples of properties, the others a quarter of them.

All this runs under the first of `SEEDS`. Under the second run the tests that could depend on it, which
``tests/conftest.py`` marks as ``hash_seed``: all that are not named in `INDIFFERENT`. A result that depends on the
order of a set shows up as a failure. A seed does the same on every Python, so that these tests are what the Python of
`BETWEEN` runs, and all of it: sockets and processes are driven on an older and on a newer one. Where there is none
between, the newest runs these tests once more.

Each run is spread over the processors where pytest-xdist is installed, by modules; the longest, `FIRST`, begin first.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import NamedTuple

from tools import interpreters

SEEDS = ("0", "20260101")
"""Two values of PYTHONHASHSEED under which sets of strings iterate in different orders."""

WHOLE = ((3, 13),)
"""The Pythons on which everything runs, with all examples: the newest."""

BETWEEN = (3, 12)
"""The Python on which the second seed is tried, and nothing else: one between others."""

TESTS = Path(__file__).parents[1] / "tests"

ONE_PYTHON = (
    # The project's own machinery reads sources and pages, which are the same on every Python.
    "unit/tools",
    # Searches of hundreds of simulated runs. Those of one seed are the same on every Python, as committed digests and
    # `simulation/test_kept_failures.py` tell.
    "simulation/test_bench_of_races.py",
    "simulation/test_explore.py",
    "stateful/test_stateful_page.py",
    # Many processes, and hundreds of runs: what `emulator/test_pages.py` has of them on every Python.
    "emulator/test_long_pages.py",
    # The plug-in beside others in many processes; those that it needs for itself are in `unit/test_pytest_plugin.py`.
    "unit/test_pytest_company.py",
)
"""Directories and modules below tests/ whose outcome no version of Python changes, and which take long enough to
matter. New ones run on all."""

INDIFFERENT = (
    # Real sockets, threads and processes: their order is the system's, and the effect of a hash seed on the code that
    # they drive is tested without them.
    "emulator",
    "interop",
    "threads",
    "contract/test_autobahn.py",
    "contract/test_runtime.py",
    "contract/test_transport.py",
    "simulation/test_made_tests.py",
    "simulation/test_sweeps.py",
    "unit/cli",
    "unit/command",
    "unit/emulator",
    "unit/test_discovery.py",
    "unit/test_local_emulator.py",
    "packaging",
    "unit/test_pytest_company.py",
    "unit/test_pytest_plugin.py",
    "unit/test_pytest_tracebacks.py",
    "unit/test_testing_page.py",
    "unit/transport",
    # Files on a disk, and their size in memory.
    "unit/files",
    "unit/record/test_memory.py",
    # The project's own machinery.
    "unit/tools",
)
"""Directories and modules below tests/ that run under the first seed only. New ones run under both."""

FIRST = (
    "emulator/test_long_pages.py",
    "emulator/test_pages.py",
    "emulator/test_replaying.py",
    "emulator/test_benchmarks.py",
    "emulator/test_finding.py",
    "emulator/test_windows.py",
)
"""The modules below tests/ that take longest, in this order. Each stays on one processor: one that began late would run
alone at the end. `.ci/summary.py` prints which ones were the longest."""

NOTHING_COLLECTED = 5
"""The exit status of pytest where no test was selected."""


class Run(NamedTuple):
    """One run of pytest."""

    seed: str
    """The value of PYTHONHASHSEED."""
    marks: str | None
    """What of the tests runs, as ``-m`` takes it; None for what pytest runs by itself."""
    profile: str
    """The profile of Hypothesis, see ``tests/support/profiles.py``."""


def runs_on(version: tuple[int, int], has_between: bool) -> Iterator[Run]:
    """Yield the runs of a version of Python, major and minor.

    Args:
        has_between: Whether this machine has the Python of `BETWEEN` too.
    """
    usual = "not releases and not soak"
    if version in WHOLE:
        yield Run(SEEDS[0], None, "default")
    elif version != BETWEEN:
        yield Run(SEEDS[0], f"not one_python and {usual}", "brief")
    if version == BETWEEN or (version in WHOLE and not has_between):
        yield Run(SEEDS[1], f"hash_seed and {usual}", "brief")


@functools.cache
def depends(path: PurePath) -> bool:
    """Return whether the tests in a file may depend on the hash seed."""
    return not _is_below(path, INDIFFERENT)


@functools.cache
def is_for_one_python(path: PurePath) -> bool:
    """Return whether the tests in a file run on the Pythons of `WHOLE` alone."""
    return _is_below(path, ONE_PYTHON)


def turn_of(path: PurePath) -> int:
    """Return when the tests in a file begin: those in `FIRST` in that order, and then all others in their own."""
    return _TURNS.get(path, len(_TURNS))


_TURNS: dict[PurePath, int] = {TESTS / name: number for number, name in enumerate(FIRST)}


def _is_below(path: PurePath, names: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(TESTS / name) for name in names)


def main(arguments: list[str]) -> int:
    """Do every run, even if another failed, and return the worst exit status."""
    runs = runs_on(sys.version_info[:2], BETWEEN in interpreters.available())
    return max((_do(run, arguments) for run in runs), key=abs)


def _do(run: Run, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest"]
    if find_spec("xdist"):
        # The tests of a file stay together, since some share what they have set up.
        # One more than processors: some tests wait, for processes and for time.
        command += ["--numprocesses", str((os.cpu_count() or 1) + 1), "--dist", "loadfile", "--no-loadscope-reorder"]
    if run.marks is not None:
        command += ["-m", run.marks]
    # Who asks for another profile gets it.
    environ = {"HYPOTHESIS_PROFILE": run.profile, **os.environ, "PYTHONHASHSEED": run.seed}
    print(f"PYTHONHASHSEED={run.seed} HYPOTHESIS_PROFILE={environ['HYPOTHESIS_PROFILE']}", flush=True)
    status = subprocess.run([*command, *arguments], env=environ, check=False).returncode
    # It may be that none of the tests asked for belongs to the run.
    return 0 if arguments and run.marks is not None and status == NOTHING_COLLECTED else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
