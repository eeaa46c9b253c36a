"""Run pytest under each of two hash seeds: what depends on the order of a set shows up as a difference.

    python -m tools.seeds [arguments of pytest]

Side by side where there are processors for it; the second one's output comes when the first has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack

SEEDS = ("0", "20260101")
"""Two values of PYTHONHASHSEED under which sets of strings iterate in different orders."""


def main(arguments: list[str]) -> int:
    """Run every seed, whatever the others did, and return the worst exit status."""
    command = [sys.executable, "-m", "pytest", *arguments]
    is_parallel = (os.cpu_count() or 1) > 1
    statuses = []
    with ExitStack() as stack:
        waiting = []
        for seed in SEEDS:
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
    return max(statuses, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
