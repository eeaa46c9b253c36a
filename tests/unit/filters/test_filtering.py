"""Filters on a stream: what goes through them, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import meshsync
from examples.own_filter import Checksummed
from meshsync.errors import (
    InvalidMessage,
    ReceiveTimeout,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamTimeout,
    UsageError,
)
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.filtering import StreamFilter, filtered
from meshsync.streams.interfaces import MessageStreamChunk
from tests.support.scripted import PATIENCE
from tests.support.scripted_streams import RecordingWriter, ScriptedReader
from tests.support.textless import Textless


class Counted(StreamFilter):
    """Numbers chunks, sends each in two pieces, and says at the end how many there were."""

    name = "counted"

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.announced: int | None = None

    def encode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        yield MessageStreamChunk({"number": self.sent + 1})
        if chunk.data == b"refused":
            raise InvalidMessage("data: refused")
        self.sent += 1
        yield chunk

    def decode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        if "number" in chunk.header:
            self.received += 1
            if chunk.header["number"] != self.received:
                raise ValueError(f"number {chunk.header['number']} in the place of {self.received}")
        elif "count" in chunk.header:
            self.announced = chunk.header["count"]
        else:
            yield chunk
            if chunk.data == b"poison":
                raise ValueError("poison")

    def finish(self) -> Iterator[MessageStreamChunk]:
        yield MessageStreamChunk({"count": self.sent})

    def check_end(self) -> None:
        if self.announced != self.received:
            raise StreamInterrupted(f"{self.received} of {self.announced} chunks came")


def chunk(data: bytes) -> MessageStreamChunk:
    """Return a chunk of a program's, without a header."""
    return MessageStreamChunk({}, data)


def number(number: int) -> MessageStreamChunk:
    """Return what `Counted` sends before each chunk."""
    return MessageStreamChunk({"number": number})


def count(count: int) -> MessageStreamChunk:
    """Return what `Counted` sends at the end."""
    return MessageStreamChunk({"count": count})


# --- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_encoded_and_the_end_comes_before_the_close() -> None:
    """One chunk becomes two, closing adds the filter's last one, and closing again adds nothing."""
    inner = RecordingWriter()
    writer = filtered(inner, Counted)
    writer.write(b"data")
    writer.flush()
    writer.close()
    writer.close()
    assert inner.chunks == [number(1), chunk(b"data"), count(1)]
    assert inner.told == ["flush", "close", "close"]


def test_what_is_aborted_has_no_end() -> None:
    """An exception inside ``with`` reaches the stream as an abort, without the filter's last chunk."""
    inner = RecordingWriter()
    with pytest.raises(KeyError), filtered(inner, Counted) as writer:
        raise KeyError("gone")
    writer.close()
    assert (inner.chunks, inner.told) == ([], ["abort: the program failed (KeyError)", "close"])


def test_nothing_is_written_after_the_close() -> None:
    """Neither encoded nor plain, whatever the inner writer would take."""
    inner = RecordingWriter()
    writer = filtered(inner, Counted)
    writer.close()
    for use in (lambda: writer.write(b"late"), writer.flush):
        with pytest.raises(UsageError, match="cannot be written to: this program closed it"):
            use()
    assert inner.chunks == [count(0)]


@pytest.mark.parametrize("wrong", [MessageStreamChunk({"a": {1}}), MessageStreamChunk({}, "text"), chunk(b"refused")])  # type: ignore[arg-type]
def test_chunk_that_cannot_be_sent_leaves_the_writer_usable(wrong: MessageStreamChunk) -> None:
    """A header or data that nobody can carry, or that the filter refuses, is as if it had not been written."""
    inner = RecordingWriter()
    writer = filtered(inner, Counted)
    with pytest.raises(InvalidMessage):
        writer.write(wrong)
    writer.write(b"data")
    assert inner.chunks == [number(1), chunk(b"data")]


class Busy:
    """Takes no chunk whose turn it is to be refused."""

    def __init__(self, *refused: int, error: Exception | None = None) -> None:
        self.calls = 0
        self.refused = refused
        self.error = error or StreamTimeout("busy")

    def __call__(self, chunk: MessageStreamChunk) -> None:
        self.calls += 1
        if self.calls in self.refused:
            raise self.error


@pytest.mark.parametrize("refused", [1, 2])
def test_chunk_that_timed_out_may_be_written_again(refused: int) -> None:
    """Whichever of its pieces found no room, a loop that writes until it succeeds sends each piece once."""
    inner = RecordingWriter(on_chunk=Busy(refused))
    writer = filtered(inner, Counted)
    with pytest.raises(StreamTimeout):
        writer.write(b"first", timeout=0)
    writer.write(b"first")
    writer.write(b"first")
    assert inner.chunks == [number(1), chunk(b"first"), number(2), chunk(b"first")]


def test_chunk_that_timed_out_goes_before_the_next() -> None:
    """If another is written in its place, it goes first, with what its buffer held then: its number is taken."""
    inner, buffer = RecordingWriter(on_chunk=Busy(2)), bytearray(b"first")
    writer = filtered(inner, Counted)
    with pytest.raises(StreamTimeout):
        writer.write(buffer, timeout=0)
    buffer[:] = b"other"
    writer.write(b"second")
    assert [one.data for one in inner.chunks] == [b"", b"first", b"", b"second"]


def test_reused_buffer_is_a_chunk_of_its_own() -> None:
    """A buffer that was refilled after a time-out is not taken for the chunk that timed out."""
    inner, buffer = RecordingWriter(on_chunk=Busy(1)), bytearray(b"1")
    writer = filtered(inner, compression())
    with pytest.raises(StreamTimeout):
        writer.write(buffer, timeout=0)
    buffer[:] = b"2"
    writer.write(buffer)
    writer.close()
    assert filtered(ScriptedReader({}, inner.chunks), compression()).read_all() == b"12"


def test_close_that_timed_out_may_be_repeated() -> None:
    """The filter's end is made once and sent when there is room."""
    inner = RecordingWriter(on_chunk=Busy(1))
    writer = filtered(inner, Counted)
    with pytest.raises(StreamTimeout):
        writer.close()
    writer.close()
    assert (inner.chunks, inner.told) == ([count(0)], ["close"])


def test_piece_that_is_too_large_ends_the_stream() -> None:
    """The filter has counted it and the other side would miss it, so nothing more can be written."""
    inner = RecordingWriter(on_chunk=Busy(2, error=InvalidMessage("chunk: too large")))
    writer = filtered(inner, Counted)
    with pytest.raises(InvalidMessage, match="too large; the stream is given up, since its filter counted the chunk"):
        writer.write(b"data")
    assert inner.told == ["abort: a chunk could not be sent"]
    with pytest.raises(UsageError):
        writer.write(b"more")


def test_close_needs_no_end_where_the_other_side_has_closed() -> None:
    """The inner writer alone knows whether that was too early."""
    inner = RecordingWriter(on_chunk=Busy(1, error=StreamCancelled("bob closed it")))
    filtered(inner, Counted).close()
    assert inner.told == ["close"]


def test_two_tasks_may_write() -> None:
    """While one waits inside the stream, the other waits for it, and pieces are never mixed."""
    held = meshsync.condition()
    state = {"is_inside": False, "may_go": False}

    def hold(_: MessageStreamChunk) -> None:
        with held:
            state["is_inside"] = True
            held.notify_all()
            assert held.wait_for(lambda: state["may_go"], PATIENCE)

    inner = RecordingWriter(on_chunk=hold)
    writer = filtered(inner, Counted)
    task = meshsync.spawn(writer.write, b"first")
    with held:
        assert held.wait_for(lambda: state["is_inside"], PATIENCE)
    with pytest.raises(StreamTimeout, match="is in use by another task"):
        writer.write(b"second", timeout=0)
    with held:
        state["may_go"] = True
        held.notify_all()
    writer.write(b"second")
    assert task.join(PATIENCE)
    assert inner.chunks == [number(1), chunk(b"first"), number(2), chunk(b"second")]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_what_is_read_is_decoded() -> None:
    """By iteration, by ``read`` and by ``read_all``; the end stays the end."""
    says = [number(1), chunk(b"1"), number(2), chunk(b"2"), number(3), chunk(b"3"), count(3)]
    reader = filtered(ScriptedReader({"a": 1}, says), Counted)
    assert reader.header == {"a": 1}
    assert next(iter(reader)) == chunk(b"1")
    assert reader.read(1) == chunk(b"2")
    assert reader.read_all() == b"3"
    assert [reader.read(), reader.read()] == [None, None]


def test_time_out_passes_and_nothing_is_lost() -> None:
    """The chunk that comes later is read later; each read of the stream gets what is left of the limit."""
    inner = ScriptedReader({}, [number(1), ReceiveTimeout("late"), chunk(b"1"), count(1)])
    reader = filtered(inner, Counted)
    with pytest.raises(ReceiveTimeout):
        reader.read(5)
    assert 5 >= (inner.timeouts[0] or 0) >= (inner.timeouts[1] or 0) > 4
    assert reader.read_all() == b"1"


def test_interruption_passes_after_what_came() -> None:
    """An end of the stream itself is no matter of the filter's."""
    reader = filtered(ScriptedReader({}, [number(1), chunk(b"1"), StreamInterrupted("bob has left")]), Counted)
    assert reader.read() == chunk(b"1")
    with pytest.raises(StreamInterrupted, match="bob has left"):
        reader.read()


def test_failure_to_decode_ends_the_stream_and_is_raised_again() -> None:
    """The other side is told why, nothing of the chunk is passed on, and reading and writing raise from then on."""
    says = [number(1), chunk(b"good"), number(2), chunk(b"poison"), number(3), chunk(b"good"), count(3)]
    inner = ScriptedReader({}, says)
    reader = filtered(inner, Counted)
    assert reader.read() == chunk(b"good")
    text = "stream s-1 from bob: filter 'counted': ValueError: poison"
    for _ in range(2):
        with pytest.raises(StreamError) as info:
            reader.read()
        assert (type(info.value), str(info.value)) == (StreamError, text)
    with pytest.raises(StreamError, match="poison"):
        reader.writer.write(b"answer")
    assert inner.closed == ["stream s-1 from bob: filter 'counted': the program failed (ValueError)"]
    assert inner.writer.chunks == []
    reader.writer.close()


class Particular(StreamError):
    """An error of a program's own that is made of two values."""

    def __init__(self, code: int, place: str) -> None:
        super().__init__(f"code {code} at {place}")


@pytest.mark.parametrize(
    ("error", "text"),
    [(Textless(), "the program failed (Textless)"), (Particular(5, "caf\udce9"), "code 5 at caf?")],
    ids=["no text", "made of two values"],
)
def test_any_failure_of_a_filter_ends_the_stream(error: Exception, text: str) -> None:
    """The peer is told, and each read raises the same."""

    class Failing(Counted):
        def decode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
            raise error

    inner = ScriptedReader({}, [chunk(b"data")])
    reader = filtered(inner, Failing)
    for _ in range(2):
        with pytest.raises(StreamError, match=r"filter 'counted': "):
            reader.read()
    assert inner.closed == [f"stream s-1 from bob: filter 'counted': {text}"]


def test_failure_to_decode_outlasts_a_close_that_it_meets() -> None:
    """A stream whose reader fails while its writer is being closed has failed, and is not one that the program left."""

    def fail_meanwhile(_: MessageStreamChunk) -> None:
        with pytest.raises(StreamError, match="poison"):
            writer.reader.read()

    inner = RecordingWriter([number(1), chunk(b"poison")], on_chunk=fail_meanwhile)
    writer = filtered(inner, Counted)
    writer.close()
    writer.abort("too late")
    for use in (writer.reader.read, writer.flush):
        with pytest.raises(StreamError, match="poison"):
            use()
    assert inner.chunks == [count(0)]


def test_end_that_is_incomplete_is_an_error() -> None:
    """A stream that is closed before all came raises at its end, each time."""
    reader = filtered(ScriptedReader({}, [number(1), chunk(b"1"), count(2)]), Counted)
    assert reader.read() == chunk(b"1")
    for _ in range(2):
        with pytest.raises(StreamInterrupted, match="filter 'counted': 1 of 2 chunks came"):
            reader.read()


@pytest.mark.parametrize("end", [lambda r: r.writer.close(), lambda r: r.writer.abort(), lambda r: r.close()])
def test_end_of_this_sides_own_making_is_not_checked(end: object) -> None:
    """Who closes a stream knows that more might have come."""
    reader = filtered(ScriptedReader({}, []), Counted)
    end(reader)  # type: ignore[operator]
    assert reader.read() is None


def test_only_one_task_may_read() -> None:
    """The second gets an error, and the first is not disturbed."""

    def read_meanwhile() -> MessageStreamChunk:
        with pytest.raises(UsageError, match="is being read by another task: give the stream to one of them"):
            reader.read()
        return chunk(b"data")

    reader = filtered(ScriptedReader({}, [number(1), read_meanwhile, count(1)]), Counted)
    assert reader.read_all() == b"data"


# --- both -------------------------------------------------------------------------------------------------------------


def test_both_directions_of_a_stream_go_through_one_filter() -> None:
    """The reader of a filtered writer decodes, the writer of a filtered reader encodes, and each leads back."""
    inner = RecordingWriter([number(1), chunk(b"answer"), count(1)])
    writer = filtered(inner, Counted)
    assert writer.reader.writer is writer
    assert writer.reader.read_all() == b"answer"
    asked = ScriptedReader({})
    reader = filtered(asked, Counted)
    assert reader.writer.reader is reader
    reader.writer.write(b"answer")
    reader.writer.close()
    assert asked.writer.chunks == [number(1), chunk(b"answer"), count(1)]


def test_filters_are_applied_in_order_and_undone_in_the_opposite_one() -> None:
    """The first sees what the program wrote, the last what is sent."""
    inner = RecordingWriter()
    with filtered(inner, Checksummed, Counted) as writer:
        writer.write(b"data")
    assert inner.chunks == [number(1), MessageStreamChunk({"crc32": 0xADF3F363}, b"data"), count(1)]
    assert filtered(ScriptedReader({}, inner.chunks), Checksummed, Counted).read_all() == b"data"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Counted(), TypeError),
        (compression, TypeError),
        ("zlib", TypeError),
        (encryption(bytes(32)), UsageError),
    ],
    ids=["a filter", "what makes makers", "a name", "encryption"],
)
def test_what_is_no_filter_is_refused(wrong: object, error: type[Exception]) -> None:
    """Filters are made for each stream; encryption needs an agreement."""
    with pytest.raises(error):
        filtered(RecordingWriter(), wrong)  # type: ignore[call-overload]


def test_two_filters_of_one_name_are_refused() -> None:
    """The header could not tell them apart."""
    with pytest.raises(ValueError, match="'crc32'"):
        filtered(RecordingWriter(), Checksummed, Checksummed)
