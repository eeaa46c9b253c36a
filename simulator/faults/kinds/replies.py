"""A room's replies are errors, or late."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.fault import happens
from simulator.faults.layers import PASS, Chance, Fail, Pass, Postpone, RoomFault, RoomRequest
from simulator.faults.registry import register

__all__ = ["ErrorReplies", "LateReplies", "error_replies", "late_replies"]


@register
@dataclass(frozen=True, slots=True)
class ErrorReplies(RoomFault):
    """A share of the participant's requests is answered with an error, and has no other effect."""

    word: ClassVar[str] = "error_replies"
    name: str = field(metadata=fields.name)
    code: int = field(metadata=fields.whole(0))
    rate: float = field(metadata=fields.rate)

    def on_request(self, request: RoomRequest, chance: Chance) -> Pass | Fail:
        # A request without a reply cannot get an error.
        is_meant = request.sender == self.name and request.is_answered
        is_hit = is_meant and happens(self.rate, chance(f"error_replies/{self.name}"))
        return Fail(self.code, "a fault of this simulation") if is_hit else PASS


@register
@dataclass(frozen=True, slots=True)
class LateReplies(RoomFault):
    """The room's replies to the participant are held back; the effects of its requests are not."""

    word: ClassVar[str] = "late_replies"
    name: str = field(metadata=fields.name)
    seconds: float = field(metadata=fields.duration)

    def on_reply(self, name: str) -> Pass | Postpone:
        return Postpone(self.seconds) if name == self.name else PASS


def error_replies(name: str, code: int, rate: float = 1.0) -> ErrorReplies:
    """Answer a share of the participant's requests, from 0 to 1, with an error of that code."""
    return ErrorReplies(name, code, rate)


def late_replies(name: str, seconds: float) -> LateReplies:
    """Hold back the room's replies to the participant for some seconds."""
    return LateReplies(name, seconds)
