"""Python's statements ``with`` and ``for`` on every writer and reader of a stream, plain or wrapped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

from meshsync.hints import Hinted
from meshsync.reasons import program_failed
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.world import runtime_of

__all__ = ["ClosingWriter", "IteratedReader"]

W = TypeVar("W", bound="ClosingWriter")
R = TypeVar("R", bound="IteratedReader")


class ClosingWriter(Hinted, ABC):
    """A writer that a ``with`` block closes. Leaving it by an exception aborts the stream, so that it counts as cut.

    The peer is told the exception's class and not its text, which may be a secret; its own words a program gives to
    ``abort``.
    """

    __slots__ = ()

    @abstractmethod
    def close(self, *, timeout: Timeout = "default") -> None:
        """End the stream regularly."""

    @abstractmethod
    def abort(self, reason: str = "") -> None:
        """End the stream at once, incomplete."""

    def _limit(self, timeout: Timeout) -> Timeout:
        """Return the time limit of a call, in seconds, or ``"default"`` where that is not known here."""
        return timeout

    def __deepcopy__(self: W, memo: Any) -> W:
        return self  # It is live: the dict of an event has the stream itself.

    def __enter__(self: W) -> W:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            self.abort(program_failed(error))
            return
        try:
            self.close()
        except BaseException as failure:
            self.abort(program_failed(failure))  # No call will close it after this.
            raise


class IteratedReader(Hinted, ABC):
    """A reader that a ``for`` loop reads, or one call as a whole."""

    __slots__ = ()

    @abstractmethod
    def read(self, timeout: Timeout = "default") -> MessageStreamChunk | None:
        """Return the next chunk, None at the regular end."""

    def _limit(self, timeout: Timeout) -> float | None:
        """Return the time limit of a call, in seconds; None for ever."""
        return None if isinstance(timeout, str) else timeout

    @abstractmethod
    def _put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        """Have chunks read again that were read last."""

    def read_all(self, timeout: Timeout = "default") -> bytes:
        """Return the data of all chunks up to the regular end, joined; raises as ``read``.

        Chunks that came before it raised can still be read, by this or by ``read``.

        Args:
            timeout: The longest wait for all of it, in seconds; None waits for ever. By default as for ``read``.
        """
        deadline = Deadline(runtime_of(self), self._limit(timeout))
        chunks: list[MessageStreamChunk] = []
        try:
            while True:
                chunk = self.read(deadline.left())
                if chunk is None:
                    break
                chunks.append(chunk)
        except BaseException:
            self._put_back(chunks)
            raise
        return b"".join(chunk.data for chunk in chunks)

    def __deepcopy__(self: R, memo: Any) -> R:
        return self  # As a writer.

    def __iter__(self: R) -> R:
        return self

    def __next__(self) -> MessageStreamChunk:
        chunk = self.read(None)
        if chunk is None:
            raise StopIteration
        return chunk
