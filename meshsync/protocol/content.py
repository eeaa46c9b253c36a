"""Content: the values in replies to requests and in tool calls.

Every kind that any release knows can be read and written, although messaging itself needs only `Empty` and `Error`.

Source: PROTOCOL.md, sections 5.2 and 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, read_member

__all__ = [
    "Binary",
    "Content",
    "Control",
    "Empty",
    "Error",
    "ErrorCode",
    "File",
    "Json",
    "LinkContent",
    "Raw",
    "Text",
    "decode_content",
    "encode_content",
]

_T = TypeVar("_T")


class ErrorCode(IntEnum):
    """The numbers of room errors that messaging can meet."""

    PERMISSION_DENIED = 1001
    INVALID_REQUEST = 1002
    NOT_FOUND = 1003
    ALREADY_EXISTS = 1004
    CONFLICT = 1005
    INVALID_STATE = 1006
    DEPENDENCY_MISSING = 1007
    OPERATION_FAILED = 1008
    TIMEOUT = 1009
    UNEXPECTED_RESPONSE = 1100


@dataclass(frozen=True, slots=True)
class Empty:
    """Success without a result."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON object."""

    json: JsonObject


@dataclass(frozen=True, slots=True)
class Text:
    """A text."""

    text: str


@dataclass(frozen=True, slots=True)
class Error:
    """A refusal."""

    text: str
    code: int | None = None
    """One of `ErrorCode`, another service's, or None from senders that give none."""


@dataclass(frozen=True, slots=True)
class File:
    """A file with its bytes."""

    name: str
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkContent:
    """An address of data elsewhere."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Outputs of a tool as they came."""

    outputs: list[Any]


@dataclass(frozen=True, slots=True)
class Control:
    """The opening or closing of a stream of content."""

    method: str
    """``open`` or ``close``."""
    status_code: int = 1000
    message: str = ""


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes with headers of their own."""

    data: bytes
    headers: JsonObject = field(default_factory=dict)


Content = Empty | Json | Text | Error | File | LinkContent | Raw | Control | Binary


def encode_content(content: Content) -> tuple[JsonObject, bytes]:
    """Return the header and the payload that carry ``content``."""
    match content:
        case Empty():
            return {"type": "empty"}, b""
        case Json(json):
            return {"type": "json", "json": json}, b""
        case Text(text):
            return {"type": "text", "text": text}, b""
        case Error(text, None):
            return {"type": "error", "text": text}, b""
        case Error(text, code):
            return {"type": "error", "text": text, "code": code}, b""
        case File(name, mime_type, data):
            return {"type": "file", "name": name, "mime_type": mime_type}, data
        case LinkContent(name, url):
            return {"type": "link", "name": name, "url": url}, b""
        case Raw(outputs):
            return {"type": "raw", "outputs": outputs}, b""
        case Control("close", status_code, message):
            header: JsonObject = {"type": "control", "method": "close", "status_code": status_code}
            return header | ({"message": message} if message else {}), b""
        case Control(method):
            return {"type": "control", "method": method}, b""
        case Binary(data, headers):
            return {"type": "binary", "headers": headers}, data


def decode_content(header: JsonObject, payload: bytes | memoryview = b"") -> Content:
    """Return the content that ``header`` and ``payload`` carry; unknown members are ignored.

    Raises:
        ProtocolError: If the kind is unknown, or a member it needs is missing or of a wrong type.
    """
    match header.get("type"):
        case "empty":
            return Empty()
        case "json":
            return Json(_read(header, "json", dict))
        case "text":
            return Text(_read(header, "text", str))
        case "error":
            code = header.get("code")
            return Error(_read(header, "text", str), code if type(code) is int else None)
        case "file":
            return File(_read(header, "name", str), _read(header, "mime_type", str), bytes(payload))
        case "link":
            return LinkContent(_read(header, "name", str), _read(header, "url", str))
        case "raw":
            return Raw(_read(header, "outputs", list))
        case "control":
            return Control(
                _read(header, "method", str), _read(header, "status_code", int, 1000), _read(header, "message", str, "")
            )
        case "binary":
            return Binary(bytes(payload), _read(header, "headers", dict))
        case kind:
            raise ProtocolError(f"content of an unknown type: {kind!r:.100}")


def _read(header: JsonObject, name: str, kind: type[_T], default: _T | None = None) -> _T:
    if default is not None and header.get(name) is None:
        return default
    return read_member(header, name, kind, f"content of type {header['type']!r}")
