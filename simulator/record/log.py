"""The records of a room in memory: as values, or as the lines that a file has, which take a third of the bytes."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from simulator.record.lines import encode_record, read_records
from simulator.record.record import Record

__all__ = ["Log"]

_COST = 56
"""Bytes that a line takes beside its content: those of an object, its place in a list, and the number at its end."""


class Log:
    """Records in order of time. An entry is one record as a value, or a line, which may hold several."""

    def __init__(self) -> None:
        self.size: int = 0
        """Bytes that the lines take."""
        self.dropped: int = 0
        """How many records were dropped; those that are left are counted from here."""
        self._entries: list[Record | bytes] = []
        self._ends = array("Q")
        """By entry, how many records there are up to its end, those that were dropped included."""
        self._first = 0
        """The first entry that was not dropped."""

    @property
    def end(self) -> int:
        """How many records there were, those that were dropped included."""
        return self._ends[-1] if self._ends else self.dropped

    def add(self, entry: Record | bytes, count: int = 1) -> None:
        """Append an entry that holds so many records."""
        self._ends.append(self.end + count)
        self._entries.append(entry)
        if type(entry) is bytes:
            self.size += len(entry) + _COST

    def keep_lines(self) -> None:
        """Turn all values into lines, whose bytes are known."""
        for place in range(self._first, len(self._entries)):
            entry = self._entries[place]
            if not isinstance(entry, bytes):
                line = self._entries[place] = encode_record(entry)
                self.size += len(line) + _COST

    def drop_oldest(self) -> Record | bytes | None:
        """Drop the oldest entry, and return it; None if there is none."""
        if self._first == len(self._entries):
            return None
        entry = self._entries[self._first]
        self.dropped = self._ends[self._first]
        self._entries[self._first] = b""
        self._first += 1
        if type(entry) is bytes:
            self.size -= len(entry) + _COST
        if self._first > 1000 and self._first > len(self._entries) // 2:
            del self._entries[: self._first], self._ends[: self._first]
            self._first = 0
        return entry

    def entries(self) -> tuple[Record | bytes, ...]:
        """Return the entries, from the oldest."""
        return tuple(self._entries[self._first :])

    def copy(self) -> Log:
        """Return a copy that does not grow with this one."""
        copy = Log()
        copy.size, copy.dropped = self.size, self.dropped
        copy._entries, copy._ends = self._entries[self._first :], self._ends[self._first :]
        return copy

    def __len__(self) -> int:
        return self.end - self.dropped

    def __iter__(self) -> Iterator[Record]:
        for entry in self.entries():
            if type(entry) is bytes:
                yield from read_records(entry)
            else:
                assert isinstance(entry, Record)
                yield entry

    def __getitem__(self, index: int) -> Record:
        count = len(self)
        index += count if index < 0 else 0
        if not 0 <= index < count:
            raise IndexError("a transcript's index is out of range")
        number = self.dropped + index
        place = bisect_right(self._ends, number, self._first)
        entry = self._entries[place]
        if not isinstance(entry, bytes):
            return entry
        begin = self._ends[place - 1] if place > self._first else self.dropped
        return read_records(entry)[number - begin]
