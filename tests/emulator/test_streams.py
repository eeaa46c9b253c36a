"""Streams of whole clients over real sockets and the emulator: what virtual time and simulated links cannot show."""

from __future__ import annotations

import hashlib
import queue
from typing import Any

import pytest

import meshsync
from meshsync import InvalidMessage, MessageStreamChunk, StreamCancelled, StreamInterrupted, StreamTimeout
from simulator import Emulator
from simulator.emulator import Limits
from tests.support.interrupts import Interrupt
from tests.support.rooms import PATIENCE, Join, start

MIB = 1024 * 1024


def open_stream(
    alice: meshsync.RoomClient, bob: meshsync.RoomClient, header: Any = None, **options: Any
) -> tuple[Any, Any]:
    """Return a writer of Alice's and the reader of Bob's that belongs to it."""
    with bob.messaging.streams() as offers:
        to = alice.messaging.wait_for_participant(name=bob.local_participant.name, timeout=PATIENCE)
        opening = start(alice.messaging.create_stream, to, header, **options)
        reader = offers.get(PATIENCE)
        reader.accept()
        return opening.result(PATIENCE), reader


@pytest.mark.parametrize("ours", ["A", "B"])
@pytest.mark.parametrize("theirs", ["A", "B"])
def test_chunks_of_every_size_arrive_whole_both_ways(join: Join, ours: str, theirs: str) -> None:
    """In each pair of dialects: nothing, single bytes, packets' edges, and nearly what a message can carry."""
    alice, bob = join("alice", dialect=ours), join("bob", dialect=theirs)
    writer, reader = open_stream(alice, bob, {"text": "ü ✓ \x00"})
    assert reader.header == {"text": "ü ✓ \x00"}
    sizes = [0, 1, 767, 768, 769, 1023, 1024, 1025, 65_535, 65_536, 65_537, 1_000_000, 3_000_000]
    pieces = [hashlib.shake_128(str(size).encode()).digest(size) for size in sizes]

    def answer() -> None:
        for chunk in reader:
            reader.writer.write(MessageStreamChunk(chunk.header, chunk.data[::-1]))

    answering = start(answer)
    back = start(lambda: [writer.reader.read(PATIENCE) for _ in pieces])
    for number, piece in enumerate(pieces):
        writer.write(MessageStreamChunk({"number": number}, piece))
    for number, (piece, chunk) in enumerate(zip(pieces, back.result(PATIENCE), strict=True)):
        assert (type(chunk.data), chunk.header) == (bytes, {"number": number})
        assert chunk.data == piece[::-1]
    writer.close()
    answering.result(PATIENCE)


@pytest.mark.parametrize("dialect", ["A", "B"])
@pytest.mark.parametrize("message", [4096, 60_000, 350_000])
def test_no_message_of_a_stream_is_more_than_the_room_takes(dialect: str, message: int) -> None:
    """It tells how much that is; a fast stream would else put up to a mebibyte in one, of one chunk or of several."""
    pieces = [bytes([number]) * size for size in (2_000_000, 64 * 1024) for number in range(64 * 1024 * 32 // size)]
    with (
        Emulator(limits=Limits(message=message)) as emulator,
        emulator.connect("lab", "alice", dialect=dialect) as alice,
        emulator.connect("lab", "bob", dialect=dialect) as bob,
    ):
        for client in (alice, bob):
            client.messaging.enable()
        writer, reader = open_stream(alice, bob)
        reading = start(lambda: [chunk.data for chunk in reader])
        for piece in pieces:
            writer.write(piece)
        writer.close()
        assert reading.result(PATIENCE) == pieces


@pytest.mark.parametrize(("dialect", "fits"), [("A", 4_190_000), ("B", 3_140_000)])
def test_the_largest_chunk_goes_and_one_more_byte_is_refused_here(join: Join, dialect: str, fits: int) -> None:
    """4 MiB encoded, which base64 makes 3 MiB in dialect B; what is refused costs neither stream nor credit."""
    alice, bob = join("alice", dialect=dialect), join("bob", dialect=dialect)
    writer, reader = open_stream(alice, bob)
    reading = start(reader.read_all)
    for _ in range(4):
        writer.write(bytes(fits))
        with pytest.raises(InvalidMessage):
            writer.write(bytes(fits + 10_000))
    writer.close()
    assert len(reading.result(PATIENCE)) == 4 * fits


def test_a_reader_that_never_reads_bounds_client_and_room(join: Join) -> None:
    """100 MB as MeshAgent's documentation has it: 8 MiB at the reader, nothing on the way, and the writer is told."""
    alice, bob = join("alice"), join("bob", enable=False)
    ids: list[str] = []
    bob.messaging.enable(lambda reader: ids.append(reader._streamId))  # type: ignore[attr-defined]
    to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
    writer: Any = alice.messaging.create_stream(to)
    written = 0
    while written <= 8 * MIB - 100_000:
        writer.write(bytes(100_000), timeout=PATIENCE)
        written += 100_000
    with pytest.raises(StreamTimeout, match="bob has read nothing of it"):
        while written < 100_000_000:
            writer.write(bytes(100_000), timeout=0.2)
            written += 100_000
    writer.flush()
    assert ids == [writer.stream_id]
    assert 8 * MIB - 100_000 < written <= 8 * MIB + 100_000
    assert alice.stats().pending == 0
    bob.close()
    with pytest.raises(StreamInterrupted, match="bob has left"):
        writer.write(b"", timeout=PATIENCE)


def test_a_stream_ends_at_once_when_its_reader_leaves_while_it_takes_in(join: Join) -> None:
    """The reader's goodbye goes ahead of the end of its connection, also if another task is sending for the stream."""
    alice = join("alice")
    for number in range(20):
        bob = join(f"bob {number}")
        writer, _ = open_stream(alice, bob)
        with pytest.raises(StreamTimeout):
            while True:
                writer.write(bytes(100_000), timeout=0.01)
        bob.close()
        with pytest.raises(StreamInterrupted, match=f"bob {number} has left"):
            writer.write(b"", timeout=PATIENCE)


def test_an_interrupted_write_is_sent_whole_or_not_at_all(join: Join) -> None:
    """Ctrl-C at any place of it: what counts as sent comes, and all that came is acknowledged."""
    alice, bob = join("alice"), join("bob")
    writer, reader = open_stream(alice, bob)
    for place in range(1, 1000):
        was_interrupted = Interrupt(place).run(lambda: writer.write(b"x", timeout=PATIENCE))
        writer.flush()
        if not was_interrupted:
            break
    assert 50 < place < 999
    writer.close()
    assert sum(1 for _ in reader) == writer._sent


def test_a_reader_that_cancels_is_heard_in_the_midst_of_writing(join: Join) -> None:
    """The writer's next call raises the reason, and both clients go on."""
    alice, bob = join("alice"), join("bob")
    writer, reader = open_stream(alice, bob)

    def write() -> None:
        while True:
            writer.write(bytes(10_000))

    writing = start(write)
    assert len(reader.read(PATIENCE).data) == 10_000
    reader.close("seen enough")
    with pytest.raises(StreamCancelled, match=r"^bob ended the stream early: seen enough$"):
        writing.result(PATIENCE)
    with open_stream(alice, bob)[0] as again:
        again.write(b"x")


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_dropped_connection_interrupts_both_ends(join: Join, emulated: Emulator, who: str) -> None:
    """Whoever loses it: here at once, there when the room says so; what came can be read. Both clients go on."""
    alice, bob = join("alice"), join("bob")
    writer, reader = open_stream(alice, bob, resume_for=0)
    writer.write(b"one")
    writer.flush()
    emulated.drop(who)
    assert reader.read(PATIENCE).data == b"one"
    with pytest.raises(StreamInterrupted) as caught:
        reader.read(PATIENCE)
    assert caught.value.connection_alive
    with pytest.raises(StreamInterrupted):
        writer.reader.read(PATIENCE)
    with pytest.raises(StreamInterrupted):
        writer.write(b"two")


def test_streams_in_all_directions_at_once(join: Join) -> None:
    """4 clients, each with 4 streams to each of the 3 others: 48 streams of 30 chunks, all whole."""
    clients = [join(f"client-{n}", enable=False) for n in range(4)]
    got: queue.SimpleQueue[tuple[Any, str]] = queue.SimpleQueue()

    def take(reader: Any) -> None:
        got.put((reader.header["key"], hashlib.sha256(reader.read_all(PATIENCE)).hexdigest()))

    for client in clients:
        client.messaging.enable(take)

    def send(client: meshsync.RoomClient, peer: str, n: int) -> tuple[list[Any], str]:
        key, digest = [client.local_participant.name, peer, n], hashlib.sha256()
        to = client.messaging.wait_for_participant(name=peer, timeout=PATIENCE)
        with client.messaging.create_stream(to, {"key": key}) as writer:
            for part in range(30):
                piece = hashlib.shake_128(f"{key} {part}".encode()).digest(part * 997 % 5000)
                digest.update(piece)
                writer.write(piece)
        return key, digest.hexdigest()

    sending = [
        start(send, client, f"client-{peer}", n)
        for number, client in enumerate(clients)
        for peer in range(4)
        for n in range(4)
        if peer != number
    ]
    sent = [task.result(30) for task in sending]
    assert len(sent) == 48
    assert sorted((got.get(timeout=PATIENCE) for _ in sent), key=str) == sorted(sent, key=str)
