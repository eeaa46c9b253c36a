"""The kept failures of the bench of races repeat to the byte, on this Python as on the one that wrote them."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.benchmarks.races import failures
from tests.benchmarks.races.catalogue import RACES
from tests.benchmarks.races.failures import load, renewed, repeat

KEPT = load()


def test_every_race_has_a_kept_failure():
    """If one is missing: python -m tests.benchmarks.races.failures."""
    assert list(KEPT) == list(RACES)


@pytest.mark.parametrize("name", RACES)
def test_kept_failure_repeats_to_the_byte(name: str):
    """As it was found and as it was shrunk, with the digests of each room and the planted symptom."""
    runs = repeat(RACES[name], KEPT[name])
    hint = "after a change on purpose: python -m tests.benchmarks.races.failures"
    assert [made.digests for made in runs] == list(KEPT[name].digests), hint
    assert all(RACES[name].symptom.matches(made.symptom) for made in runs), hint


def test_shrunk_failures_are_small():
    """Of each at most a handful of steps is late, and an order among actors is needed by few."""
    assert max(len(kept.left.lates) + len(kept.left.deviations or ()) for kept in KEPT.values()) <= 5


def test_other_run_is_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A digest that is not that of the run is named, with the Python; and one that cannot repeat them at all."""
    name = "late_reply"
    wrong = replace(KEPT[name], digests=({"weather": "0"}, KEPT[name].digests[1]))
    assert failures.compare([name], [sys.executable]) == 0
    monkeypatch.setattr(failures, "load", lambda: {name: wrong})
    assert failures.compare([name], [sys.executable]) == 1
    assert failures.compare([name], ["false"]) == 1
    version = sys.version.split()[0]
    assert capsys.readouterr().out.splitlines() == [
        f"Python {version}: 2 runs, each with the digest kept",
        f"Python {version}: differs in late_reply",
        "false: cannot repeat them: no reason is known",
    ]


def test_what_still_fails_is_kept_and_else_searched_for():
    """A case whose digests changed gets the present ones; one that passes is replaced."""
    race, kept = RACES["late_reply"], KEPT["late_reply"]
    assert renewed(race, replace(kept, digests=({}, {})), seeds=0) == kept
    passing = replace(kept, left=replace(kept.left, lates=()))
    assert renewed(race, passing, seeds=0) is None
    again = renewed(race, passing, seeds=100)
    assert again == kept
