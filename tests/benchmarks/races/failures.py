"""The failures of the bench, kept: of each race one run that fails, as it was found and as small as it was made.

    python -m tests.benchmarks.races.failures [--anew] [NAMES…]     writes failures.json beside this file
    python -m tests.benchmarks.races.failures --compare [--python PATH …]     repeats them by several Pythons

A kept run that still fails as planted stays, with the digests that it has now; else, or with ``--anew``, one is
searched for with ``late``. So this command alone writes the file, after a change of a race or of what runs record. A
digest follows from every byte of a transcript: the same file holds for every Python.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator import explore
from simulator.exploring.runs import Case, Run, run
from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.race import Race

__all__ = ["FILE", "Kept", "digests", "load", "repeat"]

FILE = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[3]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True, slots=True)
class Kept:
    """A failure of a race."""

    found: Case
    """The run as it was found, with all its deviations and late steps."""
    left: Case
    """What shrinking left of it."""
    digests: tuple[Mapping[str, str], Mapping[str, str]]
    """Of both, by room."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, which `from_json` reads."""
        return {"found": self.found.to_json(), "left": self.left.to_json(), "digests": list(self.digests)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Kept:
        """Return what `to_json` wrote."""
        first, second = value["digests"]
        return cls(Case.from_json(value["found"]), Case.from_json(value["left"]), (first, second))


def load() -> dict[str, Kept]:
    """Return what is kept, by race."""
    return {name: Kept.from_json(value) for name, value in json.loads(FILE.read_text(encoding="utf-8")).items()}


def repeat(race: Race, kept: Kept) -> tuple[Run, Run]:
    """Run both cases of a failure again."""
    return run(race.racy, kept.found), run(race.racy, kept.left)


def digests(names: Iterable[str]) -> dict[str, list[Mapping[str, str]]]:
    """Return the digests that both runs of each race have here."""
    kept = load()
    return {name: [made.digests for made in repeat(RACES[name], kept[name])] for name in names}


# --- writing ----------------------------------------------------------------------------------------------------------


def renewed(race: Race, kept: Kept | None, seeds: int) -> Kept | None:
    """Return what is to be kept of a race; None if no seed fails as planted."""
    runs = () if kept is None else repeat(race, kept)
    if kept is not None and all(race.symptom.matches(made.symptom) for made in runs):
        return replace(kept, digests=(runs[0].digests, runs[1].digests))
    first = 0
    while first < seeds:
        failure = explore(
            race.racy, range(first, seeds), schedule="late", latency=race.law, shrinking=500, save=None, report=None
        )
        if failure is None:
            return None
        if race.symptom.matches(failure.symptom):
            return Kept(failure.found.case, failure.run.case, (failure.found.digests, failure.run.digests))
        first = int(failure.seed) + 1
    return None


def write(names: Sequence[str], seeds: int, *, is_anew: bool) -> int:
    """Write the file anew for some races; return how many have no failure."""
    before = load() if FILE.exists() else {}
    after = dict(before)
    missing = 0
    for name in names:
        made = renewed(RACES[name], None if is_anew else before.get(name), seeds)
        same = "as it was" if made == before.get(name) else "written"
        print(f"{name:24} {'none fails as planted' if made is None else f'seed {made.found.seed}, {same}'}", flush=True)
        if made is None:
            missing += 1
            after.pop(name, None)
        else:
            after[name] = made
    value = {name: after[name].to_json() for name in RACES if name in after}
    lines = (f"{json.dumps(name)}: {json.dumps(one, sort_keys=True)}" for name, one in value.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return missing


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(names: Sequence[str], pythons: Sequence[str]) -> int:
    """Repeat the failures by each Python; print which differ from the file; return how many Pythons do, or cannot."""
    kept = load()
    expected = {name: list(kept[name].digests) for name in names}
    wrong = 0
    for python in pythons:
        command = [python, "-m", "tests.benchmarks.races.failures", "--digests", *names]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            wrong += 1
            print(f"{python}: cannot repeat them: {(done.stderr.strip().splitlines() or ['no reason is known'])[-1]}")
            continue
        version, found = json.loads(done.stdout)
        differing = [name for name in names if found[name] != expected[name]]
        wrong += bool(differing)
        text = (
            f"differs in {', '.join(differing)}" if differing else f"{2 * len(names)} runs, each with the digest kept"
        )
        print(f"Python {version}: {text}", flush=True)
    return wrong


def main() -> int:
    """Write or compare; return the exit status, 0 if no race is missing or differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="of races; all by default")
    parser.add_argument("--anew", action="store_true", help="search for all of them")
    parser.add_argument("--seeds", type=int, default=1000, help="to search, at most")
    parser.add_argument("--compare", action="store_true", help="write nothing")
    found = [path for version in PYTHONS if (path := shutil.which(f"python{version}"))]
    parser.add_argument("--python", action="append", metavar="PATH", help=f"by default: {', '.join(found) or 'this'}")
    parser.add_argument(
        "--digests", action="store_true", help="print the version and the digests as JSON, for --compare"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(RACES):
        parser.error(f"no race is named {', '.join(sorted(unknown))}: there are {', '.join(RACES)}")
    logging.disable(logging.ERROR)
    names = options.names or list(RACES)
    if options.digests:
        print(json.dumps([sys.version.split()[0], digests(names)]))
        return 0
    if options.compare:
        return compare(names, options.python or found or [sys.executable])
    return write(names, options.seeds, is_anew=options.anew)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
