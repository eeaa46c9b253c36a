"""Sections that Ctrl-C does not tear."""

from __future__ import annotations

import signal
import threading

import pytest

from meshsync.runtime.critical_sections import critical_section
from meshsync.runtime.interfaces import Condition
from meshsync.runtime.threads import ThreadRuntime
from tests.support.interrupts import CtrlC

RUNTIME = ThreadRuntime()


def is_free(condition: Condition) -> bool:
    """Return whether another task can hold a condition."""
    held = threading.Event()

    def hold() -> None:
        with condition:
            held.set()

    threading.Thread(target=hold, daemon=True).start()
    return held.wait(5)


def test_ctrl_c_in_a_section_is_raised_at_its_end() -> None:
    """When the condition is free."""
    condition, done = RUNTIME.condition(), []
    with pytest.raises(KeyboardInterrupt), critical_section(RUNTIME, condition):
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")
        condition.notify_all()
    assert done == ["the rest"]
    assert is_free(condition)


def test_an_error_in_a_section_leaves_it() -> None:
    """With the handlers as they were."""
    condition = RUNTIME.condition()
    with pytest.raises(ZeroDivisionError), critical_section(RUNTIME, condition):
        raise ZeroDivisionError
    assert is_free(condition)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupted_anywhere_all_is_done_or_nothing() -> None:
    """And the section is left."""
    place, was_interrupted = 0, True
    while was_interrupted:
        place += 1
        condition, done = RUNTIME.condition(), list[int]()

        def work(condition: Condition = condition, done: list[int] = done) -> None:
            with critical_section(RUNTIME, condition):
                done.append(1)
                condition.notify_all()
                done.append(2)

        was_interrupted = CtrlC(place).run(work)
        assert done in ([], [1, 2]), f"interrupted at place {place}"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert is_free(condition)
    assert place > 5


def test_other_tasks_only_hold_the_condition() -> None:
    """Signals do not reach them."""
    condition = RUNTIME.condition()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(critical_section(RUNTIME, condition)))
    thread.start()
    thread.join()
    assert found == [condition]
