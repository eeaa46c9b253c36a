"""Say what really ran, from the records that tests/conftest.py wrote, and decide whether it was enough.

    python .ci/summary.py DIRECTORY

Skipped environments leave no record, so they cannot count. Exit status 1 if fewer than three Pythons passed the tests
under two hash seeds, or an SDK release that has to run did not. The one that node runs may be missing where there is
no node, and is then named.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

PYTHONS = 3
"""How many minor versions of Python have to pass."""
HASH_SEEDS = 2
"""Under how many hash seeds each of them."""
RELEASES = {"0.0.21": "3.11", "0.35.6": "3.13", "0.56.0": "3.13"}
"""The SDK releases that have to run, and the Python on which. With the next, the short form of the interop tests."""
NODE_RELEASE = "ts-0.39.9"
"""The SDK release that has to run where there is node."""

Record = dict[str, Any]


def good(record: Record) -> bool:
    """Return whether a session ended well and proved something."""
    return bool(record["exit_status"] == 0) and bool(record["outcomes"].get("passed"))


def pythons(records: list[Record]) -> list[str]:
    """Return the minor versions whose own environment passed under enough hash seeds."""
    seeds: dict[str, set[str]] = defaultdict(set)
    for record in records:
        minor = minor_of(record["python"])
        if good(record) and record["environment"] == "py" + minor.replace(".", ""):
            seeds[minor].add(record["hash_seed"])
    return sorted((minor for minor, used in seeds.items() if len(used) >= HASH_SEEDS), key=lambda v: int(v[2:]))


def releases(records: list[Record]) -> dict[tuple[str, str], int]:
    """Return the passed tests of each (SDK release, minor version of what ran it) that took part in one."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for record in filter(good, records):
        for name, passed in record["releases"].items():
            release, _, python = name.partition(" on ")
            counts[release, minor_of(python)] += passed
    return dict(counts)


def left_out(records: list[Record], has_node: bool) -> str | None:
    """Return the name of the release that did not run for want of node, if so."""
    return None if has_node or _ran_on_node(records) else NODE_RELEASE


def _ran_on_node(records: list[Record]) -> bool:
    return any(passed for (release, _), passed in releases(records).items() if release == NODE_RELEASE)


def faults(records: list[Record], has_node: bool) -> list[str]:
    """Return what is missing, in words."""
    found = []
    ran = pythons(records)
    if len(ran) < PYTHONS:
        found.append(f"{len(ran)} Pythons passed under {HASH_SEEDS} hash seeds, {PYTHONS} have to: {', '.join(ran)}")
    took_part = releases(records)
    found += [
        f"SDK {release} on Python {python} did not run"
        for release, python in RELEASES.items()
        if not took_part.get((release, python))
    ]
    if has_node and not _ran_on_node(records):
        found.append(f"SDK {NODE_RELEASE} did not run, though there is node")
    found += [
        f"{record['environment'] or 'pytest'} (hash seed {record['hash_seed']}) ended with status "
        f"{record['exit_status']}, {record['outcomes']}"
        for record in records
        if not good(record)
    ]
    return found


def minor_of(version: str) -> str:
    """Return ``3.10`` for ``3.10.13``."""
    return ".".join(version.split(".")[:2])


def table(records: list[Record]) -> str:
    """Return a line for each session and each release."""
    lines = ["what ran"]
    for record in records:
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(record["outcomes"].items()))
        lines.append(
            f"  {record['environment'] or 'pytest':10} Python {record['python']:8} hash seed {record['hash_seed']:10}"
            f" {outcomes or 'nothing'} in {record['seconds']} s"
        )
        lines += [f"    SDK {name}: {passed} tests passed" for name, passed in sorted(record["releases"].items())]
        # Each line is "TEST: Skipped: REASON".
        reasons = Counter(line.rpartition(": Skipped: ")[2] for line in record["skipped"])
        lines += [f"    skipped {count}: {reason}" for reason, count in sorted(reasons.items())]
    return "\n".join(lines)


def main(directory: Path) -> int:
    """Print the table and the verdict, and return the exit status."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*.json")]
    records.sort(key=lambda record: (record["environment"], record["hash_seed"]))
    print(table(records))
    has_node = shutil.which("node") is not None
    missing = faults(records, has_node)
    if name := left_out(records, has_node):
        print(f"left out: SDK {name}, since there is no node on this machine")
    for fault in missing:
        print(f"MISSING: {fault}")
    if not missing:
        print(f"what ran was enough: Python {', '.join(pythons(records))}; SDK {', '.join(RELEASES)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
