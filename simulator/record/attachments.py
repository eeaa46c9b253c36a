"""The bytes of attachments, once for each hash, up to a limit."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

from meshsync.protocol.operations import Buffer

__all__ = ["LARGEST", "LIMIT", "Attachments"]

LARGEST = 1024 * 1024
"""Bytes of the largest attachment that is kept."""

LIMIT = 128 * 1024 * 1024
"""Bytes of all that are kept; the one whose last use is longest ago is dropped first."""

_COST = 300
"""Bytes that an attachment takes beside its content."""


class Attachments:
    """Attachments by their SHA-256 in hex.

    Args:
        largest: Bytes; of a larger one only the hash is known.
        limit: Bytes of all of them.
    """

    def __init__(self, largest: int = LARGEST, limit: float = LIMIT) -> None:
        self.largest = largest
        self.limit = limit
        self.size: int = 0
        """Bytes that they take."""
        self._contents: dict[str, bytes] = {}
        """In the order of their last use."""
        self._last: dict[str, int] = {}
        """The number of the last record that each belongs to, in the same order."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The content of each."""
        return MappingProxyType(self._contents)

    def keep(self, content: Buffer, number: int) -> tuple[str, bytes | None]:
        """Keep the attachment of the record of that number; return its hash, and the content if that is new here.

        One that is too large is not kept.
        """
        hash = sha256(content).hexdigest()
        known = self._contents.pop(hash, None)
        if known is not None:
            self._contents[hash] = known
            del self._last[hash]
            self._last[hash] = number
        elif len(content) <= self.largest:
            new = bytes(content)
            self.restore(hash, new, number)
            return hash, new
        return hash, None

    def restore(self, hash: str, content: bytes, number: int = 0) -> None:
        """Keep an attachment whose hash is known; again does nothing."""
        if hash not in self._contents:
            self._contents[hash] = content
            self._last[hash] = number
            self.size += len(content) + _COST
            while self.size > self.limit:
                self._drop(next(iter(self._contents)))

    def drop_until(self, number: int) -> None:
        """Drop those that belong to no record after the one of that number."""
        while self._last:
            hash, last = next(iter(self._last.items()))
            if last > number:
                return
            self._drop(hash)

    def copy(self) -> Attachments:
        """Return a copy that does not grow with this one."""
        copy = Attachments(self.largest, self.limit)
        copy._contents, copy._last, copy.size = dict(self._contents), dict(self._last), self.size
        return copy

    def _drop(self, hash: str) -> None:
        self.size -= len(self._contents.pop(hash)) + _COST
        del self._last[hash]
