"""How much work a body of JSON is to read, found without reading it.

A few bytes of JSON can be a hundred times as many in memory, and as long in the making: an object or a list takes three
characters. A room counts what makes values before it makes them.
"""

from __future__ import annotations

import re
import struct

from meshsync.errors import ProtocolError
from meshsync.protocol.attachments import find_attachment

__all__ = ["MAX_VALUES", "check_weight"]

MAX_VALUES = 100_000
"""The most structural characters, ``[]{},:`` outside of texts, in the JSON of a request.

Source: measured on CPython 3.11: reading costs up to 0.36 us for each, where lists nest or numbers have fractions, so
this many cost 36 ms; 4 MiB of ``[]`` would be 1.4 s.
"""

_SAMPLED = 100
"""One character of so many is looked at for numbers of thousands of digits."""
_LONG_NUMBER = re.compile(rb"[0-9]{20,}")
_DIGITS_WEIGHT = 6
"""What such a number counts for each character looked at.

Source: measured like `MAX_VALUES`: to read one of 4,300 digits, the most that CPython converts, takes 86 us.
"""

_LENGTH = struct.Struct(">Q")
_STRUCTURE = b"[]{},:"
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MESSAGE = re.compile(rb'"message_json"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)


def check_weight(body: bytes | memoryview, what: str) -> None:
    """Check that the JSON of a request, an envelope's header or a bare body, is not too much work.

    A text within it that is a message in JSON counts too.

    Raises:
        ProtocolError: If it is.
    """
    if len(body) <= MAX_VALUES:
        return
    is_bare = body[:1] in (b"{", b" ")
    size = 0 if is_bare else min(_LENGTH.unpack_from(body)[0], len(body))
    header = bytes(body) if is_bare else _without_attachment(memoryview(body), _LENGTH.size, _LENGTH.size + size)
    if _count(header) <= MAX_VALUES:
        return
    # Much of it may stand in texts. But to find each of very many texts is work too.
    if header.count(b'"') - header.count(b'\\"') <= 2 * MAX_VALUES:
        weight = _count(_TEXT.sub(b"", header))
        inner = _MESSAGE.search(header)
        if inner is not None:
            weight += _count_message(inner[1])
        if weight <= MAX_VALUES:
            return
    raise ProtocolError(f"{what} has more than {MAX_VALUES} values in JSON")


def _without_attachment(view: memoryview, begin: int, end: int) -> bytes:
    """Return a header without the text of its attachment, in which there is no structure and which may be long.

    Where the header is no valid JSON, it may be more than a text; but what reads it then stops ahead of it.
    """
    place = find_attachment(view, begin, end)
    if place is None:
        return bytes(view[begin:end])
    return b"".join((view[begin : place.start], view[place.stop : end]))


def _count_message(text: bytes) -> int:
    """Return what a message counts that is a text of JSON within other JSON."""
    message = text[1:-1].replace(b"\\\\", b"\0").replace(b'\\"', b'"').replace(b"\0", b"\\")
    if message.count(b'"') - message.count(b'\\"') > 2 * MAX_VALUES:
        return MAX_VALUES + 1
    # Structure may be written as escapes too.
    return _count(_TEXT.sub(b"", message)) + message.count(b"\\u00")


def _count(text: bytes) -> int:
    digits = sum(map(len, _LONG_NUMBER.findall(text[::_SAMPLED])))
    return len(text) - len(text.translate(None, _STRUCTURE)) + _DIGITS_WEIGHT * digits
