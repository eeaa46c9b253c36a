"""Ctrl-C at each place of each call on a stream: nothing is lost, counted twice, or left without an end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from meshsync.errors import MeshsyncError, NotSent
from meshsync.filters.buffering import buffered
from meshsync.filters.filtering import StreamFilter, filtered
from meshsync.protocol.flow_control import LEAST_WINDOW, size_of
from meshsync.protocol.stream_messages import Accept, Close, Credit, Reject, StreamChunk
from meshsync.streams.endpoints import Endpoints, MessageStreamReader, MessageStreamWriter
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import Phase
from tests.support.interrupts import Interrupt
from tests.unit.streams.test_stream import Desk, WholeStream, chunk, numbers

WINDOW = 100_000
"""Bytes."""


def sweep(call: Callable[[], Any], prepare: Callable[[], Any] = lambda: None) -> Iterator[tuple[int, bool]]:
    """Call again and again, interrupted at the first place, the second …; yield the place and whether it was."""
    for place in range(1, 1000):
        prepare()
        was_interrupted = Interrupt(place).run(call)
        yield place, was_interrupted
        if not was_interrupted:
            assert place > 5, "it has no places"
            return
    raise AssertionError("it has no end")


def sent(desk: Desk) -> int:
    """Return the bytes of the chunks sent, as both sides count them."""
    return sum(size_of(m.header, m.data) for m in desk.said if isinstance(m, StreamChunk))


def test_an_interrupted_write_counts_what_was_sent() -> None:
    """The window and the unacknowledged bytes are those of the chunks that went out; the next write and close work."""
    desk = Desk()
    stream = desk.opened_here(WINDOW)
    for place, _ in sweep(lambda: stream.writer.write(b"12345", timeout=0)):
        assert stream.account._room == WINDOW - sent(desk), f"interrupted at place {place}"
        stream.writer.flush(timeout=0)
        assert stream.outgoing._unacknowledged_size == 0, f"interrupted at place {place}"
        assert not stream.outgoing._unacknowledged
    stream.writer.close(timeout=0)
    assert desk.said[-1] == Close("s-1")
    assert stream.outgoing.sent == len(desk.said) - 1


def test_an_interrupted_write_that_was_refused_counts_nothing() -> None:
    """Whatever it was interrupted in: the end of the stream is reported once, and waiting tasks can go."""
    desk = Desk()
    desk.refusal = NotSent("the network is gone")
    stream: Any = None

    def write() -> None:
        with suppress(MeshsyncError):
            stream.writer.write(b"x", timeout=0)

    def prepare() -> None:
        nonlocal stream
        stream = desk.opened_here(WINDOW)
        desk.notes.clear()

    for place, was_interrupted in sweep(write, prepare):
        assert stream.account._room == WINDOW, f"interrupted at place {place}"
        assert not stream.outgoing._unacknowledged
        assert len(desk.notes) == int(stream.life.phase.is_over), f"interrupted at place {place}"
        assert was_interrupted or stream.life.phase.is_over


@pytest.mark.parametrize("end", ["close", "abort", "leave"])
def test_an_interrupted_end_is_an_end_or_none(end: str) -> None:
    """If it has ended here, its peer gets one last message, and the report is made; else it can be ended again."""
    desk = Desk()
    stream: Any = None

    def prepare() -> None:
        nonlocal stream
        stream = desk.opened_here(WINDOW)
        stream.writer.write(b"x", timeout=0)
        desk.said.clear()
        desk.notes.clear()

    def call() -> None:
        stream.reader.close("why") if end == "leave" else stream.writer.close() if end == "close" else (
            stream.writer.abort("why")
        )

    for place, was_interrupted in sweep(call, prepare):
        assert len(desk.said) == len(desk.notes) == int(stream.life.phase.is_over), f"interrupted at place {place}"
        assert was_interrupted or stream.life.phase.is_over
        call()
        assert len(desk.said) == len(desk.notes) == 1, f"interrupted at place {place}"
        assert not stream.outgoing._closing


@pytest.mark.parametrize("decide", ["accept", "reject"])
def test_an_interrupted_decision_is_one_or_none(decide: str) -> None:
    """The opener gets one answer, which is how the stream goes on; or none yet, and the program can still decide."""
    desk = Desk()
    stream: Any = None

    def prepare() -> None:
        nonlocal stream
        stream = desk.offered(WINDOW)
        desk.said.clear()

    def call() -> None:
        stream.reader.accept() if decide == "accept" else stream.reader.reject()

    for place, was_interrupted in sweep(call, prepare):
        if stream.life.phase is Phase.OFFERED:
            assert (desk.said, was_interrupted) == ([], True), f"interrupted at place {place}"
            continue
        (answer,) = desk.said
        if decide == "accept" and isinstance(answer, Accept):
            assert stream.life.phase is Phase.OPEN, f"interrupted at place {place}"
        else:
            assert isinstance(answer, Reject), f"interrupted at place {place}"
            assert stream.life.phase.is_over, f"interrupted at place {place}"
            assert was_interrupted or decide == "reject"


def test_an_interrupted_read_loses_neither_chunk_nor_credit() -> None:
    """Each chunk is read once, in order, and its bytes are unread, owed or credited."""
    desk = Desk()
    desk.next_window = 1000
    stream = desk.accepted(WINDOW)
    got: list[int] = []
    came = 0

    def prepare() -> None:
        nonlocal came
        while len(stream.unread) < 3:
            stream.incoming.arrived(chunk(came, 400))
            came += 1

    def read() -> None:
        got.append(stream.incoming.read(0).header["n"])  # type: ignore[union-attr]

    size = size_of({"n": 10}, bytes(400))
    for place, _ in sweep(read, prepare):
        credited = sum(message.size for message in desk.said if isinstance(message, Credit))
        account = stream.account
        # Headers of one digit are a byte shorter.
        assert credited + account.owed + account.unread == came * size - min(came, 10), f"interrupted at place {place}"
    assert stream.account.window == 1000
    got += numbers(stream.reader)
    assert got == list(range(came))


def test_an_opener_that_reads_for_the_first_time_widens_its_window_once() -> None:
    """However often that was interrupted: the peer gets the difference once."""
    desk = Desk()
    stream: Any = None

    def prepare() -> None:
        nonlocal stream
        stream = desk.opened_here(WINDOW)
        desk.said.clear()
        desk.next_window = LEAST_WINDOW * 4
        stream.incoming.arrived(chunk(0, 400))

    for place, _ in sweep(lambda: stream.reader.read(0), prepare):
        numbers(stream.reader)
        assert stream.account.window == LEAST_WINDOW * 4
        credited = sum(message.size for message in desk.said if isinstance(message, Credit))
        owed = LEAST_WINDOW * 3 + size_of({"n": 0}, bytes(400))
        assert stream.account.owed + credited == owed, f"interrupted at place {place}"


class Doubling(StreamFilter):
    """Sends each chunk as two: a mark, and the chunk."""

    name = "doubling"

    def encode(self, chunk: MessageStreamChunk) -> list[MessageStreamChunk]:
        return [MessageStreamChunk({"mark": 1}, b""), chunk]

    def decode(self, chunk: MessageStreamChunk) -> list[MessageStreamChunk]:
        return [] if "mark" in chunk.header else [chunk]


@pytest.mark.parametrize("layers", [1, 2])
def test_an_interrupted_write_through_filters_sends_each_piece_once(layers: int) -> None:
    """Or the stream is given up, where the filter's state is unknown: its reader never gets a part twice or not."""
    desk = Desk()
    given_up = 0
    for place in range(1, 1000):
        desk.said.clear()
        stream = desk.opened_here(WINDOW)
        writer: Any = filtered(stream.writer, *(Doubling, Named)[:layers])
        was_interrupted = Interrupt(place).run(lambda writer=writer: writer.write(b"a", timeout=0))
        if stream.life.phase.is_over:
            given_up += 1
            continue
        writer.write(b"b", timeout=0)
        writer.flush(timeout=0)
        datas = [bytes(m.data) for m in desk.said if isinstance(m, StreamChunk)]
        one = 2**layers
        if b"a" in datas:
            assert len(datas) == 2 * one, f"interrupted at place {place}"
        else:
            assert len(datas) == one, f"interrupted at place {place}"
        assert [d for d in datas if d] in ([b"a", b"b"], [b"b"]), f"interrupted at place {place}"
        if not was_interrupted:
            break
    assert 20 < place < 999
    assert given_up < place / 4


class Named(Doubling):
    """Another one."""

    name = "again"


def test_an_interrupted_buffered_write_hands_on_each_piece_once() -> None:
    """What was joined goes out whole, whether or not Ctrl-C struck; the last piece may or may not be among it."""
    desk = Desk()
    for place in range(1, 1000):
        desk.said.clear()
        stream = desk.opened_here(WINDOW)
        writer = buffered(stream.writer, 4)
        writer.write(b"aaa")
        was_interrupted = Interrupt(place).run(lambda writer=writer: writer.write(b"bbb", timeout=0))
        writer.close(timeout=0)
        data = b"".join(bytes(m.data) for m in desk.said if isinstance(m, StreamChunk))
        assert data in (b"aaa", b"aaabbb"), f"interrupted at place {place}"
        if not was_interrupted:
            break
    assert 20 < place < 999


def test_an_interrupted_filtered_read_leaves_the_reader_usable_or_failed() -> None:
    """A chunk is read once; where its filter was at work, every further read raises. None waits for another's end."""
    desk = Desk()
    for place in range(1, 1000):
        stream: WholeStream = desk.accepted(WINDOW)
        for n in range(2):
            stream.incoming.arrived(chunk(n))
        reader: Any = filtered(stream.reader, Doubling)
        got: list[int] = []
        read = lambda got=got, reader=reader: got.append(reader.read(0).header["n"])  # noqa: E731
        was_interrupted = Interrupt(place, spared=("read",)).run(read)
        try:
            while len(got) < 2:
                got.append(reader.read(0).header["n"])
        except MeshsyncError as error:
            assert "interrupted" in str(error), f"interrupted at place {place}"
        else:
            assert got == [0, 1], f"interrupted at place {place}"
        if not was_interrupted:
            break
    assert 20 < place < 999


@pytest.mark.parametrize("kind", [MessageStreamWriter, MessageStreamReader])
def test_an_end_of_a_stream_that_was_never_made_is_dropped_without_a_word(
    kind: Callable[[Endpoints], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C struck before it had a stream; else Python would print what its finalizer raises."""
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    stream = Desk().opened_here(WINDOW)
    assert Interrupt(1).run(lambda: kind(stream.writer._ends))
    assert not raised
