"""The limits of what a participant names: ids, names and counts, which others are sent and the room may remember.

A message is bounded as a whole; these are the parts of it that tables are made of, and that errors and logs repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshsync.protocol.content import Binary, Control, File, LinkContent
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    CallMessage,
    OpenCall,
    Request,
    Send,
    SetAttributes,
)

__all__ = ["MAX_ID_SIZE", "MAX_MEMBERS", "MAX_NAME_SIZE", "find_fault", "is_longer"]

MAX_ID_SIZE = 256
"""Bytes of UTF-8 in the id of a participant, a call or a stream, and in a stream's secret. Official ids have 36."""

MAX_NAME_SIZE = 1024
"""Bytes of UTF-8 in the name of a participant, an attribute, a file or a content type, in a role, and in a message's
type."""

MAX_MEMBERS = 1024
"""Members of the header of a stream, of a chunk, or of binary content."""


def is_longer(text: str, size: int) -> bool:
    """Return whether a text has more than ``size`` bytes in UTF-8."""
    # Encoded only where the number of characters does not tell.
    return len(text) > size or (4 * len(text) > size and len(text.encode("utf-8", "surrogatepass")) > size)


def find_fault(request: Request) -> str | None:
    """Return what is too long in a request; None if nothing is."""
    match request:
        # Most are messages of an ordinary type, which nothing but its own length can make too long.
        case Send(to=to, type=type) if len(to) <= _SHORT_ID and len(type) <= _SHORT_NAME and type[:7] != "stream.":
            return None
        case Broadcast(type=type) if len(type) <= _SHORT_NAME and type[:7] != "stream.":
            return None
        case CallChunk(_, Control(method)) | AnswerCall(_, Control(method)) | AnswerChunk(_, _, Control(method)):
            if method not in ("open", "close"):
                return f"control of an unknown method: {method!r:.100}"
    for what, value, limit in _parts(request):
        if isinstance(value, str) and is_longer(value, limit):
            return f"{what} has more than {limit} bytes"
        if isinstance(value, dict) and len(value) > limit:
            return f"{what} has more than {limit} members"
    return None


_SHORT_ID = MAX_ID_SIZE // 4
_SHORT_NAME = MAX_NAME_SIZE // 4
"""Characters that are no more bytes than allowed, whatever they are."""


_Part = tuple[str, Any, int]
"""What it is, its value, and the most bytes or members that it may have. Values of other types are not judged here."""


def _parts(request: Request) -> Iterator[_Part]:
    match request:
        case Send(to, type, message):
            yield "the recipient's id", to, MAX_ID_SIZE
            yield from _of_message(type, message)
        case Broadcast(type, message):
            yield from _of_message(type, message)
        case SetAttributes(attributes):
            yield "the name", attributes.get("name"), MAX_NAME_SIZE
            for name in attributes:
                yield "the name of an attribute", name, MAX_NAME_SIZE
        case OpenCall(call_id):
            yield "the call's id", call_id, MAX_ID_SIZE
        case CallChunk(call_id, content) | AnswerChunk(_, call_id, content):
            yield "the call's id", call_id, MAX_ID_SIZE
            yield from _of_content(content)
        case AnswerCall(_, content):
            yield from _of_content(content)


def _of_message(type: str, message: JsonObject) -> Iterator[_Part]:
    yield "the message's type", type, MAX_NAME_SIZE
    if type.startswith("stream."):
        yield "the stream's id", message.get("stream_id"), MAX_ID_SIZE
        yield "the stream's header", message.get("header"), MAX_MEMBERS
        own = message.get("meshsync")
        if not isinstance(own, dict):
            return
        headers, resume = own.get("headers"), own.get("resume")
        for header in headers if isinstance(headers, list) else ():
            yield "the stream's header", header, MAX_MEMBERS
        if isinstance(resume, dict):
            yield "the stream's secret", resume.get("secret"), MAX_ID_SIZE


def _of_content(content: object) -> Iterator[_Part]:
    match content:
        case CallMessage(type, to=to):
            yield "the message's type", type, MAX_NAME_SIZE
            yield "the recipient's id", to, MAX_ID_SIZE
        case File(name, mime_type):
            yield "the file's name", name, MAX_NAME_SIZE
            yield "the file's type", mime_type, MAX_NAME_SIZE
        case LinkContent(name):
            yield "the link's name", name, MAX_NAME_SIZE
        case Binary(headers=headers):
            yield "the content's header", headers, MAX_MEMBERS
