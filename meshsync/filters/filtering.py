"""Filters: they change the chunks of a stream on their way out, and back on their way in.

A `StreamFilter` is one end's conversion of one stream, in both directions. Wherever filters are asked for, give
a maker of one: a class of your own, or the result of ``meshsync.filters.compression.compression()`` or
``meshsync.filters.encryption.encryption(key)``. Filters are applied in the order given, so compress before
encrypting.

The two ends agree in the stream's header (``meshsync.filters.negotiation``). Not the business of this module:
the content of that header.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from enum import Enum
from typing import Any, cast, overload

from meshsync.connection.forks import Home
from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    StreamCancelled,
    StreamError,
    UsageError,
)
from meshsync.filters.wrapping import Handover, WrappedReader, WrappedWriter
from meshsync.messages import Buffer, as_buffer
from meshsync.protocol.envelopes import encode_object
from meshsync.reasons import describe_error, program_failed, safe_text
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.lifecycle import move
from meshsync.runtime.mutex import TimedMutex
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.world import runtime_of

__all__ = [
    "CHUNK_LIMIT",
    "FilteredReader",
    "FilteredWriter",
    "MakeFilter",
    "StreamFilter",
    "describe_failure",
    "filtered",
    "make_filters",
    "read_through",
    "tell_failure",
    "write_through",
]


class _Phase(Enum):
    """The life of a filter on a stream, shared by its writer and its reader."""

    OPEN = "open"
    FINISHED = "finished"
    """The filter's last chunks are made, and perhaps not all sent."""
    LEFT = "left"
    """This program ended the stream, and so knows that it may have missed chunks."""
    FAILED = "failed"
    """The peer's chunks cannot be decoded."""


_MOVES: dict[_Phase, frozenset[_Phase]] = {
    _Phase.OPEN: frozenset({_Phase.FINISHED, _Phase.LEFT, _Phase.FAILED}),
    _Phase.FINISHED: frozenset({_Phase.LEFT, _Phase.FAILED}),
    # A program that has ended its own direction may read on.
    _Phase.LEFT: frozenset({_Phase.FAILED}),
    _Phase.FAILED: frozenset(),
}

CHUNK_LIMIT = 3_000_000
"""Most bytes of data in a chunk to compress or encrypt: with the filters' overhead, every dialect can carry it."""


class StreamFilter(ABC):
    """One end's conversion of one stream: outgoing chunks are encoded, incoming ones decoded.

    Subclasses define ``encode`` and ``decode``, and the others where they need them. Their state belongs to one
    stream; the two directions may be used by two tasks at once.
    """

    name = ""
    """Its name in the stream's header; the same at both ends."""

    needs_agreement = False
    """Whether it needs the exchange of ``announce`` and ``accept``."""

    @abstractmethod
    def encode(self, chunk: MessageStreamChunk) -> Iterable[MessageStreamChunk]:
        """Return the chunks to send in the place of one.

        Its header is known to be a JSON object, and its data a flat buffer, not necessarily ``bytes``. To refuse a
        chunk, raise before any state has changed.
        """

    @abstractmethod
    def decode(self, chunk: MessageStreamChunk) -> Iterable[MessageStreamChunk]:
        """Return the chunks that the peer's ``encode`` was given; any exception fails the stream."""

    def finish(self) -> Iterable[MessageStreamChunk]:
        """Return the chunks to send before the regular end."""
        return ()

    def check_end(self) -> None:  # noqa: B027  # nothing by default
        """Raise if the peer's chunks, which have regularly ended, are incomplete. May be called again."""

    def announce(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the members to add to this filter's entry in the stream's header; called first, by the opener alone.

        Args:
            header: The stream's header, with the entries of the filters that are applied before this one.
        """
        return {}

    def accept(self, entry: Mapping[str, Any], header: Mapping[str, Any]) -> None:  # noqa: B027  # nothing by default
        """Apply the opener's announcement; called first, by the acceptor alone.

        Raising a `StreamError` rejects the stream, and its opener gets the text.

        Args:
            header: As in ``announce``.
        """

    def _live_in(self, runtime: Runtime) -> None:  # noqa: B027  # most filters need neither time nor chance
        """Set the runtime of the stream's client; called before any other method."""


MakeFilter = Callable[[], StreamFilter]
"""Makes a filter for each stream, such as a subclass of `StreamFilter`."""


def make_filters(filters: Iterable[MakeFilter], runtime: Runtime) -> list[StreamFilter]:
    """Make the filters of one stream.

    Args:
        runtime: The runtime of the client whose stream it is, or is to be.
    Raises:
        TypeError: If an item makes no filter.
        ValueError: If two have the same name, or one has none.
    """
    made: list[StreamFilter] = []
    make: Any
    for make in filters:
        filter = make() if callable(make) else None
        if not isinstance(filter, StreamFilter):
            raise TypeError(
                f"filters: give a maker of one for each stream, such as a subclass of StreamFilter or compression(), "
                f"not {make!r:.100}"
            )
        if not filter.name or filter.name in [other.name for other in made]:
            raise ValueError(f"filters: each needs a name of its own, not {filter.name!r}")
        filter._live_in(runtime)
        made.append(filter)
    return made


# --- wrapping ---------------------------------------------------------------------------------------------------------


@overload
def filtered(stream: StreamWriter, *filters: MakeFilter) -> StreamWriter: ...
@overload
def filtered(stream: StreamReader, *filters: MakeFilter) -> StreamReader: ...
def filtered(stream: StreamWriter | StreamReader, *filters: MakeFilter) -> StreamWriter | StreamReader:
    """Return a writer or reader through filters that the peer is known to apply too: none is announced.

    Raises:
        UsageError: If the two ends of a filter have to agree first, as for encryption.
        TypeError: If something else than filters was given; `ValueError` if two have the same name, or one has none.
    """
    made = make_filters(filters, runtime_of(stream))
    for filter in made:
        if filter.needs_agreement:
            raise UsageError(f"filter {filter.name!r}: needs an agreement; use open_filtered() and accept_filtered()")
    if hasattr(stream, "write"):
        writer = cast(StreamWriter, stream)
        return write_through(made, writer, writer.reader.header)
    return read_through(made, stream, stream.header)


def write_through(filters: Sequence[StreamFilter], writer: StreamWriter, header: Mapping[str, Any]) -> StreamWriter:
    """Return a writer, and its reader, through filters of this stream; ``header`` is the one that the reader shows."""
    for filter in reversed(filters):
        writer = _Ends(filter, writer.reader, writer, header).writer
    return writer


def read_through(filters: Sequence[StreamFilter], reader: StreamReader, header: Mapping[str, Any]) -> StreamReader:
    """Return a reader, and its writer, likewise."""
    for filter in reversed(filters):
        reader = _Ends(filter, reader, reader.writer, header).reader
    return reader


class _Ends:
    """One filter on one stream: the state that its writer and its reader share."""

    def __init__(
        self, filter: StreamFilter, reader: StreamReader, writer: StreamWriter, header: Mapping[str, Any]
    ) -> None:
        self.filter = filter
        self.runtime: Runtime = runtime_of(reader)
        self.header = header
        """The stream's header as its opener gave it."""
        self.home: Home = Home()
        self.phase: _Phase = _Phase.OPEN
        self._condition = self.runtime.condition()
        self._failure: StreamError | None = None
        """The error of every later use; set in phase `_Phase.FAILED`."""
        self.writer: FilteredWriter = FilteredWriter(writer, self)
        self.reader: FilteredReader = FilteredReader(reader, self)

    def enter(self, phase: _Phase) -> None:
        """Go on to a phase, unless the other end has gone as far or further meanwhile."""
        with self._condition:
            if phase in _MOVES[self.phase]:
                self.phase = move(_MOVES, self.phase, phase, "a filtered stream")

    def fail(self, failure: StreamError) -> None:
        """Note the reason why the peer's chunks cannot be decoded."""
        self._failure = failure
        self.enter(_Phase.FAILED)

    def check_decodable(self) -> None:
        """Raise a new error if the peer's chunks cannot be decoded."""
        if self.phase is _Phase.FAILED:
            assert self._failure is not None, "set before the phase"
            raise copy(self._failure)


class FilteredWriter(WrappedWriter):
    """A writer whose chunks go through a filter.

    A chunk that could not be sent in time, or not before the stream is accepted, is encoded by then and waits: writing
    an equal one again sends it, and so does, first, any other call.
    """

    def __init__(self, inner: StreamWriter, ends: _Ends) -> None:
        self._inner = inner
        self._runtime = ends.runtime
        self._ends = ends
        self._mutex = TimedMutex(self._runtime)
        self._handover = Handover(inner)
        self._pieces: deque[MessageStreamChunk] = deque()
        """Chunks that are encoded and not sent."""
        self._sent_chunks = 0
        self._is_sending = False
        """Whether ``_pieces`` end with those of a chunk that is not counted as sent."""
        self._begun: MessageStreamChunk | None = None
        """The chunk that ``_pieces`` are of, after a call that could not send them."""

    @property
    def _sent(self) -> int:
        # Chunks whose pieces are all sent: see `WrappedWriter`.
        return self._sent_chunks

    @property
    def reader(self) -> FilteredReader:
        """The peer's chunks on the same stream, decoded."""
        return self._ends.reader

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        """Encode a chunk, or bytes alone as a chunk with an empty header, and send the result.

        Raises:
            InvalidMessage: If its header is no JSON object, its data no buffer, or a filter refuses it. If it is
                refused once encoded, the stream is aborted.
            StreamTimeout: If it could not be sent in ``timeout`` seconds: see the class.
            StreamError: If the peer's chunks cannot be decoded.
            UsageError: If this program closed the stream.
            MeshsyncError: As the inner writer.
        """
        self._ends.home.check()
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        if chunk.header != {}:
            encode_object(chunk.header, "header")  # Raises before a filter's state has changed.
        chunk = MessageStreamChunk(chunk.header, as_buffer(chunk.data, "chunk"))
        deadline = Deadline(self._runtime, self._limit(timeout))
        self._mutex.run(deadline.rest(), self, lambda: self._write(chunk, deadline))

    def _write(self, chunk: MessageStreamChunk, deadline: Deadline) -> None:
        self._check_usable()
        is_new = self._begun != chunk
        if is_new:
            self._send(deadline)
        try:
            if is_new:
                self._encode(lambda: self._ends.filter.encode(chunk))
            self._send(deadline)
        except BaseException:
            if self._pieces:
                # Copies: the program may change its buffer.
                self._begun = _copied(chunk)
                self._pieces = deque(map(_copied, self._pieces))
            raise

    def flush(self, *, timeout: Timeout = "default") -> None:
        """Wait until all that was written is acknowledged; raises as ``write``."""
        self._ends.home.check()
        deadline = Deadline(self._runtime, self._limit(timeout))
        self._mutex.run(deadline.rest(), self, lambda: self._send_rest(deadline))
        self._inner.flush(timeout=deadline.rest())

    def close(self, *, timeout: Timeout = "default") -> None:
        """End the stream regularly, after the filter's last chunks; raises as the inner writer.

        Raises:
            StreamTimeout: If that took longer than ``timeout`` seconds; it may be closed again.
        """
        self._ends.home.check()
        deadline = Deadline(self._runtime, self._limit(timeout))
        if self._ends.phase in (_Phase.OPEN, _Phase.FINISHED):
            self._mutex.run(deadline.rest(), self, lambda: self._finish(deadline))
            self._ends.enter(_Phase.LEFT)
        self._inner.close(timeout=deadline.rest())

    def abort(self, reason: str = "") -> None:
        """End the stream at once, incomplete."""
        if not self._ends.home.is_here:
            return
        self._ends.enter(_Phase.LEFT)
        self._inner.abort(reason)

    def _send_rest(self, deadline: Deadline) -> None:
        self._check_usable()
        self._send(deadline)

    def _finish(self, deadline: Deadline) -> None:
        """Send the rest, and the filter's last chunks."""
        self._send(deadline)
        if self._ends.phase is _Phase.OPEN:
            self._encode(self._ends.filter.finish)
            self._ends.enter(_Phase.FINISHED)
        # A peer that has ended the stream waits for no end; whether too early, the inner one knows.
        with suppress(StreamCancelled):
            self._send(deadline)

    def _check_usable(self) -> None:
        self._ends.check_decodable()
        if self._ends.phase is not _Phase.OPEN:
            raise UsageError(f"{self!r} cannot be written to: this program closed it")

    def _encode(self, make: Callable[[], Iterable[MessageStreamChunk]]) -> None:
        """Add what the filter makes, and give up the stream if Ctrl-C strikes in there: its state would be unknown."""
        try:
            self._pieces.extend(list(make()))
            self._is_sending = bool(self._pieces)
            self._sent_chunks += not self._pieces  # The filter has dropped it.
        except Exception:
            raise
        except BaseException:
            self.abort("the writer was interrupted")
            raise

    def _send(self, deadline: Deadline) -> None:
        while self._pieces:
            try:
                if not self._handover.was_sent:
                    self._handover.write(self._pieces[0], deadline.rest())
            except InvalidMessage as error:
                # The peer's filter would notice the gap, and report it as an attack.
                self.abort("a chunk could not be sent")  # The text may quote it.
                text = f"{safe_text(error)}; the stream is given up, since its filter counted the chunk"
                raise InvalidMessage(text) from error
            # No call in here: Ctrl-C finds the piece there, or gone and its chunk counted.
            del self._pieces[0]
            self._handover.before = None
            if not self._pieces:
                self._begun = None
                self._sent_chunks += self._is_sending
                self._is_sending = False


class FilteredReader(WrappedReader):
    """A reader whose chunks come through a filter.

    If one cannot be decoded, no part of it is passed on: the stream is given up, the peer notified, and this and every
    further read raises `StreamError`. Chunks read before were in order.
    """

    def __init__(self, inner: StreamReader, ends: _Ends) -> None:
        super().__init__(inner, ends.writer)
        self._ends = ends
        self._condition = self._runtime.condition()
        self._reading: object = None
        """A token of the call that is reading; None while none is."""

    @property
    def header(self) -> Mapping[str, Any]:
        """The header that the opener's program gave to the stream."""
        return self._ends.header

    @property
    def writer(self) -> FilteredWriter:
        """The way back to the peer, encoded."""
        return self._ends.writer

    def read(self, timeout: Timeout = "default") -> MessageStreamChunk | None:
        """Return the next chunk, decoded, None at the regular end.

        Args:
            timeout: The longest wait, in seconds; None waits for ever, 0 polls. By default as the inner reader's.
        Raises:
            StreamError: If it cannot be decoded: see the class. `StreamInterrupted` if the end came too early.
            UsageError: If another task is reading.
            MeshsyncError: As the inner reader.
        """
        self._ends.home.check()
        deadline = Deadline(self._runtime, self._limit(timeout))
        token = object()
        try:
            with self._condition:
                if self._reading is not None:
                    raise UsageError(f"{self!r} is being read by another task: give the stream to one of them")
                self._reading = token
            while True:
                if self._chunks:
                    break
                self._ends.check_decodable()
                chunk = self._inner.read(deadline.left())
                if chunk is None:
                    self._check_end()
                    return None
                try:
                    self._decode(chunk)
                except Exception:
                    raise
                except BaseException:  # Ctrl-C: it is neither read nor unread, and the filter's state is unknown.
                    self._give_up(StreamError("the reader was interrupted"))
                    raise
            chunk = self._chunks[0]
            del self._chunks[0]
            return chunk
        finally:
            # Without a call, as in `Incoming.read`.
            if self._reading is token:
                self._reading = None

    def _put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        if not self._is_closed:
            self._chunks.extendleft(reversed(chunks))

    def close(self, reason: str = "") -> None:
        """Read no more: the peer is notified."""
        if not self._ends.home.is_here:
            return
        self._ends.enter(_Phase.LEFT)
        super().close(reason)

    def _decode(self, chunk: MessageStreamChunk) -> None:
        try:
            # All of it before any of it: chunks before an error are not to be passed on.
            self._chunks.extend(list(self._ends.filter.decode(chunk)))
        except Exception as error:
            raise self._give_up(error) from error

    def _check_end(self) -> None:
        try:
            if self._ends.phase is not _Phase.LEFT:
                self._ends.filter.check_end()
        except Exception as error:
            raise self._give_up(error) from error

    def _give_up(self, error: Exception) -> StreamError:
        """Fail the stream, and notify the peer; return the error to raise."""
        sender = self._inner.sender.name or self._inner.sender.id
        begin = f"stream {self.stream_id} from {sender}: "
        text = f"{begin}{describe_failure(self._ends.filter, error)}"
        failure = _of_kind(error, text)
        self._ends.fail(failure)
        with suppress(MeshsyncError):
            self._inner.close(safe_text(f"{begin}{tell_failure(self._ends.filter, error)}"))
        return copy(failure)


def _copied(chunk: MessageStreamChunk) -> MessageStreamChunk:
    return MessageStreamChunk(dict(chunk.header), bytes(chunk.data))


def _of_kind(error: Exception, text: str) -> StreamError:
    """Return a stream's error with a text, of the class of another one if that is a stream's and takes a text."""
    if isinstance(error, StreamError):
        with suppress(Exception):  # A class of the program's own may be made, or copied, of something else.
            return copy(type(error)(text))
    return StreamError(text)


def describe_failure(filter: StreamFilter, error: Exception) -> str:
    """Return an exception of a filter as a text for people."""
    text = safe_text(error) if isinstance(error, MeshsyncError) else describe_error(error)
    return f"filter {filter.name!r}: {text}"


def tell_failure(filter: StreamFilter, error: Exception) -> str:
    """Return an exception of a filter as a text for the peer: of one that the program raised the class alone."""
    text = safe_text(error) if isinstance(error, MeshsyncError) else program_failed(error)
    return f"filter {filter.name!r}: {text}"
