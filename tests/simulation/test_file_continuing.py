"""Files that go on where an earlier transfer stopped, between whole clients of which one or the other is started anew.

A process is ended by an exception that no ``except Exception`` catches, on the way of the data, and by cutting its
connection; what the system does then, closing files and giving locks back, is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from meshsync.errors import MeshsyncError, StreamInterrupted
from meshsync.files.transfer import ReceivedFile, SentFile, receive_file, send_file
from meshsync.room import RoomClient
from meshsync.streams.interfaces import StreamReader
from simulator import Simulation, faults, latency
from tests.support.worlds import simulated

CHUNK_SIZE = 256 * 1024
SIZE = 20 * CHUNK_SIZE
CONTENT = bytes(range(256)) * (SIZE // 256)


class Killed(BaseException):
    """The end of a process."""


class Restarting:
    """Alice sends a file to bob again and again, each time as a new client, until it has arrived.

    Attributes:
        first: Bytes of which bob reported each transfer to begin.
    """

    def __init__(self, sim: Simulation, folder: Path) -> None:
        self.sim = sim
        self.room = sim.room("demo")
        self.path = folder / "film.mp4"
        self.path.write_bytes(CONTENT)
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.first: list[int] = []
        self.received: list[ReceivedFile] = []
        self.kill_receiver_at = SIZE + 1

    def join_bob(self) -> RoomClient:
        """Join as bob, to store what is sent."""
        bob = self.room.join("bob")
        bob.messaging.enable(self.store)
        return bob

    def store(self, reader: StreamReader) -> None:
        """Receive a file, or be killed on the way."""
        told: list[int] = []

        def progress(done: int, total: int | None) -> None:
            told.append(done)
            if done >= self.kill_receiver_at:
                raise Killed

        try:
            self.received.append(receive_file(reader, self.inbox, progress=progress))
        except (Killed, StreamInterrupted):
            reader.close("the process ended")
        finally:
            self.first.append(next((done for done in told if done), 0))

    def send(self, kill_at: int = SIZE + 1, name: str = "alice") -> SentFile:
        """Send the file as a new client."""
        alice = self.room.join(name, enable=True)

        def progress(done: int, total: int | None) -> None:
            self.sim.sleep(0.05)  # Else all of it is written before much of it is sent.
            if done >= kill_at:
                raise Killed

        try:
            to_bob = alice.messaging.wait_for_participant(name="bob", timeout=10)
            return send_file(alice.messaging, self.path, to_bob, chunk_size=CHUNK_SIZE, progress=progress, timeout=10)
        finally:
            alice.close()
            self.sim.sleep(2)

    def left(self) -> list[bytes]:
        """Return the contents of the parts that are there."""
        return [path.read_bytes() for path in self.inbox.glob(".meshsync-*.part")]

    def sent_bytes(self) -> int:
        """Return the bytes that chunks brought to the room, headers included."""
        return sum(record.size_bytes for record in self.room.transcript.messages(type="stream.chunk"))


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """Open a simulation in which every message takes 20 ms, and 2 MB go through in a second."""
    with simulated(latency=latency.constant(0.02), failing_receivers="log") as simulation:
        yield simulation


@pytest.fixture
def pair(sim: Simulation, tmp_path: Path) -> Restarting:
    """Return the two, bob being there."""
    restarting = Restarting(sim, tmp_path)
    restarting.join_bob()
    return restarting


def check_whole(pair: Restarting) -> None:
    """Assert that the file is there, and nothing beside it."""
    assert os.listdir(pair.inbox) == ["film.mp4"]
    assert (pair.inbox / "film.mp4").read_bytes() == CONTENT


def test_a_sender_that_is_started_anew_sends_the_rest(pair: Restarting) -> None:
    """What arrived before it was killed is not sent again."""
    with pytest.raises(Killed):
        pair.send(kill_at=8 * CHUNK_SIZE)
    (part,) = pair.left()
    assert CONTENT.startswith(part)
    assert len(part) >= 4 * CHUNK_SIZE
    before = pair.sent_bytes()
    assert pair.send().is_confirmed
    check_whole(pair)
    assert pair.first[-1] == len(part)
    assert pair.sent_bytes() - before < SIZE - len(part) + 10_000


def test_a_receiver_that_is_started_anew_gets_the_rest(pair: Restarting) -> None:
    """Its part was written as it came."""
    pair.kill_receiver_at = 8 * CHUNK_SIZE
    with pytest.raises(MeshsyncError):
        pair.send()
    assert [len(part) for part in pair.left()] == [8 * CHUNK_SIZE]
    pair.kill_receiver_at = SIZE + 1
    before = pair.sent_bytes()
    assert pair.send().is_confirmed
    check_whole(pair)
    assert pair.sent_bytes() - before < 12 * CHUNK_SIZE + 10_000


def test_of_a_part_that_is_whole_already_nothing_is_sent(pair: Restarting) -> None:
    """A receiver may be killed with all of it, before the file has its name."""
    pair.kill_receiver_at = SIZE
    with pytest.raises(MeshsyncError):
        pair.send()
    assert pair.left() == [CONTENT]
    pair.kill_receiver_at = SIZE + 1
    before = pair.sent_bytes()
    assert pair.send().is_confirmed
    check_whole(pair)
    assert pair.sent_bytes() - before < 10_000


def change_start(pair: Restarting) -> None:
    """Change the file where the receiver has it already."""
    pair.path.write_bytes(b"x" + CONTENT[1:])


def change_rest(pair: Restarting) -> None:
    """Change the file where the receiver has not got it."""
    pair.path.write_bytes(CONTENT[:-1] + b"x")


def change_part(pair: Restarting) -> None:
    """Damage the part."""
    write_part(pair, lambda data: data[:1000] + b"x" + data[1001:])


def cut_part(pair: Restarting) -> None:
    """Lose the end of the part, as at a power failure."""
    write_part(pair, lambda data: data[:-1000])


def lengthen_part(pair: Restarting) -> None:
    """Have more than the file in the part."""
    write_part(pair, lambda data: CONTENT + b"more")


def empty_part(pair: Restarting) -> None:
    """Have nothing in it."""
    write_part(pair, lambda data: b"")


def shorten_file(pair: Restarting) -> None:
    """Have the file end before the part does."""
    pair.path.write_bytes(CONTENT[: 5 * CHUNK_SIZE])


def write_part(pair: Restarting, change: Callable[[bytes], bytes]) -> None:
    """Change the content of the part."""
    (path,) = pair.inbox.glob(".meshsync-*.part")
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("disturb", "begins"),
    [
        (change_start, CHUNK_SIZE),
        (change_rest, 8 * CHUNK_SIZE),
        (change_part, CHUNK_SIZE),
        (cut_part, 8 * CHUNK_SIZE - 1000),
        (lengthen_part, CHUNK_SIZE),
        (empty_part, CHUNK_SIZE),
        (shorten_file, CHUNK_SIZE),
    ],
)
def test_what_changes_in_between_is_found_by_comparing(
    pair: Restarting, disturb: Callable[[Restarting], None], begins: int
) -> None:
    """The file as it is now arrives whole; it goes on only behind what it has in common with the part."""
    pair.kill_receiver_at = 8 * CHUNK_SIZE
    with pytest.raises(MeshsyncError):
        pair.send()
    disturb(pair)
    pair.kill_receiver_at = SIZE + 1
    assert pair.send().is_confirmed
    assert os.listdir(pair.inbox) == ["film.mp4"]
    assert (pair.inbox / "film.mp4").read_bytes() == pair.path.read_bytes()
    assert pair.first == [CHUNK_SIZE, begins]


def test_a_part_that_did_not_fit_is_of_use_to_the_next_transfer(pair: Restarting) -> None:
    """It is replaced by what comes, not kept behind it."""
    pair.kill_receiver_at = 8 * CHUNK_SIZE
    with pytest.raises(MeshsyncError):
        pair.send()
    change_start(pair)
    pair.kill_receiver_at = 4 * CHUNK_SIZE
    with pytest.raises(MeshsyncError):
        pair.send()
    pair.kill_receiver_at = SIZE + 1
    assert pair.send().is_confirmed
    assert pair.first == [CHUNK_SIZE, CHUNK_SIZE, 4 * CHUNK_SIZE]
    assert (pair.inbox / "film.mp4").read_bytes() == pair.path.read_bytes()


def test_a_part_of_one_sender_is_not_offered_to_another(pair: Restarting) -> None:
    """Not even its length."""
    with pytest.raises(Killed):
        pair.send(kill_at=8 * CHUNK_SIZE)
    assert pair.send(name="carol").is_confirmed
    assert pair.first[-1] == CHUNK_SIZE
    assert len(pair.left()) == 1


def test_two_transfers_of_one_file_at_once_do_not_share_a_part(sim: Simulation, pair: Restarting) -> None:
    """Two clients of one name send it at the same time: each transfer is whole, and the first to be complete stays."""
    outcomes: list[object] = []

    def send() -> None:
        try:
            outcomes.append(pair.send())
        except MeshsyncError as error:
            outcomes.append(str(error))

    tasks = [sim.spawn(send) for _ in range(2)]
    for task in tasks:
        task.join(60)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["SentFile", "str"]
    assert "bob ended the stream early: there is a file of that name already" in outcomes
    check_whole(pair)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_arrives_however_often_either_process_is_killed(seed: int, tmp_path: Path) -> None:
    """Each transfer goes on where the one before it stopped, wherever that was."""
    chance = Random(seed)
    with simulated(seed, latency=latency.constant(0.04)) as sim:
        pair = Restarting(sim, tmp_path)
        bob = pair.join_bob()
        sim.plan(faults.during(sim.now, sim.now + 3600, faults.throttle("alice", 2_000_000)))
        for attempt in range(40):
            at = (attempt + 1) * SIZE // 20 - chance.randrange(SIZE // 20)
            if chance.random() < 0.5:
                pair.kill_receiver_at = at
                with suppress(MeshsyncError):
                    pair.send()
                bob.close()
                bob = pair.join_bob()
                pair.kill_receiver_at = SIZE + 1
            else:
                with suppress(MeshsyncError, Killed):
                    pair.send(kill_at=at)
            if pair.received:
                break
            assert all(CONTENT.startswith(part) for part in pair.left())
        check_whole(pair)
        began = [first for first in pair.first if first]  # Of some transfers nothing went out.
        assert len(began) > 5
        assert began == sorted(began)


def test_part_of_a_sender_that_is_still_waited_for_is_taken_over(sim: Simulation, pair: Restarting) -> None:
    """Its process was killed, which bob cannot know: its stream is kept for a minute. The next one needs the part."""
    pair.join_bob()
    alice = pair.room.join("alice", enable=True, reconnect_timeout=1)
    to_bob = alice.messaging.wait_for_participant(name="bob", timeout=10)

    def progress(done: int, total: int | None) -> None:
        sim.sleep(0.05)  # Else all of it is written before much of it is sent.
        if done == 8 * CHUNK_SIZE:
            sim.plan(faults.during(sim.now, sim.now + 3, faults.refuse_connect("alice")), faults.reset("alice"))

    with pytest.raises(MeshsyncError):
        send_file(alice.messaging, pair.path, to_bob, chunk_size=CHUNK_SIZE, progress=progress, timeout=2)
    sim.sleep(4)
    assert pair.first == []
    assert pair.send().is_confirmed
    assert pair.first[0] > CHUNK_SIZE
    check_whole(pair)
    sim.sleep(60)
    assert (len(pair.first), pair.left()) == (2, [])


def test_a_receiver_in_a_way_of_its_own_is_not_waited_for_long(sim: Simulation, tmp_path: Path) -> None:
    """Where the program says that it confirms nothing, it is not asked for a part either."""
    pair, read = Restarting(sim, tmp_path), []
    bob = pair.room.join("bob")
    bob.messaging.enable(lambda reader: read.append(reader.read_all()))
    alice = pair.room.join("alice", enable=True)
    to_bob = alice.messaging.wait_for_participant(name="bob", timeout=10)
    begun = sim.now
    send_file(alice.messaging, pair.path, to_bob, confirm=False)
    assert sim.now - begun < 2
    sim.sleep(1)
    assert read == [CONTENT]
