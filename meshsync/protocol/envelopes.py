"""Envelopes: a JSON object and bytes beside it, in one body. And JSON itself, strictly.

A program sends JSON as RFC 8259 has it, so that every reader understands it: no NaN, no keys that are silently turned
into text, no values with a string form of their own. A received text may use anything that JSON allows, up to a depth
that every reader on the way can bear. And a room can write whatever it has read: that is what ``forwarded`` is for.

Source: PROTOCOL.md, sections 4.4 and 5.1.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.hints import json_hint

__all__ = [
    "MAX_DEPTH",
    "MAX_MEMBERS",
    "MAX_WIRE_DEPTH",
    "RESERVED",
    "JsonObject",
    "as_object",
    "check_members",
    "copy_json",
    "decode_envelope",
    "decode_object",
    "encode_decoded",
    "encode_each",
    "encode_envelope",
    "encode_members",
    "encode_object",
    "quote",
    "read_member",
    "size_in_memory",
]

JsonObject = dict[str, Any]
"""A JSON object as ``json`` decodes it."""

_T = TypeVar("_T")

MAX_DEPTH = 100
"""Levels of nesting in what a program sends; ``{}`` has one.

The decoders of CPython give up between 300 and 1000 levels, depending on the version and on how deep the calling thread
already is; a message that the sender could write must not kill its reader.
"""

MAX_WIRE_DEPTH = MAX_DEPTH + 10
"""Levels in a header. The wire puts up to four of its own around what a program sends (attributes in a roster)."""

MAX_MEMBERS = 64
"""Members of a header or of a tool call's arguments. Official clients write up to 8; the others are skipped."""

RESERVED = "__meshagent__"
"""A member with trace propagation that official Python clients add to every header. It is no data."""

_LENGTH = struct.Struct(">Q")

# Circles are found by their depth.
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_escaping_encoder = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))


quote: Callable[[str], str] = json.encoder.encode_basestring
"""Returns a text as JSON. Half of a surrogate pair in it passes, and UTF-8 then refuses it."""


def _make_writer() -> Callable[[JsonObject, int], Iterable[str]]:
    """Return what does as ``_encoder.iterencode``, which makes the encoder in C anew each time: half of the work."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # As on PyPy.
        return lambda value, level: _encoder.iterencode(value)
    write: Callable[[JsonObject, int], Iterable[str]]
    write = make(None, _encoder.default, quote, None, ":", ",", False, False, False)
    return write


_write = _make_writer()
"""Returns the parts of a text of JSON. Its second argument is 0, the level of indentation."""


def as_object(value: Mapping[str, Any], name: str) -> JsonObject:
    """Return a mapping as the dict that the encoder wants, the same if it is one.

    Raises:
        InvalidMessage: If it is no mapping.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise InvalidMessage(f"{name}: {_type_name(value)} is not a JSON object; give a dict")


def copy_json(value: Any) -> Any:
    """Return a value with dicts and lists of its own, however deep; what is neither, nor in a tuple, is shared."""
    if isinstance(value, dict):
        return {key: item if type(item) in _PLAIN else copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _PLAIN else copy_json(item) for item in value]
    if type(value) is tuple:  # Such as a program may set as an attribute; a tuple with names keeps them.
        return tuple([copy_json(item) for item in value])
    return value


def encode_object(value: Mapping[str, Any], name: str, *, forwarded: bool = False) -> bytes:
    """Return a JSON object as UTF-8.

    Args:
        name: The value's name in errors, such as ``message``.
        forwarded: Whether a room passes on what it received: a few levels deeper for those that it adds, and
            halves of surrogate pairs, which a text cut short in JavaScript has, go on as the escapes they came as.
    Raises:
        InvalidMessage: If it holds what JSON cannot carry; the text names the place, as in
            ``message['score']: numpy.int64 is not JSON``.
    """
    levels = MAX_WIRE_DEPTH if forwarded else MAX_DEPTH
    if type(value) is not dict:
        value = as_object(value, name)
    return _encode(value, name, levels, is_escaping=forwarded)


def encode_members(members: JsonObject, *, forwarded: bool = False) -> bytes:
    """Return a JSON object as UTF-8, each member of which goes by its own name in errors; see `encode_object`."""
    levels = MAX_WIRE_DEPTH if forwarded else MAX_DEPTH + 1
    return _encode(members, "", levels, is_escaping=forwarded)


def encode_decoded(header: JsonObject) -> bytes:
    """Return an envelope without a payload, whose header a room passes on; see ``forwarded`` of `encode_object`.

    Args:
        header: All of it comes from `decode_object`, and so needs no check, which takes as long as the rest.
    """
    try:
        text = "".join(_write(header, 0)).encode()
    except UnicodeEncodeError:
        text = _escaping_encoder.encode(header).encode()
    return _LENGTH.pack(len(text)) + text


def encode_each(members: JsonObject, name: str, levels: int) -> dict[str, bytes]:
    """Return each member of a JSON object as UTF-8, such as ``"key":value``, as a room passes it on.

    Args:
        name: The object's name in errors.
        levels: How deep the object may be nested; ``{}`` has one level.
    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    return {key: _encode({key: value}, name, levels, is_escaping=True)[1:-1] for key, value in members.items()}


def _encode(value: JsonObject, name: str, levels: int, *, is_escaping: bool) -> bytes:
    fault = _find_fault(value, levels)
    if fault is None:
        try:
            return "".join(_write(value, 0)).encode()
        except ValueError as error:
            if is_escaping and isinstance(error, UnicodeEncodeError):
                return _escaping_encoder.encode(value).encode()
            fault = _find_unwritable(value, error)
    keys, complaint = fault
    if not name:
        name, *keys = keys or ["message"]  # No keys if another thread changed it meanwhile.
    place = name + "".join(f"[{key!r:.50}]" for key in keys)
    raise InvalidMessage(f"{place if len(place) < 300 else place[:300] + '…'}: {complaint}")


_Fault = tuple[list[Any], str]
"""The keys that lead to a value, and what is wrong with it."""


def _find_fault(value: Any, levels: int) -> _Fault | None:
    # Before encoding, since the encoder turns some keys into text silently, and recurses without a bound.
    if isinstance(value, dict):
        if not _TEXT.issuperset(map(type, value)):
            for key in value:
                if type(key) is not str and (not isinstance(key, str) or _is_foreign(key)):
                    return [], f"the key {key!r:.50} is {_type_name(key)}; keys of JSON objects are str"
        if levels and type(value) is dict and _PLAIN.issuperset(map(type, value.values())):
            return None
    elif not isinstance(value, (list, tuple)):
        return _find_fault_in_scalar(value)
    if levels == 0:
        return [], f"nested deeper than {MAX_DEPTH} levels, or within itself"
    for key, item in value.items() if type(value) is dict else _items(value):
        if type(item) not in _PLAIN:
            fault = _find_fault(item, levels - 1)
            if fault is not None:
                fault[0].insert(0, key)
                return fault
    return None


def _find_fault_in_scalar(value: Any) -> _Fault | None:
    if not isinstance(value, (str, int, float, type(None))) or _is_foreign(value):
        return [], f"{_type_name(value)} is not JSON{json_hint(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return [], f"{value!r} is not JSON; send None or a text in its place"
    return None


def _find_unwritable(value: Any, error: ValueError) -> _Fault:
    """Find what the encoder refused: it gives no place, and looking for it beforehand costs as much as encoding."""
    for key, item in _items(value):
        try:
            _encoder.encode(item).encode()
        except ValueError as inner:
            keys, complaint = _find_unwritable(item, inner)
            return [key, *keys], complaint
    if isinstance(error, UnicodeEncodeError):
        return [], "holds half of a surrogate pair, which is not Unicode text"
    return [], str(error)  # An integer with more digits than Python converts.


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


_TEXT = frozenset((str,))
_PLAIN = frozenset((str, int, bool, type(None)))
"""Classes of values that are JSON, whatever the value. Each set tells of all values of an object in one call."""


def _is_foreign(value: Any) -> bool:
    # numpy.float64 is a float and numpy.str_ a str: they would pass while their neighbours of 32 bits raise.
    return type(value).__module__.partition(".")[0] == "numpy"


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _read_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text:.30} is too large for a number")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_read_float)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def decode_object(data: bytes | memoryview | str, what: str, levels: int = MAX_WIRE_DEPTH) -> JsonObject:
    """Return the JSON object in ``data``.

    Args:
        data: JSON as UTF-8, or as a text that came within other JSON.
        what: Its name in errors, such as ``the header of messaging.send``.
        levels: How deep it may be nested; ``{}`` has one level.
    Raises:
        ProtocolError: If it is not UTF-8, not JSON, no object, or nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        if text[:1] != "{" or text[-1:] != "}":
            text = text.strip(" \t\n\r")
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            value, end = _decoder.raw_decode(text)  # Raises, and says what is wrong.
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{what} is not UTF-8: {error.reason} at byte {error.start}", code=1007) from None
    except RecursionError:
        raise ProtocolError(f"{what} is nested too deeply", code=1007) from None
    except ValueError as error:
        raise ProtocolError(f"{what} is not JSON: {error}", code=1007) from None
    if end != len(text):
        raise ProtocolError(f"{what} is not JSON: more follows at character {end}", code=1007)
    if type(value) is not dict:
        raise ProtocolError(f"{what} is {_type_name(value)} and not a JSON object", code=1007)
    if text.count("{") + text.count("[") > levels and _depth_exceeds(value, levels):
        raise ProtocolError(f"{what} is nested deeper than {levels} levels", code=1007)
    return value


def _depth_exceeds(value: Any, levels: int) -> bool:
    # Level by level and not by recursion: the peer chose the depth.
    level = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def read_member(header: JsonObject, name: str, kind: type[_T], what: str) -> _T:
    """Return a member that ``header`` must have.

    Raises:
        ProtocolError: If it is missing, or not of that kind.
    """
    value = header.get(name)
    if type(value) is not kind:  # Exactly, since JSON knows no subclasses, and True is no number.
        fault = "has a wrong type of" if name in header else "lacks"
        raise ProtocolError(f"{what} {fault} {name!r}")
    return value


def check_members(header: JsonObject, what: str) -> None:
    """Check that an object of the wire's own has no more members than one may have.

    Raises:
        ProtocolError: If it has more.
    """
    if len(header) > MAX_MEMBERS:
        raise ProtocolError(f"{what} has {len(header)} members; at most {MAX_MEMBERS} are read")


def encode_envelope(header: bytes, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """Return an envelope of an encoded header and a payload.

    Raises:
        InvalidMessage: If the payload is no buffer.
    """
    try:
        return b"".join((_LENGTH.pack(len(header)), header, payload))
    except TypeError:
        raise InvalidMessage(f"attachment: {_type_name(payload)} is neither bytes nor a contiguous buffer") from None


def decode_envelope(body: bytes | memoryview, what: str, levels: int = MAX_WIRE_DEPTH) -> tuple[JsonObject, memoryview]:
    """Return header and payload of an envelope; the payload is a view of ``body``.

    Official clients' trace propagation is taken out of the header.

    Args:
        what: Its name in errors, such as ``messaging.send``.
        levels: How deep the header may be nested.
    Raises:
        ProtocolError: If it is no envelope.
    """
    size = len(body)
    if size < _LENGTH.size:
        raise ProtocolError(f"{what} has {size} bytes, too few for an envelope", code=1007)
    end = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    if end > size:
        raise ProtocolError(f"{what} announces a header that runs past its end", code=1007)
    view = memoryview(body)
    header = decode_object(view[_LENGTH.size : end], what, levels)
    header.pop(RESERVED, None)
    return header, view[end:]


def size_in_memory(body: bytes | memoryview, payload_size: int) -> int:
    """Return about how many bytes an envelope takes once it is decoded, without a look at what it was decoded to.

    A text takes about what it took on the wire; a number or an object takes much more than its few characters.

    Args:
        payload_size: The bytes of the payload, at the end of the body.
    Source: ``sys.getsizeof`` on CPython 3.10 to 3.13: an empty message with its event, a float with its place in a
        list, and an object of one member.
    """
    size = len(body) + _MESSAGE_SIZE
    header_size = len(body) - payload_size
    if header_size > _PLAIN_SIZE:
        header = bytes(body[:header_size])  # A view cannot count; decoding takes a hundred times as long as both.
        size += _VALUE_SIZE * header.count(b",") + _OBJECT_SIZE * header.count(b"{")
    return size


_MESSAGE_SIZE = 512
_VALUE_SIZE = 32
_OBJECT_SIZE = 184
_PLAIN_SIZE = 1024
"""Bytes of JSON that are too few to be weighed."""
