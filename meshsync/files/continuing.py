"""A file that goes on where an earlier transfer stopped: what sender and receiver agree upon before the first chunk.

Either process may have been restarted in between; nothing is known but the file at one end and the part of it at the
other, and neither is trusted. To the form of ``meshsync.files.transfer`` this adds, for files of `LEAST_SIZE`:

- The member ``file`` of the opening's header has ``resume``, which is true. Receivers of another kind ignore it.
- The receiver, right behind its consent, answers with a chunk without data whose header has ``partial``: how many bytes
  it has, 0 for none. Unless that is none, another one follows, with ``partial`` and ``sha256``, the SHA-256 of these
  bytes. It may take a while; both ends compute it at the same time.
- The first chunk's header has ``at``, the number of these bytes, if its data goes on behind them: because the sender's
  file begins with them, by its SHA-256. Without ``at`` the file comes from its beginning.

The SHA-256 at the end is that of the whole file, whichever parts of it came when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from typing import TYPE_CHECKING, Any

from meshsync.errors import MeshsyncError, ReceiveTimeout, StreamError
from meshsync.files.partial_file import PartialFile
from meshsync.runtime.deadlines import Deadline
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.world import runtime_of

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["LEAST_SIZE", "Answers", "Start", "begin", "find_start", "is_resumable", "offer_partial"]

LEAST_SIZE = 1024 * 1024
"""Bytes. Less is sent again sooner than both ends agree."""
ANSWER_TIMEOUT = 2.0
"""Seconds. The receiver's answer leaves it right behind its consent, and is here already when this wait begins, or
never comes, as of a program that has a way of its own to receive files."""
_BLOCK = 1024 * 1024


@dataclass(slots=True)
class Start:
    """Where the data of a transfer begins."""

    position: int = 0
    """Bytes of the file that its receiver has already."""
    digest: _Hash = field(default_factory=sha256)
    """Of these bytes."""


# --- the sender -------------------------------------------------------------------------------------------------------


class Answers:
    """What the receiver of a file sends back: what it has of the file, then its confirmation."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._other: MessageStreamChunk | None = None
        """One that was read in search of ``partial``."""

    def read_partial(self, timeout: float | None) -> Mapping[str, Any]:
        """Return the next header if it has ``partial``, else an empty one. Raises as ``read``."""
        if self._other is None:
            chunk = self._reader.read(timeout)
            if chunk is not None and "partial" in chunk.header:
                return chunk.header
            self._other = chunk
        return {}

    def read(self, timeout: float | None) -> MessageStreamChunk | None:
        """Return the next chunk that is not about what the receiver has. Raises as `StreamReader.read`."""
        if self._other is not None:
            other, self._other = self._other, None
            return other
        deadline = Deadline(runtime_of(self._reader), timeout)
        while (chunk := self._reader.read(deadline.left())) is not None and "partial" in chunk.header:
            pass
        return chunk


def find_start(file: FileIO, size: int, writer: StreamWriter, answers: Answers, timeout: float | None) -> Start:
    """Ask the receiver for what it has, compare, and return where to go on; the file is positioned there.

    Args:
        size: Bytes of the file.
        timeout: The longest wait for an answer, in seconds. When none comes, the file is sent from its beginning.
    """
    runtime = runtime_of(writer)
    with suppress(ReceiveTimeout, StreamError):  # Of a stream that has ended, the writer knows more.
        soon = ANSWER_TIMEOUT if timeout is None else min(ANSWER_TIMEOUT, timeout)
        held = answers.read_partial(Deadline(runtime, soon).left()).get("partial")
        if type(held) is int and 0 < held <= size:
            own = _digest(file.read, held)
            theirs = answers.read_partial(Deadline(runtime, timeout).left())
            if own is not None and theirs.get("partial") == held and theirs.get("sha256") == own.hexdigest():
                return Start(held, own)
    file.seek(0)
    return Start()


# --- the receiver -----------------------------------------------------------------------------------------------------


def is_resumable(announced: Mapping[str, Any]) -> bool:
    """Return whether the sender of a file, by its member ``file``, can go on where an earlier transfer stopped."""
    return announced.get("resume") is True


def offer_partial(reader: StreamReader, partial: PartialFile, size: int) -> Start:
    """Accept the stream of a resumable file, and answer with what there is of it; return how far that goes.

    Args:
        size: Bytes of the whole file. A part with more is of another one.
    Raises:
        MeshsyncError: As `StreamReader.accept`.
    """
    reader.accept()
    held = partial.size_found if partial.size_found <= size else 0
    start = Start()
    with suppress(MeshsyncError):  # The next read raises it, unless the sender needs no answer.
        reader.writer.write(MessageStreamChunk({"partial": held}))
        digest = _digest(partial.read, held)
        if held and digest is not None:
            start = Start(held, digest)
            reader.writer.write(MessageStreamChunk({"partial": held, "sha256": digest.hexdigest()}))
        reader.writer.flush()
    return start


def begin(partial: PartialFile, held: Start, first: Mapping[str, Any]) -> Start:
    """Make the file end where the data of its first chunk begins, and return that place.

    Args:
        held: What was offered.
        first: The first chunk's header.
    Raises:
        StreamError: If it goes on elsewhere.
    """
    start = Start()
    if "at" in first:
        if type(first["at"]) is not int or first["at"] != held.position:
            raise StreamError(f"the file goes on at {first['at']!r:.20}, and {held.position} bytes of it are here")
        start = held
    partial.cut(start.position)
    return start


def _digest(read: Callable[[int], bytes], size: int) -> _Hash | None:
    """Return the digest of the first bytes read; None if there are not so many."""
    digest, left = sha256(), size
    while left:
        data = read(min(_BLOCK, left))
        if not data:
            return None
        digest.update(data)
        left -= len(data)
    return digest
