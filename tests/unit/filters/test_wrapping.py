"""Wrappers hand everything on, and keep the two ends of a stream together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshsync.errors import ReceiveTimeout, StreamError, StreamTimeout, UsageError
from meshsync.filters.filtering import StreamFilter, filtered
from meshsync.filters.wrapping import WrappedReader, WrappedWriter
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.world import current_world, runtime_of
from tests.support.scripted_streams import BOB, RecordingWriter, ScriptedReader

Wrap = Callable[[StreamReader], StreamReader]


class Unchanged(StreamFilter):
    """Hands every chunk on as it is."""

    name = "unchanged"

    def encode(self, chunk: MessageStreamChunk) -> list[MessageStreamChunk]:
        return [chunk]

    def decode(self, chunk: MessageStreamChunk) -> list[MessageStreamChunk]:
        return [chunk]


def through_a_filter(reader: StreamReader) -> StreamReader:
    """Wrap a reader in a filter that changes nothing."""
    return filtered(reader, Unchanged)


def test_writer_hands_everything_on() -> None:
    """Each call reaches the inner writer, and leaving ``with`` by an error aborts, naming it."""
    inner = RecordingWriter()
    writer: StreamWriter = WrappedWriter(inner)
    with writer as entered:
        entered.write(b"data")
        entered.flush()
    with pytest.raises(KeyError), writer:
        raise KeyError("gone")
    assert inner.chunks == [MessageStreamChunk({}, b"data")]
    assert inner.told == ["flush", "close", "abort: the program failed (KeyError)"]
    assert (writer.stream_id, writer.to) == ("s-1", BOB)


def test_reader_hands_everything_on() -> None:
    """Reading, iterating, accepting, rejecting and closing reach the inner reader."""
    inner = ScriptedReader({"a": 1}, [MessageStreamChunk({}, b"1"), MessageStreamChunk({}, b"2")])
    reader: StreamReader = WrappedReader(inner)
    reader.reject("no")
    reader.accept()
    assert inner.is_accepted
    assert [chunk.data for chunk in reader] == [b"1", b"2"]
    assert reader.read(3) is None
    reader.close("enough")
    assert (inner.closed, inner.timeouts[-1]) == (["no", "enough"], 3)
    assert (reader.stream_id, reader.sender, reader.header) == ("s-1", BOB, {"a": 1})
    assert vars(type(reader))["_streamId"].fget(reader) == "s-1"


def test_reading_all_has_one_time_limit_for_all() -> None:
    """Each read gets what is left of it, and joins what it got."""
    inner = ScriptedReader({}, [MessageStreamChunk({}, b"1"), MessageStreamChunk({}, b"2")])
    assert WrappedReader(inner).read_all(5) == b"12"
    first, second, third = (timeout or 0 for timeout in inner.timeouts)
    assert 5 >= first >= second >= third > 0
    with pytest.raises(ReceiveTimeout):
        WrappedReader(ScriptedReader({}, [ReceiveTimeout("late")])).read_all(0)


def test_both_ends_are_wrapped_together() -> None:
    """The reader of a wrapped writer leads back to it, and the other way round, through any number of wrappers."""
    writer = WrappedWriter(WrappedWriter(RecordingWriter()))
    assert isinstance(writer.reader, WrappedReader)
    assert writer.reader.writer is writer
    reader = WrappedReader(WrappedReader(ScriptedReader({})))
    assert isinstance(reader.writer, WrappedWriter)
    assert reader.writer.reader is reader


# --- one clock --------------------------------------------------------------------------------------------------------


class Clocked(RecordingWriter):
    """A writer of a client that has a runtime of its own."""

    _runtime = ThreadRuntime()


class ClockedReader(ScriptedReader):
    """A reader of the same client."""

    _runtime = Clocked._runtime


def test_wrappers_live_in_the_runtime_of_what_they_wrap() -> None:
    """Through any number of them, at both ends; one around a program's own writer in the world of its maker."""
    inner: RecordingWriter = Clocked()
    inner.reader = ClockedReader({})
    writer = WrappedWriter(WrappedWriter(inner))
    assert runtime_of(writer) is runtime_of(writer.reader) is Clocked._runtime
    assert runtime_of(WrappedWriter(RecordingWriter())) is current_world().runtime


# --- reading all, and with --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [WrappedReader, lambda reader: WrappedReader(WrappedReader(reader)), through_a_filter])
def test_what_came_before_reading_all_raised_can_still_be_read(wrap: Wrap) -> None:
    """As from a plain reader: by another ``read_all``, by ``read`` and by iterating."""
    one, two, three = (MessageStreamChunk({}, data) for data in (b"1", b"2", b"3"))
    reader = wrap(ScriptedReader({}, [one, two, ReceiveTimeout("late"), ReceiveTimeout("later"), three]))
    for text in ("late", "later"):
        with pytest.raises(ReceiveTimeout, match=text):
            reader.read_all()
    assert reader.read(0) == one
    assert list(reader) == [two, three]


@pytest.mark.parametrize("wrap", [WrappedReader, through_a_filter])
def test_nothing_is_put_back_into_a_closed_reader(wrap: Wrap) -> None:
    """A program that closes the reader while another of its tasks reads all wants nothing of it."""
    one, two = (MessageStreamChunk({}, data) for data in (b"1", b"2"))

    def close() -> MessageStreamChunk:
        reader.close("enough")
        raise UsageError("this program closed it")

    reader = wrap(ScriptedReader({}, [one, close, two]))
    with pytest.raises(UsageError):
        reader.read_all()
    assert reader.read() == two


def test_chunks_before_one_that_cannot_be_decoded_can_still_be_read() -> None:
    """They were in order; then every read fails alike."""

    class Picky(Unchanged):
        def decode(self, chunk: MessageStreamChunk) -> list[MessageStreamChunk]:
            if chunk.data == b"2":
                raise ValueError("no two")
            return [chunk]

    one, two = (MessageStreamChunk({}, data) for data in (b"1", b"2"))
    reader = filtered(ScriptedReader({}, [one, two]), Picky)
    with pytest.raises(StreamError, match="no two"):
        reader.read_all()
    assert reader.read() == one
    with pytest.raises(StreamError, match="no two"):
        reader.read()


def test_subclass_with_a_read_of_its_own_changes_nothing_twice() -> None:
    """Such a one loses what came before reading all raised, rather than having its own work as its input."""

    class Doubling(WrappedReader):
        def read(self, timeout: float | None = None) -> MessageStreamChunk | None:
            chunk = super().read(timeout)
            return chunk and MessageStreamChunk({}, bytes(chunk.data) * 2)

    one, two = (MessageStreamChunk({}, data) for data in (b"1", b"2"))
    reader = Doubling(ScriptedReader({}, [one, ReceiveTimeout("late"), two]))
    with pytest.raises(ReceiveTimeout):
        reader.read_all()
    assert reader.read_all() == b"22"


def test_writer_that_cannot_be_closed_is_aborted() -> None:
    """Nobody closes it after the ``with`` block, as with a plain writer."""

    class Unclosable(WrappedWriter):
        def close(self, *, timeout: Timeout = "default") -> None:
            raise StreamTimeout("too late")

    inner = RecordingWriter()
    with pytest.raises(StreamTimeout), Unclosable(inner) as writer:
        writer.write(b"data")
    assert inner.told == ["abort: the program failed (StreamTimeout)"]
