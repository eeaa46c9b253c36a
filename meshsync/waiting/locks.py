"""`Lock`, `RLock` and `Semaphore` of any world, which may be held across any call that blocks."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from meshsync.runtime.interfaces import Runtime
from meshsync.waiting.binding import Portable, limit_of
from meshsync.waiting.turnstile import Turnstile

__all__ = ["Lock", "RLock", "Semaphore"]


class _Entering:
    """What ``__enter__`` is: looked up when a ``with`` begins, the function that acquires, and no other around it.

    Python 3.10 may handle Ctrl-C when one has returned to another in Python.
    """

    def __get__(self, lock: _Held | None, owner: type | None = None) -> Callable[..., bool]:
        return _enter if lock is None else lock._state().acquire


class _Leaving:
    """What ``__exit__`` is: looked up when a ``with`` begins, and for real threads a function in C.

    One that is written in Python can be struck by Ctrl-C before its first line, and would release nothing.
    """

    def __get__(self, lock: _Held | None, owner: type | None = None) -> Callable[..., object]:
        return _leave if lock is None else lock._state().leave


def _enter(lock: _Held) -> bool:
    """Be ``__enter__`` for those who look it up in the class, as `contextlib.ExitStack` does."""
    return lock._state().acquire()


def _leave(lock: _Held, *details: object) -> None:
    """Be ``__exit__`` for those who look it up in the class."""
    lock._state().leave(*details)


class _Held(Portable[Turnstile]):
    """What can be held in a ``with`` statement."""

    if TYPE_CHECKING:

        def __enter__(self) -> bool: ...

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
        ) -> None: ...

    else:
        __enter__, __exit__ = _Entering(), _Leaving()


def _limit(blocking: bool, timeout: float) -> float | None:
    """Return the time limit in seconds of a lock's ``acquire``, which is given as `threading` has it.

    Raises:
        ValueError: If there is a limit and it does not block, or it is negative and not -1.
    """
    if not blocking and timeout != -1:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout == -1:
        return None if blocking else 0.0
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return limit_of(timeout)


class Lock(_Held):
    """As `threading.Lock`, in whichever world it is used, and first come, first served.

    It may be held while the task sends, sleeps or waits for anything, and is bound to a world at its first use there:
    made at the top of a module, it begins unlocked in each simulation and in the real world. A task that acquires it
    twice waits for itself, as with `threading`: use `RLock`.
    """

    def __init__(self) -> None:
        super().__init__(Turnstile)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Lock it, when those who asked before have had it; return whether it is locked now by this call.

        Args:
            blocking: Whether to wait.
            timeout: The longest wait in seconds; -1 for ever.
        Raises:
            ValueError: If ``timeout`` is given and not ``blocking``, or negative and not -1.
            KeyboardInterrupt: At Ctrl-C; nothing is held by this call.
            UsageError: If a simulation is open, and the caller belongs to no world.
        """
        return self._state().acquire(_limit(blocking, timeout))

    def release(self) -> None:
        """Unlock it; any task may.

        Raises:
            RuntimeError: If it is not locked.
        """
        state = self._state()
        if state.free:
            state.refuse_ended()  # It was taken away from a task that was ended by force.
            raise RuntimeError("release unlocked lock")
        state.release()

    def locked(self) -> bool:
        """Return whether it is locked in the caller's world."""
        return not self._state().free


class RLock(_Held):
    """As `threading.RLock`, in whichever world it is used, and first come, first served; else as `Lock`."""

    def __init__(self) -> None:
        super().__init__(_reentrant)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Lock it, at once if the caller has it already; return whether that was done. As `Lock.acquire`."""
        return self._state().acquire(_limit(blocking, timeout))

    def release(self) -> None:
        """Unlock it, if it was released as often as it was acquired.

        Raises:
            RuntimeError: If the caller does not have it.
        """
        self._state().release()


def _reentrant(runtime: Runtime, what: str) -> Turnstile:
    return Turnstile(runtime, what, is_reentrant=True)


class Semaphore(_Held):
    """As `threading.Semaphore`, in whichever world it is used, and first come, first served.

    Args:
        value: How many tasks may have it at once, in each world.
    Raises:
        ValueError: If that is negative.
    """

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")

        def make(runtime: Runtime, what: str) -> Turnstile:
            return Turnstile(runtime, what, count=value)

        super().__init__(make)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take one of its permits, when those who asked before have theirs; return whether that was done.

        Args:
            blocking: Whether to wait.
            timeout: The longest wait in seconds; None for ever.
        Raises:
            ValueError: If ``timeout`` is given and not ``blocking``, or is NaN.
            KeyboardInterrupt: At Ctrl-C; nothing is taken.
        """
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return self._state().acquire(limit_of(timeout) if blocking else 0.0)

    def release(self, n: int = 1) -> None:
        """Give back ``n`` permits, which need not have been taken.

        Raises:
            ValueError: If that is less than one.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        state: Any = self._state()
        for _ in range(n):
            state.release()
