"""Objects that belong to no world until they are used, and begin anew in each.

``LOCK = meshsync.Lock()`` at the top of a module is made before there is any simulation, and used in many. So each use
looks for the world of the calling task, the one exception to the rule that nothing reads it; what an object holds in
one world is unknown in all others, and gone with a simulation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from meshsync.connection.forks import Home
from meshsync.runtime.deadlines import check_duration, check_timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.world import REAL_WORLD, current_world

__all__ = ["Portable", "State", "limit_of", "program_line"]


class State(Protocol):
    """What an object is in one world."""

    def renew(self) -> None:
        """Replace what other threads may have been inside of when this process was forked off."""
        ...


S = TypeVar("S", bound=State)


def program_line() -> str:
    """Return the line that called into this package, as ``file:line in function``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("meshsync.waiting"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def limit_of(timeout: float | None) -> float | None:
    """Return a time limit in seconds as `threading` takes it: None is none, and a negative one is over."""
    if timeout is None:
        return None
    if timeout < 0:
        return 0.0
    return check_timeout(check_duration(timeout, "timeout"))


class Portable(Generic[S]):
    """An object with a state of its own in each world.

    Args:
        make: Makes its state in a runtime.
    """

    def __init__(self, make: Callable[[Runtime, str], S]) -> None:
        self._made_at = program_line()
        self._make = make
        self._home = Home()
        self._states: dict[Runtime, S] = {}
        """By runtime: that of real threads, and of one simulation at a time."""

    def _state(self) -> S:
        """Return the state in the world of the calling task.

        Raises:
            UsageError: If a simulation is open and the caller belongs to no world.
        """
        runtime = current_world().runtime
        state = self._states.get(runtime)
        if state is not None and self._home.is_here:
            return state
        return self._bind(runtime)

    def _bind(self, runtime: Runtime) -> S:
        if not self._home.is_here:
            for state in self._states.values():
                state.renew()
            self._home = Home()
        if runtime is not REAL_WORLD.runtime:
            for other in [one for one in self._states if one not in (runtime, REAL_WORLD.runtime)]:
                del self._states[other]  # There is one simulation at a time, and that one is over.
        # One call in C: of two threads that are the first ones, both get the same.
        return self._states.setdefault(runtime, self._make(runtime, self._described()))

    def _described(self) -> str:
        return f"the {type(self).__name__} of {self._made_at}"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is neither pickled nor copied: tasks share the one object, and processes none"
        )

    def __repr__(self) -> str:
        runtime = current_world(is_chosen=True).runtime
        state: Any = self._states.get(runtime)
        return f"<meshsync.{type(self).__name__} of {self._made_at}{'' if state is None else f', {state!r}'}>"
