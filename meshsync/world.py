"""The world a thread lives in: a runtime and the connectors that belong to it, and the portable spellings of waiting.

Production code waits, spawns and draws chance only through a `Runtime`. ``meshsync.runtime.threads`` implements it with
real threads; the simulator implements it on a virtual clock. A *world* is a runtime together with what opens
connections in it; a simulation installs its own for the threads it runs. Not the business of this module: any waiting
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from meshsync.runtime.interfaces import Condition, Runtime, Task
from meshsync.transport.interfaces import Connector, Endpoint

__all__ = ["World", "condition", "current_world", "monotonic", "runtime_of", "sleep", "spawn"]


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
    """Return the world of the calling task.

    Raises:
        RuntimeError: If there is no default world, because only this module was imported.
    """
    default = _worlds.default
    if default is None:
        raise RuntimeError("no world: import meshsync, which sets the default one")
    if not _worlds.installed:
        return default
    return _worlds.installed.get(default.runtime.current(), default)


def install_world(world: World | None) -> World | None:
    """Make ``world`` that of the calling task, or with None give it back the default; return what was installed.

    Raises:
        RuntimeError: As `current_world`.
    """
    default = _worlds.default
    if default is None:
        raise RuntimeError("no world: import meshsync, which sets the default one")
    key = default.runtime.current()
    before = _worlds.installed.pop(key, None)
    if world is not None:
        _worlds.installed[key] = world
    return before


def runtime_of(owner: object) -> Runtime:
    """Return the runtime that something lives in: that of its client, whichever task asks.

    Args:
        owner: A writer, reader or filter of a stream, or a `MessagingClient`. One that says nothing of a runtime, as
            those that programs write themselves, lives in the world of the calling task.
    """
    runtime: Runtime | None = getattr(owner, "_runtime", None)
    return runtime if runtime is not None else current_world().runtime


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
