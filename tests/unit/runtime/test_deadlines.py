"""A deadline is made once, and says what is left of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from meshsync.runtime.deadlines import Deadline


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


@pytest.mark.parametrize("timeout", [None, "default"])
def test_no_limit_and_the_default_stay_what_they_are(clock: Any, timeout: Any) -> None:
    """Neither is ever over."""
    deadline = Deadline(clock, timeout)
    clock.now = math.inf
    assert (deadline.at, deadline.left(), deadline.rest(), deadline.is_over) == (None, None, timeout, False)


def test_a_limit_of_zero_is_over_at_once(clock: Any) -> None:
    """It polls."""
    assert (Deadline(clock, 0).left(), Deadline(clock, 0).is_over) == (0, True)
