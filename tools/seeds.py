"""Run pytest under each of two hash seeds: a result that depends on the order of a set shows up as a difference.

    python -m tools.seeds [arguments of pytest]

All tests run under the first. Under the second run those that could depend on it, which ``tests/conftest.py`` marks as
``hash_seed``: all that are not named in `INDIFFERENT`; and only on the Pythons named in `TWICE`, since a seed does the
same in all of them. On those named in `BETWEEN` these tests are all that run: what the others drive, sockets and
processes, is tried on an older and on a newer Python. Each run is spread over the processors where pytest-xdist is
installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path, PurePath

SEEDS = ("0", "20260101")
"""Two values of PYTHONHASHSEED under which sets of strings iterate in different orders."""

TWICE = ((3, 13),)
"""The Pythons on which the second seed is tried: the newest."""

BETWEEN = ((3, 12),)
"""The Pythons between others, on which no sockets and processes are driven."""

TESTS = Path(__file__).parents[1] / "tests"

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
    "unit/cli",
    "unit/command",
    "unit/emulator",
    "unit/test_discovery.py",
    "unit/test_local_emulator.py",
    "packaging",
    "unit/test_pytest_company.py",
    "unit/test_pytest_plugin.py",
    "unit/test_testing_page.py",
    "unit/transport",
    # Files on a disk.
    "unit/files",
    # The project's own machinery.
    "unit/tools",
)
"""Directories and modules below tests/ that run under the first seed only. New ones run under both."""

NOTHING_COLLECTED = 5
"""The exit status of pytest where no test was selected."""


def depends(path: PurePath) -> bool:
    """Return whether the tests in a file may depend on the hash seed."""
    return not any(path.is_relative_to(TESTS / name) for name in INDIFFERENT)


def main(arguments: list[str]) -> int:
    """Run every seed, even if another failed, and return the worst exit status."""
    pytest = [sys.executable, "-m", "pytest"]
    if find_spec("xdist"):
        # The tests of a file stay together, since some share what they have set up.
        pytest += ["--numprocesses", "auto", "--dist", "loadfile"]
    dependent = [*pytest, "-m", "hash_seed and not releases and not soak", *arguments]
    version = sys.version_info[:2]
    runs = [(SEEDS[0], dependent if version in BETWEEN else [*pytest, *arguments])]
    if version in TWICE:
        runs.append((SEEDS[1], dependent))
    return max((_run(seed, command, bool(arguments)) for seed, command in runs), key=abs)


def _run(seed: str, command: list[str], is_part: bool) -> int:
    print(f"PYTHONHASHSEED={seed}", flush=True)
    status = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=False).returncode
    # It may be that none of the tests asked for depends on the seed.
    return 0 if is_part and "hash_seed" in " ".join(command) and status == NOTHING_COLLECTED else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
