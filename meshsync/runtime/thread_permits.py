"""Permits of real threads, whose giving back is one call in C, so that Ctrl-C cannot leave one behind.

A ``with`` whose ``__exit__`` is written in Python can be struck before its first line, and what it was to release is
held for ever. Which thread is the next one is not decided here: these let in whoever asks.
"""

from __future__ import annotations

import threading
import time
from _thread import get_ident
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from meshsync.runtime.shields import HEED

if TYPE_CHECKING:

    class _RLock:
        """The built-in reentrant lock, with the method that `threading.Condition` uses."""

        def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
        def release(self) -> None: ...
        def __exit__(self, *details: object) -> None: ...
        def _is_owned(self) -> bool: ...

else:
    from _thread import RLock as _RLock

__all__ = ["ThreadPermits", "ThreadReentrant"]


class _Clock:
    """The clock as it was at import; see `meshsync.runtime.threads`."""

    monotonic = staticmethod(time.monotonic)


def _take(attempt: Callable[[float], None], taken: list[Any], timeout: float | None) -> None:
    """Attempt it until ``taken`` has an item or ``timeout`` seconds have passed.

    Args:
        attempt: Waits so many seconds for it, at most, and in one call in C notes in ``taken`` that it was got.
    """
    deadline = None if timeout is None else _Clock.monotonic() + timeout
    slice_ = HEED if get_ident() == threading.main_thread().ident else threading.TIMEOUT_MAX
    left = slice_ if timeout is None else timeout
    attempt(min(left, slice_))
    while not taken:
        left = slice_ if deadline is None else deadline - _Clock.monotonic()
        if left <= 0:
            return
        attempt(min(left, slice_))


class ThreadPermits:
    """So many permits for real threads; which thread has one is not known."""

    __slots__ = ("_permits", "leave")

    def __init__(self, count: int) -> None:
        self._permits: SimpleQueue[object] = SimpleQueue()
        self.leave: Callable[..., object] = self._permits.put
        """Gives one back; may be given what an ``__exit__`` is."""
        for _ in range(count):
            self._permits.put(None)

    @property
    def free(self) -> int:
        """How many can be taken at this moment."""
        return self._permits.qsize()

    def is_mine(self) -> bool:
        """Return false: a thread that has one waits for another like all others."""
        return False

    def take(self, taken: list[Any], timeout: float | None) -> None:
        """Take one, waiting at most ``timeout`` seconds, and add an item to ``taken`` in the same moment."""

        def attempt(seconds: float) -> None:
            try:
                # One call in C, in which the permit is taken and noted: Ctrl-C strikes before it or behind it. Never to
                # wait for no time: CPython 3.10 then waits for ever, if the queue has just been emptied.
                taken.extend(map(self._permits.get, (seconds > 0,), (seconds,)))
            except Empty:
                return

        _take(attempt, taken, timeout)

    def give(self) -> None:
        """Give one back."""
        self._permits.put(None)


class ThreadReentrant:
    """One permit that the thread which has it may take again, and gives back as often."""

    __slots__ = ("_lock", "leave")

    def __init__(self) -> None:
        self._lock = _RLock()
        self.leave: Callable[..., object] = self._lock.__exit__
        """Gives it back; may be given what an ``__exit__`` is."""

    @property
    def free(self) -> int:
        """1 if no thread has it; for the moment in which it is found out, this takes it."""
        if self._lock._is_owned() or not self._lock.acquire(False):
            return 0
        self._lock.release()
        return 1

    def is_mine(self) -> bool:
        """Return whether the calling thread has it."""
        return self._lock._is_owned()

    def take(self, taken: list[Any], timeout: float | None) -> None:
        """Take it, waiting at most ``timeout`` seconds, and add an item to ``taken`` in the same moment."""

        def attempt(seconds: float) -> None:
            # The filter leaves out the False of a lock that was not got; it is one call in C all the same.
            taken.extend(filter(None, map(self._lock.acquire, (True,), (seconds,))))

        _take(attempt, taken, timeout)

    def give(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: If the calling thread does not have it.
        """
        self._lock.release()
