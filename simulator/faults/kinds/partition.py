"""Participants are cut off from their room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import DIRECTIONS, PASS, Hold, NetworkFault, Pass
from simulator.faults.registry import register

__all__ = ["Partition", "partition"]


@register
@dataclass(frozen=True, slots=True)
class Partition(NetworkFault):
    """The participants and their room cannot reach each other, or only one way. What is in flight stands still."""

    word: ClassVar[str] = "partition"
    cut_off: tuple[str, ...] = field(metadata=fields.names)
    """Their names, sorted."""
    direction: str = field(default="both", metadata=fields.implied(fields.choice(*DIRECTIONS)))

    @property
    def names(self) -> tuple[str, ...]:
        return self.cut_off

    def on_link(self, name: str) -> Pass | Hold:
        return Hold(self.direction) if name in self.cut_off else PASS


def partition(names: Iterable[str], *, direction: str = "both") -> Partition:
    """Cut participants, or regions of a latency matrix, off from their room for a while; nothing is lost.

    Args:
        direction: ``"up"``: the room gets nothing of them, while they get all that it sends. ``"down"``: the other way
            round. Acknowledgements of TCP are cut too, so that the end that gets nothing gives the connection up when
            its heartbeat does, and the other one can only send so much.
    """
    return Partition(fields.settled_names("cut_off", names), direction)
