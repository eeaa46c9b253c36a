"""Alarms: called when they are due, once, unless cancelled; and how long the reader may wait for the next."""

from __future__ import annotations

import pytest

from meshsync.connection.alarms import Alarms
from meshsync.runtime.threads import ThreadRuntime


class Clock(ThreadRuntime):
    """Shows what the test sets, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def monotonic(self) -> float:  # type: ignore[override]
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands."""
    return Clock()


def test_alarm_rings_once_when_it_is_due(clock: Clock) -> None:
    """Before that the reader is told how long it may wait, and afterwards that nothing is left."""
    alarms, rung = Alarms(clock), list[str]()
    alarms.set("a", 2.0, lambda: rung.append("a"))
    alarms.set("b", 5.0, lambda: rung.append("b"))
    assert (alarms.ring(), rung, len(alarms)) == (2.0, [], 2)
    clock.now += 2.0
    assert (alarms.ring(), rung, len(alarms)) == (3.0, ["a"], 1)
    clock.now += 10.0
    assert (alarms.ring(), rung, len(alarms)) == (None, ["a", "b"], 0)


def test_cancelled_alarm_does_not_ring(clock: Clock) -> None:
    """Also if one that is due with it cancels it; cancelling what is not there does nothing."""
    alarms, rung = Alarms(clock), list[str]()

    def ring() -> None:
        rung.append("a")
        alarms.cancel("b")

    alarms.set("a", 1.0, ring)
    alarms.set("b", 1.0, lambda: rung.append("b"))
    alarms.cancel("c")
    clock.now += 1.0
    assert (alarms.ring(), rung) == (None, ["a"])


def test_alarm_that_is_set_again_rings_at_the_later_time(clock: Clock) -> None:
    """There is one for each key."""
    alarms, rung = Alarms(clock), list[int]()
    alarms.set("a", 1.0, lambda: rung.append(1))
    alarms.set("a", 4.0, lambda: rung.append(2))
    clock.now += 1.0
    assert (alarms.ring(), rung) == (3.0, [])


def test_alarm_may_set_another(clock: Clock) -> None:
    """The next wait ends with that one."""
    alarms = Alarms(clock)
    alarms.set("a", 1.0, lambda: alarms.set("b", 7.0, lambda: None))
    clock.now += 1.0
    assert alarms.ring() == 7.0
