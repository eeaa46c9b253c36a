"""One stay of a participant in a room, as its connection knows it."""

from __future__ import annotations

from typing import Protocol

from meshsync.protocol.operations import Push
from simulator.room.rules import Output

__all__ = ["Stay"]


class Staying(Protocol):
    """A participant in its room."""

    def receive(self, push: Push) -> None: ...
    def resume(self) -> None: ...
    def ended(self, stay: Stay) -> None: ...


class Stay:
    """One stay in a room. Its participant may have left, and come back, before its connection ends."""

    __slots__ = ("_attendance",)

    def __init__(self, attendance: Staying) -> None:
        self._attendance = attendance

    def received(self, output: Output) -> None:
        if isinstance(output.what, Push):
            self._attendance.receive(output.what)

    def resumed(self) -> None:
        self._attendance.resume()

    def ended(self) -> None:
        self._attendance.ended(self)
