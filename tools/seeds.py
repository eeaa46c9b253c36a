"""Run pytest under each of two hash seeds: a result that depends on the order of a set shows up as a difference.

    python -m tools.seeds [arguments of pytest]

All tests run under the first. Under the second run those that could depend on it, which ``tests/conftest.py`` marks as
``hash_seed``: all that are not named in `INDIFFERENT`. Side by side where there are processors for it; the second one's
output comes when the first has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path, PurePath

SEEDS = ("0", "20260101")
"""Two values of PYTHONHASHSEED under which sets of strings iterate in different orders."""

TESTS = Path(__file__).parents[1] / "tests"

INDIFFERENT = (
    # Real sockets, threads and processes: their order is the system's, and the effect of a hash seed on the code that
    # they drive is tested without them.
    "emulator",
    "interop",
    "threads",
    "contract/test_runtime.py",
    "contract/test_transport.py",
    "unit/cli",
    "unit/emulator",
    "unit/test_pytest_plugin.py",
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
    first = [sys.executable, "-m", "pytest", *arguments]
    second = [sys.executable, "-m", "pytest", "-m", "hash_seed and not releases and not soak", *arguments]
    is_parallel = (os.cpu_count() or 1) > 1
    statuses = []
    with ExitStack() as stack:
        waiting = []
        for seed, command in zip(SEEDS, (first, second), strict=True):
            kept = stack.enter_context(tempfile.TemporaryFile()) if waiting and is_parallel else None
            if waiting and not is_parallel:
                waiting[-1][1].wait()
            if kept is None:
                print(f"PYTHONHASHSEED={seed}", flush=True)
            environ = {**os.environ, "PYTHONHASHSEED": seed}
            run = subprocess.Popen(command, env=environ, stdout=kept, stderr=subprocess.STDOUT if kept else None)
            waiting.append((seed, run, kept))
        for seed, run, kept in waiting:
            statuses.append(run.wait())
            if kept is not None:
                print(f"PYTHONHASHSEED={seed}", flush=True)
                kept.seek(0)
                sys.stdout.buffer.write(kept.read())
                sys.stdout.buffer.flush()
    if arguments and statuses[1] == NOTHING_COLLECTED:  # none of the tests asked for depends on the seed
        statuses[1] = 0
    return max(statuses, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
