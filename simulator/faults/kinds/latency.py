"""Delays in transit change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import DIRECTIONS, PASS, Delay, NetworkFault, Pass
from simulator.faults.registry import register
from simulator.latency import Law

__all__ = ["ChangedLatency", "latency"]


@register
@dataclass(frozen=True, slots=True)
class ChangedLatency(NetworkFault):
    """Delays in transit follow another law; frames in flight keep their delay."""

    word: ClassVar[str] = "latency"
    delay: Law = field(metadata=fields.link_law)
    name: str | None = field(metadata=fields.optional(fields.name))
    """The participant whose connections it changes; None for all."""
    direction: str = field(metadata=fields.choice(*DIRECTIONS))

    def on_link(self, name: str) -> Pass | Delay:
        return Delay(self.delay, self.direction) if self.name in (None, name) else PASS


def latency(delay: Law | float, name: str | None = None, *, direction: str = "both") -> ChangedLatency:
    """Change the delay in transit, in seconds or a law, for one participant or all, in one direction or both."""
    return ChangedLatency(fields.settled_law("delay", delay, is_of_link=True), name, direction)
