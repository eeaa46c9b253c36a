"""The events of a conversation that a session reports, as values. Each tells when it occurs."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshsync.protocol.content import Content
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk
from meshsync.protocol.roster import RosterEntry
from meshsync.values import made_quickly

__all__ = [
    "Answered",
    "Disabled",
    "Enabled",
    "Event",
    "MemberAdded",
    "MemberChanged",
    "MemberRemoved",
    "Ready",
    "Received",
    "Skipped",
    "StatusReported",
]


@dataclass(frozen=True, slots=True)
class Ready:
    """The greeting is complete: once, before all others but `StatusReported` and `Skipped`."""

    room_name: str
    room_url: str
    session_id: str
    participant_id: str
    attributes: JsonObject


@dataclass(frozen=True, slots=True)
class StatusReported:
    """The room reported on itself."""

    members: JsonObject


@made_quickly
@dataclass(frozen=True, slots=True)
class Answered:
    """A request of ours was answered; each is at most once."""

    request_id: int
    content: Content


@dataclass(frozen=True, slots=True)
class Enabled:
    """This client takes part in messaging, and knows the others that do; a `MemberAdded` for each follows."""

    members: tuple[RosterEntry, ...]


@dataclass(frozen=True, slots=True)
class Disabled:
    """This client no longer takes part, and did; a `MemberRemoved` for each member came before."""


@dataclass(frozen=True, slots=True)
class MemberAdded:
    """A participant began to take part."""

    member: RosterEntry
    size: int = field(default=0, compare=False, repr=False)
    """As in `Received`; 0 if it was listed among others."""


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A participant no longer takes part."""

    member: RosterEntry


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Attributes of a member were set; ``member`` has them already."""

    member: RosterEntry
    changes: JsonObject
    size: int = field(default=0, compare=False, repr=False)
    """As in `Received`."""


@made_quickly
@dataclass(frozen=True, slots=True)
class Received:
    """A message of a participant arrived."""

    sender: str
    type: str
    message: JsonObject
    attachment: bytes = field(repr=False)
    size: int = field(default=0, compare=False, repr=False)
    """About how many bytes it takes in memory."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message arrived that could not be used, and the conversation goes on."""

    reason: str


Event = (
    Ready
    | StatusReported
    | Answered
    | Enabled
    | Disabled
    | MemberAdded
    | MemberRemoved
    | MemberChanged
    | Received
    | Skipped
    | Call
    | CallChunk
    | AnswerChunk
)
"""The last three are messages on calls, which carry duplex streams: they are passed on as they came."""
