"""Counts as probabilities."""

from __future__ import annotations

import pytest

from simulator.exploring.estimates import Estimate


@pytest.mark.parametrize(
    ("count", "runs", "low", "high"),
    [
        (0, 32, 0.0, 0.107179),
        (32, 32, 0.892821, 1.0),
        (8, 32, 0.132517, 0.421112),
        (81, 263, 0.255267, 0.366219),  # Newcombe's own example, by his method 3
    ],
)
def test_interval_is_wilsons(count: int, runs: int, low: float, high: float) -> None:
    """As tables of it have it."""
    assert Estimate(count, runs).interval == pytest.approx((low, high), abs=2e-4)


def test_two_estimates_differ_if_the_interval_of_the_difference_does_not_hold_zero() -> None:
    """56 of 70 and 48 of 80 do: Newcombe's example (a), 0.0524 to 0.3339. 5 and 3 of 10 do not."""
    assert Estimate(56, 70).differs(Estimate(48, 80))
    assert Estimate(3, 10).differs(Estimate(9, 10))
    assert not Estimate(5, 10).differs(Estimate(3, 10))
    assert not Estimate(1, 32).differs(Estimate(1, 32))


def test_a_factor_is_finite_where_nothing_failed() -> None:
    """Half a run is added to each."""
    assert Estimate(0, 31).factor_to(Estimate(15, 31)) == pytest.approx(31)
    assert Estimate(15, 31).factor_to(Estimate(0, 31)) == pytest.approx(1 / 31)
