"""`Queue` of any world: items that tasks pass on, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, Full
from typing import Any, Generic, TypeVar

from meshsync.runtime.interfaces import Runtime
from meshsync.waiting.binding import Portable, limit_of
from meshsync.waiting.gathering import Gathering

__all__ = ["Queue"]

T = TypeVar("T")


class Store(Generic[T]):
    """A queue in one world.

    Args:
        maxsize: How many items it holds; 0 or less for any number.
    """

    __slots__ = ("_getters", "_joining", "_line", "_maxsize", "_putters", "items", "unfinished")

    def __init__(self, runtime: Runtime, what: str, maxsize: int) -> None:
        self._line = Gathering(runtime, f"waits at {what}")
        self._joining = f"waits until all that was put into {what} is done"
        self._getters: deque[object] = deque()
        self._putters: deque[object] = deque()
        self._maxsize = maxsize
        self.items: deque[T] = deque()
        self.unfinished: int = 0
        """How many items were put and not yet declared as done."""

    def put(self, item: T, limit: float | None) -> None:
        """Add an item, waiting at most ``limit`` seconds for room.

        Raises:
            Full: If there was none in time.
        """
        ticket = object()
        try:
            with self._line.condition:
                if not self._wait(self._putters, ticket, self._has_room, limit):
                    raise Full
                self._line.condition.notify_all()
                self.unfinished += 1
                self.items.append(item)
        except Full:
            raise
        except BaseException:
            self._clear_up(self._putters, ticket, [])
            raise

    def get(self, limit: float | None) -> T:
        """Remove and return the oldest item, waiting at most ``limit`` seconds for one.

        Raises:
            Empty: If there was none in time.
            KeyboardInterrupt: At Ctrl-C; no item is gone.
        """
        got: list[T] = []
        ticket = object()
        try:
            with self._line.condition:
                if not self._wait(self._getters, ticket, self._has_items, limit):
                    raise Empty
                self._line.condition.notify_all()
                got.extend(map(deque.popleft, (self.items,)))  # One call in C: an item is in either place.
            return got[0]
        except Empty:
            raise
        except BaseException:
            self._clear_up(self._getters, ticket, got)
            raise

    def _wait(self, line: deque[object], ticket: object, is_possible: Callable[[], bool], limit: float | None) -> bool:
        """Stand in a line, until the caller is first and it is possible; return whether that is so in time.

        Whatever is raised, the caller clears up.
        """
        if not line and is_possible():
            return True
        if limit == 0:
            return False

        def is_next() -> bool:
            return bool(line) and line[0] is ticket and is_possible()

        line.append(ticket)
        is_mine = self._line.wait_for(is_next, limit, lambda: self._clear_up(line, ticket, []))
        self._line.condition.notify_all()  # First: who is woken waits until the condition is left.
        if ticket in line:
            line.remove(ticket)
        return is_mine

    def _clear_up(self, line: deque[object], ticket: object, got: list[T]) -> None:
        """Leave a line, and put back what was got: Ctrl-C struck, at any call."""
        with self._line.condition:
            self._line.condition.notify_all()
            if ticket in line:
                line.remove(ticket)
            self.items.extendleft(got)

    def _has_items(self) -> bool:
        return bool(self.items)

    def _has_room(self) -> bool:
        return self._maxsize <= 0 or len(self.items) < self._maxsize

    def done(self) -> None:
        """Count an item as done.

        Raises:
            ValueError: If all are.
        """
        with self._line.condition:
            if self.unfinished < 1:
                raise ValueError("task_done() called too many times")
            if self.unfinished == 1:
                self._line.condition.notify_all()
            self.unfinished -= 1

    def join(self) -> None:
        """Wait until no item is undone."""
        with self._line.condition:
            self._line.wait_for(lambda: not self.unfinished, None, awaited=self._joining)

    def renew(self) -> None:
        """Be usable in a child process, with the items that were there."""
        self._getters.clear()
        self._putters.clear()
        self._line.renew()

    def __repr__(self) -> str:
        return f"{len(self.items)} items"


class Queue(Portable[Store[Any]], Generic[T]):
    """As `queue.Queue`, in whichever world it is used; it begins empty in each, and is first come, first served.

    Args:
        maxsize: How many items it holds; 0 or less for any number.
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(lambda runtime, what: Store(runtime, what, maxsize))
        self.maxsize = maxsize

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Args:
            block: Whether to wait for room.
            timeout: The longest wait in seconds; None for ever.
        Raises:
            queue.Full: If there was no room, in time.
            ValueError: If ``timeout`` is negative or NaN.
        """
        self._state().put(item, _limit(block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Remove and return the oldest item.

        Args:
            block: Whether to wait for one.
            timeout: The longest wait in seconds; None for ever.
        Raises:
            queue.Empty: If there was none, in time.
            ValueError: If ``timeout`` is negative or NaN.
            KeyboardInterrupt: At Ctrl-C; no item is gone.
        """
        item: T = self._state().get(_limit(block, timeout))
        return item

    def put_nowait(self, item: T) -> None:
        """Add an item, or raise `queue.Full` at once."""
        self.put(item, block=False)

    def get_nowait(self) -> T:
        """Remove and return the oldest item, or raise `queue.Empty` at once."""
        return self.get(block=False)

    def qsize(self) -> int:
        """Return how many items there are in the caller's world."""
        return len(self._state().items)

    def empty(self) -> bool:
        """Return whether there is none."""
        return not self.qsize()

    def full(self) -> bool:
        """Return whether there is no room."""
        return 0 < self.maxsize <= self.qsize()

    def task_done(self) -> None:
        """Declare that an item which was got is done.

        Raises:
            ValueError: If it is called more often than items were put.
        """
        self._state().done()

    def join(self) -> None:
        """Wait until every item that was put is declared as done."""
        self._state().join()


def _limit(block: bool, timeout: float | None) -> float | None:
    """Return the time limit in seconds of one call, which `queue` ignores where it does not block."""
    if not block:
        return 0.0
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return limit_of(timeout)
