"""A participant joins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from meshsync.errors import UsageError
from simulator.faults import fields
from simulator.faults.layers import SimulationFault, StruckSimulation
from simulator.faults.registry import register

__all__ = ["Join", "join"]


@register
@dataclass(frozen=True, slots=True)
class Join(SimulationFault):
    """A participant without a program joins. The name may be new."""

    word: ClassVar[str] = "join"
    name: str = field(metadata=fields.name)
    role: str = field(metadata=fields.text)

    @property
    def names(self) -> tuple[str, ...]:
        return ()

    def strike(self, simulation: StruckSimulation) -> None:
        """Let it join the room that knows the name, or else the first one; one that was added and left comes back.

        Raises:
            UsageError: If there is no room yet; nothing has changed.
        """
        rooms = simulation.rooms
        if not rooms:
            raise UsageError(f"{self.name!r} cannot join: there is no room yet")
        for room in rooms:
            for participant in room.participants:
                if participant.name == self.name and not participant.is_here:
                    participant.come_back()
                    return
        room = next((room for room in rooms if self.name in room.names()), rooms[0])
        simulation.join(room, self.name, self.role)


def join(name: str, role: str = "user") -> Join:
    """Let a participant without a program join."""
    return Join(name, role)
