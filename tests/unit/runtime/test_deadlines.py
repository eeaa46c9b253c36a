"""A deadline is made once, and says what is left of it."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from typing import Any

import pytest

from meshsync.runtime.deadlines import Deadline, check_timeout


class Clock:
    """A runtime of which only the monotonic clock is asked."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Any:
    """Return a clock that the test moves."""
    return Clock()


def test_what_is_left_shrinks_to_zero_and_stays_there(clock: Any) -> None:
    """It is measured on the runtime's clock, from the moment the deadline was made."""
    deadline = Deadline(clock, 5.0)
    assert (deadline.at, deadline.left(), deadline.is_over) == (105.0, 5.0, False)
    clock.now = 104.0
    assert (deadline.left(), deadline.rest(), deadline.is_over) == (1.0, 1.0, False)
    clock.now = 105.0
    assert (deadline.left(), deadline.is_over) == (0.0, True)
    clock.now = 1000.0
    assert (deadline.left(), deadline.is_over) == (0.0, True)


@pytest.mark.parametrize(
    ("timeout", "limit"), [(5, 5.0), (0.5, 0.5), (0, 0.0), (None, 0.0), ("default", 0.0), (math.inf, 0.0)]
)
def test_the_whole_limit_is_kept_for_errors(clock: Any, timeout: Any, limit: float) -> None:
    """However much of it has passed."""
    deadline = Deadline(clock, timeout)
    clock.now += 0.25
    assert deadline.limit == limit


def test_a_shorter_wait_is_capped_by_what_is_left(clock: Any) -> None:
    """Without a limit it is not."""
    deadline = Deadline(clock, 5.0)
    assert (deadline.cap(2.0), deadline.cap(7.0), Deadline(clock, None).cap(2.0)) == (2.0, 5.0, 2.0)
    clock.now = 106.0
    assert deadline.cap(2.0) == 0.0


@pytest.mark.parametrize("timeout", [None, "default"])
def test_no_limit_and_the_default_stay_what_they_are(clock: Any, timeout: Any) -> None:
    """Neither is ever over."""
    deadline = Deadline(clock, timeout)
    clock.now = math.inf
    assert (deadline.at, deadline.left(), deadline.rest(), deadline.is_over) == (None, None, timeout, False)


def test_a_limit_of_zero_is_over_at_once(clock: Any) -> None:
    """It polls."""
    assert (Deadline(clock, 0).left(), Deadline(clock, 0).is_over) == (0, True)


@pytest.mark.parametrize("timeout", [math.inf, 1e300, 10**400, 1e9 + 1])
def test_a_limit_beyond_all_bounds_is_none(clock: Any, timeout: Any) -> None:
    """Infinity waits for ever, and so does what no system can wait for."""
    assert check_timeout(timeout) is None
    assert (Deadline(clock, timeout).at, Deadline(clock, timeout).rest()) == (None, None)


@pytest.mark.parametrize(("timeout", "seconds"), [(0, 0.0), (3, 3.0), (0.5, 0.5), (Fraction(1, 4), 0.25), (1e9, 1e9)])
def test_any_real_number_is_a_limit(timeout: Any, seconds: float) -> None:
    """It comes out as a float, whatever it was."""
    checked = check_timeout(timeout)
    assert (checked, type(checked)) == (seconds, float)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (-math.inf, ValueError),
        (-(10**400), ValueError),
        (math.nan, ValueError),
        ("5", TypeError),
        ("default", TypeError),
        (True, TypeError),
        (b"5", TypeError),
        (1j, TypeError),
        ([5], TypeError),
    ],
    ids=str,
)
def test_what_is_no_limit_is_refused_by_its_name(timeout: Any, error: type[Exception]) -> None:
    """The text has the name of the argument; the type of the error tells a wrong kind from a wrong value."""
    with pytest.raises(error, match=r"^patience is a number of seconds"):
        check_timeout(timeout, "patience")


def test_a_deadline_refuses_what_is_no_limit(clock: Any) -> None:
    """Only ``"default"`` may be a text."""
    with pytest.raises(TypeError, match="timeout is a number of seconds, not 'soon'"):
        Deadline(clock, "soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000])
def test_a_limit_that_seems_to_be_in_milliseconds_is_warned_of(number: int) -> None:
    """At the program's line, with the number to write; it holds all the same."""
    text = rf"default_timeout={number} is {number} s: for {number} ms give {number / 1000:g}, and for that many .*\.0$"
    with pytest.warns(RuntimeWarning, match=text) as caught:
        assert check_timeout(number, "default_timeout") == number
    assert [one.filename for one in caught] == [__file__]


@pytest.mark.parametrize(
    "number",
    [
        *(0, 0.5, 30, 300, 999, 1000, 1500, 2500),
        *(600, 900, 1800, 3000, 3600, 5400, 6000, 7200),  # Whole minutes.
        *(9000, 14_400, 36_000, 86_400, 90_000, 604_800),  # Whole quarter hours, hours, days.
        *(5000.0, 30_000.0, 4321, 10_001, 1_000_000, 10**9, 10**12, math.inf, None),
    ],
)
def test_a_long_limit_can_be_meant(number: float | None) -> None:
    """What people choose, what is calculated, and what stands for none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_timeout(number)
