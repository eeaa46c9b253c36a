"""Streams that are offered to a participant are rejected, or accepted late."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.fault import happens
from simulator.faults.layers import PASS, Chance, Pass, Postpone, RejectOffer, RoomFault, RoomRequest
from simulator.faults.registry import register
from simulator.latency import Law

__all__ = ["DelayAccept", "RejectStreams", "delay_accept", "reject_streams"]


@register
@dataclass(frozen=True, slots=True)
class RejectStreams(RoomFault):
    """A share of the streams that are offered to the participant is rejected in its name."""

    word: ClassVar[str] = "reject_streams"
    name: str = field(metadata=fields.name)
    reason: str = field(metadata=fields.reason)
    rate: float = field(metadata=fields.rate)

    def on_request(self, request: RoomRequest, chance: Chance) -> Pass | RejectOffer:
        is_meant = request.offered_to == self.name
        is_hit = is_meant and happens(self.rate, chance(f"reject_streams/{self.name}"))
        return RejectOffer(self.reason) if is_hit else PASS


@register
@dataclass(frozen=True, slots=True)
class DelayAccept(RoomFault):
    """The participant's acceptances of offered streams are held back for a while."""

    word: ClassVar[str] = "delay_accept"
    name: str = field(metadata=fields.name)
    delay: Law = field(metadata=fields.law)

    def on_request(self, request: RoomRequest, chance: Chance) -> Pass | Postpone:
        if request.sender == self.name and request.is_acceptance:
            return Postpone(self.delay.draw(chance(f"delay_accept/{self.name}")))
        return PASS


def reject_streams(name: str, reason: str = "rejected", rate: float = 1.0) -> RejectStreams:
    """Reject a share of the streams that are offered to the participant, from 0 to 1."""
    return RejectStreams(name, reason, rate)


def delay_accept(name: str, delay: Law | float) -> DelayAccept:
    """Hold back the participant's acceptances of offered streams, for seconds or by a law."""
    return DelayAccept(name, fields.settled_law("delay", delay))
