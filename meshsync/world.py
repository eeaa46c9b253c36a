"""Time, threads and chance as interfaces, and the world a thread lives in.

Production code waits, spawns and draws chance only through a `Runtime`. ``meshsync.runtime.threads`` implements it with
real threads; the simulator implements it on a virtual clock. A *world* is a runtime together with what opens
connections in it; a simulation installs its own for the threads it runs. Not the business of this module: any waiting
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Protocol

from meshsync.transport.interfaces import Connector, Endpoint

__all__ = ["Condition", "Runtime", "Task", "World", "condition", "current_world", "monotonic", "sleep", "spawn"]


class TaskExit(BaseException):
    """Raised by a runtime in a task that it ends, at what the task waits for, and at every wait after that.

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
        """Release, wait for a notification, and take again; False if ``timeout`` seconds passed first."""
        ...

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate()`` holds, at most ``timeout`` seconds; return its last value."""
        ...

    def notify_all(self) -> None:
        """Wake everyone who waits."""
        ...


class Task(Protocol):
    """A thread of execution that a runtime spawned. It never keeps the process alive."""

    @property
    def name(self) -> str: ...

    @property
    def is_done(self) -> bool: ...

    @property
    def error(self) -> BaseException | None:
        """What the target raised; None while it runs or after it returned."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it came. Does not raise ``error``."""
        ...


class Runtime(Protocol):
    """What gives time, waiting, threads and chance."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin; never goes back."""
        ...

    def wall(self) -> float:
        """Return seconds since the Unix epoch; the expiry of tokens is checked with it."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; zero or less only yields."""
        ...

    def condition(self) -> Condition:
        """Make a condition."""
        ...

    def spawn(self, target: Callable[[], None], *, name: str) -> Task:
        """Run ``target`` in a task of its own.

        Raises:
            RuntimeError: If no task can be started any more, because the interpreter is shutting down.
        """
        ...

    def current(self) -> Hashable:
        """Return who is running: equal for two calls from one task, different for two tasks that live at once."""
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


@dataclass(frozen=True, slots=True)
class World:
    """A runtime and the connectors that belong to it: the real one, or a simulation's."""

    runtime: Runtime
    connector: Callable[[Endpoint], Connector]
    """Makes what opens connections to an endpoint."""
    environ: Mapping[str, str]
    """Where ``meshsync.connect`` looks for ``MESHAGENT_*``."""


class _Worlds:
    """Which world each task lives in. Keyed by task and not by context: a notebook runs each cell in a new context."""

    def __init__(self) -> None:
        self.default: World | None = None
        self.installed: dict[Hashable, World] = {}


_worlds = _Worlds()


def set_default_world(world: World) -> None:
    """Set the world of every task that has none installed; called once, by ``meshsync.connect``."""
    _worlds.default = world


def current_world() -> World:
    """Return the world of the calling task."""
    default = _worlds.default
    if default is None:
        raise RuntimeError("no world: import meshsync, which sets the default one")
    if not _worlds.installed:
        return default
    return _worlds.installed.get(default.runtime.current(), default)


def install_world(world: World | None) -> World | None:
    """Make ``world`` that of the calling task, or with None give it back the default; return what was installed."""
    default = _worlds.default
    if default is None:
        raise RuntimeError("no world: import meshsync, which sets the default one")
    key = default.runtime.current()
    before = _worlds.installed.pop(key, None)
    if world is not None:
        _worlds.installed[key] = world
    return before


def sleep(seconds: float) -> None:
    """Wait ``seconds`` in the world of the caller: real seconds, or a simulation's."""
    current_world().runtime.sleep(seconds)


def monotonic() -> float:
    """Return the seconds of the caller's world from an arbitrary origin."""
    return current_world().runtime.monotonic()


def condition() -> Condition:
    """Make a condition of the caller's world."""
    return current_world().runtime.condition()


def spawn(target: Callable[..., object], *args: Any, name: str | None = None) -> Task:
    """Run ``target(*args)`` in a task of its own, in the caller's world.

    Args:
        name: For diagnosis; by default the target's.
    """
    label = name if name is not None else getattr(target, "__name__", type(target).__name__)

    def run() -> None:
        target(*args)

    return current_world().runtime.spawn(run, name=label)
