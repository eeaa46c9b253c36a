"""Which races across time each schedule finds, at which seed; and whether the repaired programs pass.

    python -m tests.benchmarks.races [--seeds 600] [--schedules fifo,random,late] [--firsts 0] [--json FILE] [NAMES…]

For each race and schedule: how many seeds were tried before the first with the planted symptom, in how many runs that
was found, what is left of it after shrinking, seeds that failed with another symptom, and failures of the repaired
program. With several ranges of seeds: the medians. Prints tables; never passes or fails.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.searching import Search, search


def searches(names: Iterable[str], schedules: Sequence[str], options: argparse.Namespace) -> list[Search]:
    """Run all searches, as many at once as there are jobs; print each race when it is through."""
    repaired_seeds = options.seeds if options.repaired is None else options.repaired
    made: dict[str, list[Search]] = {name: [] for name in names}
    context = get_context("spawn")
    # Programs that fail by the hundred have little to log.
    with ProcessPoolExecutor(options.jobs, context, initializer=logging.disable, initargs=(logging.ERROR,)) as pool:
        tasks = [
            pool.submit(search, name, schedule, options.seeds, repaired_seeds, options.shrinking, first=first)
            for name in made
            for schedule in schedules
            for first in options.firsts
        ]
        for task in as_completed(tasks):
            one = task.result()
            made[one.race].append(one)
            if len(made[one.race]) == len(schedules) * len(options.firsts):
                print(line(one.race, schedules, made[one.race]), flush=True)
    return [one for found in made.values() for one in found]


def heading(schedules: Sequence[str]) -> str:
    """Return the first line of the table."""
    cells = "".join(f"{schedule:>14}{'runs':>6}{'left':>6}" for schedule in schedules)
    return f"{'race':24}{cells}{'ms':>7}  repaired"


def line(name: str, schedules: Sequence[str], found: Sequence[Search]) -> str:
    """Return the line of a race: for each schedule seeds, runs, and what is left."""
    cells = ""
    for schedule in schedules:
        mine = [one for one in found if one.schedule == schedule]
        others = sum(len(one.others) for one in mine)
        seeds, runs = middle(one.found for one in mine), middle(map(_runs, mine))
        left = max((one.left for one in mine if one.found is not None), default="")
        cells += f"{_cell(seeds) + (f' (+{others})' if others else ''):>14}{_cell(runs):>6}{left:>6}"
    slowest = max((one.milliseconds for one in found), default=0.0)
    fails = sum(len(one.repaired_fails) for one in found)
    return f"{name:24}{cells}{slowest:7.1f}  {f'FAILS {fails} times' if fails else 'passes'}"


def middle(values: Iterable[int | None]) -> int | None:
    """Return the median, the higher one of two; None stands for more than any number."""
    ordered = sorted(values, key=lambda value: (value is None, value))
    return ordered[len(ordered) // 2] if ordered else None


def _runs(one: Search) -> int | None:
    return None if one.found is None else one.runs


def _cell(value: int | None) -> str:
    return "-" if value is None else str(value)


def details(found: Iterable[Search]) -> Iterable[str]:
    """Yield lines about what the table counts alone."""
    for one in found:
        for seed, text in one.others.items():
            yield f"{one.race}, {one.schedule}, seed {seed}, another symptom: {text}"
        for seed, text in one.repaired_fails.items():
            yield f"{one.race} repaired, {one.schedule}, seed {seed}: {text}"
        if not one.is_repeatable:
            yield f"{one.race}, {one.schedule}: seed {one.found} did not fail again"


def totals(found: Sequence[Search], schedules: Sequence[str]) -> Iterable[str]:
    """Yield a line for each schedule."""
    for schedule in schedules:
        mine = [one for one in found if one.schedule == schedule]
        hits = [one for one in mine if one.found is not None]
        within = sum(one.found is not None and one.found < 300 for one in mine)
        seeds, runs = middle(one.found for one in mine), middle(map(_runs, mine))
        mean = sum(one.runs for one in hits) / max(1, len(hits))
        yield (
            f"{schedule}: found {len(hits)} of {len(mine)}, {within} within 300 seeds, the median behind {_cell(seeds)}"
            f" seeds, in {_cell(runs)} runs, the mean of those found {mean:.0f}; at most"
            f" {max((one.left for one in mine), default=0)} deviations left"
        )


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="of races; all by default")
    parser.add_argument("--seeds", type=int, default=600, help="for each racy program, at most")
    parser.add_argument("--repaired", type=int, help="seeds for each repaired program; as many by default")
    parser.add_argument("--schedules", default="fifo,random,late", help="names of schedules, with commas")
    parser.add_argument(
        "--firsts",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[0],
        help="the first seed of each range, with commas",
    )
    parser.add_argument("--shrinking", type=int, default=500, help="runs to make each failure smaller, at most")
    parser.add_argument("--jobs", type=int, default=1, help="searches at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RACES):
        parser.error(f"no race is named {', '.join(sorted(unknown))}: there are {', '.join(RACES)}")
    schedules = options.schedules.split(",")
    print(heading(schedules), flush=True)
    found = searches(options.names or RACES, schedules, options)
    print(*("", *totals(found, schedules), "", *details(found)), sep="\n")
    print("\nleft: deviations and late steps after shrinking. (+n): n seeds before failed with another symptom.")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
