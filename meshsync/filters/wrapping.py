"""Writers and readers around others: each passes every call on, and a subclass overrides those that differ.

Both ends of a stream are wrapped at once, so that ``wrapper.reader.writer is wrapper``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from meshsync.messages import Buffer
from meshsync.participants import RemoteParticipant
from meshsync.runtime.deadlines import Timeout
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.streams.statements import ClosingWriter, IteratedReader
from meshsync.world import runtime_of

__all__ = ["Handover", "WrappedReader", "WrappedWriter"]


class WrappedWriter(ClosingWriter):
    """A `StreamWriter` around another, which lives in that one's runtime. Every call raises as the inner one's.

    Args:
        inner: Every call is passed on to it.
        reader: The reader that belongs to it; by default one around ``inner.reader``.
    """

    def __init__(self, inner: StreamWriter, reader: StreamReader | None = None) -> None:
        self._inner = inner
        self._runtime = runtime_of(inner)
        self._reader: StreamReader = reader if reader is not None else WrappedReader(inner.reader, self)

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        return self._inner.stream_id

    @property
    def to(self) -> RemoteParticipant:
        """The participant that reads it."""
        return self._inner.to

    @property
    def reader(self) -> StreamReader:
        """The peer's chunks on the same stream."""
        return self._reader

    @property
    def peer_is_meshsync(self) -> bool:
        """As `MessageStreamWriter.peer_is_meshsync`; True for an inner one without it."""
        return bool(getattr(self._inner, "peer_is_meshsync", True))

    @property
    def _sent(self) -> int | None:
        # How many chunks were sent, also where Ctrl-C struck; None for an inner one that does not know.
        return getattr(self._inner, "_sent", None)

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        """Send a chunk, or bytes alone as a chunk with an empty header."""
        self._inner.write(chunk, timeout=timeout)

    def flush(self, *, timeout: Timeout = "default") -> None:
        """Wait until all that was written is acknowledged."""
        self._inner.flush(timeout=timeout)

    def close(self, *, timeout: Timeout = "default") -> None:
        """End the stream regularly."""
        self._inner.close(timeout=timeout)

    def abort(self, reason: str = "") -> None:
        """End the stream at once, incomplete."""
        self._inner.abort(reason)

    def _limit(self, timeout: Timeout) -> Timeout:
        return self._inner._limit(timeout) if isinstance(self._inner, ClosingWriter) else timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self._inner!r}>"


class WrappedReader(IteratedReader):
    """A `StreamReader` around another, which lives in that one's runtime. Every call raises as the inner one's.

    To change the chunks read, override ``_read``: ``read``, iteration and ``read_all`` go through it.

    Args:
        inner: Every call is passed on to it.
        writer: The writer that belongs to it; by default one around ``inner.writer``.
    """

    def __init__(self, inner: StreamReader, writer: StreamWriter | None = None) -> None:
        self._inner = inner
        self._runtime = runtime_of(inner)
        self._writer: StreamWriter = writer if writer is not None else WrappedWriter(inner.writer, self)
        self._chunks: deque[MessageStreamChunk] = deque()
        """Chunks to return before the inner one is read."""
        self._is_closed = False
        """Whether this program reads no more."""

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        return self._inner.stream_id

    _streamId = stream_id  # as MeshAgent's documentation has it

    @property
    def sender(self) -> RemoteParticipant:
        """The participant that writes it."""
        return self._inner.sender

    @property
    def header(self) -> Mapping[str, Any]:
        """The header that its opener gave to the stream."""
        return self._inner.header

    @property
    def writer(self) -> StreamWriter:
        """The way back to the peer."""
        return self._writer

    def accept(self) -> None:
        """Accept the stream."""
        self._inner.accept()

    def reject(self, reason: str = "") -> None:
        """Reject the stream; the reason is sent to its opener."""
        self._inner.reject(reason)

    def read(self, timeout: Timeout = "default") -> MessageStreamChunk | None:
        """Return the next chunk, None at the regular end."""
        limit = self._limit(timeout)
        try:
            chunk = self._chunks.popleft()
        except IndexError:
            chunk = None
        return self._read(limit) if chunk is None else chunk

    def _limit(self, timeout: Timeout) -> float | None:
        inner = self._inner
        return inner._limit(timeout) if isinstance(inner, IteratedReader) else super()._limit(timeout)

    def _read(self, timeout: float | None) -> MessageStreamChunk | None:
        """Return the inner one's next chunk, None at the regular end."""
        return self._inner.read(timeout)

    def _put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        # Lost to a subclass that overrides ``read`` nevertheless, which would change them a second time.
        if not self._is_closed and type(self).read is WrappedReader.read:
            self._chunks.extendleft(reversed(chunks))

    def close(self, reason: str = "") -> None:
        """Read no more: the peer is notified."""
        self._is_closed = True
        self._chunks.clear()
        self._inner.close(reason)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self._inner!r}>"


class Handover:
    """Hands chunks on to an inner writer, each once, also where Ctrl-C strikes.

    After ``write`` the caller forgets the chunk, and sets ``before`` to None, without a call in between. If it finds
    ``was_sent`` before it writes, it was struck in between, and has to do just that.
    """

    __slots__ = ("_inner", "before")

    def __init__(self, inner: StreamWriter) -> None:
        self._inner = inner
        self.before: int | None = None
        """How many chunks the inner writer had sent when ``write`` began; None after it has been dealt with."""

    @property
    def was_sent(self) -> bool:
        """Whether the chunk of a call that was interrupted was sent nevertheless."""
        return self.before is not None and self.before != getattr(self._inner, "_sent", None)

    def write(self, chunk: MessageStreamChunk, timeout: Timeout) -> None:
        """Write a chunk; raises as the inner writer.

        Ctrl-C aborts a stream whose writer cannot tell whether it was sent: the reader would miss a part of what
        belongs together, or get it twice.
        """
        count = getattr(self._inner, "_sent", None)
        self.before = count
        try:
            self._inner.write(chunk, timeout=timeout)
        except Exception:
            self.before = None
            raise
        except BaseException:
            if count is None:
                self._inner.abort("the writer was interrupted")
            raise
