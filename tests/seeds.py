"""Run pytest once under each of two hash seeds: what depends on the order of a set shows up as a difference.

    python -m tests.seeds [arguments of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys

SEEDS = ("0", "20260101")
"""Two values of PYTHONHASHSEED under which sets of strings iterate in different orders."""


def main(arguments: list[str]) -> int:
    """Run every seed, whatever the others did, and return the worst exit status."""
    statuses = []
    for seed in SEEDS:
        print(f"PYTHONHASHSEED={seed}", flush=True)
        command = [sys.executable, "-m", "pytest", *arguments]
        statuses.append(subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=False).returncode)
    return max(statuses, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
