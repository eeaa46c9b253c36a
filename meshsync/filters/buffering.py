"""Joining small chunks into larger ones, for writers of many small pieces."""

from __future__ import annotations

import json

from meshsync.connection.forks import Home
from meshsync.errors import MeshsyncError, UsageError
from meshsync.filters.filtering import CHUNK_LIMIT
from meshsync.filters.wrapping import Handover, WrappedWriter
from meshsync.messages import Buffer, as_buffer
from meshsync.protocol.envelopes import encode_object
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.runtime.mutex import TimedMutex
from meshsync.streams.interfaces import MessageStreamChunk, StreamWriter

__all__ = ["BufferedWriter", "buffered"]


def buffered(writer: StreamWriter, size: int = 65536, max_delay: float | None = None) -> BufferedWriter:
    """Return a writer that joins the data of consecutive chunks with equal headers before it hands them on.

    The boundaries between pieces are not kept. A chunk without data is never joined.

    Args:
        size: The most bytes that are joined; a chunk that has as many by itself is handed on as it is.
        max_delay: Seconds after which joined data is handed on though it is not full; None for not before the next
            ``flush`` or ``close``. The next call raises an error of that.
    Raises:
        ValueError: If ``size`` is not between 1 and 3,000,000, or ``max_delay`` is negative.
    """
    if not 1 <= size <= CHUNK_LIMIT:
        raise ValueError(f"size: {size!r} is not between 1 and {CHUNK_LIMIT}")
    if max_delay is not None and not max_delay >= 0:
        raise ValueError(f"max_delay: {max_delay!r} s is no time to wait")
    return BufferedWriter(writer, size, max_delay)


class BufferedWriter(WrappedWriter):
    """A writer that joins chunks; see `buffered`."""

    def __init__(self, inner: StreamWriter, size: int, max_delay: float | None) -> None:
        super().__init__(inner)
        self._size = size
        self._max_delay = max_delay
        self._home = Home()
        self._mutex = TimedMutex(self._runtime)
        self._handover = Handover(inner)
        self._header = b"{}"
        """The header of the joined data, as JSON."""
        self._pieces: list[bytes] = []
        self._length = 0
        self._is_closed = False
        self._is_overdue = False
        """Whether the data could not be handed on in time."""
        self._condition = self._runtime.condition()
        self._due: Deadline | None = None
        """When the joined data has to be handed on; None if there is none, or no such time."""
        self._has_task = False

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        """Join a chunk to those before it, or hand it on where it cannot be joined.

        Raises:
            InvalidMessage: If its header is no JSON object, or its data no buffer.
            UsageError: If this program closed the stream.
            MeshsyncError: As the inner writer, about this chunk or those before it, which are kept; this one is not.
        """
        self._home.check()
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        header, data = encode_object(chunk.header, "header"), as_buffer(chunk.data, "chunk")
        deadline = Deadline(self._runtime, self._limit(timeout))
        checked = MessageStreamChunk(chunk.header, data)
        self._mutex.run(deadline.rest(), self, lambda: self._write(checked, header, deadline))

    def _write(self, chunk: MessageStreamChunk, header: bytes, deadline: Deadline) -> None:
        self._check_open()
        if self._handover.was_sent:
            self._hand_on(deadline)
        data = as_buffer(chunk.data, "chunk")
        is_alone = not len(data) or len(data) >= self._size
        if is_alone or self._is_overdue or header != self._header or self._length + len(data) > self._size:
            self._hand_on(deadline)
        if is_alone:
            self._inner.write(chunk, timeout=deadline.rest())
            return
        self._header = header
        self._pieces.append(bytes(data))
        self._length += len(data)
        if self._due is None and not self._set_clock():
            try:
                self._hand_on(deadline)
            except MeshsyncError:  # As on the task that there is none for.
                self._is_overdue = True

    def flush(self, *, timeout: Timeout = "default") -> None:
        """Hand on the joined data, and wait until it is acknowledged; raises as ``write``."""
        self._home.check()
        deadline = Deadline(self._runtime, self._limit(timeout))
        self._mutex.run(deadline.rest(), self, lambda: self._hand_on_rest(deadline))
        self._inner.flush(timeout=deadline.rest())

    def _hand_on_rest(self, deadline: Deadline) -> None:
        self._check_open()
        self._hand_on(deadline)

    def close(self, *, timeout: Timeout = "default") -> None:
        """Hand on the joined data, and end the stream; raises as the inner writer, and may then be called again."""
        self._home.check()
        deadline = Deadline(self._runtime, self._limit(timeout))
        self._mutex.run(deadline.rest(), self, lambda: self._finish(deadline))
        self._stop_clock()
        self._inner.close(timeout=deadline.rest())

    def _finish(self, deadline: Deadline) -> None:
        self._hand_on(deadline)
        self._is_closed = True

    def abort(self, reason: str = "") -> None:
        """End the stream at once; joined data is dropped."""
        if not self._home.is_here:
            return
        self._is_closed = True
        self._pieces = []
        self._stop_clock()
        self._inner.abort(reason)

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError(f"{self!r} cannot be written to: this program closed it")

    def _hand_on(self, deadline: Deadline) -> None:
        # Data that cannot be handed on stays, in case that it can later.
        if self._pieces:
            if not self._handover.was_sent:
                joined = MessageStreamChunk(json.loads(self._header), b"".join(self._pieces))
                self._handover.write(joined, deadline.rest())
            self._pieces, self._length, self._handover.before = [], 0, None
            self._stop_clock()
        self._is_overdue = False

    # --- the clock ----------------------------------------------------------------------------------------------------

    def _set_clock(self) -> bool:
        """Have the joined data handed on in time; return False if no task can be started for that."""
        if self._max_delay is None:
            return True
        with self._condition:
            self._due = Deadline(self._runtime, self._max_delay)
            is_needed, self._has_task = not self._has_task, True
        if is_needed:
            try:
                self._runtime.spawn(self._watch_clock, name=f"hand on what is written to {self.stream_id}")
            except RuntimeError:  # No task could be started.
                self._has_task, self._due = False, None
                return False
            except BaseException:  # Ctrl-C: the next call tries again.
                self._has_task, self._due = False, None
                raise
        return True

    def _stop_clock(self) -> None:
        with self._condition:
            self._due = None
            if self._is_closed:
                self._condition.notify_all()

    def _watch_clock(self) -> None:
        while self._wait_until_due():
            try:
                self._mutex.run(None, self, self._hand_on_due)
            except MeshsyncError:
                # The next call tries again first, and raises the error if it recurs.
                with self._condition:
                    self._is_overdue, self._due = True, None

    def _hand_on_due(self) -> None:
        due = self._due  # Another task may clear it at any moment.
        if due is not None and due.is_over:
            self._hand_on(Deadline(self._runtime, "default"))

    def _wait_until_due(self) -> bool:
        """Wait until data has to be handed on; return False if there is none left, and this task is to end."""
        with self._condition:
            while True:
                if self._due is None or self._due.is_over:
                    self._has_task = self._due is not None
                    return self._has_task
                self._condition.wait(self._due.left())
