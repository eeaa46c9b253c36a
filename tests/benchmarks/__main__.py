"""All benchmarks that have rows: ours, the official client's and a bare limit of the same run, with ratios and spread.

    tox -e bench [-- --quick] [-- --only streams,messages] [-- --save FILE] [-- --compare FILE]

The machine should do nothing else. The exit status is 0 always: figures are of a machine, and judge nothing.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import messages, streams
from tests.benchmarks.rows import Row, compare, load, save, table

Part = Callable[[bool], list[Row]]

PARTS: dict[str, Part] = {
    "messages": lambda is_quick: messages.run(
        messages.parser().parse_args(["--rounds", "2", "--count", "300"] if is_quick else [])
    ),
    "streams": lambda is_quick: streams.run(
        streams.parser().parse_args(["--rounds", "2", "--size", "4", "--only", "compare"] if is_quick else [])
    ),
}


def main() -> None:
    """Measure the parts one after the other, print the table of each, then keep and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short rounds, to see that it works")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the rows as JSON")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="mark the rows that moved against a kept run")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    before = load(options.compare) if options.compare else []
    rows: list[Row] = []
    for name in options.only.split(","):
        print(f"--- {name}\n", flush=True)
        try:
            part = PARTS[name](options.quick)
        except Exception:  # One part that cannot run, as without a release, leaves the others.
            traceback.print_exc()
            continue
        print(table(part), "\n", flush=True)
        rows += part
    if options.save:
        save(rows, options.save)
    if options.compare:
        print(compare(before, rows))


if __name__ == "__main__":
    main()
