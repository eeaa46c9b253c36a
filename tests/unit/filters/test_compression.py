"""Compression: smaller, whole, and never larger than what one chunk may hold."""

from __future__ import annotations

import zlib

import pytest

from meshsync.errors import InvalidMessage, StreamError, StreamInterrupted
from meshsync.filters.compression import compression
from meshsync.filters.filtering import CHUNK_LIMIT, filtered
from meshsync.streams.interfaces import MessageStreamChunk
from tests.support.effort import peak_of
from tests.support.scripted_streams import RecordingWriter, ScriptedReader


def sent(*chunks: MessageStreamChunk | bytes, level: int = 6) -> list[MessageStreamChunk]:
    """Return what is sent in the place of these chunks and the end."""
    inner = RecordingWriter()
    with filtered(inner, compression(level)) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return inner.chunks


def failure(*chunks: MessageStreamChunk, limit: int = CHUNK_LIMIT) -> str:
    """Return what reading these chunks to their end raises."""
    with pytest.raises(StreamError) as info:
        filtered(ScriptedReader({}, chunks), compression(limit=limit)).read_all()
    return str(info.value)


def test_each_chunk_can_be_read_when_it_comes() -> None:
    """Chunks stay what they were, and the later ones profit from the earlier: 1000 bytes again take under 50."""
    line = zlib.compress(bytes(range(256)) * 4, 9)[:40] + bytes(960)
    first, second, end = sent(MessageStreamChunk({"n": 1}, line), MessageStreamChunk({"n": 2}, line))
    assert (first.header, second.header, end.header) == ({"n": 1}, {"n": 2}, {})
    assert len(second.data) < 50
    reader = filtered(ScriptedReader({}, [first, second, end]), compression())
    assert reader.read() == MessageStreamChunk({"n": 1}, line)
    assert reader.read() == MessageStreamChunk({"n": 2}, line)
    assert reader.read() is None


def test_one_direction_is_one_zlib_stream() -> None:
    """Any other implementation can read it."""
    chunks = sent(b"one", MessageStreamChunk({"mark": True}), b"two", level=9)
    assert chunks[1] == MessageStreamChunk({"mark": True}, b"")
    assert zlib.decompress(b"".join(chunk.data for chunk in chunks)) == b"onetwo"


def test_stream_without_its_end_is_incomplete() -> None:
    """Cut off after a whole chunk, or before the first, nothing else would tell."""
    text = "the stream was closed without its last chunk: it is incomplete"
    assert text in failure(*sent(b"data")[:-1])
    with pytest.raises(StreamInterrupted, match="incomplete"):
        filtered(ScriptedReader({}), compression()).read()


def test_bomb_costs_no_more_memory_than_the_limit() -> None:
    """100,000,000 bytes that travel as 100,000 stop at 1,000,000; the stream fails."""
    packer = zlib.compressobj(9)
    bomb = MessageStreamChunk({}, packer.compress(bytes(100_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH))
    text = failure(bomb, limit=1_000_000)
    assert "expand to more than 1000000, the most that one chunk may hold" in text
    assert peak_of(lambda: failure(bomb, limit=1_000_000)) < 4_000_000


def test_limit_is_that_of_both_sides() -> None:
    """A chunk of exactly the limit passes; one byte more is refused where it is written, and the stream goes on."""
    inner = RecordingWriter()
    with filtered(inner, compression()) as writer:
        with pytest.raises(InvalidMessage, match="3000001 bytes; 3000000 can be compressed at once"):
            writer.write(bytes(CHUNK_LIMIT + 1))
        writer.write(bytes(CHUNK_LIMIT))
    reader = filtered(ScriptedReader({}, inner.chunks), compression())
    assert [len(chunk.data) for chunk in reader] == [CHUNK_LIMIT]


def test_what_is_no_zlib_data_is_an_error() -> None:
    """Plain data, changed data, data in the middle of nothing, and whatever follows the end."""
    data, more, end = sent(b"data", b"more")
    changed = MessageStreamChunk(end.header, end.data[:-1] + b"\0")
    ended_early = MessageStreamChunk({}, zlib.compress(b"data"))
    assert "the other side sent what is no continuation of its zlib data" in failure(MessageStreamChunk({}, b"plain"))
    assert "no continuation of its zlib data" in failure(more)
    assert "no continuation of its zlib data" in failure(data, more, changed)
    assert "the other side ended its zlib data in the middle of a chunk" in failure(ended_early)
    assert "the other side sent a chunk after its last one" in failure(data, more, end, MessageStreamChunk({"n": 1}))


def test_level_is_between_0_and_9() -> None:
    """0 stores; others are errors where they are given."""
    assert len(sent(bytes(1000), level=0)[0].data) > 1000
    for level in (-1, 10):
        with pytest.raises(ValueError, match="level"):
            compression(level)
