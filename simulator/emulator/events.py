"""The events of a room that a fault can follow, as `simulator.faults.plans.EVENTS` names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from meshsync.confirming.bodies import ATTRIBUTE
from meshsync.protocol.content import Error
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    Disable,
    Enable,
    Reply,
    Request,
    Send,
    SetAttributes,
)
from simulator.record.calls_as_streams import as_message
from simulator.record.confirmed_messages import inside
from simulator.room.rules import RESERVED_TYPES, Member, Output

__all__ = ["EventWatcher", "Notice"]


class Notice(Protocol):
    """Notes an event: its name, its sender, its recipient, the message's type."""

    def __call__(
        self, event: str, /, *, sender: str | None = None, to: str | None = None, type: str | None = None
    ) -> None: ...


class EventWatcher:
    """Watches one room, and keeps nothing of what is said there.

    Args:
        members: Those that are there already.
        now: Returns the instant, in nanoseconds.
    """

    def __init__(self, notice: Notice, members: Iterable[Member], now: Notice) -> None:
        self._notice = notice
        self._now = now
        self._names = {member.id: member.name for member in members}
        self._enabled = {member.id for member in members}
