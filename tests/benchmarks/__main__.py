"""All benchmarks that have rows: ours, the official client's and bare limits of the same run, with ratios and spread.

    tox -e bench [-- --quick] [-- --only streams,messages] [-- --save FILE] [-- --compare FILE]

The machine should do nothing else. Figures judge nothing: whatever they are, and whatever cannot be measured here, the
exit status is 0; only options that make no sense are refused. The run that `docs/explanation/speed.md` shows is
`tests/benchmarks/kept.json`; CONTRIBUTING.md says how it is renewed.
"""

from __future__ import annotations

import argparse
import importlib
import traceback
from pathlib import Path

from tests.benchmarks import rows

PARTS = {
    "messages": ["--rounds", "2", "--count", "100"],
    "streams": ["--rounds", "2", "--size", "1", "--only", "compare"],
    "fan_out": ["--rounds", "2", "--messages", "20"],
    "load": ["--rounds", "2", "--quick"],
    "simulation": ["--share", "0.005"],
    "growth": ["--rounds", "2", "--quick"],
}
"""The modules, and the options of each for short rounds."""


def main() -> None:
    """Measure the parts one after the other, print the table of each, then keep and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short rounds, to see that it works")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the rows, beside other parts that it has")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="mark the rows that moved against a kept run")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    try:
        before = rows.load(options.compare) if options.compare else {}
        if options.save and options.save.exists():
            rows.load(options.save)
    except (OSError, ValueError) as error:
        parser.error(f"no kept run: {error}")
    parts: dict[str, rows.Kept] = {}
    load = rows.load_of_machine()
    for name in options.only.split(","):
        print(f"--- {name}\n", flush=True)
        try:
            part = importlib.import_module(f"tests.benchmarks.{name}")
            measured = part.run(part.parser().parse_args(PARTS[name] if options.quick else []))
        except Exception:  # One part that cannot run here leaves the others.
            traceback.print_exc()
            continue
        parts[name] = rows.Kept.now(measured, load)
        print(rows.table(measured), "\n", flush=True)
        if options.save:
            rows.save({name: parts[name]}, options.save)
    for name, kept in parts.items() if options.compare else ():
        if name in before:
            print(f"--- {name}, against {before[name].date}\n{rows.compare(before[name].rows, kept.rows)}\n")
        else:
            print(f"--- {name}: not in {options.compare}\n")


if __name__ == "__main__":
    main()
