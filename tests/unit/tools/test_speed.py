"""The page on speed shows the run of the benchmarks that is kept, and that run is whole."""

from __future__ import annotations

import pytest

from tests.benchmarks.rows import Kept, Row, load
from tools import speed
from tools.speed import KEPT, PAGE, report, with_report


def test_the_page_shows_the_kept_run() -> None:
    """If it does not: python -m tools.speed."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_report(page, report(load(KEPT))) == page


@pytest.mark.parametrize(
    ("curve", "first", "last"), [("recipients", 1, 5000), ("bytes, A", 100, 3_145_000), ("bytes, B", 100, 3_145_000)]
)
def test_curves_are_kept_from_end_to_end_beside_their_limits(curve: str, first: int, last: int) -> None:
    """Three rounds of each at least: no quick run stands in the place of the full one."""
    rows = [row for row in load(KEPT)["growth"].rows if row.curve == curve]
    assert (min(row.at for row in rows), max(row.at for row in rows)) == (first, last)
    assert all(len(values) >= 3 for row in rows for values in (row.ours, *row.limits.values()))
    assert all(row.limits for row in rows)


def test_a_report_has_what_was_measured_and_leaves_what_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratios of the same rounds, by the first limit."""
    monkeypatch.setattr(speed, "SHOWN", {"of sending": {"sending": ["sends", "waits"]}})
    sends = Row("sends", "1/s", ours=[2.0], official={"1.0": [1.0]}, limits={"bare": [4.0], "slow": [1.0]})
    waits = Row("waits", "each", is_less_better=True, ours=[3.0], missing={"official 1.0": "gone"})
    made = report({"sending": Kept([sends, waits], "2026-01-31", "3.11.7", 2, 0.5)})
    assert made.splitlines()[0].startswith("Measured: 2026-01-31, Python 3.11.7, 2 CPUs.")
    assert made.splitlines()[2:] == [
        "| of sending | here | times the official client | times the limit |",
        "|---|---|---|---|",
        "| sends | 2 (2 - 2) 1/s | 1.0: 2 (2 - 2) | 0.5 (0.5 - 0.5) |",
        "| waits, less is better | 3 (3 - 3) each |  |  |",
    ]


@pytest.mark.parametrize(("load", "is_said"), [(2.0, False), (2.1, True), (float("nan"), False)])
def test_a_machine_that_did_other_work_is_told_of(load: float, is_said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If more threads than it has CPUs wanted one before the run."""
    monkeypatch.setattr(speed, "SHOWN", {})
    assert (speed.BUSY in report({"sending": Kept([], "2026-01-31", "3.11.7", 2, load)})) is is_said


@pytest.mark.parametrize("name", ["growth-recipients", "growth-bytes"])
def test_pictures_of_growth_have_the_limit_in_them(name: str) -> None:
    """Beside what is ours, over sizes that span decades, with units at both axes."""
    pytest.importorskip("matplotlib")
    from tools.pictures import PICTURES

    ax = PICTURES[name]()
    assert [text.get_text() for text in ax.get_legend().get_texts() if "bare " in text.get_text()]
    assert len(ax.get_lines()) >= 2
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in ax.figure.axes)
