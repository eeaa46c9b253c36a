"""The world a thread lives in: a runtime and the connectors that belong to it, and the portable spellings of waiting.

Production code waits, spawns and draws chance only through a `Runtime`. ``meshsync.runtime.threads`` implements it with
real threads; the simulator implements it on a virtual clock. A *world* is a runtime together with the
connectors in it; a simulation installs its own for the threads it runs. All others live in the real one, which is made
with this module, so that it is there before any code can ask for it. Not the business of this module: any waiting of
its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeGuard

from meshsync.errors import UsageError
from meshsync.runtime.interfaces import Condition, Runtime, Task
from meshsync.runtime.threads import ThreadRuntime, in_task
from meshsync.signals import check_callable, check_result
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Connector, Endpoint

__all__ = [
    "REAL_WORLD",
    "World",
    "condition",
    "current_world",
    "monotonic",
    "runtime_of",
    "sleep",
    "spawn",
    "wall_time",
]


@dataclass(frozen=True, slots=True)
class World:
    """A runtime and the connectors that belong to it: the real one, or a simulation's."""

    runtime: Runtime
    connector: Callable[[Endpoint, Runtime], Connector]
    """Makes a connector to an endpoint for a client that lives in that runtime, so that it has one clock."""
    environ: Mapping[str, str]
    """The variables in which ``meshsync.connect`` looks for ``MESHAGENT_*``."""


REAL_WORLD = World(ThreadRuntime(), WebSocketConnector, os.environ)
"""Real threads, the real clock, WebSockets and the process's environment: the world of every task with no other."""

_installed: dict[Hashable, World] = {}
"""The worlds of other tasks. Keyed by task and not by context: a notebook runs each cell in a new context."""


_closed: str | None = None
"""Why a thread with no world of its own must not use the real one at present; None while it may."""


def current_world(*, is_chosen: bool = False) -> World:
    """Return the world of the calling task.

    Args:
        is_chosen: Whether the program has chosen real threads in so many words.
    Raises:
        UsageError: If a simulation is open and this is none of its tasks, nor one that a real client started: the real
            world is hardly meant.
    """
    if not _installed:
        return REAL_WORLD
    world = _installed.get(REAL_WORLD.runtime.current())
    if world is not None:
        return world
    if _closed is not None and not is_chosen and not in_task():
        raise UsageError(_closed)
    return REAL_WORLD


def close_real_world(reason: str | None) -> None:
    """Refuse the real world, from now on, to threads that have no other; with None, let them use it again."""
    global _closed
    _closed = reason


def install_world(world: World | None) -> World | None:
    """Make ``world`` that of the calling task, or with None restore the real one; return the one before, or None."""
    key = REAL_WORLD.runtime.current()
    before = _installed.pop(key, None)
    if world is not None:
        _installed[key] = world
    return before


# The client first: a subclass of `MessagingClient` may define any name but ``_meshsync``.
_RUNTIMES = [attrgetter(path) for path in ("_meshsync.runtime", "_runtime", "reader._runtime", "writer._runtime")]
"""Where a runtime is looked for, in this order."""


def runtime_of(owner: object) -> Runtime:
    """Return the runtime that an object lives in: that of its client, whichever task asks.

    Args:
        owner: A writer, reader or filter of a stream, or a `MessagingClient`. A writer or reader that a program wrote
            itself lives where the other end of its stream does; and where that shows no runtime either, in the world
            of the calling task.
    """
    for attribute in _RUNTIMES:
        try:
            found = attribute(owner)
        except AttributeError:
            continue
        if _is_runtime(found):
            return found
    return current_world().runtime


def _is_runtime(found: object) -> TypeGuard[Runtime]:
    # By its methods, since a program's own writer or reader may use the name for something else.
    return hasattr(found, "monotonic") and hasattr(found, "entropy")


def sleep(seconds: float) -> None:
    """Wait ``seconds`` in the world of the caller: real seconds, or a simulation's.

    Raises:
        TypeError: If that is no number; `ValueError` if it is negative or NaN.
    """
    current_world().runtime.sleep(seconds)


def monotonic() -> float:
    """Return the seconds of the caller's world from an arbitrary origin."""
    return current_world().runtime.monotonic()


def wall_time() -> float:
    """Return the seconds since 1970 by the wall clock of the caller's world: the real one, or a simulation's.

    It may jump, and be wrong: as a simulation's is for a program whose clock is skewed.
    """
    return current_world().runtime.wall()


def condition() -> Condition:
    """Make a condition of the caller's world."""
    return current_world().runtime.condition()


def spawn(target: Callable[..., object], *args: Any, name: str | None = None) -> Task:
    """Run ``target(*args)`` in a task of its own, in the caller's world.

    Args:
        name: For diagnosis; by default the target's.
    Raises:
        TypeError: If the target cannot be called, or is a coroutine or generator function, of which nothing would run.
        RuntimeError: If no task can be started any more, because the interpreter is shutting down.
    """
    check_callable(target, "the arguments given", "a task's target")
    label = name if name is not None else getattr(target, "__name__", type(target).__name__)

    def run() -> None:
        check_result(target(*args))  # Not every wrapper of a coroutine function shows what it is.

    return current_world().runtime.spawn(run, name=label)
