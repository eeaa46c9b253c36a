"""An allowance that grows with time."""

from __future__ import annotations

from simulator.emulator.rates import Rate


def test_two_seconds_worth_is_saved_up_and_no_more() -> None:
    """At 5 a second 10 may come at once, even after an hour; half a second later 2 more."""
    rate = Rate(5, now=0.0)
    assert rate.take(10, 3600.0)
    assert not rate.take(1, 3600.0)
    assert rate.take(2, 3600.5)
    assert not rate.take(1, 3600.5)


def test_what_is_refused_takes_nothing() -> None:
    """Asking for more than there is does not put off the next."""
    rate = Rate(5, now=0.0)
    assert not rate.take(11, 0.0)
    assert rate.take(10, 0.0)


def test_one_is_allowed_at_once_however_low_the_rate() -> None:
    """At one in a hundred seconds the second has to wait for a hundred."""
    rate = Rate(0.01, now=0.0)
    assert rate.take(1, 0.0)
    assert not rate.take(1, 99.0)
    assert rate.take(1, 100.0)
