"""What work costs, counted and not timed, so that a busy machine changes nothing: calls made, and bytes held at once.

Both counts are of the process or the thread as Python sees them. Another thread's bytes would be counted too, so memory
is measured three times and the least of them holds.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

__all__ = ["calls_of", "peak_of"]


def calls_of(work: Callable[[], object]) -> int:
    """Return how many calls and returns, of Python and of C, this thread makes while it works.

    A wait that sleeps makes a few dozen, however long it lasts; one that polls makes thousands.
    """
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def peak_of(work: Callable[[], Any], times: int = 3) -> int:
    """Return the most bytes that work had allocated at once, its result included: the least of several times."""
    return min(_peak_of(work) for _ in range(times))


def _peak_of(work: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        result = work()
        peak = tracemalloc.get_traced_memory()[1]
        del result
        return peak
    finally:
        tracemalloc.stop()
