"""A connection ends without a close frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["Drop", "drop"]


@register
@dataclass(frozen=True, slots=True)
class Drop(ConnectionFault):
    """The room's end of the connection is shut without a close frame; what it had sent still arrives."""

    word: ClassVar[str] = "drop"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.drop()


def drop(name: str) -> Drop:
    """End the participant's connection without a close frame (FIN), as when a proxy in between is restarted.

    What is on its way to the participant still arrives, what is on its way from it is lost; a client that reconnects
    comes back. An attempt to connect fails.
    """
    return Drop(name)
