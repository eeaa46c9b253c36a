"""Which pairs meet, in which steps, and the table of how that went.

A test with `step` is run for each pair of peers and fills one cell of the table for each, which is printed when the
tests end. ``--write-matrix`` writes it into docs/compatibility.md as well, between two markers.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.releases import RELEASES, ROOT, chosen

MESHSYNC, IN_A = "meshsync", "meshsync in A"
"""The names of our own client among the releases: as it is, and in the dialect of releases before 0.30.0."""
OURS = (MESHSYNC, IN_A)

MIXED = (
    ("0.0.21", "0.35.6"),  # one-way streams and both-way ones, requests and tool calls
    ("0.0.21", "0.56.0"),  # the oldest and the newest: classic streams and duplex ones
    ("0.0.21", "ts-0.39.9"),
    ("0.8.4", "0.29.4"),  # one-way streams and both-way ones
    ("0.8.4", "0.48.0"),
    ("0.29.4", "0.31.4"),  # the last with requests, an early one with tool calls
    ("0.35.6", "0.38.0"),  # the last with classic streams, the first that reconnects
    ("0.35.6", "0.56.0"),
    ("0.46.4", "0.48.0"),  # none and duplex
    ("0.48.0", "0.56.0"),
    ("0.56.0", "ts-0.39.9"),
    (IN_A, MESHSYNC),
    (IN_A, "0.0.21"),
    (IN_A, "0.35.6"),
    (IN_A, "0.56.0"),
)
"""Pairs of different releases that the full form runs, in both orders."""

BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"

Pair = tuple[str, str]


def pairs() -> list[Pair]:
    """Return who meets whom: all themselves and meshsync, and those of `MIXED`; in smaller forms all others too."""
    kinds = chosen()
    alone = [(kind, kind) for kind in [*kinds, MESHSYNC]]
    if kinds != list(RELEASES):
        return [*alone, *itertools.permutations([*kinds, MESHSYNC], 2)]
    with_ours = [pair for kind in kinds for pair in ((kind, MESHSYNC), (MESHSYNC, kind))]
    mixed = [pair for first, second in MIXED for pair in ((first, second), (second, first))]
    return [*alone, (IN_A, IN_A), *with_ours, *mixed]


PAIRS = pairs()


def step(title: str, among: Callable[[str, str], bool] = lambda first, second: True) -> Callable[..., Any]:
    """Return a decorator that runs a test for each pair, as ``first`` and ``second``, and makes it a column.

    Args:
        title: The column; several tests may share one.
        among: Says whether a pair can do that at all. One that cannot has no test, and a dash in the table.
    """
    wanted = [pytest.param(*pair, id=" with ".join(pair)) for pair in PAIRS if among(*pair)]
    parametrize = pytest.mark.parametrize(("first", "second"), each(wanted, "", ""))

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return pytest.mark.step(title)(parametrize(test)) if wanted else parametrize(test)

    return decorate


def each(wanted: list[Any], *instead: str) -> list[Any]:
    """Return what a test is to be run with; if that is nothing, something to skip it with, so that it says why."""
    reason = "none of the chosen releases has what this is about"
    return wanted or [pytest.param(*instead, marks=pytest.mark.skip(reason=reason), id="none")]


class Matrix:
    """A pytest plugin that fills the table and shows it at the end."""

    OUTCOMES = ("FAILED", "not run", "ok", "–")
    """What a cell can say, the weightiest first; the last means that a pair has nothing of the kind."""

    def __init__(self, page: Path | None = None) -> None:
        self.page = page
        self._outcomes: dict[Pair, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._columns: dict[str, None] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note which cell a test fills."""
        mark = item.get_closest_marker("step")
        if mark is not None and isinstance(item, pytest.Function):
            first, second = (item.callspec.params[name] for name in ("first", "second"))
            item.user_properties.append(("cell", (first, second, mark.args[0])))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test went."""
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = {"passed": "ok", "failed": "FAILED", "skipped": "not run"}[report.outcome]
        for name, cell in report.user_properties:
            if name == "cell":
                first, second, column = cell
                self._columns[column] = None
                self._outcomes[first, second][column].add(outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table, and write it into the page where that was asked for."""
        if not self._outcomes:
            return
        lines = self.lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        terminalreporter.section("who got on with whom")
        for line in lines:
            terminalreporter.write_line("  ".join(map(str.ljust, line, widths)).rstrip())
        if self.page is not None:
            write(self.page, lines)
            terminalreporter.write_line(f"written into {self.page}")

    def lines(self) -> list[list[str]]:
        """Return the table, its head first; two orders of a pair share a line where they went alike."""
        columns = list(self._columns)
        lines = [["", *columns]]
        done: set[Pair] = set()
        for pair in (pair for pair in PAIRS if pair in self._outcomes):
            cells, back = ([self._cell(each, column) for column in columns] for each in (pair, pair[::-1]))
            if pair in done:
                continue
            label = f"{pair[0]} → {pair[1]}"
            if pair[0] == pair[1]:
                label = pair[0]
            elif cells == back:
                label = f"{pair[0]} ⇄ {pair[1]}"
                done.add(pair[::-1])
            lines.append([label, *cells])
        return lines

    def _cell(self, pair: Pair, column: str) -> str:
        seen = self._outcomes.get(pair, {}).get(column, set())
        return next(outcome for outcome in self.OUTCOMES if outcome in seen or outcome == self.OUTCOMES[-1])


def write(page: Path, lines: Iterable[list[str]]) -> None:
    """Put a table, its head first, between the markers of a file.

    Raises:
        ValueError: If the file does not have them, once each; it stays as it was.
    """
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    ruler = "|" + "---|" * (head.count("|") - 1)
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} does not have {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    table = "\n".join([head, ruler, *rows])
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def page_to_write(config: pytest.Config) -> Path | None:
    """Return the file into which the table is to be written, if any.

    Raises:
        pytest.UsageError: If it would not be the whole table.
    """
    if not config.getoption("write_matrix", False):
        return None
    if chosen() != list(RELEASES) or config.option.keyword:
        raise pytest.UsageError("--write-matrix needs the full form: MESHSYNC_INTEROP=full, and no -k")
    return ROOT / "docs" / "compatibility.md"
