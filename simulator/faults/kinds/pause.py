"""A participant's process is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["Pause", "pause"]


@register
@dataclass(frozen=True, slots=True)
class Pause(ConnectionFault):
    """The participant's end does not read, write or answer pings, as if its process were stopped, for a while."""

    word: ClassVar[str] = "pause"
    name: str = field(metadata=fields.name)
    seconds: float = field(metadata=fields.duration)

    def strike(self, connection: StruckConnection) -> None:
        connection.pause(self.seconds)


def pause(name: str, seconds: float) -> Pause:
    """Stop the participant's end of its connection for some seconds."""
    return Pause(name, seconds)
