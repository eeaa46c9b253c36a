"""The dialects of the wire: requests and pushes to message types and bodies, and back.

A client speaks one dialect. A room asks for none: it decodes each request by its type and answers in kind, since
replies and pushes have one shape in every release; only the greeting has to be chosen beforehand.

Source: PROTOCOL.md, sections 1, 4.3, 4.4 and 6. Dialect B's requests are written in `calls`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from meshsync.errors import InvalidMessage
from meshsync.protocol import tool_calls
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
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Buffer,
    Call,
    CallChunk,
    Connected,
    Disable,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    Status,
    UnknownRequest,
)
from meshsync.protocol.packets import Message

__all__ = [
    "CLASSIC",
    "DIALECTS",
    "DUPLEX",
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
    "encode_apart",
    "encode_connected",
    "encode_push",
    "encode_reply",
    "encode_request",
    "encode_room_ready",
    "encode_status",
    "ends_streams_of_leavers",
    "family_of",
    "greeting_form",
    "streams_of",
]

CLASSIC, DUPLEX = "classic", "duplex"
"""The kinds of streams: messages of types ``stream.…``, and tool_calls."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version of the wire's names and shapes, as a client speaks it."""

    name: str
    first_release: tuple[int, int, int]
    version: str
    """The newest release that speaks it: what a client of ours says it is, in the URL and in tokens."""
    token_in: str
    """Where the token goes: ``"query"`` or ``"header"``."""
    is_bare: bool = False
    """Whether greeting and attributes are bare JSON instead of envelopes."""
    streams: tuple[str, ...] = (CLASSIC,)
    """The kinds of streams that its releases know."""
    streams_both_ways: bool = True
    """Whether the acceptor of a stream may write to it."""

    @property
    def family(self) -> str:
        """The letter of its name: ``A`` or ``B``."""
        return self.name[0]


DIALECTS = (
    Dialect("A1", (0, 0, 2), "0.0.30", "query", is_bare=True, streams_both_ways=False),
    Dialect("A2", (0, 0, 31), "0.8.4", "query", streams_both_ways=False),
    Dialect("A3", (0, 9, 0), "0.29.4", "query"),
    Dialect("B1", (0, 30, 0), "0.35.6", "query"),
    Dialect("B2", (0, 35, 7), "0.47.0", "header", streams=(), streams_both_ways=False),
    Dialect("B3", (0, 47, 1), "0.56.0", "header", streams=(DUPLEX,)),
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


def streams_of(version: str | None, family: str) -> tuple[str, ...]:
    """Return the kinds of streams that a client knows, from what it says it is and how it speaks.

    Args:
        version: Of its release, or what made its token; None if unknown.
        family: What it speaks, as `family_of` says; empty if it has not spoken.

    How it speaks is sure, and the version may be that of whoever made its token. Who speaks A has classic streams,
    since every release of A has. Who speaks B and shows no version of B is TypeScript, whose published releases have no
    streams. Who has not spoken and shows no version is like the first releases, which show none.
    """
    numbers = _numbers(version)
    known = [dialect for dialect in DIALECTS if numbers is not None and numbers >= dialect.first_release]
    if family == "A" or (not family and not known):
        return (CLASSIC,)
    if family == "B" and (not known or known[-1].family == "A"):
        return ()
    return known[-1].streams


_FIRST_TO_END_STREAMS = (0, 10, 0)


def ends_streams_of_leavers(version: str | None) -> bool:
    """Return whether a client of that release ends a classic stream when it hears that its other end has left.

    Those before 0.10.0, which may show no version, wait for ever. Source: PROTOCOL.md, section 8.
    """
    numbers = _numbers(version)
    return numbers is not None and numbers >= _FIRST_TO_END_STREAMS


def family_of(type: str) -> str:
    """Return the family of dialects that a request of that message type is from; empty if it is of every one."""
    return "A" if type.startswith("messaging.") else "B" if type.startswith("room.") else ""


# --- requests ---------------------------------------------------------------------------------------------------------

_NO_HEADER = b"{}"


def encode_request(request: Request, dialect: Dialect) -> tuple[str, bytes]:
    """Return the message type and the body of a request.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    match request:
        case SetAttributes(attributes):
            body = encode_object(attributes, "attributes")
            if RESERVED in attributes:
                raise InvalidMessage(f"attributes[{RESERVED!r}]: the protocol keeps this name for itself")
            return "set_attributes", body if dialect.is_bare else encode_envelope(body)
        case OpenCall():
            return tool_calls.INVOKE_TOOL, tool_calls.encode_invocation(request)
        case CallChunk():
            return tool_calls.CALL_CHUNK, tool_calls.encode_call_chunk(request)
        case AnswerCall():
            return tool_calls.ANSWER_CALL, tool_calls.encode_answer(request)
        case AnswerChunk():
            return tool_calls.ANSWER_CHUNK, tool_calls.encode_answer_chunk(request)
        case UnknownRequest(type):
            return type, encode_envelope(_NO_HEADER)
    if dialect.family == "B":
        return tool_calls.INVOKE_TOOL, tool_calls.encode_invocation(request)
    match request:
        case Send(to, type, message, attachment):
            tool_calls.check_text(type, "type")
            tool_calls.check_text(to, "to")
            header = {"type": type, "message": as_object(message, "message"), "to_participant_id": to}
            return "messaging.send", encode_envelope(encode_members(header), attachment)
        case Broadcast(type, message, attachment):
            tool_calls.check_text(type, "type")
            header = {"type": type, "message": as_object(message, "message")}
            return "messaging.broadcast", encode_envelope(encode_members(header), attachment)
        case Enable(streams):
            return "messaging.enable", encode_envelope(encode_members(tool_calls.declare(streams)))
        case Disable():
            return "messaging.disable", encode_envelope(_NO_HEADER)


def encode_apart(request: Request, dialect: Dialect) -> tuple[str, bytes, Buffer]:
    """Return the message type and the body of a request in two parts, the second of which was not copied.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    if dialect.family != "A" or not isinstance(request, (Send, Broadcast)) or len(request.attachment) < _WORTH_PARTING:
        return *encode_request(request, dialect), b""
    # In an envelope the attachment stands as it is, behind all else.
    return *encode_request(replace(request, attachment=b""), dialect), memoryview(request.attachment)


_WORTH_PARTING = 64 * 1024
"""Bytes of an attachment from which on a copy costs more than keeping it apart: fresh memory has to be had for it."""


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
    return Enable(tool_calls.read_declaration(decode_envelope(message.body, message.type)[0]))


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
    tool_calls.INVOKE_TOOL: tool_calls.decode_invocation,
    tool_calls.CALL_CHUNK: tool_calls.decode_call_chunk,
    tool_calls.ANSWER_CALL: tool_calls.decode_answer,
    tool_calls.ANSWER_CHUNK: tool_calls.decode_answer_chunk,
}


# --- replies and pushes -----------------------------------------------------------------------------------------------


def encode_reply(content: Content) -> tuple[str, bytes]:
    """Return the message type and the body of a reply; its message id is that of the request."""
    header, payload = encode_content(content)
    return "__response__", encode_envelope(encode_object(header, "content", forwarded=True), payload)


def encode_push(push: Push | Call | CallChunk | AnswerChunk) -> tuple[str, bytes]:
    """Return the message type and the body of a push; the message id of a `Call` is its own."""
    match push:
        case Call():
            return tool_calls.CALL, tool_calls.encode_call(push)
        case CallChunk():
            return tool_calls.CALL_CHUNK_PUSH, tool_calls.encode_call_chunk(push, forwarded=True)
        case AnswerChunk():
            return tool_calls.ANSWER_CHUNK, tool_calls.encode_answer_chunk(push, forwarded=True)
    message = as_object(push.message, "message")
    header = {"from_participant_id": push.sender, "type": push.type, "message": message}
    return "messaging.send", encode_envelope(encode_members(header, forwarded=True), push.attachment)


def encode_status(status: Status) -> tuple[str, bytes]:
    """Return the message type and the body of a status."""
    return "room.status", encode_envelope(encode_object(status.members, "status", forwarded=True))


def decode_push(
    message: Message,
) -> RoomReady | Connected | Status | Reply | Push | Call | CallChunk | AnswerChunk | None:
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
        case tool_calls.CALL:
            return tool_calls.decode_call(message)
        case tool_calls.CALL_CHUNK_PUSH:
            return tool_calls.decode_call_chunk(message)
        case tool_calls.ANSWER_CHUNK:
            return tool_calls.decode_answer_chunk(message)
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
    numbers = _numbers(version)
    if numbers is None:
        return GreetingForm.BLANKS
    return GreetingForm.ENVELOPE if numbers >= _FIRST_ENVELOPE else GreetingForm.BARE


def _numbers(version: str | None) -> tuple[int, ...] | None:
    # Few digits, since the text is whatever a stranger put into a URL, and int() raises at thousands of them.
    numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version or "")
    # As numbers: as texts, 0.10.0 would come before 0.6.0.
    return None if numbers is None else tuple(map(int, numbers.groups()))


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
