"""The bytes that a client holds for those that are slow, and its warnings about them, one a minute of each kind.

Not the business of this module: what happens when the budget is full, which each queue decides for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from weakref import ref

from meshsync.runtime.interfaces import Runtime
from meshsync.signals import log_warning

__all__ = ["BUDGET", "ByteBudget", "Share"]

BUDGET = 64 * 1024 * 1024
"""Bytes received and unread, by default; bytes sent and unacknowledged, and those that wait for the next connection,
likewise."""

LEAST_PART = 256
"""One part in so many of the budget is every queue's, however much the others hold: 256 KiB of 64 MiB."""

WARN_EVERY = 60.0
"""Seconds between two warnings of the same kind."""


class ByteBudget:
    """A bound of bytes that many queues share. It never waits, and any task may use it.

    An item that waits in several queues counts in each, although they share its body: otherwise a queue that drops
    items would not get room by that, as long as another one holds them.

    Args:
        limit: Bytes. It can be changed at any time.
    """

    def __init__(self, runtime: Runtime, limit: int = BUDGET) -> None:
        self.limit = limit
        self._runtime = runtime
        self._condition = runtime.condition()
        self._held = 0
        self._counts: set[_Count] = set()
        self._left_behind: deque[ref[Share]] = deque()
        """The counts of queues that nothing refers to any more."""
        self._warned: dict[str, float] = {}
        self._listeners: tuple[Callable[[], None], ...] = ()

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        with self._condition:
            self._collect()
            return self._held

    def share(self, least_part: int = LEAST_PART) -> Share:
        """Return the part of one more queue.

        Args:
            least_part: One part in so many of the budget is its own, however much other queues hold.
        """
        share = Share(self, least_part)
        # Called when the program has dropped what it has not read, at any place, also inside a lock. So it takes none;
        # and it is no function of Python, in which a Ctrl-C would be lost.
        share._count = count = _Count(share, self._left_behind.append)
        with self._condition:
            self._collect()
            self._counts.add(count)
        return share

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a listener each time that a queue may have got room, until `ignore`; it may notify, and nothing else."""
        with self._condition:
            if listener not in self._listeners:
                self._listeners = (*self._listeners, listener)

    def ignore(self, listener: Callable[[], None]) -> None:
        """Call a listener no more."""
        with self._condition:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def freed(self) -> None:
        """Tell the listeners that a queue may have got room."""
        for listener in self._listeners:
            listener()

    def warn(self, kind: str, text: str, *values: object) -> None:
        """Log a warning, unless there was one of this kind less than a minute ago."""
        now = self._runtime.monotonic()
        last = self._warned.get(kind)
        if last is None or now - last >= WARN_EVERY:
            self._warned[kind] = now
            log_warning(text, *values)

    def _collect(self) -> None:
        # With the condition held.
        while self._left_behind:
            count = self._left_behind.popleft()
            assert isinstance(count, _Count)
            self._held -= count.held
            self._counts.discard(count)


class _Count(ref["Share"]):
    """The bytes that a share holds. It survives its share."""

    __slots__ = ("held",)

    __hash__ = object.__hash__  # A reference's own asks the share, which may be gone.
    __eq__ = object.__eq__

    def __init__(self, share: Share, callback: Callable[[ref[Share]], object]) -> None:
        super().__init__(share, callback)  # type: ignore[call-arg]
        self.held = 0


class Share:
    """The part of a budget that one queue holds. Its owner calls it under a lock of its own. Made by `ByteBudget`."""

    __slots__ = ("__weakref__", "_budget", "_count", "_least_part")

    _count: _Count

    def __init__(self, budget: ByteBudget, least_part: int) -> None:
        self._budget = budget
        self._least_part = least_part

    def fits(self, size: int) -> bool:
        """Return whether an item would be counted now."""
        budget = self._budget
        with budget._condition:
            if budget._held + size > budget.limit:
                budget._collect()
            return budget._held + size <= budget.limit or self._count.held <= budget.limit // self._least_part

    def count(self, size: int) -> None:
        """Count an item, whatever is held."""
        with self._budget._condition:
            self._count.held += size
            self._budget._held += size

    @property
    def held(self) -> int:
        """Bytes that it counts now."""
        return self._count.held

    def take(self, size: int, *, is_owed: bool = True) -> bool:
        """Count an item unless the budget is full; return whether it was counted.

        Args:
            is_owed: Whether an item is counted however large it is, and whatever other queues hold, as long as this
                one holds no more than its least part. So no queue is starved by another that is not read.
        """
        budget, count = self._budget, self._count
        with budget._condition:
            if budget._held + size > budget.limit:
                budget._collect()
                is_full = budget._held + size > budget.limit
                if is_full and not (is_owed and count.held <= budget.limit // self._least_part):
                    return False
            count.held += size
            budget._held += size
            return True

    def give_back(self, size: int) -> None:
        """Count an item no more; never more than was counted."""
        budget, count = self._budget, self._count
        with budget._condition:
            size = min(size, count.held)
            # In this order: Ctrl-C in between leaves a little more room, and not less for ever.
            budget._held -= size
            count.held -= size
        if budget._listeners:
            budget.freed()

    def clear(self) -> None:
        """Count nothing any more."""
        self.give_back(self._count.held)
