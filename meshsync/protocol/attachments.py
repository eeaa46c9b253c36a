"""Bytes inside of JSON: a member ``attachment_base64``, written and read without the JSON around it being copied.

A megabyte costs one pass to write and one to read. It never becomes a Python text: `json` would copy it three times on
either way.

Source: PROTOCOL.md, section 7.
"""

from __future__ import annotations

import binascii
import re
import struct
from io import BytesIO

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.envelopes import JsonObject, decode_envelope, encode_envelope
from meshsync.protocol.operations import Buffer

__all__ = ["MEMBER", "encode_attached", "open_attached", "read_attachment", "read_base64"]

MEMBER = "attachment_base64"

_LENGTH = struct.Struct(">Q")

_PIECE = 48 * 1024
"""Bytes encoded at a time, a multiple of 3: the result stays in the processor's cache until it is copied."""

_WORTH_CUTTING = 2048
"""The smallest body worth searching, in bytes."""

_BEGIN = re.compile(rb'[{,]\s*"attachment_base64"\s*:\s*"')
"""The member's name and the quote before its value.

A quote behind a brace, comma or blank is no escaped one. So in valid JSON this is a member, if perhaps of another
object; and another value in the place of its own makes invalid JSON no more valid.
"""
_QUOTE = re.compile(b'"')


def encode_attached(header: bytes, attachment: Buffer) -> bytes:
    """Return an envelope whose header has an attachment in it.

    Args:
        header: JSON that ends with ``"attachment_base64":null`` and closing braces.
    Raises:
        InvalidMessage: If the attachment is no buffer.
    """
    try:
        view = memoryview(attachment)
        data = view.cast("B") if view.nbytes else b""  # A view with a dimension of 0 cannot be cast.
    except TypeError:
        kind = type(attachment).__name__
        raise InvalidMessage(f"attachment: {kind} is neither bytes nor a contiguous buffer") from None
    if not data:
        return encode_envelope(header)
    null = header.rindex(b"null")
    size = len(header) - 2 + 4 * -(-len(data) // 3)  # Two quotes in the place of four letters.
    body = BytesIO()
    # At its full size at once: else it is copied as it grows, and once more at the end.
    body.seek(_LENGTH.size + size - 1)
    body.write(b"}")
    body.seek(0)
    body.write(_LENGTH.pack(size) + header[:null] + b'"')
    for start in range(0, len(data), _PIECE):
        body.write(binascii.b2a_base64(data[start : start + _PIECE], newline=False))
    body.write(b'"' + header[null + 4 :])
    return body.getvalue()


def open_attached(body: bytes | memoryview, what: str, path: tuple[str, str]) -> tuple[JsonObject, JsonObject]:
    """Return the header of an envelope, and the object in it that may have an attachment; its payload is ignored.

    A large attachment may be decoded already: then the member is ``bytes``. See `read_attachment`.

    Args:
        path: The names of the members that lead from the header to that object; it is empty if they lead nowhere.
    Raises:
        ProtocolError: If it is no envelope.
    """
    if len(body) >= _WORTH_CUTTING:
        opened = _open_without(memoryview(body), what, path)
        if opened is not None:
            return opened
    header, _ = decode_envelope(body, what)
    return header, _follow(header, path)


def _open_without(view: memoryview, what: str, path: tuple[str, str]) -> tuple[JsonObject, JsonObject] | None:
    """Read a header without the attachment's text, or return None if that is not possible."""
    end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    if end > len(view):
        return None
    found = _BEGIN.search(view, _LENGTH.size, end)
    closing = _QUOTE.search(view, found.end(), end) if found else None
    if found is None or closing is None:
        return None
    try:
        attachment = read_base64(view[found.end() : closing.start()], what)
    except ProtocolError:  # Some writers escape ``+`` and ``/``, and only JSON decoders read that.
        return None
    rest = (bytes(view[_LENGTH.size : found.end() - 1]), b"0", bytes(view[closing.end() : end]))
    header, _ = decode_envelope(encode_envelope(b"".join(rest)), what)
    inner = _follow(header, path)
    # At another place it may be part of anything. (A sender with a 0 here and bytes there deceives only itself.)
    if type(inner.get(MEMBER)) is not int:
        return None
    inner[MEMBER] = attachment
    return header, inner


def _follow(header: JsonObject, path: tuple[str, str]) -> JsonObject:
    inner: object = header
    for name in path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def read_attachment(inner: JsonObject, what: str) -> bytes:
    """Return the attachment in an object, empty if there is none.

    Raises:
        ProtocolError: If it is not base64.
    """
    value = inner.get(MEMBER)
    if value is None:
        return b""
    if type(value) is bytes:
        return value
    if type(value) is not str:
        raise ProtocolError(f"{what} has a wrong type of {MEMBER!r}")
    return read_base64(value, what)


def read_base64(text: str | memoryview, what: str) -> bytes:
    """Return the bytes that standard base64 encodes.

    Raises:
        ProtocolError: If it is not standard base64.
    """
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        data = None
    size = len(text)
    tail = text[-2:]
    padding = tail.count("=") if isinstance(tail, str) else bytes(tail).count(b"=")
    # The decoder skips what is not base64, and the result is shorter then: that is the whole check, since before
    # Python 3.11 there is none that costs as little.
    if data is None or size % 4 or len(data) != size // 4 * 3 - padding:
        raise ProtocolError(f"{what} has an attachment that is not base64", code=1007)
    return data
