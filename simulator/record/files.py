"""A transcript's file while it grows: what was written survives the end of this process, whatever ends it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

__all__ = ["RecordFile", "open_new", "stem_of"]

_log = logging.getLogger("simulator.record")

_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)

_PLAIN = re.compile("[a-z0-9][a-z0-9_-]{0,63}")
_DEVICE = re.compile("con|prn|aux|nul|(com|lpt)[0-9]")

_BATCH = 1024 * 1024
"""Bytes after which lines are written without being asked to: so much is held at most."""


class RecordFile:
    """A file to which lines are appended. When the disk refuses, it tells that once, and drops the rest.

    Args:
        path: It must not exist: no record is overwritten.
        failed: Called with the disk's error, once; None to log it.
    Raises:
        OSError: If it cannot be made.
    """

    def __init__(self, path: Path, failed: Callable[[Path, OSError], None] | None = None) -> None:
        self.path = path
        self._failed = failed or _log_failure
        self.unwritten: int = 0
        """Records that the disk did not take."""
        self._buffer: list[bytes] = []
        self._size = 0
        self._records = 0
        """How many records wait in the buffer."""
        self._written = 0
        """Bytes of whole lines in the file."""
        self.is_open: bool = True
        """Whether lines are still written."""
        # No other user's business. Closed by `rest` and `close`, or by the end of the process.
        self._descriptor: int | None = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, line: bytes, records: int = 0) -> None:
        """Append a line that holds so many records; it waits until `flush`."""
        if not self.is_open:
            self.unwritten += records
            return
        self._buffer.append(line)
        self._records += records
        self._size += len(line)
        if self._size >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Give the system all lines: from then on they outlive this process."""
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        records, self._records, self._size = self._records, 0, 0
        self._buffer.clear()
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, _FLAGS)
            rest = memoryview(data)
            while True:
                if not rest:
                    break
                rest = rest[os.write(self._descriptor, rest) :]
            self._written += len(data)
        except OSError as error:
            self.unwritten += records
            self._fail(error)

    def rest(self) -> None:
        """Write what waits, and let go of the file until there is more."""
        self.flush()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Write what waits, and end. Again does nothing."""
        self.rest()
        self.is_open = False

    def _fail(self, error: OSError) -> None:
        self.is_open = False
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._written)  # Without a part of a line.
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._failed(self.path, error)


def _log_failure(path: Path, error: OSError) -> None:
    _log.error("%s: %s; no more is recorded to it", path, error.strerror or error)


def open_new(directory: Path, stem: str, failed: Callable[[Path, OSError], None] | None = None) -> RecordFile:
    """Return a new file ``stem.jsonl`` in a directory; ``stem.2.jsonl`` and so on if there is one.

    Raises:
        OSError: If none can be made.
    """
    number = 1
    while True:
        try:
            return RecordFile(directory / (f"{stem}.jsonl" if number == 1 else f"{stem}.{number}.jsonl"), failed)
        except FileExistsError:
            number += 1


def stem_of(room: str) -> str:
    """Return a file name, without its ending, for a room: the same for the same room, on every system.

    It is the room's name where that has small letters, digits, hyphens and underscores alone, and is short and no
    name of a device on Windows; otherwise what there is of it, and a part of its hash, so that no two rooms share one.
    """
    if _PLAIN.fullmatch(room) and not _DEVICE.fullmatch(room):
        return room
    plain = re.sub("[^a-z0-9_-]+", "-", room[:40].lower()).strip("-")
    return f"{plain}~{sha256(room.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
