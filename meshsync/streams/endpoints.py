"""A stream as programs use it: its writer and its reader.

The opener of a stream gets a `MessageStreamWriter`, whose ``reader`` reads the way back; its acceptor gets a
`MessageStreamReader`, whose ``writer`` writes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import ref

from meshsync.messages import Buffer
from meshsync.participants import RemoteParticipant
from meshsync.places import program_frame
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.incoming import Incoming
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader
from meshsync.streams.outgoing import TIMEOUT, Outgoing
from meshsync.streams.resumable_outgoing import ResumableOutgoing
from meshsync.streams.statements import ClosingWriter, IteratedReader
from meshsync.streams.stream import ClientStream

__all__ = [
    "Endpoints",
    "MessageStreamReader",
    "MessageStreamWriter",
    "StartInFinalizer",
    "has_ended",
    "unwatch_openings",
    "watch_openings",
]

StartInFinalizer = Callable[[Callable[[], None], str], None]
"""Starts a task without a lock or a wait, given its target and name."""

OpeningWatcher = Callable[["Endpoints"], object]

_watchers: tuple[OpeningWatcher, ...] = ()


def watch_openings(watcher: OpeningWatcher) -> None:
    """Call a watcher with each stream that a program opens from now on where nothing may depend on garbage.

    It is for what runs tests, which can look at its end for those that were dropped.
    """
    global _watchers
    _watchers = (*_watchers, watcher)


def unwatch_openings(watcher: OpeningWatcher) -> None:
    """Call it no more; one that is not there is ignored."""
    global _watchers
    _watchers = tuple(other for other in _watchers if other != watcher)


class Endpoints:
    """A stream with its two directions, and the two ends of it that programs use.

    It refers to those weakly. So a stream that has ended is gone, with all that is unread of it, as soon as the program
    lets go of both, and not when the garbage is collected.
    """

    __slots__ = ("__weakref__", "_reader", "_watch", "_writer", "incoming", "opened", "outgoing", "stream")

    def __init__(self, stream: ClientStream) -> None:
        self.stream: ClientStream = stream
        resumption = stream.resumption
        self.outgoing = Outgoing(stream) if resumption is None else ResumableOutgoing(stream, resumption)
        self.incoming: Incoming = Incoming(stream)
        self._writer: ref[MessageStreamWriter] | None = None
        self._reader: ref[MessageStreamReader] | None = None
        self._watch: tuple[StartInFinalizer, str, int] | None = None
        """How to end it once the program has dropped it, and where that opened it; None if it goes on then."""
        self.opened: tuple[str, int] | None = None
        """The file and line at which the program opened it; None for a peer's, and where no watcher asks."""

    def renounce(self) -> None:
        """Have the stream end with its connections: its peer knows no resumption."""
        self.stream.resumption = None
        self.outgoing = Outgoing(self.stream)

    @property
    def writer(self) -> MessageStreamWriter:
        """The one writer that a program has, or a new one."""
        writer = None if self._writer is None else self._writer()
        if writer is None:
            writer = MessageStreamWriter(self)
            self._writer = ref(writer)
        return writer

    @property
    def reader(self) -> MessageStreamReader:
        """The one reader that a program has, or a new one."""
        reader = None if self._reader is None else self._reader()
        if reader is None:
            reader = MessageStreamReader(self)
            self._reader = ref(reader)
        return reader

    def watch(self, start: StartInFinalizer | None) -> MessageStreamWriter:
        """Return the writer that a program gets which opened the stream, and end the stream if it is dropped.

        Without its writer and reader no program can end it, and the peer's would wait for the end as long as this
        client lives. A stream of a peer is not watched: that ends it.

        Args:
            start: None where nothing may depend on garbage: in a simulation, which looks at its end.
        """
        writer = self.writer
        if start is not None or _watchers:
            frame, _ = program_frame()
            path, line = self.opened = frame.f_code.co_filename, frame.f_lineno
            if start is not None:
                self._watch = start, path, line
            else:
                for watcher in _watchers:
                    watcher(self)
        return writer

    @property
    def is_dropped(self) -> bool:
        """Whether it goes on, and no program can end it any more: garbage has to be collected before."""
        return not self.stream.life.phase.is_over and not self._is_held()

    def left(self, end: object) -> None:
        """Have a task end the stream if the program holds none of its ends any more.

        Called by the finalizer of one, which may run where any lock is held.
        """
        watch = self._watch
        if watch is None or self.stream.life.phase.is_over or self._is_held(end):
            return
        self._watch = None
        start, path, line = watch
        start(partial(_end_dropped, self, path, line), f"meshsync end of {self.stream!r}")

    def _is_held(self, but_for: object = None) -> bool:
        """Return whether the program holds one of the ends. In its finalizer a reference may yet find an end."""
        ends = [None if end is None else end() for end in (self._writer, self._reader)]
        return any(end is not None and end is not but_for for end in ends)


def _end_dropped(ends: Endpoints, path: str, line: int) -> None:
    """End a stream whose ends its program has dropped, and say where that opened it."""
    if ends.stream.life.phase.is_over or ends._is_held():
        return
    text = (
        f"unclosed {ends.stream!r}, opened at {path}:{line}: nothing refers to its writer, so it is aborted, and its "
        "reader gets StreamInterrupted; use 'with', or close it"
    )
    try:
        warnings.warn_explicit(text, ResourceWarning, path, line)
    finally:
        ends.stream.abandon("the program dropped its writer without close()")


class MessageStreamWriter(ClosingWriter):
    """Writes a stream's chunks. Any task may write; a context manager closes it.

    Leaving the ``with`` block by an exception aborts the stream, so that its reader doesn't take it for complete. Of
    the exception the reader is told the class alone, since its text may be a secret; ``abort`` has a reason.
    (Official clients have no message for that: to them it is closed.)
    """

    __slots__ = ("__weakref__", "_ends", "_stream")

    def __init__(self, ends: Endpoints) -> None:
        self._ends = ends
        self._stream = ends.stream

    def __del__(self) -> None:
        ends = getattr(self, "_ends", None)
        if ends is not None:  # Else Ctrl-C struck before it was made.
            ends.left(self)

    @property
    def _runtime(self) -> Runtime:
        # For wrappers of a stream, which have no clock of their own.
        return self._stream.runtime

    @property
    def _sent(self) -> int:
        # For wrappers of a stream: how many chunks were sent, also where Ctrl-C struck.
        return self._ends.outgoing.sent

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        return self._stream.identity.stream_id

    @property
    def to(self) -> RemoteParticipant:
        """The participant that reads it."""
        return self._stream.peer

    @property
    def reader(self) -> MessageStreamReader:
        """The peer's chunks on the same stream; clients before 0.9.0 write only to streams that they opened."""
        return self._ends.reader

    @property
    def peer_is_meshsync(self) -> bool:
        """Whether the peer is a meshsync program too, so that flow control and cancelling are agreed upon."""
        return self._stream.peer_is_meshsync

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        """Send a chunk, or bytes alone as a chunk with an empty header, and return before it is acknowledged.

        It waits while 256 chunks or 8 MiB are unacknowledged, and while the peer can hold no more unread. A stream that
        outlives losses holds each chunk until the peer's client has it.

        Args:
            timeout: The longest wait, in seconds; 30 by default, and as much more as a loss may last.
        Raises:
            StreamTimeout: If it could not be sent in time; no part of it was, and it may be written again.
            StreamCancelled: If the peer closed the stream or gave it up.
            StreamInterrupted: If the peer left, the connection was lost, or the room refused an earlier chunk,
                which is then the ``__cause__``.
            InvalidMessage: If the header is no JSON object, or the chunk is larger than a message can be.
            UsageError: If this program closed the stream, or another task is closing it: what it waits for was written
                before.
        """
        self._ends.outgoing.write(chunk, timeout)

    def flush(self, *, timeout: Timeout = "default") -> None:
        """Wait until the room has acknowledged all that was written, on its present connection; raises as ``write``."""
        self._ends.outgoing.flush(timeout)

    def close(self, *, timeout: Timeout = "default") -> None:
        """End the stream, in both directions, when all that was written is acknowledged. Again does nothing.

        For a stream that outlives losses this returns when the peer's client has all of it.

        Raises:
            StreamTimeout: If that took longer than ``timeout`` seconds, by default as for ``write``. A stream that
                outlives losses is then still being closed; call this again, or ``abort``.
            StreamCancelled: If the peer had ended it early; `StreamInterrupted` likewise, as for ``write``, and if the
                peer did not come back, which may have all of it then.
        """
        self._ends.outgoing.close(timeout)

    def abort(self, reason: str = "") -> None:
        """End the stream at once, incomplete. The reader gets the chunks received, and then a `StreamInterrupted`.

        Args:
            reason: Is sent to the peer, made safe and cut by `meshsync.reasons.safe_text`.
        """
        self._stream.abandon(reason)

    def _limit(self, timeout: Timeout) -> float | None:
        return self._stream.host.limit(timeout, TIMEOUT)

    def __repr__(self) -> str:
        return f"<MessageStreamWriter of {self._stream!r}: {self._stream.life.phase.value}>"


class MessageStreamReader(IteratedReader):
    """Reads a stream's chunks: iterate over it, or call ``read``. One task at a time may read.

    One that was offered is accepted by ``accept``, by the first read, or when the accept callback returns.
    """

    __slots__ = ("__weakref__", "_ends", "_stream")

    def __init__(self, ends: Endpoints) -> None:
        self._ends = ends
        self._stream = ends.stream

    def __del__(self) -> None:
        ends = getattr(self, "_ends", None)
        if ends is not None:  # Else Ctrl-C struck before it was made.
            ends.left(self)

    @property
    def _runtime(self) -> Runtime:
        # For wrappers of a stream, which have no clock of their own.
        return self._stream.runtime

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        return self._stream.identity.stream_id

    _streamId = stream_id  # as MeshAgent's documentation has it

    @property
    def sender(self) -> RemoteParticipant:
        """The participant that writes it."""
        return self._stream.peer

    @property
    def header(self) -> Mapping[str, Any]:
        """The header that its opener gave to the stream."""
        return self._stream.identity.header

    @property
    def writer(self) -> MessageStreamWriter:
        """The way back to the peer; clients before 0.9.0 drop its chunks."""
        return self._ends.writer

    def accept(self) -> None:
        """Accept the stream; once accepted, this does nothing.

        Raises:
            UsageError: If this program rejected it.
            StreamInterrupted: If its peer is gone.
        """
        self._stream.accept()

    def reject(self, reason: str = "") -> None:
        """Reject the stream; the reason is sent to its opener, made safe and cut by `meshsync.reasons.safe_text`.

        Raises:
            UsageError: If it was accepted or rejected before.
        """
        self._stream.reject(reason)

    def read(self, timeout: Timeout = "default") -> MessageStreamChunk | None:
        """Return the next chunk, or None when the peer has closed the stream and all has been read.

        Args:
            timeout: The longest wait, in seconds; None waits for ever, 0 polls. By default the room's
                ``default_timeout``, or for ever.
        Raises:
            ReceiveTimeout: If none came in time.
            StreamInterrupted: If the stream ended otherwise and every chunk received has been read.
            UsageError: If another task is reading, or this program closed the reader.
            WouldDeadlock: If this program rejected the stream.
        """
        return self._ends.incoming.read(timeout)

    def _limit(self, timeout: Timeout) -> float | None:
        return self._stream.host.limit(timeout, None)

    def _put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        self._ends.incoming.put_back(chunks)

    def close(self, reason: str = "") -> None:
        """Read no more: an undecided stream is rejected, one that goes on is ended early, and its writer notified."""
        self._stream.leave(reason)

    def __repr__(self) -> str:
        return f"<MessageStreamReader of {self._stream!r}: {self._stream.life.phase.value}>"


def has_ended(reader: StreamReader) -> bool:
    """Return whether the stream of a plain reader has ended; chunks received can still be read."""
    return isinstance(reader, MessageStreamReader) and reader._stream.life.phase.is_over
