"""Rows of benchmarks: our figure beside the official clients' and a bare limit, measured in one run; kept and compared.

Figures of one machine at one time say little: what else it does moves them. Ratios within a round say more, since the
rounds alternate; so a row keeps a value for each round and each side, and all that is printed is made of these.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Kept", "Row", "Spread", "compare", "load", "load_of_machine", "save", "table"]

FORMAT = 2
"""Of the file."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, with the lowest and the highest of the rounds."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return that of some values, at least one."""
        return cls(median(values), min(values), max(values))

    def is_apart(self, other: Spread) -> bool:
        """Return whether no value of the one is within the other."""
        return self.low > other.high or self.high < other.low

    def __str__(self) -> str:
        return f"{_short(self.middle)} ({_short(self.low)} - {_short(self.high)})"


@dataclass(slots=True)
class Row:
    """One kind of work, and what each side reached in each round."""

    work: str
    """What is done; it names the row in files."""
    unit: str
    is_less_better: bool = False
    """Whether the figure is a cost, such as seconds, and no rate."""
    ours: list[float] = field(default_factory=list)
    official: dict[str, list[float]] = field(default_factory=dict)
    """By release."""
    limits: dict[str, list[float]] = field(default_factory=dict)
    """What programs reach that do nothing but the bare work, by what they are: sockets, a library by itself, switches
    of threads. The first is that by which rows are compared."""
    goal: float | None = None
    """What the ratio to the first limit should not exceed."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why others were not measured, by their names as in `others`."""
    curve: str = ""
    """Of what it is a part, if its work is done at several sizes; those are drawn."""
    at: float = 0
    """Where on that curve it is."""

    def others(self) -> dict[str, list[float]]:
        """Return what ours is compared with, by ``"limit: NAME"`` and ``"official RELEASE"``."""
        return {f"official {release}": values for release, values in self.official.items()} | {
            f"limit: {name}": values for name, values in self.limits.items()
        }

    def ratios(self) -> dict[str, Spread]:
        """Return ours to each of the others that was measured: ratios of the same rounds."""
        return {
            name: Spread.of([own / other for own, other in zip(self.ours, values, strict=True)])
            for name, values in self.others().items()
            if values and all(values)
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of one part of the benchmarks, with when and on what they were measured."""

    rows: list[Row]
    date: str
    """The day, as in ISO 8601."""
    python: str
    cpus: int
    """How many the machine has."""
    load: float
    """How many threads wanted one in the minute before all that was measured; NaN where the system does not say."""

    @classmethod
    def now(cls, rows: Iterable[Row], load: float) -> Kept:
        """Return rows that were measured just now, here."""
        return cls([*rows], date.today().isoformat(), platform.python_version(), os.cpu_count() or 1, load)


def load_of_machine() -> float:
    """Return how many threads wanted a CPU in the last minute, on average; NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def table(rows: Iterable[Row]) -> str:
    """Return rows as text: our figure, then one line for each of those it is compared with."""
    lines = [f"{'':61}{'median (lowest - highest)':>28}  ours to it, of the same round"]
    for row in rows:
        better = "less is better" if row.is_less_better else "more is better"
        lines.append(f"{row.work:50} {row.unit:10}{Spread.of(row.ours)!s:>28}  ({better})")
        ratios, goal = row.ratios(), row.goal
        for name, values in row.others().items():
            if values:
                line = f"  {name:59}{Spread.of(values)!s:>28}  {ratios.get(name, '-')}"
                if goal is not None and name.startswith("limit"):
                    line, goal = f"{line}, goal: {goal:g} at most", None
                lines.append(line)
        lines += [f"  {name:59}{'-':>28}  not measured: {why}" for name, why in row.missing.items()]
    return "\n".join(lines)


def save(parts: Mapping[str, Kept], path: Path) -> None:
    """Write the rows of some parts to a file, as JSON with a row in each line; its other parts stay as they are.

    Raises:
        ValueError: If there is another file; it stays as it was.
    """
    texts = []
    for name, part in {**(load(path) if path.exists() else {}), **parts}.items():
        about = _rounded({key: value for key, value in asdict(part).items() if key != "rows"})
        lines = ",\n".join(json.dumps(_rounded(asdict(row))) for row in part.rows)
        texts.append(f'"{name}": {{"about": {json.dumps(about)}, "rows": [\n{lines}\n]}}')
    all_of_them = ",\n".join(texts)
    path.write_text(f'{{"format": {FORMAT}, "parts": {{\n{all_of_them}\n}}}}\n', encoding="utf-8")


def load(path: Path) -> dict[str, Kept]:
    """Return the parts of a file that `save` wrote, by their names.

    Raises:
        ValueError: If it is none.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ValueError(f"{path} has no rows of a benchmark of format {FORMAT}")
    return {name: Kept([Row(**row) for row in part["rows"]], **part["about"]) for name, part in kept["parts"].items()}


def compare(before: Iterable[Row], now: Iterable[Row]) -> str:
    """Return which rows moved against a run that was kept.

    A row has moved if no round of the one run is within the other's: of the ratio to the first limit, which depends
    least on the machine's mood; else to another limit or an official client; of the figure, where there is none.
    """
    known = {row.work: row for row in before}
    lines = []
    for row in now:
        old = known.pop(row.work, None)
        if old is None:
            lines.append(f"new     {row.work}")
            continue
        name, was, is_now = _comparable(old, row)
        mark = "same"
        if was.is_apart(is_now):
            mark = "better" if (is_now.middle < was.middle) == row.is_less_better else "WORSE"
        lines.append(f"{mark:7} {row.work}: {name} was {was}, is {is_now}")
    lines += [f"gone    {work}" for work in known]
    return "\n".join(lines)


def _comparable(old: Row, new: Row) -> tuple[str, Spread, Spread]:
    """Return what to compare two rows by, with the value of each."""
    olds, news = old.ratios(), new.ratios()
    for name in sorted(olds, key=lambda name: name.startswith("official")):  # Stable: limits stay in their order.
        if name in news:
            return f"to {name}", olds[name], news[name]
    return f"the figure ({new.unit})", Spread.of(old.ours), Spread.of(new.ours)


def _rounded(value: Any) -> Any:
    """Return JSON with numbers of five digits, which is more than what is measured here means."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _short(value: float) -> str:
    """Return three digits of a value, all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
