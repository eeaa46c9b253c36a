"""One task at a time, with a time limit."""

from __future__ import annotations

import pytest

from meshsync.errors import StreamTimeout
from meshsync.runtime.mutex import TimedMutex
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE

RUNTIME = ThreadRuntime()


def test_it_is_held_by_one_task_at_a_time() -> None:
    """The second task waits until the first has left, and then holds it."""
    mutex, order = TimedMutex(RUNTIME), []

    def second() -> None:
        with mutex.hold(None, "the tap"):
            order.append("second")

    with mutex.hold(None, "the tap"):
        task = RUNTIME.spawn(second, name="second")
        with pytest.raises(StreamTimeout, match="'the tap' is in use by another task, for 0 s now; nothing was done"):
            mutex.hold(0, "the tap").__enter__()
        order.append("first")
    assert task.join(PATIENCE)
    assert order == ["first", "second"]


def test_it_is_released_by_an_error() -> None:
    """A task that fails holds it no longer."""
    mutex = TimedMutex(RUNTIME)
    with pytest.raises(ZeroDivisionError), mutex.hold(0, "dividing"):
        _ = 1 / 0
    with mutex.hold(0, "dividing"):
        pass
