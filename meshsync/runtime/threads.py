"""Real threads and the real clock: the `Runtime` that production code runs on.

Not the business of this module: networks.
"""

from __future__ import annotations

import os
import threading
import time
from _thread import LockType, allocate_lock, get_ident, start_new_thread
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING

from meshsync.errors import WouldDeadlock
from meshsync.hints import Hinted
from meshsync.runtime.deadlines import check_duration, check_timeout
from meshsync.runtime.holdings import Holdings
from meshsync.runtime.shields import HEED, SignalShield
from meshsync.runtime.thread_permits import ThreadPermits, ThreadReentrant

__all__ = ["ThreadCondition", "ThreadRuntime", "ThreadTask", "in_task", "spawn_in_finalizer"]

_LONGEST = threading.TIMEOUT_MAX
"""The longest wait the system can be asked for, in seconds; centuries on most. Longer ones are cut to it."""

_main = threading.main_thread()


def _note_main() -> None:
    global _main
    _main = threading.main_thread()


if hasattr(os, "register_at_fork"):  # In a child the thread that forked is the main one.
    os.register_at_fork(after_in_child=_note_main)


class _Clock:
    """The clock as it was at import.

    Libraries that freeze the time in tests replace ``time.monotonic`` wherever a module has it under a name of its own;
    frozen, no time limit would ever pass. They do not look into classes.
    """

    monotonic: staticmethod[[], float] = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    # An open simulation replaces this one, so that actors do not sleep for real.


_start_thread = threading.Thread.start
# As it was at import: an open simulation replaces it, so that threads which actors start become actors. A client of
# real threads has real threads, whichever task calls it.


def _acquire_heeding_signals(lock: LockType, timeout: float | None) -> bool:
    """Acquire a lock in the main thread, so that Ctrl-C is never put off for longer than `HEED`."""
    if timeout is not None and timeout <= HEED:
        return lock.acquire(True, timeout)
    deadline = None if timeout is None else _Clock.monotonic() + timeout
    left = HEED
    while left > 0:
        if lock.acquire(True, min(left, HEED)):
            return True
        left = HEED if deadline is None else deadline - _Clock.monotonic()
    return False


if TYPE_CHECKING:

    class _RLock:
        """The built-in reentrant lock's methods; the underscored are those that `threading.Condition` uses."""

        def __enter__(self) -> bool: ...
        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
        ) -> None: ...
        def _is_owned(self) -> bool: ...
        def _release_save(self) -> tuple[int, int]: ...
        def _acquire_restore(self, state: tuple[int, int], /) -> None: ...

else:
    from _thread import RLock as _RLock


class ThreadCondition(_RLock):
    """A lock and a place to wait, whose ``with`` cannot be torn by Ctrl-C.

    It is the built-in reentrant lock. So ``with condition:`` enters and leaves in C, and no `KeyboardInterrupt` can
    strike between acquiring the lock and entering the block, as in a class whose ``__enter__`` is written in Python
    (`threading.Condition` is one). Python handles signals only after a call has returned and when a loop jumps back;
    the order of the calls below rests on that.

    Not meant to be entered twice, although a reentrant lock cannot refuse it: the error has to come before the harm,
    and a wait does the harm, so ``wait`` raises `RuntimeError` then. A plain lock would hang at the second entry
    instead, and would not know its holder.
    """

    __slots__ = ("_spare", "_waiters")

    def __init__(self) -> None:
        # One lock per waiter, held; releasing it wakes that waiter.
        self._waiters: list[LockType] = []
        # A held lock left over by an earlier waiter: making one costs as much as all other bookkeeping of a wait.
        self._spare: LockType | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Release, wait for a notification, and acquire again; False if ``timeout`` seconds passed first.

        Args:
            timeout: The longest wait in seconds; None waits for ever, 0 only lets other threads in.
        Raises:
            RuntimeError: If the caller does not hold the condition, or entered it more than once; nothing has changed.
            TypeError: If ``timeout`` is no number of seconds; `ValueError` if it is negative or NaN.
            KeyboardInterrupt: At Ctrl-C; the condition is held again and the waiter withdrawn.
        """
        if not self._is_owned():
            raise RuntimeError("wait() on a condition that is not held: use it inside 'with condition:'")
        if timeout is not None:
            timeout = check_timeout(timeout)
        waiter = self._spare
        if waiter is None:
            waiter = allocate_lock()
            waiter.acquire()
        else:
            self._spare = None
        # The value for the finally clause if Ctrl-C strikes when the lock is released and the result not yet stored.
        state = (1, get_ident())
        notified = False
        self._waiters.append(waiter)
        try:
            state = self._release_save()  # no call before this one in here: to be interrupted means to have released
            if state[0] != 1:
                raise RuntimeError("wait() on a condition that was entered more than once")
            if timeout == 0:
                notified = waiter.acquire(False)
            elif get_ident() == _main.ident:
                notified = _acquire_heeding_signals(waiter, timeout)
            elif timeout is None:
                notified = waiter.acquire()
            else:
                notified = waiter.acquire(True, min(timeout, _LONGEST))
        finally:
            self._acquire_restore(state)  # cannot be interrupted, and no call before it
            if notified:
                self._spare = waiter
            else:
                # At worst a second Ctrl-C leaves the waiter behind; the next notify_all drops it.
                notified = self._withdraw(waiter)
        return notified

    def _withdraw(self, waiter: LockType) -> bool:
        """Remove a waiter that gave up; return whether a notification came just then."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return True
        self._spare = waiter
        return False

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate()`` holds, at most ``timeout`` seconds; return its last value.

        Raises:
            RuntimeError: As ``wait``, also when the predicate holds at once; `TypeError` and `ValueError` likewise.
        """
        if not self._is_owned():
            raise RuntimeError("wait_for() on a condition that is not held: use it inside 'with condition:'")
        if timeout is not None:
            timeout = check_timeout(timeout)
        result = predicate()
        if result:
            return result
        if timeout is None:
            while not result:
                self.wait()
                result = predicate()
            return result
        deadline = _Clock.monotonic() + timeout
        left = timeout
        while not result and left > 0:
            self.wait(left)
            result = predicate()
            left = deadline - _Clock.monotonic()
        return result

    def notify_all(self) -> None:
        """Wake all waiting threads.

        Ctrl-C cannot strike halfway and leave some waiting.

        Raises:
            RuntimeError: If the caller does not hold the condition.
        """
        if not self._is_owned():
            raise RuntimeError("notify_all() on a condition that is not held: use it inside 'with condition:'")
        waiters = self._waiters
        if not waiters:
            return
        # From the exchange of the list to the end of the one call after it, no signal is handled.
        if len(waiters) == 1:
            self._waiters = []
            waiters[0].release()
        else:
            releases = map(_release, waiters)
            self._waiters = []
            any(releases)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}, {len(self._waiters)} waiting>"


_release = LockType.release


class _TaskThread(threading.Thread):
    """The thread of a task."""


def in_task() -> bool:
    """Return whether the calling thread is one that a `ThreadRuntime` spawned."""
    return isinstance(threading.current_thread(), _TaskThread)


class ThreadTask(Hinted):
    """A daemon thread that a `ThreadRuntime` spawned."""

    __slots__ = ("_ended", "_target", "_thread", "error", "is_done")

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self.is_done: bool = False
        self.error: BaseException | None = None
        self._ended = ThreadCondition()
        self._target: Callable[[], None] | None = target
        self._thread = _TaskThread(target=self._run, name=name, daemon=True)
        try:
            _start_thread(self._thread)
        except RuntimeError as error:
            # Ctrl-C in the wait for the thread to begin may strike in the library where that leaves a lock released
            # twice, whose error takes its place.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise

    @property
    def name(self) -> str:
        return self._thread.name

    def _run(self) -> None:
        target, self._target = self._target, None  # a reference to the task does not keep the target's closure
        assert target is not None
        try:
            target()
        except BaseException as error:
            self.error = error
            raise  # threading.excepthook prints it: the failure of an unjoined task must not pass unseen
        finally:
            with self._ended:
                self.is_done = True
                self._ended.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it came. Does not raise ``error``.

        Raises:
            WouldDeadlock: If a task joins itself.
            TypeError: If ``timeout`` is no number of seconds; `ValueError` if it is negative or NaN.
        """
        timeout = check_timeout(timeout)
        thread = self._thread
        if thread is threading.current_thread():
            raise WouldDeadlock(f"task {thread.name!r} joins itself")
        # Not by Thread.join: interrupted by Ctrl-C it marks a running thread as ended (seen in CPython 3.10 to 3.12).
        with self._ended:
            if not self._ended.wait_for(lambda: self.is_done, timeout):
                return False
        thread.join()  # it has nothing left to do, but "no thread left" should be true after a join
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {'done' if self.is_done else 'running'}>"


def spawn_in_finalizer(target: Callable[[], None], name: str) -> None:
    """Run ``target`` in a daemon thread, without taking a lock or waiting in the calling one.

    `ThreadRuntime.spawn` does both, and a finalizer may run where that very lock is held. Where the system or the
    interpreter starts no more threads, nothing happens.
    """
    with suppress(RuntimeError):
        # A thread of the lowest kind, which `threading` does not know: it only starts one that has a name.
        start_new_thread(_begin, (target, name))


def _begin(target: Callable[[], None], name: str) -> None:
    with suppress(RuntimeError):
        ThreadTask(target, name)


class ThreadRuntime:
    """Time, threads and chance as the operating system has them."""

    # Taken over as they are: a method around each would double its cost.
    monotonic: staticmethod[[], float] = staticmethod(_Clock.monotonic)
    wall: staticmethod[[], float] = staticmethod(time.time)
    current: staticmethod[[], int] = staticmethod(get_ident)
    entropy: staticmethod[[int], bytes] = staticmethod(os.urandom)
    condition = ThreadCondition
    holdings: Holdings | None = None

    def __init__(self) -> None:
        self._streams: dict[str, Random] = {}

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``; zero only yields.

        Raises:
            TypeError: If that is no number; `ValueError` if it is negative or NaN.
        """
        _Clock.sleep(min(check_duration(seconds, "seconds"), _LONGEST))

    def permits(self, count: int, what: str, *, is_reentrant: bool) -> ThreadPermits | ThreadReentrant:
        """Make permits that are given back by one call in C; who has one is not recorded."""
        return ThreadReentrant() if is_reentrant else ThreadPermits(count)

    def spawn(self, target: Callable[[], None], *, name: str) -> ThreadTask:
        """Run ``target`` in a daemon thread.

        The target's exception is kept in the task's ``error`` and printed, as for any thread.

        Raises:
            RuntimeError: If the system has no thread left, or the interpreter starts no more. When that begins differs:
                CPython 3.12.1 refuses as soon as the main program has ended, 3.10 and 3.13 only after the handlers of
                ``atexit``.
        """
        return ThreadTask(target, name)

    def shield(self) -> SignalShield | None:
        """Return one for the main thread, the only one in which handlers of signals run."""
        return SignalShield() if get_ident() == _main.ident else None

    def housekeeping(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing: threads wait as they like."""
        return nullcontext()

    def random(self, stream: str) -> Random:
        """Return the random stream of that name, seeded by the operating system."""
        return self._streams.setdefault(stream, Random()) if stream not in self._streams else self._streams[stream]

    def is_exiting(self) -> bool:
        """Return whether the program is over: the main thread has ended and no other keeps the process alive.

        True in handlers of ``atexit``. False in a non-daemon thread that outlives the main one: the program goes on.
        """
        if threading.main_thread().is_alive():
            return False
        return not any(thread.is_alive() and not thread.daemon for thread in threading.enumerate())
