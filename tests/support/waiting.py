"""Waits of tasks, as a test sees them: how many there are, and how precise their length is."""

from __future__ import annotations

import time
from typing import cast

from meshsync.runtime.interfaces import Condition
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime

__all__ = ["EARLY", "WatchedRuntime", "await_waiters", "waiters_at"]

EARLY = 1e-3
"""Seconds by which two readings of a clock and a timer may disagree."""


def waiters_at(condition: Condition) -> int:
    """Return how many threads wait at a condition of a `ThreadRuntime`."""
    return len(cast(ThreadCondition, condition)._waiters)


def await_waiters(condition: Condition, count: int = 1) -> None:
    """Return when so many threads wait at a condition that the caller does not hold: from then on each is notified."""
    while True:
        with condition:
            if waiters_at(condition) == count:
                return
        time.sleep(0)  # only yields


class WatchedRuntime(ThreadRuntime):
    """Real threads and time; keeps the conditions that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[ThreadCondition] = []

    def condition(self) -> ThreadCondition:  # type: ignore[override]
        """Make a condition."""
        self.conditions.append(ThreadCondition())
        return self.conditions[-1]
