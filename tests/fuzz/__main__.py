"""Fuzz decoders for a while each, guided by coverage; ``tox -e fuzz`` has the dependencies.

    python -m tests.fuzz [--minutes 1] [--keep DIRECTORY] [TARGET …]

Exits with the number of targets that failed. An input that fails is printed and kept: make it a named test in
``tests/fuzz/test_decoders.py``. What was learned is kept as well, and the next run begins with it.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpus import corpus
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Fuzz one target after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz decoders, guided by coverage.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target; 1 by default")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"), help="where inputs are kept; .fuzz by default")
    given = parser.parse_args(arguments)
    unknown = set(given.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    return sum(not _fuzz(name, given.minutes, given.keep) for name in given.targets or TARGETS)


def _fuzz(name: str, minutes: float, keep: Path) -> bool:
    """Return whether nothing was found."""
    learned, failed = keep / name / "corpus", keep / name / "failed"
    for directory in (learned, failed):
        directory.mkdir(parents=True, exist_ok=True)
    for data in corpus(name):
        (learned / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    before = set(failed.iterdir())
    options = [f"-max_total_time={max(1, round(60 * minutes))}", "-rss_limit_mb=4096", "-timeout=20", "-verbosity=1"]
    options += ["-max_len=16384", f"-artifact_prefix={failed}/", str(learned)]
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, *options]
    log = keep / name / "log.txt"
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if " cov: " in line), "no coverage")
    print(f"{name}: {'nothing found' if status == 0 else 'FAILED'}; {last}", flush=True)
    if status:
        print("\n".join(lines[-60:]))
        for path in sorted(set(failed.iterdir()) - before):
            print(f"{path}: {path.read_bytes()!r:.3000}")
    return status == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
