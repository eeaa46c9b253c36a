"""A transcript's file while it grows: what was written survives the end of this process, whatever ends it."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

__all__ = ["RecordFile", "open_new"]

_log = logging.getLogger("simulator.record")

_BATCH = 1024 * 1024
"""Bytes after which lines are written without being asked to: so much is held at most."""


class RecordFile:
    """A file to which lines are appended. When the disk refuses, it logs that once, and drops the rest.

    Args:
        path: It must not exist: no record is overwritten.
    Raises:
        OSError: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unwritten = 0
        """Records that the disk did not take."""
        self.error: OSError | None = None
        """Why nothing more is written."""
        self._buffer: list[bytes] = []
        self._size = 0
        self._records = 0
        """How many records wait in the buffer."""
        self._written = 0
        """Bytes of whole lines in the file."""
        # What was said is nobody else's business. Closed by `close`, or by the end of the process.
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)

    @property
    def is_open(self) -> bool:
        """Whether lines are still written."""
        return self._file is not None

    def write(self, line: bytes, records: int = 0) -> None:
        """Append a line that holds so many records; it waits until `flush`."""
        if self._file is None:
            self.unwritten += records
            return
        self._buffer.append(line)
        self._records += records
        self._size += len(line)
        if self._size >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Give the system all lines: from then on they outlive this process."""
        if not self._buffer or self._file is None:
            return
        data = b"".join(self._buffer)
        records, self._records, self._size = self._records, 0, 0
        self._buffer.clear()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            self._written += len(data)
        except OSError as error:
            self.unwritten += records
            self._fail(error)

    def close(self) -> None:
        """Write what waits, and close it. Again does nothing."""
        self.flush()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _fail(self, error: OSError) -> None:
        file, self._file, self.error = self._file, None, error
        assert file is not None
        with contextlib.suppress(OSError):
            os.ftruncate(file, self._written)  # Without a part of a line.
        with contextlib.suppress(OSError):
            os.close(file)
        _log.error("%s: %s; no more is recorded to it", self.path, error.strerror or error)


def open_new(directory: Path, stem: str) -> RecordFile:
    """Return a new file ``stem.jsonl`` in a directory; ``stem-2.jsonl`` and so on if there is one.

    Raises:
        OSError: If none can be made.
    """
    number = 1
    while True:
        name = f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl"
        try:
            return RecordFile(directory / name)
        except FileExistsError:
            number += 1
