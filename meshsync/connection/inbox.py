"""A bounded queue whose writer never waits: received, unread.

An item may be *kept*: it is never dropped, so its writer first asks whether there is room for it.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from meshsync.connection.budget import Share
from meshsync.runtime.interfaces import Runtime

__all__ = ["Inbox", "InboxClosed", "LookAgain"]

T = TypeVar("T")


class InboxClosed(Exception):
    """The inbox is closed and has been read to its end.

    Attributes:
        cause: The error it was closed with; None for a regular end.
    """

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        self.cause = cause


class LookAgain(Exception):
    """A wait was cut short, so that its caller asks again whether anything can come."""


class Inbox(Generic[T]):
    """A bounded queue for any number of tasks.

    Args:
        maxsize: The most items it holds.
        share: Bounds their bytes, together with those of other queues; None where items have no size.
    """

    def __init__(self, runtime: Runtime, maxsize: int, share: Share | None = None) -> None:
        self._condition = runtime.condition()
        self._share = share
        self._items: deque[tuple[T, int, bool]] = deque()
        """Each with the bytes that it counts, and whether it is kept."""
        self._kept = 0
        """How many items are kept."""
        self._maxsize = maxsize
        self._is_closed = False
        self._cause: BaseException | None = None
        self.looks: int = 0
        """How often those that wait were told to look again."""
        self._is_awaited = False
        """Whether a task waits in ``get``; also one that Ctrl-C has taken out of it, until the next call."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_awaited(self) -> bool:
        """Whether its only reader waits for an item, and will get the next one at once. Takes no lock."""
        return not self._items and self._is_awaited  # In this order: it waits no more before it takes one.

    def put(self, item: T, size: int = 0) -> bool | None:
        """Add an item of ``size`` bytes and return True; return False if the inbox is full, None if it is closed."""
        with self._condition:
            if self._is_closed:
                return None
            if len(self._items) >= self._maxsize or not self._take(size):
                return False
            self._items.append((item, size, False))
            self._condition.notify_all()
            return True

    def put_dropping(self, item: T, size: int = 0) -> int:
        """Add an item of ``size`` bytes, dropping the oldest where it is full; return how many were dropped.

        For want of bytes, only items that count some are dropped. Where all others are kept, it is this item.
        """
        with self._condition:
            if self._is_closed:
                return 0
            dropped = 0
            if len(self._items) >= self._maxsize:
                if not self._drop_oldest(0):
                    return 1
                dropped = 1
            while True:
                if not size or self._share is None or self._share.take(size):
                    break
                dropped += 1
                if not self._drop_oldest():
                    return dropped
            self._items.append((item, size, False))
            self._condition.notify_all()
            return dropped

    def has_room(self, size: int, *, is_dropping: bool) -> bool:
        """Return whether an item of ``size`` bytes could be kept now; also if the inbox is closed, and ignores it.

        Args:
            is_dropping: Whether others may be dropped for it.
        """
        with self._condition:
            count = self._kept if is_dropping else len(self._items)
            if count >= self._maxsize:
                return self._is_closed
            if self._is_closed or self._share is None or self._share.fits(size):
                return True
            return is_dropping and self._share.fits(size - sum(held for _, held, is_kept in self._items if not is_kept))

    def keep(self, item: T, size: int, *, is_dropping: bool) -> int:
        """Add an item of ``size`` bytes that nothing drops, beyond the bounds if need be; return how many were dropped.

        Args:
            is_dropping: Whether others are dropped to make room for it.
        """
        with self._condition:
            if self._is_closed:
                return 0
            dropped = 0
            if is_dropping and len(self._items) >= self._maxsize and self._drop_oldest(0):
                dropped = 1
            while True:
                if self._take(size):
                    break
                if is_dropping and self._drop_oldest():
                    dropped += 1
                elif self._share is not None:
                    self._share.count(size)
                    break
            self._items.append((item, size, True))
            self._kept += 1
            self._condition.notify_all()
            return dropped

    def get(self, timeout: float | None, looks: int | None = None) -> T:
        """Remove and return the oldest item, waiting at most ``timeout`` seconds; None waits for ever, 0 polls.

        Args:
            looks: The value of ``looks`` before the caller looked whether to wait; by default the present one.
        Raises:
            InboxClosed: If it is closed and empty.
            TimeoutError: If no item came in time.
            LookAgain: If ``look_again`` was called meanwhile.
        """
        with self._condition:
            # Checked first: a wait costs, and most items are there already.
            if not self._items and not self._is_closed:
                seen = self.looks if looks is None else looks
                self._is_awaited = True
                self._condition.wait_for(lambda: bool(self._items) or self._is_closed or self.looks != seen, timeout)
                self._is_awaited = False
                if self.looks != seen and not self._is_ready():
                    raise LookAgain
            if self._items:
                item, size, is_kept = self._items.popleft()
                self._kept -= is_kept
                if size:
                    self._give_back(size)
                return item
            if self._is_closed:
                raise InboxClosed(self._cause)
        raise TimeoutError

    def _take(self, size: int) -> bool:
        return not size or self._share is None or self._share.take(size)

    def _give_back(self, size: int) -> None:
        if self._share is None or not size:
            return
        if self._items:
            self._share.give_back(size)
        else:
            self._share.clear()  # Ctrl-C may have kept bytes from being given back.

    def _drop_oldest(self, least: int = 1) -> bool:
        """Drop the oldest item that is not kept and counts ``least`` bytes; return whether there was one."""
        for index, (_, size, is_kept) in enumerate(self._items):
            if size >= least and not is_kept:
                del self._items[index]
                self._give_back(size)
                return True
        return False

    def _is_ready(self) -> bool:
        return bool(self._items) or self._is_closed

    def look_again(self) -> None:
        """Cut all waits short."""
        with self._condition:
            self.looks += 1
            self._condition.notify_all()

    def cut(self) -> list[T]:
        """Close it, and remove and return what is unread."""
        with self._condition:
            self._condition.notify_all()  # First: Ctrl-C may strike behind it, and none must wait at a closed inbox.
            self._is_closed = True
            items, self._items = self._items, deque()
            self._kept = 0
            if self._share is not None:
                self._share.clear()
        return [item for item, _, _ in items]

    def close(self, cause: BaseException | None = None) -> None:
        """Accept no more items; those present can still be read. Closing again does nothing."""
        with self._condition:
            if not self._is_closed:
                self._is_closed, self._cause = True, cause
            self._condition.notify_all()  # Again, too: Ctrl-C may have struck between closing and notifying.
