"""Fuzz the decoders, the seat and the room, guided by coverage; ``tox -e fuzz`` has the dependencies.

    python -m tests.fuzz [--minutes 5] [--directory DIRECTORY] [--keep] [TARGET …]
    python -m tests.fuzz --runs 6000 [TARGET …]

The minutes are shared among the targets, half of them between the seat and the room. Exits with the number of targets
that failed. An input that fails is printed and kept: make it a named test in ``tests/fuzz/test_decoders.py``. What was
learned is in the directory, and the next run there begins with it; ``--keep`` puts what reaches more than the inputs
written in ``corpus.py`` into ``tests/fuzz/found``, to be committed, with which every later run begins.

With ``--runs`` each target gets so many inputs bred from those, the same ones in every run, and no atheris is needed;
the targets are spread over the processors.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tests.fuzz.corpus import corpus, keep, mutants, written
from tests.fuzz.targets import TARGETS

LARGE = ("room", "seat")
"""Targets that share half of the time."""


def main(arguments: list[str]) -> int:
    """Fuzz one target after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz decoders, a seat and a room.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together; 5 by default")
    parser.add_argument("--directory", type=Path, default=Path(".fuzz"), help="where inputs are; .fuzz by default")
    parser.add_argument("--keep", action="store_true", help="put what was found into tests/fuzz/found")
    parser.add_argument("--runs", type=int, help="so many inputs for each target, not guided by coverage")
    given = parser.parse_args(arguments)
    unknown = set(given.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    targets = given.targets or list(TARGETS)
    if given.runs is not None:
        # Those that take longest begin.
        targets.sort(key=lambda name: name not in LARGE)
        with ProcessPoolExecutor() as pool:
            return sum(not ended_well for ended_well in pool.map(_breed, targets, repeat(given.runs)))
    failures = 0
    for name, seconds in _shares(targets, 60 * given.minutes).items():
        failures += not _fuzz(name, seconds, given.directory / name)
        if given.keep:
            keep(name, _least(name, given.directory / name))
    return failures


def _shares(targets: list[str], seconds: float) -> dict[str, float]:
    """Return the seconds for each target."""
    large = [name for name in targets if name in LARGE]
    small = len(targets) - len(large)
    for_large = (seconds / 2 if small else seconds) / max(1, len(large))
    for_small = (seconds / 2 if large else seconds) / max(1, small)
    return {name: for_large if name in large else for_small for name in targets}


def _breed(name: str, runs: int) -> bool:
    """Return whether no input bred from the corpus fails; the first one that does is printed."""
    target = TARGETS[name]
    for number, data in mutants(name, runs):
        try:
            target(data)
        except Exception as error:
            print(f"{name}: FAILED, mutant {number}: {type(error).__name__}: {error}\n{data!r:.3000}", flush=True)
            return False
    print(f"{name}: nothing found in {runs} runs from {len(corpus(name))} inputs", flush=True)
    return True


def _fuzz(name: str, seconds: float, directory: Path) -> bool:
    """Return whether nothing was found."""
    learned, failed = directory / "corpus", directory / "failed"
    for path in (learned, failed):
        path.mkdir(parents=True, exist_ok=True)
    _write(corpus(name), learned)
    before = set(failed.iterdir())
    options = [f"-max_total_time={max(1, round(seconds))}", "-rss_limit_mb=4096", "-timeout=20", "-verbosity=1"]
    status, lines = _run(name, [*options, f"-artifact_prefix={failed}/", str(learned)], directory / "log.txt")
    last = next((line for line in reversed(lines) if " cov: " in line), "no coverage")
    print(f"{name}: {'nothing found' if status == 0 else 'FAILED'}; {last}", flush=True)
    if status:
        print("\n".join(lines[-60:]))
        for path in sorted(set(failed.iterdir()) - before):
            print(f"{path}: {path.read_bytes()!r:.3000}")
    return status == 0


def _least(name: str, directory: Path) -> list[bytes]:
    """Return the fewest of the inputs learned that, with those written, reach all that was reached."""
    least = directory / "least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    _write(written(name), least)
    # What is in the first directory stays, and of the second what reaches a line more comes there, the smallest first.
    _run(name, ["-merge=1", "-use_counters=0", str(least), str(directory / "corpus")], directory / "merge.txt")
    return [path.read_bytes() for path in least.iterdir()]


def _write(inputs: Iterable[bytes], directory: Path) -> None:
    for data in inputs:
        (directory / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _run(name: str, options: list[str], log: Path) -> tuple[int, list[str]]:
    """Run libFuzzer; return its exit status and the lines that it printed."""
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, "-max_len=8192", *options]
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    return status, log.read_text(encoding="utf-8", errors="replace").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
