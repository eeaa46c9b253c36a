"""Tool calls: how dialect B writes messaging's requests, and calls in either direction.

Every body is an envelope; its header holds what matters. ``room.invoke_tool`` asks the toolkit ``messaging`` for one
of five tools::

    {"toolkit": "messaging", "tool": TOOL, "participant_id": null, "on_behalf_of_id": null,
     "arguments": {"type": "json", "json": {"to_participant_id": ID, "type": TYPE,
                                            "message_json": JSON as a text, "attachment_base64": null}}}

- ``enable``, ``disable``: ``json`` is empty. Beside ``arguments`` our clients may put ``"meshsync": {"streams":
  ["classic", "duplex"]}``, the kinds of streams that they understand.
- ``send``, ``broadcast``: a broadcast names no recipient. ``attachment_base64`` may be null, empty or absent for none.
- ``stream``: opens a call. ``arguments`` is ``{"type": "control", "method": "open"}``, and beside it stands
  ``tool_call_id``, which other requests need not have: ours leave it out, as TypeScript does.

On a call, a header is ``{"tool_call_id": ID, "chunk": CONTENT}``:

- ``room.tool_call_request_chunk``, caller to room (`CallChunk`): content of kind ``json`` is a message
  ``{"type", "message_json", "attachment_base64"}``, the first one with ``to_participant_id`` besides.
- ``room.tool_call.messaging``, room to recipient (`Call`): ``{"name": "stream", "caller_id", "tool_call_id",
  "arguments"}``. It alone has a message id that matters.
- ``room.tool_call_request_chunk.messaging``, room to recipient: as the caller's, but in the first one
  ``from_participant_id`` in the place of ``to_participant_id``.
- ``room.tool_call_response``, recipient to room (`AnswerCall`), under the id of the `Call`: content alone, without
  ``chunk`` around it. The caller gets it as the reply to ``room.invoke_tool``.
- ``room.tool_call_response_chunk``, recipient to room, under the id of the `Call`, and room to caller
  (`AnswerChunk`): content of kind ``json`` has a ``kind``: ``message`` with ``type``, ``message`` (an object here) and
  ``attachment_base64``; and from the room alone ``accepted`` with ``stream_id``, ``client_disconnected`` with
  ``participant_id``, and ``closed`` with ``reason`` and ``message``.

In both kinds of chunk, content of kind ``control`` with method ``close`` ends the call.

Source: PROTOCOL.md, sections 7 and 9.
"""

from __future__ import annotations

from binascii import b2a_base64

from meshsync.protocol.attachments import MEMBER, encode_attached, open_attached, read_attachment
from meshsync.protocol.content import Content, Json, decode_content, encode_content
from meshsync.protocol.envelopes import (
    MAX_DEPTH,
    MAX_MEMBERS,
    JsonObject,
    as_object,
    check_members,
    decode_envelope,
    decode_object,
    encode_envelope,
    encode_members,
    encode_object,
    quote,
    read_member,
)
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Buffer,
    Call,
    CallChunk,
    CallEnded,
    CallMessage,
    ChunkContent,
    Disable,
    Enable,
    OpenCall,
    RecipientGone,
    Request,
    Send,
    UnknownRequest,
    check_text,
    declare,
)
from meshsync.protocol.packets import WireMessage

__all__ = [
    "ANSWER_CALL",
    "ANSWER_CHUNK",
    "CALL",
    "CALL_CHUNK",
    "CALL_CHUNK_PUSH",
    "INVOKE_TOOL",
    "decode_answer",
    "decode_answer_chunk",
    "decode_call",
    "decode_call_chunk",
    "decode_invocation",
    "encode_answer",
    "encode_answer_chunk",
    "encode_call",
    "encode_call_chunk",
    "encode_invocation",
    "read_declaration",
]

INVOKE_TOOL = "room.invoke_tool"
CALL = "room.tool_call.messaging"
CALL_CHUNK = "room.tool_call_request_chunk"
CALL_CHUNK_PUSH = "room.tool_call_request_chunk.messaging"
ANSWER_CALL = "room.tool_call_response"
ANSWER_CHUNK = "room.tool_call_response_chunk"
"""Message types."""

_TOOLKIT = "messaging"


def read_declaration(header: JsonObject) -> tuple[str, ...]:
    """Return the kinds of streams that a request to enable messaging declares; any other value declares none."""
    declared = header.get("meshsync")
    streams = declared.get("streams") if isinstance(declared, dict) else None
    return tuple(kind for kind in streams if isinstance(kind, str)) if isinstance(streams, list) else ()


# --- requests of messaging --------------------------------------------------------------------------------------------


def encode_invocation(request: Enable | Disable | Send | Broadcast | OpenCall) -> bytes:
    """Return the body of the tool call that a request is.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    match request:
        case Send(to, type, message, attachment):
            return _encode_send(to, type, message, attachment)
        case Broadcast(type, message, attachment):
            check_text(type, "type")
            return _encode_message(_BROADCAST, {"type": type}, message, attachment)
        case Enable(streams):
            return encode_envelope(_invoke("enable", b'"json":{}', encode_members(declare(streams))[1:-1]))
        case Disable():
            return encode_envelope(_invoke("disable", b'"json":{}'))
        case OpenCall(call_id):
            check_text(call_id, "call_id")
            header = encode_members({"tool_call_id": call_id})[1:-1]
            return encode_envelope(_invoke("stream", b'"method":"open"', header, kind="control"))


def _encode_send(to: str, type: str, message: JsonObject, attachment: Buffer) -> bytes:
    if to.__class__ is str and type.__class__ is str and to and type:
        text = encode_object(message, "message").decode()
        # By itself, since a message is sent more often than all else: the encoder of objects takes five times as long.
        json = f'{{"to_participant_id":{quote(to)},"type":{quote(type)},"message_json":{quote(text)},"{MEMBER}":null}}'
        try:
            return encode_attached(_SEND + json.encode() + _END, attachment)
        except UnicodeEncodeError:
            pass  # The encoder of objects refuses it in an error that names the member.
    check_text(type, "type")
    check_text(to, "to")
    return _encode_message(_SEND, {"to_participant_id": to, "type": type}, message, attachment)


def _encode_message(begin: bytes, members: JsonObject, message: JsonObject, attachment: Buffer) -> bytes:
    return encode_attached(begin + _encode_text_message(members, message) + _END, attachment)


def _encode_text_message(members: JsonObject, message: JsonObject, *, forwarded: bool = False) -> bytes:
    """Return an object with a message as a text of JSON, ready for an attachment."""
    members["message_json"] = encode_object(message, "message", forwarded=forwarded).decode()
    members[MEMBER] = None
    return encode_members(members, forwarded=forwarded)


def _invoke(tool: str, arguments: bytes, more: bytes = b"", *, kind: str = "json") -> bytes:
    return _begin(tool, kind) + arguments + (b"}," + more + b"}" if more else _END)


def _begin(tool: str, kind: str = "json") -> bytes:
    # Put together as text, so that an attachment in it can come last, and errors name members as programs know them.
    begin = f'{{"toolkit":"{_TOOLKIT}","tool":"{tool}","participant_id":null,"on_behalf_of_id":null,'
    return f'{begin}"arguments":{{"type":"{kind}",'.encode()


_SEND, _BROADCAST, _END = _begin("send") + b'"json":', _begin("broadcast") + b'"json":', b"}}"
"""The texts around the JSON of a message."""


def decode_invocation(message: WireMessage) -> Request:
    """Return the request that a tool call is.

    Raises:
        ProtocolError: If it is a tool call of messaging, and does not hold what its tool needs.
    """
    header, arguments = open_attached(message.body, message.type, ("arguments", "json"))
    if len(header) > MAX_MEMBERS or len(arguments) > MAX_MEMBERS:
        check_members(header, message.type)
        check_members(arguments, message.type)
    toolkit, tool = header.get("toolkit"), header.get("tool")
    if toolkit != _TOOLKIT or tool not in _TOOLS:
        return UnknownRequest(f"{toolkit}.{tool}" if isinstance(toolkit, str) else message.type)
    what = f"messaging.{tool}"
    match tool:
        case "enable":
            return Enable(read_declaration(header))
        case "disable":
            return Disable()
        case "stream":
            return OpenCall(read_member(header, "tool_call_id", str, what))
    type, body = read_member(arguments, "type", str, what), read_member(arguments, "message_json", str, what)
    content = decode_object(body, f"the message of {what}", MAX_DEPTH)
    attachment = read_attachment(arguments, what)
    if tool == "broadcast":
        return Broadcast(type, content, attachment)
    return Send(read_member(arguments, "to_participant_id", str, what), type, content, attachment)


_TOOLS = ("enable", "disable", "send", "broadcast", "stream")


# --- calls ------------------------------------------------------------------------------------------------------------


def encode_call(call: Call) -> bytes:
    """Return the body with which a room notifies a recipient of a call.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    arguments, _ = encode_content(call.arguments)
    header = {"name": call.tool, "caller_id": call.caller, "tool_call_id": call.call_id, "arguments": arguments}
    return encode_envelope(encode_members(header, forwarded=True))


def decode_call(message: WireMessage) -> Call:
    """Return the call of which a recipient is notified.

    Raises:
        ProtocolError: If it lacks its id or its tool.
    """
    header, payload = decode_envelope(message.body, message.type)
    call_id, tool = (read_member(header, name, str, message.type) for name in ("tool_call_id", "name"))
    caller, arguments = header.get("caller_id"), read_member(header, "arguments", dict, message.type)
    return Call(
        message.id, call_id, caller if isinstance(caller, str) else "", tool, decode_content(arguments, payload)
    )


def encode_call_chunk(chunk: CallChunk, *, forwarded: bool = False) -> bytes:
    """Return the body of a caller's chunk; ``forwarded`` if it is the room that sends it to the recipient.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    content = chunk.content
    if not isinstance(content, CallMessage):
        return _encode_chunk(chunk.call_id, content, forwarded=forwarded)
    check_text(content.type, "type")
    members: JsonObject = {"to_participant_id": content.to} if content.to else {}
    members["type"] = content.type
    if content.sender:
        members["from_participant_id"] = content.sender
    inner = _encode_text_message(members, content.message, forwarded=forwarded)
    return _wrap(chunk.call_id, inner, content.attachment, forwarded=forwarded)


def encode_answer_chunk(chunk: AnswerChunk, *, forwarded: bool = False) -> bytes:
    """Return the body of a recipient's chunk; ``forwarded`` if it is the room that sends it to the caller.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    content = chunk.content
    if not isinstance(content, CallMessage):
        return _encode_chunk(chunk.call_id, content, forwarded=forwarded)
    check_text(content.type, "type")
    message = as_object(content.message, "message")
    members = {"kind": "message", "type": content.type, "message": message, MEMBER: None}
    inner = encode_members(members, forwarded=forwarded)
    return _wrap(chunk.call_id, inner, content.attachment, forwarded=forwarded)


def _wrap(call_id: str, inner: bytes, attachment: Buffer, *, forwarded: bool) -> bytes:
    begin = encode_members({"tool_call_id": call_id}, forwarded=forwarded)[:-1]
    return encode_attached(begin + b',"chunk":{"type":"json","json":' + inner + b"}}", attachment)


def _encode_chunk(call_id: str, content: ChunkContent, *, forwarded: bool) -> bytes:
    payload: Buffer = b""
    match content:
        case Accepted(stream_id):
            chunk: JsonObject = {"type": "json", "json": {"kind": "accepted", "stream_id": stream_id}}
        case RecipientGone(participant_id):
            chunk = {"type": "json", "json": {"kind": "client_disconnected", "participant_id": participant_id}}
        case CallEnded(reason, message):
            chunk = {"type": "json", "json": {"kind": "closed", "reason": reason, "message": message}}
        case CallMessage():
            raise TypeError("each end of a call writes a message in its own form")
        case other:
            chunk, payload = encode_content(other)
    return encode_envelope(encode_members({"tool_call_id": call_id, "chunk": chunk}, forwarded=forwarded), payload)


def decode_call_chunk(message: WireMessage) -> CallChunk:
    """Return a caller's chunk. Content that is no message remains as it is: a recipient refuses it.

    Raises:
        ProtocolError: If it belongs to no call, is no content, or is a message that cannot be read.
    """
    what = message.type
    header, inner = open_attached(message.body, what, ("chunk", "json"))
    check_members(header, what)
    call_id = read_member(header, "tool_call_id", str, what)
    if not (_is_text(inner, "type") and _is_text(inner, "message_json")):
        return CallChunk(call_id, _other_content(message, header, inner))
    content = decode_object(inner["message_json"], f"the message of {what}", MAX_DEPTH)
    to, sender = (inner[name] if _is_text(inner, name) else "" for name in ("to_participant_id", "from_participant_id"))
    return CallChunk(call_id, CallMessage(inner["type"], content, read_attachment(inner, what), to, sender))


def decode_answer_chunk(message: WireMessage) -> AnswerChunk:
    """Return a chunk of a recipient, or of the room for it; see `decode_call_chunk`.

    Raises:
        ProtocolError: If it belongs to no call, is no content, or has an attachment that cannot be read.
    """
    what = message.type
    header, inner = open_attached(message.body, what, ("chunk", "json"))
    check_members(header, what)
    call_id = read_member(header, "tool_call_id", str, what)
    content: ChunkContent
    match inner:
        case {"kind": "message", "type": str(type), "message": dict(body)} if type:
            content = CallMessage(type, body, read_attachment(inner, what))
        case {"kind": "accepted", "stream_id": str(stream_id)}:
            content = Accepted(stream_id)
        case {"kind": "client_disconnected", "participant_id": str(participant_id)}:
            content = RecipientGone(participant_id)
        case {"kind": "closed"}:
            reason, text = (inner[name] if _is_text(inner, name) else "" for name in ("reason", "message"))
            content = CallEnded(reason, text)
        case _:
            content = _other_content(message, header, inner)
    return AnswerChunk(message.id, call_id, content)


def _is_text(members: JsonObject, name: str) -> bool:
    value = members.get(name)
    return type(value) is str and value != ""


def _other_content(message: WireMessage, header: JsonObject, inner: JsonObject) -> Content:
    if type(inner.get(MEMBER)) is bytes:
        inner[MEMBER] = b2a_base64(inner[MEMBER], newline=False).decode()
        return Json(inner)
    chunk = read_member(header, "chunk", dict, message.type)
    return decode_content(chunk, decode_envelope(message.body, message.type)[1])


def encode_answer(answer: AnswerCall) -> bytes:
    """Return the body of a recipient's answer to a call.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry, or its payload is no buffer.
    """
    header, payload = encode_content(answer.content)
    return encode_envelope(encode_object(header, "content"), payload)


def decode_answer(message: WireMessage) -> AnswerCall:
    """Return a recipient's answer to a call.

    Raises:
        ProtocolError: If it is no content.
    """
    header, payload = decode_envelope(message.body, message.type)
    return AnswerCall(message.id, decode_content(header, payload))
