"""Files between whole clients on virtual time: arrival, refusal, and whatever may go wrong on the way."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from meshsync.errors import (
    MeshsyncError,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
)
from meshsync.files.transfer import ReceivedFile, receive_file, send_file
from meshsync.filters.wrapping import WrappedReader, WrappedWriter
from meshsync.messages import Buffer
from meshsync.messaging import MessagingClient
from meshsync.room import RoomClient
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from simulator import Simulation, faults, latency, participants
from tests.support.worlds import simulated

SIZE = 3_000_000
CONTENT = bytes(range(250)) * (SIZE // 250)
HEADER = {"file": {"name": "film.mp4", "size": SIZE, "resume": True}}
"""With which it is offered."""


def is_partial(name: str) -> bool:
    """Return whether a name is the temporary one of a file in the making."""
    return name.startswith(".meshsync-") and name.endswith(".part")


class Pair:
    """Alice, who sends, and bob, whose callback stores what comes; 20 ms apart.

    Args:
        accepter: What bob does in place of that.
        options: For ``receive_file``.
    """

    def __init__(
        self,
        sim: Simulation,
        folder: Path,
        accepter: Callable[[StreamReader], object] | None = None,
        messaging: type[MessagingClient] = MessagingClient,
        **options: Any,
    ) -> None:
        self.sim = sim
        self.received: list[ReceivedFile | BaseException] = []
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.path = folder / "film.mp4"
        self.path.write_bytes(CONTENT)
        self.options = options
        self.room = sim.room("demo")
        self.alice: RoomClient = self.room.join("alice", enable=True, messaging=messaging)
        self.bob: RoomClient = self.room.join("bob", messaging=messaging)
        self.bob.messaging.enable(accepter or self.store)
        self.to_bob = self.alice.messaging.wait_for_participant(name="bob", timeout=10)

    def store(self, reader: StreamReader) -> None:
        """Receive a file and note what came of it."""
        try:
            self.received.append(receive_file(reader, self.inbox, **self.options))
        except BaseException as error:
            self.received.append(error)
            raise

    def send(self, **options: Any) -> Any:
        """Send alice's file to bob, and let everything settle."""
        try:
            return send_file(self.alice.messaging, self.path, self.to_bob, **options)
        finally:
            self.sim.sleep(5)


class NotResuming(MessagingClient):
    """A client whose streams end with their connections."""

    def create_stream(self, *arguments: Any, **options: Any) -> Any:
        """Open a stream."""
        return super().create_stream(*arguments, resume_for=0, **options)


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """Open a simulation in which every message takes 20 ms."""
    with simulated(latency=latency.constant(0.02), failing_receivers="log") as simulation:
        yield simulation


def test_a_file_arrives_and_is_confirmed(sim: Simulation, tmp_path: Path) -> None:
    """Byte for byte, with nothing left open at either end."""
    pair = Pair(sim, tmp_path)
    sent = pair.send()
    assert sent.is_confirmed
    assert sent.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert pair.received == [ReceivedFile(pair.inbox / "film.mp4", SIZE, sent.sha256)]
    assert (pair.inbox / "film.mp4").read_bytes() == CONTENT
    assert pair.send(name="again.mp4").is_confirmed
    assert sorted(os.listdir(pair.inbox)) == ["again.mp4", "film.mp4"]


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_files_arrive(sim: Simulation, tmp_path: Path, size: int) -> None:
    """An empty one too."""
    pair = Pair(sim, tmp_path)
    pair.path.write_bytes(CONTENT[:size])
    assert pair.send().size == size
    assert (pair.inbox / "film.mp4").read_bytes() == CONTENT[:size]


def test_runs_of_one_seed_are_the_same(tmp_path: Path) -> None:
    """The temporary name is drawn from the seed, the rest is in the transcript."""

    def run(folder: Path) -> tuple[str, list[str]]:
        folder.mkdir()
        names: list[str] = []
        with simulated(latency=latency.exponential(0.02)) as sim:
            pair = Pair(sim, folder, progress=lambda done, total: names.extend(os.listdir(folder / "inbox")))
            pair.send()
        return pair.room.transcript.digest(), names

    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    assert first == second
    assert first[1][0].startswith(".meshsync-")


def test_the_confirmation_takes_a_round_trip_and_not_one_for_each_chunk(sim: Simulation, tmp_path: Path) -> None:
    """Offer and accept, 24 chunks, ever more at once, their acknowledgement, the end, the answer: 14 ways of 40 ms."""
    pair = Pair(sim, tmp_path)
    begun = sim.now
    send_file(pair.alice.messaging, pair.path, pair.to_bob)
    assert sim.now - begun <= 14 * 0.04


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "film.mp4", "there is a file of that name already"),
    ({"max_size": 1000}, "", "the file is too large: at most 1000 bytes are taken, it has 3000000"),
]


@pytest.mark.parametrize(("options", "existing", "reason"), REFUSALS)
def test_a_file_that_is_not_wanted_is_rejected_with_the_reason(
    sim: Simulation, tmp_path: Path, options: dict[str, Any], existing: str, reason: str
) -> None:
    """Nothing of it is sent, and the sender learns nothing of the receiver's paths."""
    pair = Pair(sim, tmp_path, **options)
    if existing:
        (pair.inbox / existing).write_text("kept")
    with pytest.raises(StreamRejected) as caught:
        pair.send()
    assert str(caught.value) == reason
    assert pair.room.transcript.messages(type="stream.chunk") == ()
    assert os.listdir(pair.inbox) == ([existing] if existing else [])


def test_a_disk_that_fills_up_ends_the_sending(
    sim: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is told why, the receiver keeps nothing, and both go on."""
    pair = Pair(sim, tmp_path)
    with monkeypatch.context() as patch:
        written = 0

        def fill(partial: Any, data: bytes) -> None:
            nonlocal written
            written += len(data)
            if written > SIZE // 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(pair.inbox))

        patch.setattr("meshsync.files.partial_file.PartialFile.write", fill)
        with pytest.raises(
            StreamCancelled, match="the receiver cannot store the file: No space left on device"
        ) as caught:
            pair.send()
    assert os.fspath(tmp_path) not in str(caught.value)
    assert os.listdir(pair.inbox) == []
    assert pair.send().is_confirmed


def test_a_file_that_changes_while_it_is_sent_does_not_arrive(sim: Simulation, tmp_path: Path) -> None:
    """The receiver is told why."""
    pair = Pair(sim, tmp_path)

    def grow(done: int, total: int | None) -> None:
        if done == total:
            return
        with pair.path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(StreamError, match="the file changed while it was sent"):
        pair.send(progress=grow)
    (error,) = pair.received
    assert isinstance(error, StreamInterrupted)
    assert "the file changed while it was sent" in str(error)
    assert all(is_partial(name) for name in os.listdir(pair.inbox))
    assert pair.send().is_confirmed
    assert (pair.inbox / "film.mp4").read_bytes() == pair.path.read_bytes()


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize("after", [0.05, 0.09, 0.2])
def test_a_connection_that_is_lost_leaves_a_part_at_most(
    sim: Simulation, tmp_path: Path, name: str, after: float
) -> None:
    """Whichever, whenever: the sender raises, and the receiver has nothing under the file's name."""
    pair = Pair(sim, tmp_path, messaging=NotResuming)
    sim.plan(faults.at(sim.now + after, faults.reset(name)))
    sim.plan(faults.during(sim.now, sim.now + 60, faults.throttle("alice", 2_000_000)))
    with pytest.raises(MeshsyncError):
        pair.send()
    assert len(pair.received) <= 1
    assert all(isinstance(error, StreamInterrupted) for error in pair.received)
    assert all(is_partial(name) for name in os.listdir(pair.inbox))


def test_a_program_that_only_reads_gets_all_of_it_and_does_not_confirm(sim: Simulation, tmp_path: Path) -> None:
    """It gets the regular end too; a sender that has not said that it needs none hears of no confirmation."""
    read: list[bytes] = []
    pair = Pair(sim, tmp_path, lambda reader: read.append(reader.read_all()))
    begun = sim.now
    assert not pair.send(confirm=False).is_confirmed
    with pytest.raises(StreamTimeout, match="give confirm=False where the recipient does not use receive_file"):
        pair.send(timeout=30)
    assert 30 < sim.now - begun < 45
    assert read == [CONTENT, CONTENT]


class OfficialReceiver(participants.Participant):
    """Accepts every stream and joins its data, as an official program that knows nothing of files would."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.data = b""
        self.headers: list[Mapping[str, Any]] = []
        self.ends: list[str | None] = []

    def on_stream(self, offer: participants.Offer) -> None:
        """Accept."""
        self.headers.append(offer.header)
        self.accept(offer, window=None)

    def on_chunk(self, stream: participants.Stream, chunk: participants.Chunk) -> None:
        """Keep the data."""
        self.headers.append(chunk.header)
        self.data += chunk.data

    def on_stream_end(self, stream: participants.Stream, error: str | None) -> None:
        """Note how it ended."""
        self.ends.append(error)


def test_an_official_receiver_gets_the_data_in_order_and_is_not_waited_for(sim: Simulation, tmp_path: Path) -> None:
    """It sees size, name and SHA-256 in the headers, if it looks."""
    pair, carol = Pair(sim, tmp_path), OfficialReceiver("carol")
    pair.room.add(carol)
    to_carol = pair.alice.messaging.wait_for_participant(name="carol", timeout=10)
    begun = sim.now
    sent = send_file(pair.alice.messaging, pair.path, to_carol, chunk_size=1_000_000)
    assert sim.now - begun < 0.4
    sim.sleep(1)
    assert not sent.is_confirmed
    assert (carol.data, carol.ends) == (CONTENT, [None])
    assert carol.headers == [HEADER, {}, {}, {"sha256": sent.sha256}]


class OfficialSender(participants.Participant):
    """Opens a stream to bob, writes chunks without waiting, and closes it."""

    def __init__(self, name: str, header: Mapping[str, Any], chunks: list[tuple[Mapping[str, Any], bytes]]) -> None:
        super().__init__(name)
        self.header = header
        self.chunks = chunks

    def on_start(self) -> None:
        """Open it."""
        bob = self.peer("bob")
        assert bob is not None
        self.open_stream(bob, self.header, window=None)

    def on_stream_answer(self, stream: participants.Stream, error: str | None) -> None:
        """Write all there is."""
        for header, data in self.chunks:
            stream.write(data, header)
        stream.close()


def test_an_official_sender_is_received_and_checked(sim: Simulation, tmp_path: Path) -> None:
    """With the documented headers as a file, and without any as what came until the close."""
    pair, digest = Pair(sim, tmp_path), hashlib.sha256(CONTENT).hexdigest()
    pieces = CONTENT[: SIZE // 2], CONTENT[SIZE // 2 :]
    header = {"file": {"name": "carol.mp4", "size": SIZE}}
    pair.room.add(OfficialSender("carol", header, [({}, pieces[0]), ({"sha256": digest}, pieces[1])]))
    sim.sleep(2)
    assert pair.received == [ReceivedFile(pair.inbox / "carol.mp4", SIZE, digest)]
    pair.options = {"name": "plain.mp4"}
    pair.room.add(OfficialSender("dave", {}, [({}, piece) for piece in pieces]))
    sim.sleep(2)
    assert pair.received[1:] == [ReceivedFile(pair.inbox / "plain.mp4", SIZE, digest)]
    assert (pair.inbox / "plain.mp4").read_bytes() == CONTENT


class Inverted(WrappedWriter):
    """Turns every bit, and holds a chunk back until the next, or until it is told to hand on all it has."""

    held: MessageStreamChunk | None = None

    def write(self, chunk: Any, **options: Any) -> None:
        """Hand on the one before."""
        before, self.held = self.held, MessageStreamChunk(chunk.header, invert(chunk.data))
        if before is not None:
            super().write(before, **options)

    def flush(self, **options: Any) -> None:
        """Hand on all."""
        if self.held is not None:
            held, self.held = self.held, None
            super().write(held, **options)
        super().flush(**options)

    def close(self, **options: Any) -> None:
        """Hand on all, and end."""
        self.flush(**options)
        super().close(**options)


class Righted(WrappedReader):
    """Turns every bit back."""

    def _read(self, timeout: float | None) -> MessageStreamChunk | None:
        """Turn one chunk."""
        chunk = super()._read(timeout)
        return chunk and MessageStreamChunk(chunk.header, invert(chunk.data))


def invert(data: Buffer) -> bytes:
    """Turn every bit."""
    return bytes(data).translate(bytes(range(255, -1, -1)))


class Inverting(MessagingClient):
    """Wraps its streams, those that it opens and those that it is offered."""

    def create_stream(self, *arguments: Any, **options: Any) -> StreamWriter:
        """Wrap the writer."""
        return Inverted(super().create_stream(*arguments, **options))

    def offered(self, reader: StreamReader) -> StreamReader:
        """Wrap the reader."""
        return Righted(reader)


def test_files_go_through_what_a_subclass_wraps_streams_in(sim: Simulation, tmp_path: Path) -> None:
    """Both ways: the room sees only what the wrapper makes of them, and the confirmation comes back."""
    pair = Pair(sim, tmp_path, messaging=Inverting)
    assert pair.send().is_confirmed
    assert (pair.inbox / "film.mp4").read_bytes() == CONTENT
    assert pair.room.transcript.messages(type="stream.chunk")


def test_of_two_files_of_one_name_at_once_the_first_to_be_complete_stays(sim: Simulation, tmp_path: Path) -> None:
    """The other is refused at its end, and its sender told."""
    pair = Pair(sim, tmp_path)
    carol = pair.room.join("carol", enable=True)
    other = tmp_path / "other"
    other.write_bytes(CONTENT + b"longer")
    told: list[str] = []

    def send_other() -> None:
        to_bob = carol.messaging.wait_for_participant(name="bob", timeout=10)
        try:
            send_file(carol.messaging, other, to_bob, name="film.mp4", chunk_size=20_000)
        except StreamCancelled as error:
            told.append(str(error))

    task = sim.spawn(send_other)
    pair.send()
    task.join(60)
    assert told == ["bob ended the stream early: there is a file of that name already"]
    assert (pair.inbox / "film.mp4").read_bytes() == CONTENT
    assert os.listdir(pair.inbox) == ["film.mp4"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_befalls_the_connections_there_is_a_whole_file_or_none(seed: int, tmp_path: Path) -> None:
    """A loss at any time of either: confirmed means there, there means whole, and at most a part stays beside it."""
    with simulated(seed, latency=latency.exponential(0.03), schedule="random") as sim:
        pair = Pair(sim, tmp_path, timeout=20)
        sim.plan(faults.at(sim.now + 0.04 * seed, faults.reset("alice" if seed % 2 else "bob")))
        is_confirmed = False
        with suppress(MeshsyncError):
            is_confirmed = pair.send(timeout=20).is_confirmed
        sim.sleep(30)
    names = [name for name in os.listdir(pair.inbox) if not is_partial(name)]
    assert names in ([], ["film.mp4"])
    assert len(os.listdir(pair.inbox)) <= 1
    if is_confirmed:
        assert names == ["film.mp4"]
    if names:
        assert (pair.inbox / "film.mp4").read_bytes() == CONTENT
        assert isinstance(pair.received[0], ReceivedFile)
