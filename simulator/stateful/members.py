"""A participant of a machine, as its rules see it."""

from __future__ import annotations

from random import Random
from typing import Any

from meshsync.room import RoomClient
from meshsync.runtime.interfaces import Runtime

__all__ = ["Member"]


class Member:
    """One participant of one run: the argument ``me`` of rules. Rules may keep what they like in other attributes.

    Attributes:
        name: Its name, in the room and as an actor.
        room: Its client.
    """

    room: RoomClient

    def __init__(self, name: str, runtime: Runtime) -> None:
        self.name = name
        self._runtime = runtime

    @property
    def random(self) -> Random:
        """A random stream of its own, which follows from the seed; only ``random()`` of it may be used."""
        return self._runtime.random(f"stateful/{self.name}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the participant {self.name!r} has no {name!r}: set it in enter() or in a rule")

    def __repr__(self) -> str:
        return f"<Member {self.name!r}>"
