"""Which races across time each schedule finds, at which seed; and whether the repaired programs pass.

    python -m tests.benchmarks.races [--seeds 600] [--schedules fifo,random,late] [--json FILE] [NAMES…]

For each race and schedule: the first seed with the planted symptom, what is left of it after shrinking, seeds that
failed with another symptom, and failures of the repaired program. Prints tables; never passes or fails.
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
    made: dict[str, dict[str, Search]] = {name: {} for name in names}
    context = get_context("spawn")
    # Programs that fail by the hundred have little to log.
    with ProcessPoolExecutor(options.jobs, context, initializer=logging.disable, initargs=(logging.ERROR,)) as pool:
        tasks = [
            pool.submit(search, name, schedule, options.seeds, repaired_seeds)
            for name in made
            for schedule in schedules
        ]
        for task in as_completed(tasks):
            one = task.result()
            made[one.race][one.schedule] = one
            if len(made[one.race]) == len(schedules):
                print(line(one.race, [made[one.race][schedule] for schedule in schedules]), flush=True)
    return [by_schedule[schedule] for by_schedule in made.values() for schedule in schedules]


def heading(schedules: Sequence[str]) -> str:
    """Return the first line of the table."""
    return f"{'race':24}" + "".join(f"{schedule:>14}{'left':>6}" for schedule in schedules) + f"{'ms':>7}  repaired"


def line(name: str, found: Sequence[Search]) -> str:
    """Return the line of a race: for each schedule the seed and what is left."""
    cells = ""
    for one in found:
        others = f" (+{len(one.others)})" if one.others else ""
        cells += f"{('-' if one.found is None else str(one.found)) + others:>14}"
        cells += f"{'' if one.found is None else one.left:>6}"
    slowest = max((one.milliseconds for one in found), default=0.0)
    fails = sum(len(one.repaired_fails) for one in found)
    return f"{name:24}{cells}{slowest:7.1f}  {f'FAILS {fails} times' if fails else 'passes'}"


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
        seeds = sorted(one.found for one in mine if one.found is not None)
        within = sum(seed < 300 for seed in seeds)
        yield (
            f"{schedule}: found {len(seeds)} of {len(mine)}, {within} within 300 seeds"
            + (f", the median at seed {seeds[len(seeds) // 2]}" if seeds else "")
            + f"; at most {max((one.left for one in mine), default=0)} deviations left"
        )


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="of races; all by default")
    parser.add_argument("--seeds", type=int, default=600, help="for each racy program, at most")
    parser.add_argument("--repaired", type=int, help="seeds for each repaired program; as many by default")
    parser.add_argument("--schedules", default="fifo,random,late", help="names of schedules, with commas")
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
