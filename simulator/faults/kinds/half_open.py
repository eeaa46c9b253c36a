"""A connection goes silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["HalfOpen", "half_open"]


@register
@dataclass(frozen=True, slots=True)
class HalfOpen(ConnectionFault):
    """The connection goes silent for good, without a notification: each end finds out by its heartbeat."""

    word: ClassVar[str] = "half_open"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.silence()


def half_open(name: str) -> HalfOpen:
    """Silence the participant's connection for good; each end finds out by its heartbeat."""
    return HalfOpen(name)
