"""Participants are cut off from their room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import PASS, Hold, NetworkFault, Pass
from simulator.faults.registry import register

__all__ = ["Partition", "partition"]


@register
@dataclass(frozen=True, slots=True)
class Partition(NetworkFault):
    """The participants and their room cannot reach each other. Frames in flight stand still until repair."""

    word: ClassVar[str] = "partition"
    cut_off: tuple[str, ...] = field(metadata=fields.names)
    """Their names, sorted."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.cut_off

    def on_link(self, name: str) -> Pass | Hold:
        return Hold() if name in self.cut_off else PASS


def partition(names: Iterable[str]) -> Partition:
    """Cut participants off from their room for a while; nothing is lost."""
    return Partition(fields.settled_names("cut_off", names))
