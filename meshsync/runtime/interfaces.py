"""Time, threads and chance as interfaces.

Production code waits, spawns and draws chance only through a `Runtime`. ``meshsync.runtime.threads`` implements it with
real threads; the simulator implements it on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from random import Random
from types import TracebackType
from typing import Any, Protocol

from meshsync.runtime.holdings import Holdings

__all__ = ["Condition", "Permits", "Runtime", "Shield", "Task", "TaskExit"]


class TaskExit(BaseException):
    """Raised by a runtime in a task that it ends, at the task's present wait, and at every wait after that.

    No `Exception`, so that a program's ``except Exception`` lets it pass; ``finally`` blocks run. Real threads cannot
    be ended from outside; a simulation's can.
    """


class Condition(Protocol):
    """A lock and a place to wait: the one blocking primitive. Queues and futures build on it.

    Non-reentrant. ``wait``, ``wait_for`` and ``notify_all`` raise `RuntimeError` unless the caller holds it. There is
    no ``notify(n)``: a wake-up taken by a waiter that is then interrupted would be lost. Waiters must expect spurious
    wake-ups.
    """

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Release, wait for a notification, and acquire again; False if ``timeout`` seconds passed first.

        Raises:
            TypeError: If ``timeout`` is no number of seconds; `ValueError` if it is negative or NaN.
        """
        ...

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate()`` holds, at most ``timeout`` seconds; return its last value."""
        ...

    def notify_all(self) -> None:
        """Wake all waiting tasks."""
        ...


class Permits(Protocol):
    """So many permits, for whoever asks: what a lock is made of. Which task is the next one is not decided here."""

    @property
    def leave(self) -> Callable[..., object]:
        """Gives one back, as ``give``, and may be given what an ``__exit__`` is. Ctrl-C cannot keep it from that."""
        ...

    @property
    def free(self) -> int:
        """How many can be taken at this moment."""
        ...

    def is_mine(self) -> bool:
        """Return whether the calling task has the only permit and may take it again."""
        ...

    def take(self, taken: list[Any], timeout: float | None) -> None:
        """Take one, waiting at most ``timeout`` seconds, and add an item to ``taken`` in the same moment.

        So the caller knows whether it has one, wherever Ctrl-C strikes.
        """
        ...

    def give(self) -> None:
        """Give one back. Never waits.

        Raises:
            RuntimeError: If they are reentrant and the calling task has none.
        """
        ...


class Shield(Protocol):
    """Keeps exceptions from outside, such as Ctrl-C, away from the task that puts it up, until it is down again."""

    def put_up(self) -> None:
        """Keep them away. Interrupted, ``put_down`` makes all as before."""
        ...

    def put_down(self) -> None:
        """Let through what came meanwhile, by raising it. Interrupted, another call does the rest."""
        ...


class Task(Protocol):
    """A thread of execution that a runtime spawned. It never keeps the process alive."""

    @property
    def name(self) -> str: ...

    @property
    def is_done(self) -> bool: ...

    @property
    def error(self) -> BaseException | None:
        """The error that the target raised; None while it runs or after it returned."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it came. Does not raise ``error``."""
        ...


class Runtime(Protocol):
    """The source of time, waiting, threads and chance."""

    @property
    def holdings(self) -> Holdings | None:
        """What tasks hold and wait for; None where no task can be ended and no deadlock is detected."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin; never goes back."""
        ...

    def wall(self) -> float:
        """Return seconds since the Unix epoch; the expiry of tokens is checked with it."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``; zero only yields.

        Raises:
            TypeError: If that is no number; `ValueError` if it is negative or NaN.
        """
        ...

    def condition(self) -> Condition:
        """Make a condition."""
        ...

    def permits(self, count: int, what: str, *, is_reentrant: bool) -> Permits:
        """Make permits.

        Args:
            what: The object that they belong to, for diagnosis.
            is_reentrant: Whether the task that has the only one may take it again, to give it back as often.
        """
        ...

    def spawn(self, target: Callable[[], None], *, name: str) -> Task:
        """Run ``target`` in a task of its own.

        Raises:
            RuntimeError: If no task can be started any more, because the interpreter is shutting down.
        """
        ...

    @property
    def shield(self) -> Callable[[], Shield | None] | None:
        """Makes a shield for the calling task, or nothing where exceptions from outside do not reach it.

        None where only a connection's reader may read, not a task that waits for an answer: in a simulation, whose
        order of turns is part of what the same seed gives.
        """
        ...

    def housekeeping(self) -> AbstractContextManager[None]:
        """Return a context in which the calling task only keeps house: it may go on for ever, and nobody waits for it.

        A simulation does not count the time limits of its waits as something that is going to happen, or they would
        hide that all others wait for ever.
        """
        ...

    def current(self) -> Hashable:
        """Return the calling task: equal for two calls from one task, different for two tasks that live at once."""
        ...

    def random(self, stream: str) -> Random:
        """Return the random stream of that name, for jitter. In a simulation it follows from the seed.

        Only ``Random.random()`` may be drawn on: it alone gives the same numbers on every Python.
        """
        ...

    def entropy(self, size: int) -> bytes:
        """Return ``size`` unpredictable bytes, for keys, nonces and ids."""
        ...

    def is_exiting(self) -> bool:
        """Return whether the interpreter is past its main program: handlers of ``atexit`` run, no task starts."""
        ...
