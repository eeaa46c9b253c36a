"""What some participants send does not reach some others, while all of them reach the room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import PASS, Lose, Pass, RoomFault, Withhold
from simulator.faults.registry import register

__all__ = ["Block", "block"]


@register
@dataclass(frozen=True, slots=True)
class Block(RoomFault):
    """The room passes nothing on from some participants to some others."""

    word: ClassVar[str] = "block"
    senders: tuple[str, ...] = field(metadata=fields.names)
    """Their names, sorted, as ``recipients``."""
    recipients: tuple[str, ...] = field(metadata=fields.names)
    loses: bool = field(metadata=fields.truth)
    """Whether it is lost; else it is held until the fault ends."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.senders, *self.recipients)))

    def on_passage(self, sender: str, to: str) -> Pass | Withhold | Lose:
        if sender not in self.senders or to not in self.recipients:
            return PASS
        return Lose() if self.loses else Withhold()


def block(sender: str | Iterable[str], to: str | Iterable[str], *, loses: bool = False) -> Block:
    """Let what a participant sends not reach another, in this direction, while both reach the room and all others.

    Messages, broadcasts and streams are acknowledged as ever; the roster tells either of the other.

    Args:
        sender: The name of a participant, or of a region of a latency matrix, or several, as ``to``.
        loses: Whether all that is lost; else it arrives in its order when the fault ends.
    """
    return Block(_names("sender", sender), _names("to", to), loses)


def _names(field: str, given: str | Iterable[str]) -> tuple[str, ...]:
    return fields.settled_names(field, (given,) if isinstance(given, str) else given)
