"""``with`` and ``for`` on streams, whatever the writer or reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from meshsync.errors import ReceiveTimeout, StreamTimeout
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.statements import ClosingWriter, IteratedReader
from tests.support.textless import Numbered, Textless


class NotingWriter(ClosingWriter):
    """Notes how it ended.

    Args:
        failure: What closing raises.
    """

    def __init__(self, failure: BaseException | None = None) -> None:
        self.told: list[str] = []
        self._failure = failure

    def close(self, *, timeout: Timeout = "default") -> None:
        self.told.append("close")
        if self._failure is not None:
            raise self._failure

    def abort(self, reason: str = "") -> None:
        self.told.append(reason)


class StandingClock(ThreadRuntime):
    """A clock that each reading moves on by a second."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


class ListedReader(IteratedReader):
    """Reads chunks and errors from a list."""

    def __init__(self, says: Iterable[bytes | Exception]) -> None:
        self._runtime = StandingClock()
        self.timeouts: list[float | None] = []
        self._says = list(says)

    def read(self, timeout: float | None = None) -> MessageStreamChunk | None:
        self.timeouts.append(timeout)
        said = self._says.pop(0) if self._says else None
        if isinstance(said, Exception):
            raise said
        return None if said is None else MessageStreamChunk({}, said)

    def _put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        self._says[:0] = [bytes(chunk.data) for chunk in chunks]


def test_with_closes_a_writer_and_aborts_it_after_an_error() -> None:
    """The reason names the error's class: its text may be a secret."""
    writer = NotingWriter()
    with writer as entered:
        assert entered is writer
    with pytest.raises(KeyError), writer:
        raise KeyError("x" * 2000)
    assert writer.told == ["close", "the program failed (KeyError)"]


@pytest.mark.parametrize("failure", [Textless(), Numbered(), ValueError("caf\udce9")])
def test_exception_without_text_aborts_and_comes_out_as_it_is(failure: Exception) -> None:
    """Its class is named, whatever text there is."""
    writer = NotingWriter()
    with pytest.raises(type(failure)) as caught, writer:
        raise failure
    assert caught.value is failure
    assert writer.told == [f"the program failed ({type(failure).__name__})"]


@pytest.mark.parametrize("failure", [StreamTimeout("too late"), KeyboardInterrupt()])
def test_writer_that_cannot_be_closed_is_aborted(failure: BaseException) -> None:
    """After the block nobody closes it any more."""
    writer = NotingWriter(failure)
    with pytest.raises(type(failure)), writer:
        pass
    assert writer.told == ["close", f"the program failed ({type(failure).__name__})"]


def test_for_reads_to_the_regular_end() -> None:
    """Each read waits as long as it takes."""
    reader = ListedReader([b"1", b"2"])
    assert [chunk.data for chunk in reader] == [b"1", b"2"]
    assert reader.timeouts == [None, None, None]


def test_reading_all_has_one_time_limit_and_keeps_what_it_read_if_it_raises() -> None:
    """On the reader's own clock: begun at 1 s, 5 s are over at 6 s, and the reads are at 2, 3 and 4 s."""
    reader = ListedReader([b"1", b"2", ReceiveTimeout("late"), b"3"])
    with pytest.raises(ReceiveTimeout):
        reader.read_all(5)
    assert reader.timeouts == [4, 3, 2]
    assert reader.read_all() == b"123"
