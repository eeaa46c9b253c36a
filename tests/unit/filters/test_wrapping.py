"""Wrappers hand everything on, and keep the two ends of a stream together."""

from __future__ import annotations

import pytest

from meshsync.errors import ReceiveTimeout
from meshsync.filters.wrapping import WrappedReader, WrappedWriter
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from tests.support.scripted_streams import BOB, RecordingWriter, ScriptedReader


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
    assert inner.told == ["flush", "close", "abort: KeyError: 'gone'"]
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
