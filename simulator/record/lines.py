"""The lines of a transcript's file: a head, attachments, records, packets, the digest; JSON objects of one member each.

Written the same on every Python. What is read may be anybody's: each member is checked, so that what passed can be
kept as a line and read again without a check.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Any, NoReturn

from simulator.record.record import KINDS, Packet, Record

__all__ = [
    "DIRECTIONS",
    "FORMAT",
    "canonical",
    "check_record",
    "encode_attachment",
    "encode_line",
    "encode_record",
    "read_attachment",
    "read_line",
    "read_packet",
    "read_records",
]

FORMAT = 2
"""Version of the saved form. Version 1 writes all members of a record, and knows no attachments."""

DIRECTIONS = {"up": 0, "down": 1}

_FIELDS = tuple(f.name for f in fields(Record))
_DIGESTED = tuple(name for name in _FIELDS if name not in ("attachment", "id", "mark"))
_DEFAULTS = {name: getattr(Record(0, "message"), name) for name in _FIELDS[2:]}
_BOUND = 2**63
"""Nanoseconds and bytes are below this."""
_HASH = re.compile("[0-9a-f]{64}")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def encode_line(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as a line: ASCII and sorted, whatever order its members were made in.

    Raises:
        ValueError: If JSON cannot say it.
        TypeError: Likewise.
    """
    return _encode(value).encode() + b"\n"


def canonical(record: Record) -> bytes:
    """Return a simulation's record as its digest has it: all but attachment, id and mark, whose packets count."""
    # Not asdict(), which copies every message's JSON deeply.
    return encode_line({name: getattr(record, name) for name in _DIGESTED} | {"detail": dict(record.detail)})


def encode_record(record: Record, recipients: Sequence[str] = ()) -> bytes:
    """Return a record as a line; of several that differ in their recipient alone, one line with all recipients."""
    members = {name: value for name, default in _DEFAULTS.items() if (value := getattr(record, name)) != default}
    members |= {"time_ns": record.time_ns, "kind": record.kind}
    if record.detail:
        members["detail"] = dict(record.detail)
    if recipients:
        members["recipients"] = list(recipients)
    return encode_line({"record": members})


def encode_attachment(hash: str, content: bytes) -> bytes:
    """Return an attachment as a line."""
    return b'{"attachment":["%b","%b"]}\n' % (hash.encode(), base64.b64encode(content))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_line(line: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        ValueError: If it is none, or has a number that is not finite.
    """
    try:
        value = json.loads(line, parse_constant=_refuse, parse_float=_read_float)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def read_records(line: bytes) -> tuple[Record, ...]:
    """Return the records of a line that was checked, or written by us."""
    members = json.loads(line)["record"]
    recipients = members.pop("recipients", None)
    if recipients is None:
        return (Record(**members),)
    return tuple([Record(recipient=recipient, **members) for recipient in recipients])


def check_record(members: object) -> tuple[int, int]:
    """Check what a line says of records; return their instant in nanoseconds and how many there are.

    Raises:
        ValueError: If a member is missing, unknown, or not of its type or range.
    """
    if not isinstance(members, dict):
        raise ValueError("a record is a JSON object")
    for name in ("time_ns", "kind"):
        if name not in members:
            raise ValueError(f"a record has no {name}")
    for name, value in members.items():
        fits = _CHECKS.get(name)
        if fits is None:
            raise ValueError(f"a record has no member {name!r:.100}")
        if not fits(value):
            raise ValueError(f"a record's {name} cannot be {value!r:.100}")
    if "recipients" in members and "recipient" in members:
        raise ValueError("a record has a recipient or recipients, not both")
    return members["time_ns"], len(members.get("recipients", "1"))


def read_packet(members: object) -> Packet:
    """Return the packet of a line.

    Raises:
        ValueError: If it is none.
    """
    match members:
        case [int(time_ns), str(link), "up" | "down" as direction, int(size_bytes), str(hash)] if (
            0 <= time_ns < _BOUND and 0 <= size_bytes < 2**32 and _HASH.fullmatch(hash)
        ):
            return Packet(time_ns, link, direction, size_bytes, hash)
    raise ValueError("a packet is an instant, a link, a direction, a size and a SHA-256")


def read_attachment(members: object) -> tuple[str, bytes]:
    """Return the hash and the content of an attachment.

    Raises:
        ValueError: If it is none, or the hash is not that of the content.
    """
    match members:
        case [str(hash), str(text)]:
            try:
                content = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ValueError(f"an attachment is not base64: {error}") from None
            if sha256(content).hexdigest() != hash:
                raise ValueError("an attachment was changed: its SHA-256 does not fit")
            return hash, content
    raise ValueError("an attachment is a SHA-256 and base64")


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.40} is too large")
    return value


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < _BOUND


def _is_text(value: object) -> bool:
    return type(value) is str


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "time_ns": _is_whole,
    "kind": lambda value: value in KINDS,
    "size_bytes": _is_whole,
    "latency_ns": lambda value: value is None or (type(value) is int and -_BOUND < value < _BOUND),
    "detail": lambda value: type(value) is dict,
    "mark": lambda value: type(value) is dict and all(type(mark) is dict for mark in value.values()),
    "attachment": lambda value: value == "" or (type(value) is str and _HASH.fullmatch(value) is not None),
    "recipients": lambda value: type(value) is list and len(value) > 1 and all(map(_is_text, value)),
} | dict.fromkeys(("sender", "recipient", "type", "outcome", "stream_id", "id"), _is_text)
