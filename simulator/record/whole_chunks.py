"""Chunks of streams as programs write and read them: clients cut large ones that are to outlive losses into parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256

from simulator.record.record import Record
from simulator.record.records import Records

__all__ = ["WholeChunks"]


class WholeChunks:
    """The records of a room, those of a chunk's parts joined to one, in its last one's place.

    Attributes:
        attachments: The attachments of all, by the hashes that these records have.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self.attachments: dict[str, bytes] = dict(records.attachments)

    def __iter__(self) -> Iterator[Record]:
        begun: dict[tuple[str, str, str], list[Record]] = {}
        for record in self._records:
            if record.kind != "message" or not record.stream_id:
                yield record
                continue
            route = (record.sender, record.recipient, record.stream_id)
            if _is_partial(record):
                begun.setdefault(route, []).append(record)
            else:
                yield self._joined([*begun.pop(route, ()), record])
        for parts in begun.values():  # They were interrupted.
            yield self._joined(parts)

    def _joined(self, parts: list[Record]) -> Record:
        if len(parts) == 1:
            return parts[0]
        first, last = parts[0], parts[-1]
        hashes = [part.attachment for part in parts if part.attachment]
        contents = [self.attachments.get(hash) for hash in hashes]
        content = b"".join(content for content in contents if content is not None)
        if None in contents:  # What it is can't be known, but whether it is the same.
            hash = sha256(" ".join(hashes).encode()).hexdigest()
        else:
            hash = sha256(content).hexdigest() if content else ""
            self.attachments[hash] = content
        sent_ns = first.time_ns - (first.latency_ns or 0)
        return replace(
            first,
            time_ns=last.time_ns,
            size_bytes=sum(part.size_bytes for part in parts),
            latency_ns=None if last.latency_ns is None else last.time_ns - sent_ns,
            outcome=last.outcome,
            attachment=hash,
        )


def _is_partial(record: Record) -> bool:
    own = record.detail.get("meshsync")
    return isinstance(own, Mapping) and own.get("is_partial") is True
