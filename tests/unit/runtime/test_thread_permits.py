"""Permits of real threads."""

from __future__ import annotations

from queue import Empty
from typing import Any

import pytest

from meshsync.runtime.thread_permits import ThreadPermits


class Asked:
    """A queue that is empty, and notes how it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[bool, float]] = []

    def get(self, block: bool, timeout: float) -> object:
        self.calls.append((block, timeout))
        raise Empty


@pytest.mark.parametrize(("timeout", "blocks"), [(0, False), (0.0, False), (0.001, True)])
def test_a_queue_is_not_asked_to_wait_for_no_time(timeout: float, blocks: bool) -> None:
    """CPython 3.10 then waits for ever, seldom: if it takes the lock of a queue that has just been emptied."""
    permits, asked, taken = ThreadPermits(0), Asked(), list[Any]()
    permits._permits = asked  # type: ignore[assignment]
    permits.take(taken, timeout)
    assert not taken
    assert asked.calls[0] == (blocks, timeout)
