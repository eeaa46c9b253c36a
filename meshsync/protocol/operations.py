"""The messages between clients and rooms, as values; their form on the wire is the dialect's business.

A *request* goes from a client to its room, a *push* from the room to a client. A *call* is what carries a duplex
stream: its *caller* opens it, its *recipient* answers. One class serves both hops on a call: a caller's data is a
`CallChunk`, first to the room and then from the room to the recipient; a recipient's data is an `AnswerChunk`.

Source: PROTOCOL.md, sections 4.3, 6, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshsync.errors import InvalidMessage
from meshsync.protocol.content import Content
from meshsync.protocol.envelopes import (
    JsonObject,
)
from meshsync.values import made_quickly

__all__ = [
    "Accepted",
    "AnswerCall",
    "AnswerChunk",
    "Broadcast",
    "Buffer",
    "Call",
    "CallChunk",
    "CallEnded",
    "CallMessage",
    "ChunkContent",
    "Connected",
    "Disable",
    "Enable",
    "OpenCall",
    "Push",
    "RecipientGone",
    "Reply",
    "Request",
    "RoomReady",
    "Send",
    "SetAttributes",
    "Status",
    "UnknownRequest",
    "UnreadableRequest",
    "given_id",
    "is_answered",
    "refused",
]

Buffer = bytes | bytearray | memoryview


# --- what travels on a call -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallMessage:
    """One message on a call, of either end."""

    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)
    """Empty for none: null, empty and absent mean the same."""
    to: str = ""
    """In the caller's first one, as sent to the room: the recipient's id."""
    sender: str = ""
    """In the caller's first one, as the room sends it to the recipient: the caller's id."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The room notifies the caller, before anything else, that the recipient accepted."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class RecipientGone:
    """The room notifies the caller that the recipient left. The end of the call is reported separately."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The room notifies the caller of the end of the call, and why."""

    reason: str
    message: str = ""


ChunkContent = CallMessage | Accepted | RecipientGone | CallEnded | Content
"""A message; a value that only the room sends to a caller; ``Control("close", …)``, which ends the call; ``Error``,
which comes before such an end; or any other content that a peer sent."""


# --- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enable:
    """Take part in messaging."""

    streams: tuple[str, ...] = ()
    """The kinds of streams that this client understands, ``"classic"`` and ``"duplex"``; empty for what follows from
    its release. Sent to rooms that ask no further; official ones have no place for it, and skip it."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Leave messaging."""


@made_quickly
@dataclass(frozen=True, slots=True)
class Send:
    """A message to one participant."""

    to: str
    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)


@made_quickly
@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message to all others."""

    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Values to merge into one's own attributes. Not answered."""

    attributes: JsonObject


@dataclass(frozen=True, slots=True)
class OpenCall:
    """Begin a call. The first `CallChunk` names the recipient; the answer to this request is the recipient's."""

    call_id: str
    """Chosen by the caller; the recipient gets it, so it has to differ from any other call's."""


@dataclass(frozen=True, slots=True)
class CallChunk:
    """Data of the caller on a call: a request to the room, and a push to the recipient."""

    call_id: str
    content: ChunkContent


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """A recipient's answer to a call. Not answered."""

    push_id: int
    """The message id of the `Call`, which this message has to bear too."""
    content: Content
    """``Control("open")`` to accept, ``Error`` to refuse."""


@dataclass(frozen=True, slots=True)
class AnswerChunk:
    """Data of the recipient on a call: a request to the room, not answered, and a push to the caller."""

    push_id: int
    """The message id of the `Call`, which a recipient's message has to bear too. Without meaning to the caller."""
    call_id: str
    content: ChunkContent


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A request of another service, or of a release to come. It needs a reply all the same."""

    type: str
    """The message's type; for a tool call ``toolkit.tool``."""


@dataclass(frozen=True, slots=True)
class UnreadableRequest:
    """A request with a value that cannot be read. It is refused; its connection goes on."""

    type: str
    """The message's type."""
    reason: str
    """What is wrong with it."""
    call_id: str = ""
    """Of a caller's data: the call that it belongs to, as far as it can be found."""
    push_id: int | None = None
    """Of a recipient's answer and data: the id of the `Call`. Such a message has no id of its own to be refused by."""
    is_answer: bool = False
    """Whether it is a recipient's answer to a call."""


Request = (
    Enable
    | Disable
    | Send
    | Broadcast
    | SetAttributes
    | OpenCall
    | CallChunk
    | AnswerCall
    | AnswerChunk
    | UnknownRequest
    | UnreadableRequest
)


def is_answered(request: Request) -> bool:
    """Return whether a client has to wait for a reply.

    A `CallChunk` may get one, an empty one, before release 0.47.1 and from careful rooms; nothing follows from it.
    """
    if isinstance(request, _UNANSWERED):
        return False
    return not isinstance(request, UnreadableRequest) or request.push_id is None


_UNANSWERED = (SetAttributes, CallChunk, AnswerCall, AnswerChunk)
_GIVEN = (AnswerCall, AnswerChunk)


def refused(request: Request, reason: str) -> UnreadableRequest:
    """Return what a request is to a room that could read it and does not accept a value in it."""
    match request:
        case CallChunk(call_id):
            return UnreadableRequest("", reason, call_id)
        case AnswerCall(push_id) | AnswerChunk(push_id):
            return UnreadableRequest("", reason, push_id=push_id, is_answer=isinstance(request, AnswerCall))
    return UnreadableRequest("", reason)


def given_id(request: Request) -> int | None:
    """Return the message id that a request has to bear; None if it gets one of its own."""
    return request.push_id if isinstance(request, _GIVEN) else None


# --- replies and pushes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoomReady:
    """The first half of the greeting."""

    room_name: str
    room_url: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The second half of the greeting."""

    participant_id: str
    attributes: JsonObject


@dataclass(frozen=True, slots=True)
class Status:
    """The room's report on itself, at any time. Only a client with an envelope's greeting understands it."""

    members: JsonObject


@made_quickly
@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request with that id."""

    request_id: int
    content: Content


@made_quickly
@dataclass(frozen=True, slots=True)
class Push:
    """A message from a participant, or from the room about one."""

    sender: str
    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)
    size: int = field(default=0, compare=False, repr=False)
    """About how many bytes it takes in memory, where it was decoded; 0 where it is to be encoded."""


@dataclass(frozen=True, slots=True)
class Call:
    """A peer opens a call to this client; the first `CallChunk` holds its first message."""

    push_id: int
    """The id of the message it came as."""
    call_id: str
    caller: str
    """The caller's id; empty if the room omits it."""
    tool: str
    """``stream``."""
    arguments: Content
    """``Control("open")``, or the call is to be refused."""


def check_text(value: object, name: str) -> None:
    """Check that a value is a text of at least one character.

    Raises:
        InvalidMessage: If it is not.
    """
    if not isinstance(value, str) or not value:
        hint = ""
        if isinstance(value, Mapping):
            hint = "; it comes before the message"
        elif hasattr(value, "get_attribute"):
            hint = "; to one participant there are send_message and ask"
        raise InvalidMessage(f"{name}: needs a text of at least one character, not {value!r:.100}{hint}")


def declare(streams: tuple[str, ...]) -> JsonObject:
    """Return the members of a request to enable messaging that declare the kinds of streams a client knows."""
    return {"meshsync": {"streams": list(streams)}} if streams else {}
