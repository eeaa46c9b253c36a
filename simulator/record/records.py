"""The records of a room: its events with their instants, as frozen values, and the packets beneath.

A record gives the fate of one event: a message that arrived, was refused or got lost; a participant that came or left;
a fault that struck. It is written when that is decided, so that records are in order of time. Beneath them lies, in a
simulation, the *packet log*: for each packet its instant, link, direction, length and SHA-256, so that two runs whose
records agree by accident still differ. Two runs are the same if and only if their `Transcript.digest` is.

No record depends on an address, a thread or a file of the machine that ran it.
"""

from __future__ import annotations

import hashlib
import operator
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

from meshsync.errors import UsageError
from meshsync.protocol.operations import Buffer
from simulator.record.attachments import LARGEST, LIMIT, Attachments
from simulator.record.files import RecordFile
from simulator.record.lines import (
    DIRECTIONS,
    FORMAT,
    canonical,
    check_record,
    encode_attachment,
    encode_line,
    encode_record,
    read_attachment,
    read_line,
    read_packet,
    read_records,
)
from simulator.record.log import Log
from simulator.record.record import KINDS, Packet, Record

__all__ = ["KINDS", "Packet", "Record", "Records", "first_difference", "first_difference_before"]

_PACKET = struct.Struct(">QIBI32s")

R = TypeVar("R", bound="Records")
Hash: TypeAlias = "hashlib._Hash"


class Records:
    """The records of one room in order of time, and its packet log.

    It holds the events of a room; `transcript.py` draws them.

    Args:
        room: The room's name.
        seed: That of the simulation; None for none.
        started: When a real room was opened, in seconds since the Unix epoch; None in a simulation.
        limit: Bytes that records and attachments may take; the oldest are dropped. None for no limit but that of all
            attachments.
        largest: Bytes of the largest attachment that is kept.
    """

    def __init__(
        self,
        room: str = "",
        seed: int | str | None = None,
        *,
        started: float | None = None,
        limit: int | None = None,
        largest: int = LARGEST,
    ) -> None:
        self.room = room
        self.seed = seed
        self.started = started
        """When the room was opened, in seconds since the Unix epoch; None for one of a simulation."""
        self._limit = limit
        self._log = Log()
        self._attachments = Attachments(largest, LIMIT if limit is None else limit)
        self._last_ns = 0
        self._has_end = True
        self._dropped = sha256()
        """Of all records that were dropped, as the digest has them."""
        self._packets = bytearray()
        self._links: dict[str, int] = {}
        self._file: RecordFile | None = None

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(self, record: Record, recipients: Sequence[str] = ()) -> None:
        """Append a record; with several recipients, one for each of them.

        Raises:
            ValueError: If it is of no known kind, or earlier than the last; it is not appended.
        """
        if record.kind not in KINDS:
            raise ValueError(f"no kind of record: {record.kind!r}")
        if record.time_ns < self._last_ns:
            raise ValueError(f"a record of {record.time_ns} ns behind one of {self._last_ns} ns")
        self._last_ns = record.time_ns
        count = len(recipients) or 1
        is_line = self.started is not None or self._limit is not None or count > 1
        line = encode_record(record, recipients) if is_line or self._file is not None else b""
        self._log.add(line if is_line else record, count)
        if self._file is not None:
            self._file.write(line, count)
            if self.started is None:
                self._file.flush()
        if self._limit is not None:
            self._make_room(self._limit)

    def attach(self, content: Buffer) -> str:
        """Keep the attachment of the next record, once however often it comes, and return its hash; "" for none."""
        if not content:
            return ""
        hash, new = self._attachments.keep(content, self._log.end + 1)
        if new is not None and self._file is not None:
            self._file.write(encode_attachment(hash, new))
        return hash

    def add_packet(self, time_ns: int, link: str, direction: str, packet: bytes) -> None:
        """Append a packet to the log."""
        self.add_packets(time_ns, link, direction, (packet,))

    def add_packets(self, time_ns: int, link: str, direction: str, packets: Iterable[bytes]) -> None:
        """Append packets that enter or leave a room at one instant on one link to the log."""
        number = self._links.get(link)
        if number is None:
            number = self._links[link] = len(self._links)
        way, log, file = DIRECTIONS[direction], self._packets, self._file
        for packet in packets:
            hash = sha256(packet).digest()
            log += _PACKET.pack(time_ns, number, way, len(packet), hash)
            if file is not None:
                file.write(_packet_line(Packet(time_ns, link, direction, len(packet), hash.hex())))

    def stream_to(self, path: str | Path, *, keep: int | None = None) -> None:
        """Write what is recorded to a file, now and as it grows, until the simulation is closed.

        The file is what ``save`` would write, in the order of events. Without its end it loads too.

        Args:
            path: It must not exist.
            keep: Bytes of records and attachments that stay in memory; the oldest are dropped there, and count in the
                digest all the same. Of each packet 49 bytes stay in any case. None for all.
        Raises:
            UsageError: If it is written to a file already.
            OSError: If the file cannot be made.
        """
        if self._file is not None:
            raise UsageError(f"it is written to {self._file.path} already")
        self.write_to(RecordFile(Path(path)))
        if keep is not None:
            self._limit = self._attachments.limit = keep
            self._log.keep_lines()
            self._make_room(keep)

    def write_to(self, file: RecordFile) -> None:
        """Write what is recorded to a file, now and as it grows; see `stream_to`."""
        for line in self._lines():
            file.write(line)
        file.flush()
        self._file = file

    def close(self) -> None:
        """Write the end of the file to which it is written, if any. Again does nothing."""
        file = self._file
        if file is not None and file.is_open:
            file.write(encode_line({"digest": self.digest()}))
            file.close()

    @property
    def file(self) -> RecordFile | None:
        """The file to which it is written as it grows."""
        return self._file

    @property
    def size(self) -> int:
        """Bytes that records and attachments take, records as values not counted: those of a simulation."""
        return self._log.size + self._attachments.size

    def drop_oldest(self) -> bool:
        """Drop the oldest record and what was attached to it alone; return whether there was one."""
        entry = self._log.drop_oldest()
        if entry is None:
            return False
        self._dropped.update(self._digested(entry))
        self._attachments.drop_until(self._log.dropped)
        return True

    # --- reading ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        return iter(self._log)

    def __len__(self) -> int:
        return len(self._log)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._log[place] for place in range(*index.indices(len(self)))]
        return self._log[operator.index(index)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self.digest() == other.digest()

    __hash__: None = None  # type: ignore[assignment]

    @property
    def attachments(self) -> Mapping[str, bytes]:
        """The attachments by their SHA-256 in hex, each once. One that was too large, or was dropped, is not there."""
        return self._attachments.contents

    @property
    def dropped(self) -> int:
        """How many records were dropped, the oldest, since there were more than the limit allows."""
        return self._log.dropped

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: no record was dropped, and the file it came from, if any, has its end."""
        return self._has_end and not self.dropped

    @property
    def packets(self) -> Iterator[Packet]:
        """The packet log, in order of time; empty for a real room."""
        links, directions = list(self._links), list(DIRECTIONS)
        for time_ns, link, direction, size, digest in _PACKET.iter_unpack(bytes(self._packets)):
            yield Packet(time_ns, links[link], directions[direction], size, digest.hex())

    def packets_before(self, instant: int) -> bytes:
        """Return the packet log up to an instant in nanoseconds, in a form for comparing."""
        size = _PACKET.size
        count = bisect_left(
            range(self.packet_count), instant, key=lambda index: _PACKET.unpack_from(self._packets, index * size)[0]
        )
        return bytes(self._packets[: count * size])

    @property
    def packet_count(self) -> int:
        """The number of packets in the log."""
        return len(self._packets) // _PACKET.size

    def messages(self, type: str | None = None, sender: str | None = None, to: str | None = None) -> tuple[Record, ...]:
        """Return the messages, one record for each recipient, that match all that is given; chunks are messages too."""
        return tuple(
            record
            for record in self
            if record.kind == "message"
            and (type is None or record.type == type)
            and (sender is None or record.sender == sender)
            and (to is None or record.recipient == to)
        )

    def streams(self) -> tuple[Record, ...]:
        """Return the records of streams, chunks excepted."""
        return tuple(record for record in self if record.kind == "stream")

    def faults(self) -> tuple[Record, ...]:
        """Return the faults that struck, and their ends."""
        return tuple(record for record in self if record.kind == "fault")

    # --- identity and files -------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """Return the fingerprint of records and packets: SHA-256 in hex.

        Room and seed are no part of it: two seeds that lead to the same run have the same digest. An attachment counts
        by its packets; in the record of a real room, which has none, by its hash.
        """
        return self._digest(self._dropped.copy())

    def _digest(self, digest: Hash) -> str:
        """Return a digest that goes on with what is here."""
        for entry in self._log.entries():
            digest.update(self._digested(entry))
        if self.started is None:
            digest.update(encode_line({"links": list(self._links)}))
            digest.update(self._packets)
        return digest.hexdigest()

    def copy(self: R) -> R:
        """Return what was recorded so far: a transcript that does not grow."""
        copy = type(self)(self.room, self.seed, started=self.started)
        copy._log, copy._attachments = self._log.copy(), self._attachments.copy()
        copy._last_ns, copy._has_end, copy._dropped = self._last_ns, self._has_end, self._dropped.copy()
        copy._packets, copy._links = bytearray(self._packets), dict(self._links)
        return copy

    def save(self, path: str | Path) -> None:
        """Write it as lines of JSON: a head, the attachments, the records, the packets, the digest.

        Of records that were dropped the head has the number. The digest is that of what is there.
        """
        with open(path, "wb") as file:
            file.writelines(self._lines())
            file.write(encode_line({"digest": self._digest(sha256())}))

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read what ``save`` wrote, or what was written as the transcript grew.

        A file that was cut, be it in the midst of a line, gives what is left of it, and `is_complete` is False.

        Raises:
            UsageError: If it is no transcript, or was changed.
            OSError: If it cannot be read.
        """
        with open(path, "rb") as file:
            transcript: R | None = None
            digest: object = None
            for number, line in enumerate(file, 1):
                try:
                    if digest is not None:
                        raise ValueError("a line behind the digest")
                    value = read_line(line)
                    if transcript is None:
                        transcript = cls._begin(value)
                    elif "digest" in value:
                        digest = value["digest"]
                    else:
                        transcript._load(value, line)
                except ValueError as error:
                    if transcript is not None and digest is None and not line.endswith(b"\n"):
                        break  # Its writer was stopped in the midst of it.
                    raise UsageError(f"{path} is no transcript, or was changed: line {number}: {error}") from None
        if transcript is None:
            raise UsageError(f"{path} is no transcript: it is empty")
        transcript._has_end = digest is not None
        if digest is not None and digest != transcript.digest():
            raise UsageError(f"{path} was changed: its digest does not fit")
        return transcript

    # --- the inside ---------------------------------------------------------------------------------------------------

    @classmethod
    def _begin(cls: type[R], head: Mapping[str, Any]) -> R:
        version = head.get("transcript")
        if type(version) is not int or not 0 < version <= FORMAT:
            raise ValueError(f"it does not begin as a transcript of version 1 to {FORMAT}")
        room, seed = head.get("room"), head.get("seed")
        started, dropped = head.get("started"), head.get("dropped", 0)
        if type(room) is not str or not isinstance(seed, (int, str, type(None))):
            raise ValueError("a transcript has a room and a seed")
        if type(started) not in (int, float, type(None)) or type(dropped) is not int or dropped < 0:
            raise ValueError("a transcript has a time at which it started, and the number of records that were dropped")
        transcript = cls(room, seed, started=started)
        transcript._attachments.largest = transcript._attachments.limit = sys.maxsize
        transcript._log.dropped = dropped
        return transcript

    def _load(self, value: Mapping[str, Any], line: bytes) -> None:
        match value:
            case {"record": members}:
                time_ns, count = check_record(members)
                if time_ns < self._last_ns:
                    raise ValueError("records are not in order of time")
                self._last_ns = time_ns
                self._log.add(line, count)
            case {"packet": members}:
                packet = read_packet(members)
                number = self._links.setdefault(packet.link, len(self._links))
                hash, direction = bytes.fromhex(packet.sha256), DIRECTIONS[packet.direction]
                self._packets += _PACKET.pack(packet.time_ns, number, direction, packet.size_bytes, hash)
            case {"attachment": members}:
                self._attachments.restore(*read_attachment(members))
            case _:
                raise ValueError("neither a record nor a packet nor an attachment")

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines of a file, but for the digest."""
        head: dict[str, Any] = {"transcript": FORMAT, "room": self.room, "seed": self.seed}
        if self.started is not None:
            head["started"] = self.started
        if self.dropped:
            head["dropped"] = self.dropped
        yield encode_line(head)
        for hash, content in self.attachments.items():
            yield encode_attachment(hash, content)
        for entry in self._log.entries():
            yield entry if isinstance(entry, bytes) else encode_record(entry)
        for packet in self.packets:
            yield _packet_line(packet)

    def _digested(self, entry: Record | bytes) -> bytes:
        """Return records as the digest has them: those of a real room as they are kept, which costs no reading."""
        if not isinstance(entry, bytes):
            return canonical(entry)
        return entry if self.started is not None else b"".join(map(canonical, read_records(entry)))

    def _make_room(self, limit: int) -> None:
        while self.size > limit and self.drop_oldest():
            pass

    def __repr__(self) -> str:
        packets = f", {self.packet_count} packets" if self.started is None else ""
        dropped = f", {self.dropped} older ones dropped" if self.dropped else ""
        cut = "" if self._has_end else ", cut short"
        return f"<{type(self).__name__} of {self.room!r}: {len(self)} records{packets}{dropped}{cut}>"


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


def first_difference_before(one: Records, other: Records, instant: int) -> str | None:
    """Return as text where two transcripts differ first before an instant in nanoseconds, or None if they do not."""
    ours, theirs = ([record for record in records if record.time_ns < instant] for records in (one, other))
    for index, (mine, another) in enumerate(zip_longest(ours, theirs)):
        if mine != another:
            texts = ["nothing" if record is None else _describe(record) for record in (mine, another)]
            return f"record {index}: {texts[0]}\n      versus {texts[1]}"
    sent, got = (records.packets_before(instant) for records in (one, other))
    if sent == got:
        return None
    same = next(index for index, pair in enumerate(zip_longest(sent, got)) if pair[0] != pair[1]) // _PACKET.size
    ours_sent, theirs_sent = (next(islice(records.packets, same, None), None) for records in (one, other))
    return f"packet {same}: {ours_sent}\n      versus {theirs_sent}"


def _describe(record: Record) -> str:
    route = f"{record.sender or 'room'} -> {record.recipient}" if record.recipient else record.sender or "room"
    return f"{record.time_s:.9f} s {record.kind} {record.type} {route} {record.outcome} {dict(record.detail)}"


def _packet_line(packet: Packet) -> bytes:
    return encode_line({"packet": [packet.time_ns, packet.link, packet.direction, packet.size_bytes, packet.sha256]})
