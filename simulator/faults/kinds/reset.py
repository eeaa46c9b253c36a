"""A connection breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["Reset", "reset"]


@register
@dataclass(frozen=True, slots=True)
class Reset(ConnectionFault):
    """The connection breaks, and both ends notice at once; frames in flight are lost."""

    word: ClassVar[str] = "reset"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.reset()


def reset(name: str) -> Reset:
    """Break the participant's connection; both ends notice at once.

    Raises:
        ValueError: As all functions here, if an argument has a wrong type or value; the text names it.
    """
    return Reset(name)
