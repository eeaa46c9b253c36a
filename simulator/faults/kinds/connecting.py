"""Attempts to connect are refused, or take longer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import PASS, Delay, NetworkFault, Pass, Refuse
from simulator.faults.registry import register
from simulator.latency import Law

__all__ = ["DelayConnect", "RefuseConnect", "delay_connect", "refuse_connect"]


@register
@dataclass(frozen=True, slots=True)
class RefuseConnect(NetworkFault):
    """The participant's attempts to connect are refused."""

    word: ClassVar[str] = "refuse_connect"
    name: str = field(metadata=fields.name)

    def on_attempt(self, name: str) -> Pass | Refuse:
        return Refuse() if name == self.name else PASS


@register
@dataclass(frozen=True, slots=True)
class DelayConnect(NetworkFault):
    """The participant's attempts to connect take longer."""

    word: ClassVar[str] = "delay_connect"
    name: str = field(metadata=fields.name)
    delay: Law = field(metadata=fields.law)

    def on_attempt(self, name: str) -> Pass | Delay:
        return Delay(self.delay) if name == self.name else PASS


def refuse_connect(name: str) -> RefuseConnect:
    """Refuse the participant's attempts to connect."""
    return RefuseConnect(name)


def delay_connect(name: str, delay: Law | float) -> DelayConnect:
    """Make the participant's attempts to connect take longer, by seconds or a law."""
    return DelayConnect(name, fields.settled_law("delay", delay))
