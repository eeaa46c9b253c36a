"""Streams without a room: a reader of chunks that the test set, and a writer that records its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from meshsync.errors import UsageError
from meshsync.messages import Buffer
from meshsync.participants import RemoteParticipant
from meshsync.runtime.deadlines import Timeout
from meshsync.streams.interfaces import MessageStreamChunk

__all__ = ["RecordingOpener", "RecordingWriter", "ScriptedReader"]

BOB = RemoteParticipant("p-2", "user", {"name": "bob"})


class RecordingWriter:
    """A writer to bob.

    Args:
        answers: What its reader returns, as ``says`` there.
        on_chunk: Called with each chunk before it is recorded; ``write`` raises its exceptions.
    """

    stream_id = "s-1"
    to = BOB

    def __init__(
        self,
        answers: Iterable[MessageStreamChunk | Exception | Callable[[], MessageStreamChunk]] = (),
        on_chunk: Callable[[MessageStreamChunk], object] | None = None,
    ) -> None:
        self.chunks: list[MessageStreamChunk] = []
        self.told: list[str] = []
        """``flush``, ``close`` and ``abort: …``, in order."""
        self.reader = ScriptedReader({}, answers)
        self._on_chunk = on_chunk

    @property
    def data(self) -> bytes:
        """All that was written, joined."""
        return b"".join(chunk.data for chunk in self.chunks)

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        if self._on_chunk is not None:
            self._on_chunk(chunk)
        self.chunks.append(chunk)

    def flush(self, *, timeout: Timeout = "default") -> None:
        self.told.append("flush")

    def close(self, *, timeout: Timeout = "default") -> None:
        self.told.append("close")

    def abort(self, reason: str = "") -> None:
        self.told.append(f"abort: {reason}")

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            self.close()
        else:
            self.abort(str(exception[1]))


class ScriptedReader:
    """A reader of bob's chunks.

    Args:
        says: Chunks, functions that make one when it is read, and errors that ``read`` raises; then the regular end.
    """

    stream_id = "s-1"
    sender = BOB

    def __init__(
        self,
        header: Mapping[str, Any],
        says: Iterable[MessageStreamChunk | Exception | Callable[[], MessageStreamChunk]] = (),
        writer: RecordingWriter | None = None,
    ) -> None:
        self.header = header
        self.closed: list[str] = []
        """The reasons given for closing or rejecting it."""
        self.is_accepted = False
        self.timeouts: list[float | None] = []
        """The time limit of each read, in seconds."""
        self._says = iter(says)
        self._writer = writer

    @property
    def writer(self) -> RecordingWriter:
        """The writer in the other direction."""
        if self._writer is None:
            self._writer = RecordingWriter()
        return self._writer

    def accept(self) -> None:
        self.is_accepted = True

    def reject(self, reason: str = "") -> None:
        if self.is_accepted:
            raise UsageError("it was accepted before")
        self.closed.append(reason)

    def read(self, timeout: float | None = None) -> MessageStreamChunk | None:
        self.accept()
        self.timeouts.append(timeout)
        said = next(self._says, None)
        if isinstance(said, Exception):
            raise said
        return said() if callable(said) else said

    def read_all(self, timeout: float | None = None) -> bytes:
        return b"".join(chunk.data for chunk in self)

    def __iter__(self) -> Iterator[MessageStreamChunk]:
        return self

    def __next__(self) -> MessageStreamChunk:
        chunk = self.read()
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self, reason: str = "") -> None:
        self.closed.append(reason)


class RecordingOpener:
    """Opens streams to bob, as a `MessagingClient` does, and records the recipient, the header and the time limit.

    Args:
        writer: What it opens, or the error that opening raises.
    """

    def __init__(self, writer: RecordingWriter | Exception) -> None:
        self.opened: list[tuple[object, Mapping[str, Any], Timeout]] = []
        self._writer = writer

    def create_stream(self, to: object, header: Mapping[str, Any], *, timeout: Timeout = "default") -> RecordingWriter:
        self.opened.append((to, header, timeout))
        if isinstance(self._writer, Exception):
            raise self._writer
        return self._writer
