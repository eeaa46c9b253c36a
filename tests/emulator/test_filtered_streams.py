"""Filters on streams over real sockets and threads, through the emulator."""

from __future__ import annotations

import hashlib

import pytest

import meshsync
from examples.filtered_client import FilteredMessaging
from meshsync.errors import StreamRejected
from meshsync.filters.buffering import buffered
from meshsync.filters.filtering import CHUNK_LIMIT
from meshsync.streams.interfaces import StreamReader
from tests.support.rooms import PATIENCE, Join, start


def test_every_stream_of_a_filtered_client_is_compressed_and_encrypted(join: Join) -> None:
    """A megabyte in small pieces, and an answer; whoever lacks the key, or has another, is turned away."""
    key = bytes(range(32))
    bob = join("bob", enable=False, messaging=lambda room: FilteredMessaging(room, key))
    alice = join("alice", messaging=lambda room: FilteredMessaging(room, key))
    mallory = join("mallory", messaging=lambda room: FilteredMessaging(room, bytes(32)))
    eve = join("eve")

    def answer(reader: StreamReader) -> None:
        digest = hashlib.sha256()
        for chunk in reader:
            if chunk.header.get("is_last"):
                reader.writer.write(meshsync.MessageStreamChunk({"sha256": digest.hexdigest()}))
            digest.update(chunk.data)

    bob.messaging.enable(answer)
    data = hashlib.shake_256(b"seed").digest(1_000_000)
    with alice.messaging.create_stream(bob.local_participant, {"purpose": "upload"}) as writer:
        with_buffer = buffered(writer, 65536, max_delay=0.01)
        for start_at in range(0, len(data), 1000):
            with_buffer.write(data[start_at : start_at + 1000])
        with_buffer.write(meshsync.MessageStreamChunk({"is_last": True}))
        got = writer.reader.read(PATIENCE)
        assert got is not None and got.header == {"sha256": hashlib.sha256(data).hexdigest()}
    for other, text in [(mallory, "different keys"), (eve, "only streams with the filters 'zlib', 'aead'")]:
        with pytest.raises(StreamRejected, match=text):
            other.messaging.create_stream(bob.local_participant, {})


@pytest.mark.parametrize("dialect", ["A", "B"])
def test_largest_chunk_that_filters_take_can_be_carried(join: Join, dialect: str) -> None:
    """3,000,000 bytes that cannot be compressed: in dialect B, base64 makes 4,000,000 of them, and 4,194,304 is all."""
    bob = join("bob", enable=False, dialect=dialect, messaging=lambda room: FilteredMessaging(room, bytes(32)))
    alice = join("alice", dialect=dialect, messaging=lambda room: FilteredMessaging(room, bytes(32)))
    data = hashlib.shake_256(b"seed").digest(CHUNK_LIMIT)

    def compare(reader: StreamReader) -> None:
        for chunk in reader:
            reader.writer.write(b"right" if chunk.data == data else b"wrong")

    bob.messaging.enable(compare)
    with alice.messaging.create_stream(bob.local_participant, {}) as writer:
        writer.write(meshsync.MessageStreamChunk({"a": "b" * 1000}, data))
        answer = writer.reader.read(PATIENCE)
        assert answer is not None and answer.data == b"right"


def test_several_tasks_may_write_to_one_encrypted_stream(join: Join) -> None:
    """Four threads write 50 chunks each: all arrive, each thread's in order."""
    key = bytes(32)
    bob = join("bob", messaging=lambda room: FilteredMessaging(room, key))
    alice = join("alice", messaging=lambda room: FilteredMessaging(room, key))
    with bob.messaging.streams(timeout=PATIENCE) as streams:
        opening = start(alice.messaging.create_stream, bob.local_participant, {})
        reader = next(iter(streams))
        reader.accept()
        writer = opening.result(PATIENCE)

        def write(thread: int) -> None:
            for number in range(50):
                writer.write(meshsync.MessageStreamChunk({"thread": thread, "number": number}, bytes(100)))

        for task in [start(write, thread) for thread in range(4)]:
            task.result(PATIENCE)
        closing = start(writer.close)
        got = [(chunk.header["thread"], chunk.header["number"]) for chunk in reader]
        closing.result(PATIENCE)
    assert sorted(got) == [(thread, number) for thread in range(4) for number in range(50)]
    assert all([n for t, n in got if t == thread] == list(range(50)) for thread in range(4))
