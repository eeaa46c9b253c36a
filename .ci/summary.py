"""Print which tests really ran, from the records that tests/conftest.py wrote, and decide whether they were enough.

    python .ci/summary.py DIRECTORY

Skipped environments leave no record, so they cannot count. Exit status 1 if fewer than three Pythons passed all tests
that are for every Python, if none passed all there are, with all examples of the properties, if those that could depend
on the hash seed did not pass under another one, if an SDK release that has to run did not, if the documentation was not
built and tried, or if a test was skipped for a reason that is not in `ALLOWED`. The release that node runs may be
missing where there is no node, and is then named.

How long each environment took, of the report that tox leaves in ``DIRECTORY/tox``, is printed beside its budget, and
the share of each directory of tests beside that which it may have. What is over its budget is no fault, since a machine
may be slow; it is for the one who made it grow.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

PYTHONS = 3
"""How many minor versions of Python have to pass."""
HASH_SEEDS = 2
"""Under how many hash seeds, on whatever Pythons: one for all tests, the others for those that could depend on it."""
LEAST_EVERYWHERE = 0.9
"""The share of all tests that has to be for every Python, and not for one."""
LEAST_SHARE = 0.6
"""The share of all tests that has to have run under a hash seed for it to count; those marked were 0.66 of them."""
RELEASES = {"0.0.21": "3.11", "0.35.6": "3.13", "0.56.0": "3.13"}
"""The SDK releases that have to run, each on that Python. With the next, the short form of the interop tests."""
NODE_RELEASE = "ts-0.39.9"
"""The SDK release that has to run where there is node."""

BUDGETS = {
    "style": 5,
    "types": 30,
    "package": 35,
    "py310": 440,
    "py311": 400,
    "py312": 165,
    "py313": 560,
    "interop": 95,
    "notebooks": 60,
    "docs": 50,
}
"""How many seconds each environment may take with its installation, on a machine of two processors."""
SHARES = {
    "emulator": 35,
    "unit": 23,
    "simulation": 23,
    "threads": 9,
    "stateful": 8,
    "contract": 2,
}
"""How many percent of the time of all tests each directory below tests/ may take, where all run; others take next to
nothing."""

Record = dict[str, Any]


class Allowed(NamedTuple):
    """A reason for which a test may be skipped."""

    reason: str
    """A regular expression for all of pytest's reason."""
    environments: str
    """A regular expression for the name of the environment."""
    without_node: bool = False
    """Whether it is a reason only on a machine without node."""


ALLOWED = (
    # Charts and data frames are for notebooks, whose environment has the libraries and runs these tests.
    Allowed(r"could not import '(matplotlib|pandas)': No module named '\1'", r"py3\d+"),
    # Pages on web frameworks and on the official SDK are for the environment of the documentation, which has those.
    Allowed(r"could not import '(fastapi|meshagent)[\w.]*': No module named '\1'", r"py3\d+t?|notebooks"),
    # Built and installed in the environment `package` alone.
    Allowed("could not import 'build': No module named 'build'", r"py3\d+t?"),
    # What one Python has not.
    Allowed("groups came with Python 3.11", "py310"),
    # That environment runs the checkers themselves.
    Allowed("could not import 'mypy': No module named 'mypy'", r"py3\d+t?"),
    # One release runs on node, which a machine need not have; `left_out` names it.
    Allowed(r"SDK ts-\S+ needs node and npm, which are not on this machine", "interop", without_node=True),
    # CI runs four releases, and not every test is about one of them.
    Allowed("none of the chosen releases has what this is about", "interop"),
)
"""The only reasons for which a test may be skipped; any other one is a fault."""


def good(record: Record) -> bool:
    """Return whether a session ended with status 0 and a test passed."""
    return bool(record["exit_status"] == 0) and bool(record["outcomes"].get("passed"))


def share(record: Record, of: str = "collected") -> float:
    """Return the share of all tests, or of those for every Python, that a session ran, whatever their outcome."""
    ran = min(sum(record["outcomes"].values()), int(record["selected"]))
    return min(1.0, ran / record[of]) if record[of] else 0.0


def minor_of(version: str) -> str:
    """Return ``3.10`` for ``3.10.13``."""
    return ".".join(version.split(".")[:2])


def of_pythons(records: list[Record]) -> dict[str, list[Record]]:
    """Return the good sessions in the environments of Pythons, each on its own, by minor version."""
    sessions: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        minor = minor_of(record["python"])
        if good(record) and record["environment"] == "py" + minor.replace(".", ""):
            sessions[minor].append(record)
    return sessions


def pythons(records: list[Record]) -> list[str]:
    """Return the minor versions that passed all tests for every Python."""
    sessions = of_pythons(records)
    passed = (minor for minor, own in sessions.items() if any(share(record, "everywhere") >= 1 for record in own))
    return sorted(passed, key=lambda version: int(version[2:]))


def hash_seeds(records: list[Record]) -> set[str]:
    """Return the hash seeds under which a Python passed enough of all tests."""
    sessions = [record for own in of_pythons(records).values() for record in own]
    return {record["hash_seed"] for record in sessions if share(record) >= LEAST_SHARE}


def whole(records: list[Record]) -> list[str]:
    """Return the minor versions that passed all tests there are, with all examples."""
    return [
        minor
        for minor, own in of_pythons(records).items()
        if any(share(record) >= 1 and record["has_all_examples"] for record in own)
    ]


def forbidden_skips(record: Record, has_node: bool) -> Counter[str]:
    """Return the reasons for which tests were skipped and should not have been, with the number of tests."""
    return Counter(
        reason
        for reason in map(reason_of, record["skipped"])
        if not any(
            re.fullmatch(allowed.reason, reason)
            and re.fullmatch(allowed.environments, record["environment"])
            and not (allowed.without_node and has_node)
            for allowed in ALLOWED
        )
    )


def reason_of(line: str) -> str:
    """Return the reason in a line ``TEST: Skipped: REASON``."""
    return line.rpartition(": Skipped: ")[2]


def releases(records: list[Record]) -> dict[tuple[str, str], int]:
    """Return the passed tests of each (SDK release, minor version of its Python or node) that took part in one."""
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
    """Return the missing parts as texts."""
    found = []
    ran = pythons(records)
    if len(ran) < PYTHONS:
        found.append(f"{len(ran)} Pythons passed, {PYTHONS} have to: {', '.join(ran)}")
    if not whole(records):
        found.append("no Python passed all tests with all examples: those for one Python ran nowhere")
    if len(seeds := hash_seeds(records)) < HASH_SEEDS:
        found.append(f"tests passed under {len(seeds)} hash seeds, {HASH_SEEDS} have to: {', '.join(sorted(seeds))}")
    if not any(good(record) for record in records if record["environment"] == "docs"):
        found.append("the documentation was not built and tried")
    for minor, own in of_pythons(records).items():
        if any(record["everywhere"] < LEAST_EVERYWHERE * record["collected"] for record in own):
            found.append(f"Python {minor} has too many tests that are for one Python: see tools/seeds.py")
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
    found += [
        f"{record['environment'] or 'pytest'} (hash seed {record['hash_seed']}) skipped {count}: {reason}"
        for record in records
        for reason, count in sorted(forbidden_skips(record, has_node).items())
    ]
    return found


def table(records: list[Record]) -> str:
    """Return a line for each session and each release."""
    lines = ["what ran"]
    for record in records:
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(record["outcomes"].items()))
        # Tests of releases are not counted as collected, so a session that runs those is a share of nothing.
        of = f" of {record['collected']}" if record["environment"].startswith("py") else ""
        lines.append(
            f"  {record['environment'] or 'pytest':10} Python {record['python']:8} hash seed {record['hash_seed']:10}"
            f" {outcomes or 'nothing'}{of} in {record['seconds']} s"
        )
        if record["environment"].startswith("py") and share(record) >= 1:
            lines += [f"    {parts(record)}", f"    {longest(record)}"]
        lines += [f"    SDK {name}: {passed} tests passed" for name, passed in sorted(record["releases"].items())]
        reasons = Counter(map(reason_of, record["skipped"]))
        lines += [f"    skipped {count}: {reason}" for reason, count in sorted(reasons.items())]
    return "\n".join(lines)


def parts(record: Record) -> str:
    """Return the percentages of the time of all tests that each directory took, the largest first, and may take."""
    total = sum(record["parts"].values()) or 1
    percents = {name: 100 * took / total for name, took in record["parts"].items()}
    ordered = sorted(percents.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {percent:.0f}% of {SHARES.get(name, 1)}%" for name, percent in ordered)


def longest(record: Record) -> str:
    """Return the modules that took longest, with their seconds: those that have to begin first, see tools/seeds.py."""
    return "longest: " + ", ".join(f"{name} {took / 1000:.0f}" for name, took in record["longest"].items())


def durations(report: dict[str, Any]) -> str:
    """Return a line for each environment of a report of tox: its seconds, those of its tests, and its budget."""
    lines = ["what took how long"]
    total = 0.0
    for name, environment in report["testenvs"].items():
        # The environment that builds the package has no command; nor has one without its Python.
        if not (commands := environment.get("test")):
            continue
        ran = sum(command["elapsed"] for command in commands)
        # One that failed has no result.
        seconds = environment.get("result", {}).get("duration", ran)
        total += seconds
        budget = BUDGETS.get(name, 0)
        over = "" if seconds <= budget else f", {seconds - budget:.0f} s over its budget"
        lines.append(f"  {name:10} {seconds:5.0f} s of {budget:3}, its commands {ran:5.0f} s{over}")
    return "\n".join([*lines, f"  {'all':10} {total:5.0f} s of {sum(BUDGETS.values())}"])


def main(directory: Path) -> int:
    """Print the tables and the verdict, and return the exit status."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*.json")]
    records.sort(key=lambda record: (record["environment"], record["hash_seed"]))
    print(table(records))
    if (report := directory / "tox" / "result.json").exists():
        print(durations(json.loads(report.read_text(encoding="utf-8"))))
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
