"""The rows of benchmarks: their ratios, tables, files, and what has moved against a kept run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.rows import Kept, Row, Spread, compare, load, save, table


def row(work: str = "sends", ours=(200.0, 300.0), limit=(400.0, 400.0), **options) -> Row:
    """Return a row of two rounds."""
    limits = {"bare": [*limit], "slower": [100.0, 300.0]} if limit else {}
    return Row(work, "1/s", ours=[*ours], official={"1.0": [100.0, 100.0]}, limits=limits, **options)


def kept(*rows: Row) -> Kept:
    """Return rows as they are kept."""
    return Kept([*rows], "2026-01-31", "3.11.7", 2, 0.5)


def test_ratios_are_of_the_same_round():
    """The median of ratios, and no ratio of medians: a slow round of the machine is slow for both."""
    slow_second = Row("sends", "1/s", ours=[200.0, 100.0, 300.0], limits={"bare": [400.0, 100.0, 900.0]})
    assert slow_second.ratios() == {"limit: bare": Spread(0.5, 1 / 3, 1.0)}


def test_what_was_not_measured_has_no_ratio():
    """Such as a release that is not there, or a cost of nothing."""
    alone = Row("sends", "1/s", ours=[1.0], official={"1.0": []}, limits={"bare": [0.0]})
    assert alone.ratios() == {}
    assert table([Row("sends", "1/s", ours=[1.0])]).splitlines()[1].startswith("sends ")


def test_table_has_all_figures():
    """Ours, then each that it is compared with."""
    _, ours, official, limit, slower = table([row()]).splitlines()
    assert ours.split() == ["sends", "1/s", "250", "(200", "-", "300)", "(more", "is", "better)"]
    assert official.split() == ["official", "1.0", "100", "(100", "-", "100)", "2.5", "(2", "-", "3)"]
    assert limit.split() == ["limit:", "bare", "400", "(400", "-", "400)", "0.625", "(0.5", "-", "0.75)"]
    assert slower.split() == ["limit:", "slower", "200", "(100", "-", "300)", "1.5", "(1", "-", "2)"]


def test_goals_are_those_of_the_first_limit():
    """Of the others none is told."""
    lines = table([row(goal=1.4)]).splitlines()
    assert [line.partition(", goal: ")[2] for line in lines] == ["", "", "", "1.4 at most", ""]


def test_what_is_not_there_is_said_with_the_reason():
    """Such as an official client that could not be installed."""
    alone = Row("sends", "1/s", ours=[1.0], missing={"official 1.0": "no network"})
    assert table([alone]).splitlines()[-1].split() == ["official", "1.0", "-", "not", "measured:", "no", "network"]


def test_rows_are_kept_with_when_and_where(tmp_path: Path):
    """And what is no such file is refused."""
    kept = Kept(
        [row(goal=1.4, missing={"official 2.0": "gone"}, curve="bytes", at=100)], "2026-01-31", "3.11.7", 2, 0.5
    )
    save({"sending": kept}, tmp_path / "rows.json")
    assert load(tmp_path / "rows.json") == {"sending": kept}
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="no rows of a benchmark"):
        load(tmp_path / "other.json")


def test_parts_that_did_not_run_stay_in_a_file(tmp_path: Path):
    """So that one can be measured anew by itself."""
    first, second, renewed = (
        Kept([row(name)], "2026-01-31", "3.11.7", 2, 0.5) for name in ("first", "second", "renewed")
    )
    save({"a": first, "b": second}, tmp_path / "rows.json")
    save({"a": renewed}, tmp_path / "rows.json")
    assert load(tmp_path / "rows.json") == {"a": renewed, "b": second}


@pytest.mark.parametrize(
    ("now", "mark"),
    [
        (row(), "same"),
        (row(ours=(299.0, 400.0)), "same"),  # The rounds overlap.
        (row(ours=(310.0, 400.0)), "better"),
        (row(ours=(100.0, 190.0)), "WORSE"),
        (row(ours=(400.0, 600.0), limit=(800.0, 800.0)), "same"),  # A faster machine.
    ],
)
def test_what_has_moved_is_marked(now: Row, mark: str):
    """If no round of one run is within the other."""
    assert compare([row()], [now]).split()[0] == mark


def test_less_can_be_better():
    """Where it is a cost."""
    before, now = row(is_less_better=True), row(is_less_better=True, ours=(100.0, 190.0))
    assert compare([before], [now]).split()[0] == "better"


def test_rows_without_limit_are_compared_by_the_official_client_or_as_they_are():
    """In this order."""
    assert ": to limit: bare was" in compare([row()], [row()])
    assert ": to official 1.0 was" in compare([row(limit=())], [row(limit=())])
    bare = Row("sends", "1/s", ours=[1.0, 2.0])
    assert ": the figure (1/s) was" in compare([bare], [bare])


def test_rows_that_come_and_go_are_named():
    """So that a renamed row is no silent loss."""
    assert compare([row("old")], [row("new")]).splitlines() == ["new     new", "gone    old"]
