"""What receivers and subscriptions are given: a message, and the event it came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshsync.participants import LocalParticipant, RemoteParticipant

__all__ = ["RoomMessage", "RoomMessageEvent"]


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """A message, or what the room or this client has to say in the shape of one."""

    type: str
    message: Mapping[str, Any]
    attachment: bytes = field(default=b"", repr=False)
    """``b""`` for none: the wire cannot tell."""
    from_participant_id: str = ""
    """Empty for what this client says itself."""
    sender: RemoteParticipant | LocalParticipant | None = field(default=None, compare=False)
    """Who sent it, as known when it came; None for somebody unknown."""


@dataclass(frozen=True, slots=True)
class RoomMessageEvent:
    """What every receiver gets. Which fields are set depends on ``name``; DESIGN.md section 4 has the table."""

    name: str
    """The event, such as ``participant_added``."""
    message: RoomMessage
    participant: RemoteParticipant | LocalParticipant | None = None
    """Whom it is about, or who sent the message."""
    stream: Any = None
    """The stream it is about; None for all but the stream events."""
    error: BaseException | None = None
    """What went wrong; None where nothing did."""
