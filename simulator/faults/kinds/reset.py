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
    """The connection breaks, which both sides notice at once; what is in flight is lost."""

    word: ClassVar[str] = "reset"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.reset()


def reset(name: str) -> Reset:
    """Break the participant's connection; both sides notice at once.

    Raises:
        ValueError: As all functions here, if an argument is not what it has to be; the text names it.
    """
    return Reset(name)
