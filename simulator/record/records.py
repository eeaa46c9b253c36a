"""The records of a room: its events with their instants, as frozen values, and the packets beneath.

A record gives the fate of one event: a message that arrived, was refused or got lost; a participant that came or left;
a fault that struck. It is written when that is decided, so that records are in order of time. Beneath them lies the
*packet log*: for each packet its instant, link, direction, length and SHA-256, so that two runs whose records agree by
accident still differ. Two runs are the same if and only if their `Transcript.digest` is.

No record depends on an address, a thread or a file of the machine that ran it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from meshsync.errors import UsageError

__all__ = ["KINDS", "Packet", "Record", "Records", "first_difference"]

FORMAT = 1
"""Version of the saved form."""

KINDS = (
    "message",
    "confirming",
    "reply",
    "stream",
    "enabled",
    "disabled",
    "attributes",
    "connected",
    "disconnected",
    "refused",
    "fault",
)
"""The events that have records: a message, a broadcast or a stream's chunk, once for each recipient, a confirmed one
each time that it is sent; a proof or a report between two clients that confirm; the room's answer to a request; a
stream's opening, answer, credit or end; enabling and disabling messaging; attributes; a connection's beginning and
end; an attempt to connect that failed; a fault that struck or ended."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event of a room."""

    time_ns: int
    """The instant its fate was decided, in nanoseconds since the start of the simulation."""
    kind: str
    """One of `KINDS`."""
    sender: str = ""
    """The name of the participant that caused it; a second one is ``bob#2``. Empty for the room."""
    recipient: str = ""
    type: str = ""
    """Of a message or fault."""
    size_bytes: int = 0
    """Of the body that was sent or delivered, header and attachment."""
    latency_ns: int | None = None
    """From sending to arrival, in nanoseconds; None for an event that did not arrive, or does not travel."""
    outcome: str = ""
    """Its fate: ``delivered``, ``lost``, ``error 1003: …``."""
    stream_id: str = ""
    """Of the stream it belongs to, numbered in the order of opening; empty for none."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The message's JSON, the attributes, the fault's parameters."""

    @property
    def time_s(self) -> float:
        """The instant in seconds."""
        return self.time_ns / 1e9

    @property
    def latency_s(self) -> float | None:
        """The delay in seconds."""
        return None if self.latency_ns is None else self.latency_ns / 1e9


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet that entered or left a room."""

    time_ns: int
    link: str
    """The participant's connection, as ``alice``; its second one is ``alice~2``."""
    direction: str
    """``up`` to the room, ``down`` from it."""
    size_bytes: int
    sha256: str


_FIELDS = tuple(f.name for f in fields(Record))
_PACKET = struct.Struct(">QIBI32s")
_DIRECTIONS = {"up": 0, "down": 1}


R = TypeVar("R", bound="Records")


class Records:
    """The records of one room in order of time, and its packet log. Grows while the simulation runs.

    It holds the events of a room; `transcript.py` draws them.
    """

    def __init__(self, room: str = "", seed: int | str | None = None) -> None:
        self.room = room
        self.seed = seed
        self._records: list[Record] = []
        self._packets = bytearray()
        self._links: dict[str, int] = {}

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            ValueError: If it is of no known kind, or earlier than the last; it is not appended.
        """
        if record.kind not in KINDS:
            raise ValueError(f"no kind of record: {record.kind!r}")
        if self._records and record.time_ns < self._records[-1].time_ns:
            raise ValueError(f"a record of {record.time_ns} ns behind one of {self._records[-1].time_ns} ns")
        self._records.append(record)

    def add_packet(self, time_ns: int, link: str, direction: str, packet: bytes | memoryview) -> None:
        """Append a packet to the log."""
        number = self._links.get(link)
        if number is None:
            number = self._links[link] = len(self._links)
        self._packets += _PACKET.pack(time_ns, number, _DIRECTIONS[direction], len(packet), sha256(packet).digest())

    # --- reading ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        return iter(tuple(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self.digest() == other.digest()

    __hash__ = None  # type: ignore[assignment]

    @property
    def packets(self) -> Iterator[Packet]:
        """The packet log, in order of time."""
        links, directions = list(self._links), list(_DIRECTIONS)
        for time_ns, link, direction, size, digest in _PACKET.iter_unpack(bytes(self._packets)):
            yield Packet(time_ns, links[link], directions[direction], size, digest.hex())

    @property
    def packet_count(self) -> int:
        """The number of packets in the log."""
        return len(self._packets) // _PACKET.size

    def messages(self, type: str | None = None, sender: str | None = None, to: str | None = None) -> tuple[Record, ...]:
        """Return the messages, one record for each recipient, that match all that is given; chunks are messages too."""
        return tuple(
            record
            for record in self._records
            if record.kind == "message"
            and (type is None or record.type == type)
            and (sender is None or record.sender == sender)
            and (to is None or record.recipient == to)
        )

    def streams(self) -> tuple[Record, ...]:
        """Return the records of streams, chunks excepted."""
        return tuple(record for record in self._records if record.kind == "stream")

    def faults(self) -> tuple[Record, ...]:
        """Return the faults that struck, and their ends."""
        return tuple(record for record in self._records if record.kind == "fault")

    # --- identity and files -------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """Return the fingerprint of records and packets: SHA-256 in hex.

        Room and seed are no part of it: two seeds that lead to the same run have the same digest.
        """
        digest = sha256()
        for record in self._records:
            digest.update(_line(_as_dict(record)))
        digest.update(_line({"links": list(self._links)}))
        digest.update(self._packets)
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write it as lines of JSON: a head, the records, the packets, the digest."""
        with open(path, "wb") as file:
            file.write(_line({"transcript": FORMAT, "room": self.room, "seed": self.seed}))
            for record in self._records:
                file.write(_line({"record": _as_dict(record)}))
            for packet in self.packets:
                file.write(_line({"packet": [getattr(packet, f.name) for f in fields(Packet)]}))
            file.write(_line({"digest": self.digest()}))

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read what ``save`` wrote.

        Raises:
            UsageError: If it is no transcript, is cut short, or was changed.
        """
        try:
            with open(path, encoding="utf-8") as file:
                lines = [_parse(line, number, path) for number, line in enumerate(file, 1)]
            if not lines or lines[0].get("transcript") != FORMAT:
                raise UsageError(f"{path} is no transcript of version {FORMAT}")
            transcript = cls(lines[0]["room"], lines[0]["seed"])
            digest = None
            for line in lines[1:]:
                if "record" in line:
                    transcript.add(Record(**line["record"]))
                elif "packet" in line:
                    transcript._restore(Packet(*line["packet"]))
                else:
                    digest = line.get("digest")
            fits = digest == transcript.digest()
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError, struct.error) as error:
            # Whatever Python says of a member that is missing, or of another type or range than ours.
            raise UsageError(f"{path} is no transcript, or was changed: {error}") from None
        if not fits:
            raise UsageError(f"{path} was cut short or changed: its digest does not fit")
        return transcript

    # --- the inside ---------------------------------------------------------------------------------------------------

    def _restore(self, packet: Packet) -> None:
        number = self._links.setdefault(packet.link, len(self._links))
        direction = _DIRECTIONS[packet.direction]
        digest = bytes.fromhex(packet.sha256)
        self._packets += _PACKET.pack(packet.time_ns, number, direction, packet.size_bytes, digest)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.room!r}: {len(self)} records, {self.packet_count} packets>"


def first_difference(one: Records, other: Records) -> str | None:
    """Return as text where two transcripts differ first, or None if they are the same."""
    for index, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return f"record {index}: {_describe(ours)}\n      versus {_describe(theirs)}"
    if len(one) != len(other):
        longer, count = (one, len(other)) if len(one) > len(other) else (other, len(one))
        return f"record {count}: only one run has {_describe(longer[count])}"
    for index, (sent, got) in enumerate(zip(one.packets, other.packets, strict=False)):
        if sent != got:
            return f"packet {index}: {sent}\n      versus {got}"
    if one.packet_count != other.packet_count:
        return f"one run has {one.packet_count} packets, the other {other.packet_count}"
    return None if one.digest() == other.digest() else "the order in which links were first used"


def _describe(record: Record) -> str:
    route = f"{record.sender or 'room'} -> {record.recipient}" if record.recipient else record.sender or "room"
    return f"{record.time_s:.9f} s {record.kind} {record.type} {route} {record.outcome} {dict(record.detail)}"


def _as_dict(record: Record) -> dict[str, Any]:
    # Not asdict(), which copies every message's JSON deeply.
    return {name: getattr(record, name) for name in _FIELDS} | {"detail": dict(record.detail)}


def _line(value: Mapping[str, Any]) -> bytes:
    # ASCII and sorted: the same bytes on every Python, whatever order the members were made in.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parse(line: str, number: int, path: str | Path) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}, line {number}: not a JSON object")
    return value
