"""A connection has less bandwidth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import DIRECTIONS, PASS, Limit, NetworkFault, Pass
from simulator.faults.registry import register

__all__ = ["Throttle", "throttle"]


@register
@dataclass(frozen=True, slots=True)
class Throttle(NetworkFault):
    """The participant's connection has less bandwidth."""

    word: ClassVar[str] = "throttle"
    name: str = field(metadata=fields.name)
    bandwidth: float = field(metadata=fields.number(is_zero_fine=False))
    """Bytes per second."""
    direction: str = field(metadata=fields.choice(*DIRECTIONS))

    def on_link(self, name: str) -> Pass | Limit:
        return Limit(self.bandwidth, self.direction) if name == self.name else PASS


def throttle(name: str, bandwidth: float, *, direction: str = "both") -> Throttle:
    """Limit the participant's connection to ``bandwidth`` bytes per second in each direction, or in one."""
    return Throttle(name, bandwidth, direction)
