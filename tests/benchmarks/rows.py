"""Rows of benchmarks: our figure beside the official clients' and a bare limit, measured in one run; kept and compared.

Figures of one machine at one time say little: what else it does moves them. Ratios within a round say more, since the
rounds alternate; so a row keeps a value for each round and each side, and all that is printed is made of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

__all__ = ["Row", "Spread", "compare", "load", "save", "table"]

FORMAT = 1
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
    limit: list[float] = field(default_factory=list)
    """What a program reaches that does nothing but the bare work: sockets, a library by itself, switches of threads."""
    limit_is: str = ""
    """What that program is."""

    def ratios(self) -> dict[str, Spread]:
        """Return ours to each of the others, by ``"official RELEASE"`` and ``"limit"``: ratios of the same rounds."""
        others = {f"official {release}": values for release, values in self.official.items()}
        others["limit"] = self.limit
        return {
            name: Spread.of([own / other for own, other in zip(self.ours, values, strict=True)])
            for name, values in others.items()
            if values and all(values)
        }


def table(rows: Iterable[Row]) -> str:
    """Return rows as text: our figure, then one line for each of those it is compared with."""
    lines = [f"{'':61}{'median (lowest - highest)':>28}  ours to it, of the same round"]
    for row in rows:
        better = "less is better" if row.is_less_better else "more is better"
        lines.append(f"{row.work:50} {row.unit:10}{Spread.of(row.ours)!s:>28}  ({better})")
        ratios = row.ratios()
        for release, values in row.official.items():
            lines.append(_other(f"official {release}", values, ratios.get(f"official {release}")))
        if row.limit:
            lines.append(_other(f"limit: {row.limit_is}", row.limit, ratios.get("limit")))
    return "\n".join(lines)


def _other(name: str, values: Sequence[float], ratio: Spread | None) -> str:
    return f"  {name:59}{Spread.of(values)!s:>28}  {'-' if ratio is None else ratio}"


def save(rows: Iterable[Row], path: Path) -> None:
    """Write rows to a file, as JSON."""
    text = json.dumps({"format": FORMAT, "rows": [asdict(row) for row in rows]}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Return the rows of a file that `save` wrote.

    Raises:
        ValueError: If it is none.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ValueError(f"{path} has no rows of a benchmark of format {FORMAT}")
    return [Row(**row) for row in kept["rows"]]


def compare(before: Iterable[Row], now: Iterable[Row]) -> str:
    """Return which rows moved against a run that was kept.

    A row has moved if no round of the one run is within the other's: of the ratio to the limit, which depends least on
    the machine's mood; else to an official client; of the figure itself, where there is neither.
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
    for name in ("limit", *sorted(olds)):
        if name in olds and name in news:
            return f"to {name}", olds[name], news[name]
    return f"the figure ({new.unit})", Spread.of(old.ours), Spread.of(new.ours)


def _short(value: float) -> str:
    """Return three digits of a value, all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
