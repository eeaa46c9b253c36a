"""A budget of bytes that queues share: what each may hold, what is given back, and how often it warns."""

from __future__ import annotations

import pytest

from meshsync.connection.budget import ByteBudget
from meshsync.runtime.threads import ThreadRuntime

RUNTIME = ThreadRuntime()


def test_queues_share_one_limit() -> None:
    """Of 1000 bytes 600 are the one's; the other gets its last 400 and no more until some are given back."""
    budget = ByteBudget(RUNTIME, 1000)
    one, other = budget.share(), budget.share()
    assert one.take(600)
    assert other.take(400)
    assert (one.take(1), other.take(1), budget.held) == (False, False, 1000)
    one.give_back(100)
    assert (other.take(101), other.take(100), budget.held) == (False, True, 1000)


def test_every_queue_has_its_least_part() -> None:
    """A 4th of 1000 bytes: one that holds no more than 250 takes another item, however large, and then no more."""
    budget = ByteBudget(RUNTIME, 1000)
    assert budget.share().take(1000)
    starved = budget.share(4)
    assert [starved.take(size) for size in (250, 5000, 1)] == [True, True, False]
    assert not budget.share(4).take(1, is_owed=False)


def test_no_more_is_given_back_than_was_counted() -> None:
    """Giving back twice, or all, leaves the others' bytes alone."""
    budget = ByteBudget(RUNTIME, 1000)
    one, other = budget.share(), budget.share()
    one.take(10)
    other.take(20)
    one.give_back(15)
    one.clear()
    assert budget.held == 20
    other.clear()
    assert budget.held == 0


def test_bytes_of_a_queue_that_is_dropped_are_given_back() -> None:
    """A program may forget what it has not read."""
    budget = ByteBudget(RUNTIME, 1000)
    forgotten, other = budget.share(), budget.share()
    forgotten.take(1000)
    other.take(1)
    assert not other.take(500, is_owed=False)
    del forgotten
    assert other.take(500, is_owed=False)
    assert budget.held == 501


class SetClock(ThreadRuntime):
    """Real threads, and a clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_each_kind_of_warning_comes_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first at once; the next one no earlier than 60 s later."""
    runtime = SetClock()
    budget = ByteBudget(runtime)
    for runtime.now in (0.0, 1.0, 59.9, 60.0, 61.0):
        budget.warn("a", "a at %g", runtime.now)
        budget.warn("b", "b at %g", runtime.now)
    assert [record.getMessage() for record in caplog.records] == ["a at 0", "b at 0", "a at 60", "b at 60"]
