"""Requests and pushes to message types and bodies, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import tool_calls
from meshsync.protocol.attachments import attached_size, encode_in_pieces
from meshsync.protocol.content import Content, Empty, decode_content, encode_content
from meshsync.protocol.dialects import Dialect
from meshsync.protocol.envelopes import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_WIRE_DEPTH,
    RESERVED,
    JsonObject,
    as_object,
    check_members,
    decode_envelope,
    decode_object,
    encode_envelope,
    encode_members,
    encode_object,
    read_member,
    size_in_memory,
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
    UnreadableRequest,
    check_text,
    declare,
)
from meshsync.protocol.packets import WireMessage
from meshsync.protocol.weight import MAX_VALUES, check_weight

__all__ = [
    "REPLY",
    "decode_push",
    "decode_reply",
    "decode_request",
    "encode_apart",
    "encode_push",
    "encode_reply",
    "encode_request",
    "measure",
    "read_request",
]


# --- requests ---------------------------------------------------------------------------------------------------------

_NO_HEADER = b"{}"


def encode_request(request: Request, dialect: Dialect) -> tuple[str, bytes]:
    """Return the message type and the body of a request.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    if dialect.family == "B" and isinstance(request, (Send, Broadcast)):  # First, since most are messages.
        return tool_calls.INVOKE_TOOL, tool_calls.encode_invocation(request)
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
        case UnknownRequest(type) | UnreadableRequest(type):
            return type, encode_envelope(_NO_HEADER)
    if dialect.family == "B":
        return tool_calls.INVOKE_TOOL, tool_calls.encode_invocation(request)
    match request:
        case Send(to, type, message, attachment):
            check_text(type, "type")
            check_text(to, "to")
            header = {"type": type, "message": as_object(message, "message"), "to_participant_id": to}
            return "messaging.send", encode_envelope(encode_members(header), attachment)
        case Broadcast(type, message, attachment):
            check_text(type, "type")
            header = {"type": type, "message": as_object(message, "message")}
            return "messaging.broadcast", encode_envelope(encode_members(header), attachment)
        case Enable(streams):
            return "messaging.enable", encode_envelope(encode_members(declare(streams)))
        case Disable():
            return "messaging.disable", encode_envelope(_NO_HEADER)


def encode_apart(request: Request, dialect: Dialect) -> tuple[str, bytes, Sequence[Buffer]]:
    """Return the message type and the body of a request, as its beginning and the pieces that follow.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    if not isinstance(request, (Send, Broadcast)) or len(request.attachment) < _WORTH_PARTING:
        return *encode_request(request, dialect), ()
    type, body = encode_request(_bare(request), dialect)
    if dialect.family == "A":  # In an envelope the attachment stands as it is, behind all else.
        return type, body, (memoryview(request.attachment),)
    return type, *encode_in_pieces(body, request.attachment)


def measure(request: Send | Broadcast, dialect: Dialect) -> int:
    """Return how many bytes the body of a request has, without a copy of its attachment.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    size = memoryview(request.attachment).nbytes
    rest = len(encode_request(_bare(request), dialect)[1])
    return rest + (size if dialect.family != "B" else attached_size(size))


def _bare(request: Send | Broadcast) -> Send | Broadcast:
    """Return a request without its attachment."""
    if isinstance(request, Send):
        return Send(request.to, request.type, request.message)
    return Broadcast(request.type, request.message)


_WORTH_PARTING = 64 * 1024
"""Bytes of an attachment from which on a copy costs more than keeping it apart: fresh memory has to be had for it."""


_MAX_REQUEST_DEPTH = MAX_DEPTH + 1
"""Levels of JSON that a request may have: a header around a program's data."""


def decode_request(message: WireMessage) -> Request:
    """Return the request that a client sent, whatever its dialect.

    Raises:
        ProtocolError: If a body does not hold what its type needs.
    """
    decode = _REQUEST_TYPES.get(message.type)
    if decode is None:
        return UnknownRequest(message.type)
    if len(message.body) > MAX_VALUES:  # Else it has fewer values. (Here, so that most messages save a call.)
        check_weight(message.body, message.type)
    return decode(message)


def read_request(message: WireMessage) -> Request:
    """Return the request that a client sent, `UnreadableRequest` for one that has to be refused."""
    if not message.fault:
        try:
            return decode_request(message)
        except ProtocolError as error:
            reason = str(error)
    else:
        reason = message.fault
    if message.type in (tool_calls.ANSWER_CALL, tool_calls.ANSWER_CHUNK):
        is_answer = message.type == tool_calls.ANSWER_CALL
        return UnreadableRequest(message.type, reason, push_id=message.id, is_answer=is_answer)
    found = _CALL_ID.search(message.body) if message.type == tool_calls.CALL_CHUNK else None
    return UnreadableRequest(message.type, reason, found[1].decode() if found else "")


_CALL_ID = re.compile(rb'"tool_call_id"\s*:\s*"([\x20-\x7e]{1,256}?)"')
"""The id of a call in a header that is no JSON. It may stand elsewhere, by which a sender deceives only itself."""


def _decode_header(message: WireMessage, levels: int = MAX_WIRE_DEPTH) -> tuple[JsonObject, memoryview]:
    header, payload = decode_envelope(message.body, message.type, levels)
    if len(header) > MAX_MEMBERS:
        check_members(header, message.type)
    return header, payload


def _decode_enable(message: WireMessage) -> Request:
    return Enable(tool_calls.read_declaration(_decode_header(message)[0]))


def _decode_disable(message: WireMessage) -> Request:
    _decode_header(message)
    return Disable()


def _decode_send(message: WireMessage) -> Request:
    what = message.type
    header, payload = _decode_header(message, _MAX_REQUEST_DEPTH)
    to = read_member(header, "to_participant_id", str, what)
    return Send(to, read_member(header, "type", str, what), read_member(header, "message", dict, what), payload)


def _decode_broadcast(message: WireMessage) -> Request:
    what = message.type
    header, payload = _decode_header(message, _MAX_REQUEST_DEPTH)
    return Broadcast(read_member(header, "type", str, what), read_member(header, "message", dict, what), payload)


def _decode_set_attributes(message: WireMessage) -> Request:
    return SetAttributes(_decode_either(message, MAX_DEPTH))


_REQUEST_TYPES: dict[str, Callable[[WireMessage], Request]] = {
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

REPLY = "__response__"
"""The message type of replies."""


def encode_reply(content: Content) -> tuple[str, bytes]:
    """Return the message type and the body of a reply; its message id is that of the request.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry, or its payload is no buffer.
    """
    header, payload = encode_content(content)
    return REPLY, encode_envelope(encode_object(header, "content", forwarded=True), payload)


def encode_push(push: Push | Call | CallChunk | AnswerChunk, *, is_apart: bool = False) -> tuple[str, bytes]:
    """Return the message type and the body of a push; the message id of a `Call` is its own.

    Args:
        is_apart: Whether the attachment of a `Push` is left out, which has its place behind all else.
    Raises:
        InvalidMessage: If it holds what JSON cannot carry, or its attachment is no buffer.
    """
    match push:
        case Push():  # First, since most are messages.
            message = as_object(push.message, "message")
            header = {"from_participant_id": push.sender, "type": push.type, "message": message}
            text = encode_members(header, forwarded=True)
            return "messaging.send", encode_envelope(text, b"" if is_apart else push.attachment)
        case Call():
            return tool_calls.CALL, tool_calls.encode_call(push)
        case CallChunk():
            return tool_calls.CALL_CHUNK_PUSH, tool_calls.encode_call_chunk(push, forwarded=True)
        case AnswerChunk():
            return tool_calls.ANSWER_CHUNK, tool_calls.encode_answer_chunk(push, forwarded=True)


_EMPTY = Empty()
_EMPTY_REPLY = encode_reply(_EMPTY)[1]
"""The body that rooms of this package write for it."""


def decode_reply(body: bytes | memoryview) -> Content:
    """Return the content of a reply.

    Raises:
        ProtocolError: If the body holds none.
    """
    if len(body) == len(_EMPTY_REPLY) and body == _EMPTY_REPLY:
        return _EMPTY
    header, payload = decode_envelope(body, REPLY)
    return decode_content(header, payload)


def decode_push(
    message: WireMessage,
) -> RoomReady | Connected | Status | Reply | Push | Call | CallChunk | AnswerChunk | None:
    """Return the value that a room sent, or None for a type that no messaging client needs.

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
            return Push(sender, name, content, bytes(payload), size_in_memory(body, len(payload)))
        case "__response__":
            return Reply(message.id, decode_reply(body))
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


def _decode_either(message: WireMessage, levels: int = MAX_WIRE_DEPTH) -> JsonObject:
    """Read bare JSON, JSON behind blanks, or an envelope."""
    if bytes(message.body[:1]) in (b"{", b" "):
        header = decode_object(message.body, message.type, levels)
        header.pop(RESERVED, None)
        return header
    return decode_envelope(message.body, message.type, levels)[0]
