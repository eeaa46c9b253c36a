"""A room closes a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["Leave", "leave"]


@register
@dataclass(frozen=True, slots=True)
class Leave(ConnectionFault):
    """The participant's connection is closed by the room, with a close frame."""

    word: ClassVar[str] = "leave"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.close(1001, "the room ended this participant's connection")


def leave(name: str) -> Leave:
    """Let the room close the participant's connection, with a close frame."""
    return Leave(name)
