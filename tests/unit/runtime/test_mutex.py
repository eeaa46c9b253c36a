"""One task at a time, with a time limit."""

from __future__ import annotations

import pytest

from meshsync.errors import StreamTimeout
from meshsync.runtime.mutex import TimedMutex
from meshsync.runtime.threads import ThreadRuntime, ThreadTask
from tests.support.interrupts import Interrupt
from tests.support.scripted import PATIENCE

RUNTIME = ThreadRuntime()


def test_it_is_held_by_one_task_at_a_time() -> None:
    """The second task waits until the first has left, and then holds it."""
    mutex, order = TimedMutex(RUNTIME), []

    def second() -> None:
        mutex.run(None, "the tap", lambda: order.append("second"))

    def first() -> None:
        tasks.append(RUNTIME.spawn(second, name="second"))
        with pytest.raises(StreamTimeout, match="'the tap' is in use by another task, for 0 s now; nothing was done"):
            mutex.run(0, "the tap", lambda: None)
        order.append("first")

    tasks: list[ThreadTask] = []
    mutex.run(None, "the tap", first)
    assert tasks[0].join(PATIENCE)
    assert order == ["first", "second"]


def test_it_is_released_by_an_error() -> None:
    """A task that fails holds it no longer."""
    mutex = TimedMutex(RUNTIME)
    with pytest.raises(ZeroDivisionError):
        mutex.run(0, "dividing", lambda: [][1 // 0])
    mutex.run(0, "dividing", lambda: None)


def test_it_is_released_wherever_ctrl_c_strikes() -> None:
    """No task waits for one that has gone."""
    mutex = TimedMutex(RUNTIME)
    for place in range(1, 100):
        was_interrupted = Interrupt(place).run(lambda: mutex.run(0, "it", lambda: None))
        mutex.run(0, "it", lambda: None)
        if not was_interrupted:
            break
    assert 5 < place < 99
