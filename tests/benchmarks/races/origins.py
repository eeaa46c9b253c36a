"""How far the jump of `simulator.why` lies from what was late, for races of the bench.

    python -m tests.benchmarks.races.origins [--as-searched] [NAMES…]

Prints a line for each race: the events between the jump and the nearest step that was late, 0 if that is its event; a
dash for no jump. Never passes or fails.
"""

from __future__ import annotations

import argparse
import logging

from simulator import explore, why
from simulator.exploring.exploration import Failure
from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.race import Race

__all__ = ["distance"]


def distance(race: Race, probability: float | None) -> int | None:
    """Return the events between the jump and what was late."""
    origin = why(_found(race), probability=probability)
    if origin.jump is None:
        return None
    before, after = (point.event.number for point in origin.jump)
    late = [event.number for event in origin.events if " s late at its " in event.text]
    return min(max(0, before + 1 - number, number - after) for number in late)


def _found(race: Race) -> Failure:
    first = 0
    while True:
        found = explore(
            race.racy,
            range(first, 600),
            schedule="late",
            latency=race.law,
            shrinking=300,
            save=None,
            report=None,
        )
        assert found is not None, f"{race.name} was not found"
        if race.symptom.matches(found.symptom):
            return found
        first = int(found.seed) + 1


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES")
    parser.add_argument("--as-searched", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    for name in options.names or RACES:
        apart = distance(RACES[name], None if options.as_searched else 0.02)
        print(f"{name:24} {'-' if apart is None else apart:>3}", flush=True)


if __name__ == "__main__":
    main()
