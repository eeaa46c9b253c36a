"""Bytes inside of JSON: a member ``attachment_base64``, written and read without the JSON around it being copied.

A megabyte costs one pass to write and one to read. It never becomes a Python text: `json` would copy it three times on
either way. With the extra ``speed`` both passes are those of pybase64, which needs a twentieth of the time; what is
written and what is read is the same.

Source: PROTOCOL.md, section 7.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Iterator
from io import BytesIO

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.envelopes import JsonObject, decode_envelope, encode_envelope
from meshsync.protocol.operations import Buffer

__all__ = [
    "MEMBER",
    "attached_size",
    "encode_attached",
    "encode_in_pieces",
    "find_attachment",
    "open_attached",
    "read_attachment",
    "read_base64",
]

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


# --- base64 -----------------------------------------------------------------------------------------------------------


def _encode_in_library(data: Buffer) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _decode_in_library(text: str | memoryview) -> bytes | None:
    """Return the bytes that standard base64 encodes; None if it is none."""
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        return None
    size = len(text)
    tail = text[-2:]
    padding = tail.count("=") if isinstance(tail, str) else bytes(tail).count(b"=")
    # The decoder skips what is not base64, and the result is shorter then: that is the whole check, since before
    # Python 3.11 there is none that costs as little.
    return data if size % 4 == 0 and len(data) == size // 4 * 3 - padding else None


_Encode = Callable[[Buffer], bytes]
_Decode = Callable[[str | memoryview], bytes | None]


def _fastest() -> tuple[_Encode, _Decode]:
    try:
        import pybase64
    except ImportError:
        return _encode_in_library, _decode_in_library
    encode: _Encode = pybase64.b64encode
    decode: Callable[..., bytes] = pybase64.b64decode

    def decode_fast(text: str | memoryview) -> bytes | None:
        try:
            return decode(text, validate=True)
        except ValueError:
            # The standard library has the last word: an extra changes no value.
            return _decode_in_library(text)

    return encode, decode_fast


_encode, _decode = _fastest()
"""Those of the extra ``speed`` if it is installed."""


# --- envelopes --------------------------------------------------------------------------------------------------------


def encode_attached(header: bytes, attachment: Buffer) -> bytes:
    """Return an envelope whose header has an attachment in it.

    Args:
        header: JSON that ends with ``"attachment_base64":null`` and closing braces.
    Raises:
        InvalidMessage: If the attachment is no buffer.
    """
    data = _bytes_of(attachment)
    if not data:
        return encode_envelope(header)
    body = BytesIO()
    # At its full size at once: else it is copied as it grows, and once more at the end.
    body.seek(_LENGTH.size + len(header) + attached_size(len(data)) - 1)
    body.write(b"}")
    body.seek(0)
    body.writelines(_pieces(header, data))
    return body.getvalue()


def encode_in_pieces(envelope: bytes, attachment: Buffer) -> tuple[bytes, list[bytes]]:
    """Return an envelope with an attachment put into its header, as its beginning and the pieces that follow.

    They are joined where packets are made of them: a megabyte is copied once less than in one envelope.

    Args:
        envelope: One without a payload, whose header is as `encode_attached` takes it.
    Raises:
        InvalidMessage: If the attachment is no buffer.
    """
    data = _bytes_of(attachment)
    if not data:
        return envelope, []
    begin, *rest = _pieces(envelope[_LENGTH.size :], data)
    return begin, rest


def _bytes_of(attachment: Buffer) -> memoryview | bytes:
    try:
        view = memoryview(attachment)
        return view.cast("B") if view.nbytes else b""  # A view with a dimension of 0 cannot be cast.
    except TypeError:
        kind = type(attachment).__name__
        raise InvalidMessage(f"attachment: {kind} is neither bytes nor a contiguous buffer") from None


def _pieces(header: bytes, data: memoryview | bytes) -> Iterator[bytes]:
    null = header.rindex(b"null")
    yield _LENGTH.pack(len(header) + attached_size(len(data))) + header[:null] + b'"'
    for start in range(0, len(data), _PIECE):
        yield _encode(data[start : start + _PIECE])
    yield b'"' + header[null + 4 :]


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
    place = find_attachment(view, _LENGTH.size, end)
    if place is None:
        return None
    try:
        attachment = read_base64(view[place.start : place.stop], what)
    except ProtocolError:  # Some writers escape ``+`` and ``/``, and only JSON decoders read that.
        return None
    rest = (bytes(view[_LENGTH.size : place.start - 1]), b"0", bytes(view[place.stop + 1 : end]))
    header, _ = decode_envelope(encode_envelope(b"".join(rest)), what)
    inner = _follow(header, path)
    # At another place it may be part of anything. (A sender with a 0 here and bytes there deceives only itself.)
    if type(inner.get(MEMBER)) is not int:
        return None
    inner[MEMBER] = attachment
    return header, inner


def attached_size(size: int) -> int:
    """Return by how many bytes an attachment of ``size`` bytes makes an envelope larger."""
    return 4 * -(-size // 3) - 2 if size else 0  # Two quotes in the place of ``null``.


def find_attachment(view: memoryview, begin: int, end: int) -> range | None:
    """Return where in a header the text of its first attachment is, up to the next quote; None if there is none.

    If the header is valid JSON, no text but this one begins or ends there.
    """
    found = _BEGIN.search(view, begin, end)
    if found is None:
        return None
    start, whole = found.end(), view.obj
    if isinstance(whole, bytes | bytearray) and len(whole) == view.nbytes:
        closing = whole.find(b'"', start, end)
    else:
        closing = bytes(view[start:end]).find(b'"')
        closing += start if closing >= 0 else 0
    return None if closing < 0 else range(start, closing)


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
    data = _decode(text)
    if data is None:
        raise ProtocolError(f"{what} has an attachment that is not base64", code=1007)
    return data
