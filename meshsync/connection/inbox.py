"""A bounded queue whose writer never waits: received, unread."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from meshsync.runtime.interfaces import Runtime

__all__ = ["Inbox", "InboxClosed"]

T = TypeVar("T")


class InboxClosed(Exception):
    """The inbox is closed and has been read to its end.

    Attributes:
        cause: The error it was closed with; None for a regular end.
    """

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        self.cause = cause


class Inbox(Generic[T]):
    """A bounded queue for any number of tasks.

    Args:
        maxsize: The most items it holds.
    """

    def __init__(self, runtime: Runtime, maxsize: int) -> None:
        self._condition = runtime.condition()
        self._items: deque[T] = deque()
        self._maxsize = maxsize
        self._is_closed = False
        self._cause: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add an item unless the inbox is full or closed; return False only if it is full."""
        with self._condition:
            if self._is_closed:
                return True
            if len(self._items) >= self._maxsize:
                return False
            self._items.append(item)
            self._condition.notify_all()
            return True

    def put_dropping(self, item: T) -> int:
        """Add an item, dropping the oldest where it is full; return how many were dropped."""
        with self._condition:
            if self._is_closed:
                return 0
            self._items.append(item)
            self._condition.notify_all()
            if len(self._items) <= self._maxsize:
                return 0
            self._items.popleft()
            return 1

    def get(self, timeout: float | None) -> T:
        """Remove and return the oldest item, waiting at most ``timeout`` seconds; None waits for ever, 0 polls.

        Raises:
            InboxClosed: If it is closed and empty.
            TimeoutError: If no item came in time.
        """
        with self._condition:
            # Checked first: a wait costs, and most items are there already.
            if not self._items and not self._is_closed:
                self._condition.wait_for(self._is_ready, timeout)
            if self._items:
                return self._items.popleft()
            if self._is_closed:
                raise InboxClosed(self._cause)
        raise TimeoutError

    def _is_ready(self) -> bool:
        return bool(self._items) or self._is_closed

    def cut(self) -> list[T]:
        """Close it, and remove and return what is unread."""
        with self._condition:
            self._condition.notify_all()  # First: Ctrl-C may strike behind it, and none must wait at a closed inbox.
            self._is_closed = True
            items, self._items = self._items, deque()
        return list(items)

    def close(self, cause: BaseException | None = None) -> None:
        """Accept no more items; those present can still be read. Closing again does nothing."""
        with self._condition:
            if not self._is_closed:
                self._is_closed, self._cause = True, cause
                self._condition.notify_all()
