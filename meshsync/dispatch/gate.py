"""The gate before the program's code: whether a call of it may still begin, and which calls are under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshsync.connection.forks import Home
from meshsync.runtime.interfaces import Runtime
from meshsync.signals import name_of

__all__ = ["Gate"]


class Gate:
    """Lets calls of receivers, hooks and callbacks begin until it is shut, and none in a child process.

    It needs no lock, since both sides write before they read: a call is noted and then looks whether the gate is shut,
    and shutting it comes before the look at the calls. So a call that begins is one that ``shut`` names.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.is_shut: bool = False
        self._runtime = runtime
        self._home = Home()
        self._under_way: dict[object, Callable[..., Any]] = {}
        """By task, which makes one call at a time."""

    @property
    def is_here(self) -> bool:
        """Whether this is the client's process: a receiver may fork, and return in the child."""
        return self._home.is_here

    def enter(self, called: Callable[..., Any]) -> bool:
        """Note that the calling task is about to call something; return False if it must not."""
        me = self._runtime.current()
        self._under_way[me] = called
        if not self.is_shut and self._home.is_here:
            return True
        self.leave()
        return False

    def leave(self) -> None:
        """Note that the calling task has returned from what it called last."""
        self._under_way.pop(self._runtime.current(), None)

    def shut(self) -> tuple[str, ...]:
        """Let no call begin from now on; return the names of those that are under way."""
        self.is_shut = True
        return tuple(name_of(called) for called in list(self._under_way.values()))
