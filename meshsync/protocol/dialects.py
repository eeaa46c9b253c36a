"""The dialects of the wire: requests and pushes to message types and bodies, and back.

A *request* goes from a client to its room, which answers each but `SetAttributes` with a `Reply`; a *push* goes from
the room to a client. A client speaks one dialect. A room asks for none: it decodes each request by its type and answers
in kind, since replies and pushes have one shape in every release; only the greeting has to be chosen beforehand.

Dialect B wraps requests into tool calls. It will have its place in `_REQUEST_TYPES` and `_ENCODERS`.

Source: PROTOCOL.md, sections 1, 4.3, 4.4, 6 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from meshsync.errors import InvalidMessage
from meshsync.protocol.content import Content, decode_content, encode_content
from meshsync.protocol.envelopes import (
    MAX_DEPTH,
    MAX_WIRE_DEPTH,
    RESERVED,
    JsonObject,
    as_object,
    decode_envelope,
    decode_object,
    encode_envelope,
    encode_members,
    encode_object,
    read_member,
)
from meshsync.protocol.packets import Message

__all__ = [
    "DIALECTS",
    "Broadcast",
    "Connected",
    "Dialect",
    "Disable",
    "Enable",
    "GreetingForm",
    "Push",
    "Reply",
    "Request",
    "RoomReady",
    "Send",
    "SetAttributes",
    "Status",
    "UnknownRequest",
    "decode_push",
    "decode_request",
    "dialect",
    "encode_connected",
    "encode_push",
    "encode_reply",
    "encode_request",
    "encode_room_ready",
    "encode_status",
    "greeting_form",
]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version of the wire's names and shapes, as a client speaks it."""

    name: str
    first_release: tuple[int, int, int]
    version: str
    """The newest release that speaks it: what a client of ours says it is, in the URL and in tokens."""
    token_in: str
    """Where the token goes: ``"query"`` or ``"header"``."""
    is_bare: bool
    """Whether greeting and attributes are bare JSON instead of envelopes."""
    streams_both_ways: bool
    """Whether the acceptor of a classic stream may write to it."""


DIALECTS = (
    Dialect("A1", (0, 0, 2), "0.0.30", "query", is_bare=True, streams_both_ways=False),
    Dialect("A2", (0, 0, 31), "0.8.4", "query", is_bare=False, streams_both_ways=False),
    Dialect("A3", (0, 9, 0), "0.29.4", "query", is_bare=False, streams_both_ways=True),
)
"""All dialects that can be spoken, oldest first."""


def dialect(name: str) -> Dialect:
    """Return a dialect by its name; a letter alone means the newest of that family.

    Raises:
        ValueError: If there is none.
    """
    for candidate in reversed(DIALECTS):
        if candidate.name.startswith(name.upper()) and name:
            return candidate
    raise ValueError(f"no dialect {name!r}; there are {', '.join(d.name for d in DIALECTS)}")


# --- vocabulary -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enable:
    """Take part in messaging."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Leave messaging."""


@dataclass(frozen=True, slots=True)
class Send:
    """A message to one participant."""

    to: str
    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message to all others."""

    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Values to merge into one's own attributes. The one request without a reply."""

    attributes: JsonObject


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A request of another service, or of a release to come. It wants an answer all the same."""

    type: str


Request = Enable | Disable | Send | Broadcast | SetAttributes | UnknownRequest


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
    """What the room says of itself, at any time. Only a client with an envelope's greeting understands it."""

    members: JsonObject


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request with that id."""

    request_id: int
    content: Content


@dataclass(frozen=True, slots=True)
class Push:
    """A message from a participant, or from the room about one."""

    sender: str
    type: str
    message: JsonObject
    attachment: Buffer = field(default=b"", repr=False)


# --- requests ---------------------------------------------------------------------------------------------------------

_NO_HEADER = b"{}"


def encode_request(request: Request, dialect: Dialect) -> tuple[str, bytes]:
    """Return the message type and the body of a request.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    match request:
        case Send(to, type, message, attachment):
            _check_text(type, "type")
            _check_text(to, "to")
            header = {"type": type, "message": as_object(message, "message"), "to_participant_id": to}
            return "messaging.send", encode_envelope(encode_members(header), attachment)
        case Broadcast(type, message, attachment):
            _check_text(type, "type")
            header = {"type": type, "message": as_object(message, "message")}
            return "messaging.broadcast", encode_envelope(encode_members(header), attachment)
        case SetAttributes(attributes):
            body = encode_object(attributes, "attributes")
            if RESERVED in attributes:
                raise InvalidMessage(f"attributes[{RESERVED!r}]: the protocol keeps this name for itself")
            return "set_attributes", body if dialect.is_bare else encode_envelope(body)
        case Enable():
            return "messaging.enable", encode_envelope(_NO_HEADER)
        case Disable():
            return "messaging.disable", encode_envelope(_NO_HEADER)
        case UnknownRequest(type):
            return type, encode_envelope(_NO_HEADER)


def _check_text(value: object, name: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidMessage(f"{name}: needs a text of at least one character, not {value!r:.100}")


_MAX_REQUEST_DEPTH = MAX_DEPTH + 1
"""A header around what a program sends."""


def decode_request(message: Message) -> Request:
    """Return the request that a client sent, whatever its dialect.

    Raises:
        ProtocolError: If a body does not hold what its type needs.
    """
    decode = _REQUEST_TYPES.get(message.type)
    return UnknownRequest(message.type) if decode is None else decode(message)


def _decode_enable(message: Message) -> Request:
    decode_envelope(message.body, message.type)
    return Enable()


def _decode_disable(message: Message) -> Request:
    decode_envelope(message.body, message.type)
    return Disable()


def _decode_send(message: Message) -> Request:
    what = message.type
    header, payload = decode_envelope(message.body, what, _MAX_REQUEST_DEPTH)
    to = read_member(header, "to_participant_id", str, what)
    return Send(to, read_member(header, "type", str, what), read_member(header, "message", dict, what), payload)


def _decode_broadcast(message: Message) -> Request:
    what = message.type
    header, payload = decode_envelope(message.body, what, _MAX_REQUEST_DEPTH)
    return Broadcast(read_member(header, "type", str, what), read_member(header, "message", dict, what), payload)


def _decode_set_attributes(message: Message) -> Request:
    return SetAttributes(_decode_either(message, MAX_DEPTH))


_REQUEST_TYPES: dict[str, Callable[[Message], Request]] = {
    "messaging.enable": _decode_enable,
    "messaging.disable": _decode_disable,
    "messaging.send": _decode_send,
    "messaging.broadcast": _decode_broadcast,
    "set_attributes": _decode_set_attributes,
}


# --- replies and pushes -----------------------------------------------------------------------------------------------


def encode_reply(content: Content) -> tuple[str, bytes]:
    """Return the message type and the body of a reply; its message id is that of the request."""
    header, payload = encode_content(content)
    return "__response__", encode_envelope(encode_object(header, "content", forwarded=True), payload)


def encode_push(push: Push) -> tuple[str, bytes]:
    """Return the message type and the body of a push."""
    message = as_object(push.message, "message")
    header = {"from_participant_id": push.sender, "type": push.type, "message": message}
    return "messaging.send", encode_envelope(encode_members(header, forwarded=True), push.attachment)


def encode_status(status: Status) -> tuple[str, bytes]:
    """Return the message type and the body of a status."""
    return "room.status", encode_envelope(encode_object(status.members, "status", forwarded=True))


def decode_push(message: Message) -> RoomReady | Connected | Status | Reply | Push | None:
    """Return what a room sent, or None for a type that no messaging client needs.

    Raises:
        ProtocolError: If a body does not hold what its type needs.
    """
    body, type = message.body, message.type
    match type:
        case "messaging.send":
            header, payload = decode_envelope(body, type)
            sender = read_member(header, "from_participant_id", str, type)
            name, content = read_member(header, "type", str, type), read_member(header, "message", dict, type)
            # The payload is copied out: a program may keep it, and must not keep a whole read of the socket with it.
            return Push(sender, name, content, bytes(payload))
        case "__response__":
            header, payload = decode_envelope(body, type)
            return Reply(message.id, decode_content(header, payload))
        case "room_ready":
            header = _decode_either(message)
            name, url = read_member(header, "room_name", str, type), read_member(header, "room_url", str, type)
            return RoomReady(name, url, read_member(header, "session_id", str, type))
        case "connected":
            header = _decode_either(message)
            if read_member(header, "type", str, type) != "init":
                return None
            attributes = read_member(header, "attributes", dict, type)
            return Connected(read_member(header, "participantId", str, type), attributes)
        case "room.status":
            return Status(decode_envelope(body, type)[0])
    return None


# --- greeting ---------------------------------------------------------------------------------------------------------


class GreetingForm(Enum):
    """How the bodies of ``room_ready`` and ``connected`` are written. Source: PROTOCOL.md, section 4.4."""

    BARE = "bare JSON"
    ENVELOPE = "envelope"
    BLANKS = "eight blanks and JSON"
    """White space to a reader of JSON, and to a reader of envelopes a length that those before 0.45.0 clamp."""


_FIRST_ENVELOPE = (0, 0, 31)


def greeting_form(version: str | None) -> GreetingForm:
    """Return the form that a client of that release reads; ``None`` and what is no version mean unknown."""
    # Few digits, since the text is whatever a stranger put into a URL, and int() raises at thousands of them.
    numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version or "")
    if numbers is None:
        return GreetingForm.BLANKS
    # As numbers: as texts, 0.10.0 would come before 0.6.0.
    return GreetingForm.ENVELOPE if tuple(map(int, numbers.groups())) >= _FIRST_ENVELOPE else GreetingForm.BARE


def encode_room_ready(ready: RoomReady, form: GreetingForm) -> tuple[str, bytes]:
    """Return the message type and the body of the greeting's first half."""
    members = {"room_name": ready.room_name, "room_url": ready.room_url, "session_id": ready.session_id}
    return "room_ready", _greet(members, form)


def encode_connected(connected: Connected, form: GreetingForm) -> tuple[str, bytes]:
    """Return the message type and the body of the greeting's second half."""
    members = {"type": "init", "participantId": connected.participant_id, "attributes": connected.attributes}
    return "connected", _greet(members, form)


def _greet(members: JsonObject, form: GreetingForm) -> bytes:
    header = encode_members(members, forwarded=True)
    match form:
        case GreetingForm.BARE:
            return header
        case GreetingForm.ENVELOPE:
            return encode_envelope(header)
        case GreetingForm.BLANKS:
            return b" " * 8 + header


def _decode_either(message: Message, levels: int = MAX_WIRE_DEPTH) -> JsonObject:
    """Read bare JSON, JSON behind blanks, or an envelope."""
    if bytes(message.body[:1]) in (b"{", b" "):
        header = decode_object(message.body, message.type, levels)
        header.pop(RESERVED, None)
        return header
    return decode_envelope(message.body, message.type, levels)[0]
