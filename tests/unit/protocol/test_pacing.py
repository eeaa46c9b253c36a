"""How many bytes of a stream may be on their way: enough to fill it, and hardly more."""

from __future__ import annotations

import pytest

from meshsync.protocol.pacing import CONFIRM_EVERY, LEAST_FLIGHT, Pace

SIZE = 64 * 1024


def drive(pace: Pace, rate: float, delay: float, seconds: float, begin: float = 0.0) -> None:
    """Send as much as may be over a way of so many bytes per second, confirmed after ``delay`` seconds each."""
    now, free, way = begin, begin, []
    while now < begin + seconds:
        while pace.may_send(SIZE):
            pace.sent(SIZE, now, is_last=False)
            free = max(free, now) + SIZE / rate
            way.append(free + delay)
        now = way.pop(0)
        pace.confirmed(1, now)


@pytest.mark.parametrize(("rate", "delay"), [(2e6, 0.16), (20e6, 0.1), (2e6, 0.01)])
def test_as_much_is_on_its_way_as_it_holds(rate: float, delay: float) -> None:
    """Rate times time, and not more than half as much again, or little more than what may always be."""
    pace = Pace()
    drive(pace, rate, delay, 60)
    holds = rate * (delay + SIZE / rate)
    assert min(holds, LEAST_FLIGHT) <= pace.limit <= max(1.5 * holds, LEAST_FLIGHT) + CONFIRM_EVERY


def test_it_follows_a_way_that_becomes_slower() -> None:
    """The rate of some round trips ago counts no more."""
    pace = Pace()
    drive(pace, 20e6, 0.1, 30)
    before = pace.limit
    pace.lost()
    drive(pace, 2e6, 0.1, 200, begin=30)
    assert pace.limit < before / 3


def test_little_never_waits() -> None:
    """The reader does not confirm it; and after a loss nothing is on its way."""
    pace = Pace()
    pace.sent(CONFIRM_EVERY, 0, is_last=False)
    assert pace.may_send(4 * 1024 * 1024)
    pace.sent(LEAST_FLIGHT, 0, is_last=False)
    assert not pace.may_send(1)
    pace.lost()
    assert (pace.in_flight, pace.may_send(SIZE)) == (0, True)


def test_confirmations_of_nothing_do_no_harm() -> None:
    """Such as of chunks that were sent before a loss."""
    pace = Pace()
    pace.confirmed(3, 1)
    assert (pace.in_flight, pace.limit) == (0, LEAST_FLIGHT)
