"""Taking turns, and what is left of a time limit."""

from __future__ import annotations

import pytest

import meshsync
from meshsync.errors import StreamTimeout
from meshsync.runtime.deadlines import countdown
from meshsync.runtime.mutex import Turn
from tests.support.scripted import PATIENCE, wait_until


def test_a_turn_is_had_by_one_task_at_a_time() -> None:
    """Who comes second waits until the first has left, and then has it."""
    turn, order = Turn(), []

    def second() -> None:
        with turn.take(None, "the tap"):
            order.append("second")

    with turn.take(None, "the tap"):
        task = meshsync.spawn(second)
        with pytest.raises(StreamTimeout, match="'the tap' is in use by another task, for 0 s now; nothing was done"):
            turn.take(0, "the tap").__enter__()
        order.append("first")
    assert task.join(PATIENCE)
    assert order == ["first", "second"]


def test_a_turn_is_given_back_by_an_error() -> None:
    """Whoever fails has had its turn."""
    turn = Turn()
    with pytest.raises(ZeroDivisionError), turn.take(0, "dividing"):
        _ = 1 / 0
    with turn.take(0, "dividing"):
        pass


def test_a_countdown_reaches_zero_and_stays_there() -> None:
    """What is left shrinks and is never negative; no limit and the default stay what they are."""
    left = countdown(0.0001)
    assert left() <= 0.0001
    wait_until(lambda: left() == 0)
    assert countdown(None)() is None
    assert countdown("default")() == "default"
