"""Small chunks become large ones, in time, and errors surface at the next call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meshsync
from meshsync.errors import InvalidMessage, StreamCancelled, StreamTimeout, UsageError
from meshsync.filters.buffering import buffered
from meshsync.filters.compression import compression
from meshsync.filters.filtering import filtered
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.interfaces import MessageStreamChunk
from simulator import Simulation
from tests.support.scripted_streams import RecordingWriter, ScriptedReader


def datas(writer: RecordingWriter) -> list[bytes]:
    """Return what was handed on, chunk by chunk."""
    return [bytes(chunk.data) for chunk in writer.chunks]


# --- joining ----------------------------------------------------------------------------------------------------------


def test_chunks_are_joined_up_to_the_size() -> None:
    """With 10 bytes and pieces of 4, every two go together; flush and close write out the rest."""
    inner = RecordingWriter()
    with buffered(inner, 10) as writer:
        for piece in (b"aaaa", b"bbbb", b"cccc"):
            writer.write(piece)
        assert datas(inner) == [b"aaaabbbb"]
        writer.flush()
        writer.write(b"dddd")
        writer.write(b"123456")
    assert datas(inner) == [b"aaaabbbb", b"cccc", b"dddd123456"]
    assert inner.told == ["flush", "close"]


def test_large_chunk_goes_alone_and_uncopied() -> None:
    """One that fills the buffer by itself comes after what was before it, as it is."""
    inner, large = RecordingWriter(), bytes(10)
    writer = buffered(inner, 10)
    writer.write(b"a")
    writer.write(large)
    assert datas(inner) == [b"a", large]
    assert inner.chunks[1].data is large


def test_only_chunks_with_equal_headers_are_joined() -> None:
    """1 and True differ, and so do 1 and 1.0; one without data is never joined."""
    inner = RecordingWriter()
    with buffered(inner) as writer:
        for header in ({"a": 1}, {"a": 1}, {"a": True}, {"a": 1.0}):
            writer.write(MessageStreamChunk(header, b"x"))
        for data in (b"", b"", b"y"):
            writer.write(MessageStreamChunk({"a": 1.0}, data))
    seen = [(repr(dict(chunk.header)), bytes(chunk.data)) for chunk in inner.chunks]
    assert seen == [
        ("{'a': 1}", b"xx"),
        ("{'a': True}", b"x"),
        ("{'a': 1.0}", b"x"),
        ("{'a': 1.0}", b""),
        ("{'a': 1.0}", b""),
        ("{'a': 1.0}", b"y"),
    ]


def test_header_and_data_are_those_at_the_time_of_the_call() -> None:
    """The program may use its dict and its buffer again."""
    inner, header, data = RecordingWriter(), {"a": [1]}, bytearray(b"1")
    with buffered(inner) as writer:
        writer.write(MessageStreamChunk(header, data))
        header["a"].append(2)
        data[:] = b"2"
    assert inner.chunks == [MessageStreamChunk({"a": [1]}, b"1")]


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_no_byte_is_lost_or_moved(pieces: list[bytes], size: int) -> None:
    """Whatever is written arrives, in chunks of at most the size or what was written at once."""
    inner = RecordingWriter()
    with buffered(inner, size) as writer:
        for piece in pieces:
            writer.write(piece)
    assert inner.data == b"".join(pieces)
    assert all(len(data) <= size or data in pieces for data in datas(inner))


def test_it_goes_around_filters() -> None:
    """Joined first, then compressed; and the reader at its side leads back to it."""
    inner = RecordingWriter()
    with buffered(filtered(inner, compression()), 1000) as writer:
        assert writer.reader.writer is writer
        for _ in range(10):
            writer.write(b"0123456789")
    assert len(inner.chunks) == 2
    assert filtered(ScriptedReader({}, inner.chunks), compression()).read_all() == b"0123456789" * 10


@pytest.mark.parametrize(
    ("size", "max_delay"), [(0, None), (-1, None), (3_000_001, None), (10, -0.1), (10, float("nan"))]
)
def test_what_makes_no_sense_is_refused(size: int, max_delay: float | None) -> None:
    """A buffer holds something, and a delay is not negative."""
    with pytest.raises(ValueError, match=r"size|max_delay"):
        buffered(RecordingWriter(), size, max_delay)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_wrong_chunk_leaves_the_buffer_as_it_is() -> None:
    """It is refused at its own call, not later."""
    inner = RecordingWriter()
    with buffered(inner) as writer:
        writer.write(b"a")
        for wrong in (MessageStreamChunk({"a": {1}}, b"x"), MessageStreamChunk({}, "x")):  # type: ignore[arg-type]
            with pytest.raises(InvalidMessage):
                writer.write(wrong)
        writer.write(b"b")
    assert datas(inner) == [b"ab"]


def failing(*errors: Exception | None) -> Callable[[MessageStreamChunk], None]:
    """Raise these, one at each call; None for not."""
    coming = list(errors)

    def on_chunk(_: MessageStreamChunk) -> None:
        error = coming.pop(0) if coming else None
        if error is not None:
            raise error

    return on_chunk


def test_chunk_that_timed_out_may_be_written_again() -> None:
    """What was joined stays, what was to be added is not."""
    inner = RecordingWriter(on_chunk=failing(StreamTimeout("busy"), StreamTimeout("busy")))
    writer = buffered(inner, 4)
    writer.write(b"aaa")
    for use in (lambda: writer.write(b"bbb", timeout=0), writer.close):
        with pytest.raises(StreamTimeout):
            use()
    writer.write(b"bbb")
    writer.close()
    assert datas(inner) == [b"aaa", b"bbb"]


def test_data_that_nobody_wants_is_no_regular_end() -> None:
    """Closing raises if what was joined could not be handed on; a ``with`` block then aborts the stream."""
    inner = RecordingWriter(on_chunk=failing(StreamCancelled("enough")))
    with pytest.raises(StreamCancelled, match="enough"), buffered(inner) as writer:
        writer.write(b"a")
    assert inner.told == ["abort: the program failed (StreamCancelled)"]


def test_aborting_drops_what_was_joined() -> None:
    """Nothing can be written afterwards."""
    inner = RecordingWriter()
    with pytest.raises(KeyError), buffered(inner) as writer:
        writer.write(b"a")
        raise KeyError("gone")
    with pytest.raises(UsageError, match="this program closed it"):
        writer.write(b"b")
    assert (inner.chunks, inner.told) == ([], ["abort: the program failed (KeyError)"])


def test_nothing_is_written_after_the_close() -> None:
    """Not even into the buffer; closing again does nothing."""
    writer = buffered(RecordingWriter())
    writer.close()
    writer.close()
    for use in (lambda: writer.write(b"a"), writer.flush):
        with pytest.raises(UsageError, match="this program closed it"):
            use()


# --- in time ----------------------------------------------------------------------------------------------------------


def timed(inner: RecordingWriter, simulation: Simulation) -> Callable[[], list[tuple[float, bytes]]]:
    """Return what returns when which data came."""
    times: list[float] = []
    inner._on_chunk = lambda _: times.append(round(simulation.now, 6))
    return lambda: list(zip(times, datas(inner), strict=True))


def test_data_is_handed_on_after_the_delay() -> None:
    """With 0.5 s: begun at 0, it goes at 0.5; begun at 1, at 1.5; what was flushed in between starts anew."""
    with Simulation(7) as simulation:
        inner = RecordingWriter()
        came = timed(inner, simulation)
        writer = buffered(inner, 100, max_delay=0.5)
        writer.write(b"a")
        simulation.sleep(0.4)
        writer.write(b"b")
        simulation.sleep(0.6)
        writer.write(b"c")
        simulation.sleep(0.25)
        writer.flush()
        writer.write(b"d")
        simulation.sleep(0.4)
        writer.write(b"e")
        simulation.sleep(5)
        assert came() == [(0.5, b"ab"), (1.25, b"c"), (1.75, b"de")]
        writer.close()


def test_full_buffer_does_not_wait_for_the_delay() -> None:
    """It goes when the next chunk has no room; the delay counts for that one."""
    with Simulation(7) as simulation:
        inner = RecordingWriter()
        came = timed(inner, simulation)
        writer = buffered(inner, 2, max_delay=1)
        writer.write(b"a")
        writer.write(b"b")
        simulation.sleep(0.5)
        writer.write(b"c")
        simulation.sleep(5)
        assert came() == [(0.5, b"ab"), (1.5, b"c")]
        writer.close()


def test_what_a_slow_writer_was_handing_on_is_not_mixed_with_what_is_new() -> None:
    """It takes 0.3 s from 0.4 on, past the end of the delay; what is written at 0.7 waits until 1.2."""
    with Simulation(7) as simulation:
        inner = RecordingWriter()
        times: list[float] = []

        def take(_: MessageStreamChunk) -> None:
            times.append(round(simulation.now, 6))
            meshsync.sleep(0.3)

        inner._on_chunk = take
        writer = buffered(inner, 100, max_delay=0.5)
        writer.write(b"a")
        simulation.sleep(0.4)
        writer.flush()
        writer.write(b"b")
        simulation.sleep(5)
        assert list(zip(times, datas(inner), strict=True)) == [(0.4, b"a"), (1.2, b"b")]
        writer.close()


def test_no_task_is_left_when_it_is_closed_or_idle() -> None:
    """Its clock runs only while something waits to be handed on, and stops with the stream."""
    with Simulation(7) as simulation:
        for end in ("close", "abort", "idle"):
            writer = buffered(RecordingWriter(), 100, max_delay=60)
            writer.write(b"a")
            simulation.sleep(0)
            assert writer._has_task
            if end == "idle":
                simulation.sleep(61)
            else:
                getattr(writer, end)()
                simulation.sleep(0)
            assert not writer._has_task


def test_failure_in_time_is_raised_by_the_next_call() -> None:
    """Also by one that would have had nothing to hand on; what can be handed on later is not lost."""
    with Simulation(7) as simulation:
        inner = RecordingWriter(on_chunk=failing(StreamTimeout("busy"), StreamCancelled("enough"), None))
        writer = buffered(inner, 100, max_delay=0.5)
        writer.write(b"a")
        simulation.sleep(1)
        with pytest.raises(StreamCancelled, match="enough"):
            writer.write(b"b")
        writer.write(b"b")
        assert datas(inner) == [b"a"]
        simulation.sleep(1)
        assert datas(inner) == [b"a", b"b"]
        writer.close()


def test_it_works_with_real_threads() -> None:
    """A delay of a thousandth of a second passes without a call."""
    arrived, condition = [], meshsync.condition()

    def note(chunk: MessageStreamChunk) -> None:
        with condition:
            arrived.append(bytes(chunk.data))
            condition.notify_all()

    writer = buffered(RecordingWriter(on_chunk=note), 100, max_delay=0.001)
    writer.write(b"a")
    with condition:
        assert condition.wait_for(lambda: arrived == [b"a"], 20)
    writer.close()


class WithoutTasks(ThreadRuntime):
    """Real threads of which the system starts no more."""

    def spawn(self, target: Callable[[], None], *, name: str) -> NoReturn:
        raise RuntimeError("can't start new thread")


def test_without_a_task_for_its_clock_data_is_handed_on_at_once() -> None:
    """Later than the delay it may not be; and a failure is for the next call, as on that task."""
    inner = RecordingWriter(on_chunk=failing(StreamTimeout("busy"), None, None))
    inner._runtime = WithoutTasks()  # type: ignore[attr-defined]
    writer = buffered(inner, 100, max_delay=60)
    writer.write(b"a")
    assert datas(inner) == []
    writer.write(b"b")
    assert datas(inner) == [b"a", b"b"]
    writer.close()
