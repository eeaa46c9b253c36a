"""Clients whose programs crash, as their peers see it: confirmed messages, streams that last, rosters, leases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import meshsync
from meshsync import (
    DeliveryUnknown,
    MeshsyncError,
    MessageStreamChunk,
    MessageStreamReader,
    RoomClient,
    RoomMessageEvent,
    SendTimeout,
    StreamError,
    StreamInterrupted,
)
from simulator import Simulation, faults
from tests.support.worlds import simulated

HOW = ["process", "machine"]
LATENCY = 0.05


def receiver(got: list[int], wait: Callable[[RoomMessageEvent], object] = lambda event: None) -> None:
    """Be a program that gets numbers."""
    with meshsync.connect("demo", name="bob") as client:

        def note(event: RoomMessageEvent) -> None:
            got.append(event.message.message["n"])
            wait(event)

        client.messaging.on_message("chat", note)
        client.messaging.enable()
        client.wait_closed()


def present(client: RoomClient, name: str = "bob") -> meshsync.RemoteParticipant:
    """Return a participant when it is there."""
    return client.messaging.wait_for_participant(name, timeout=100)


# --- confirmed messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("later", [n / 100 for n in range(0, 25, 3)])
def test_a_confirmed_message_is_known_to_have_come_or_it_is_not(later: float, how: str) -> None:
    """A recipient that crashes at any instant of the exchange: what is confirmed was handed over before the crash.

    With 0.05 s each way through the room, it has it at 0.1 s, and the sender the confirmation at 0.2 s. Another life is
    another client, which knows nothing of it, and gets it neither twice nor at all.
    """
    got = list[int]()
    with simulated(latency=LATENCY) as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True)
        sim.spawn(receiver, got, name="bob")
        peer = present(alice)
        sim.sleep(1)
        sim.plan(faults.at(sim.now + later, faults.crash("bob", how, restart_after=0.1)))
        error: MeshsyncError | None = None
        try:
            alice.messaging.send_message(peer, "chat", {"n": 1}, confirm=True, timeout=10)
        except MeshsyncError as raised:
            error = raised
        sim.sleep(60)
        if error is None:
            assert later >= 0.1
            assert got == [1]
        else:
            assert later < 0.2 + LATENCY
            assert isinstance(error, (DeliveryUnknown, SendTimeout, meshsync.ParticipantNotFound)), error
            assert got in ([], [1])
        assert [one.name for one in alice.messaging.remote_participants] == ["bob"]
        alice.messaging.send_message(present(alice), "chat", {"n": 2}, confirm=True)
        assert got[-1] == 2
        assert got.count(2) == 1


def test_a_sender_that_crashes_sends_nothing_twice() -> None:
    """Its next life begins its own count; what was under way arrives once, and the recipient misses none."""
    got = list[int]()

    def sender(numbers: list[int]) -> None:
        with meshsync.connect("demo", name="alice") as client:
            client.messaging.enable()
            peer = present(client)
            while True:
                numbers.append(len(numbers))
                client.messaging.send_message(peer, "chat", {"n": numbers[-1]}, confirm=True)

    with simulated(latency=LATENCY) as sim:
        sim.room("demo")
        missed, numbers = list[object](), list[int]()
        bob = sim.room("demo").join("bob")
        bob.messaging.on("messages_missed", missed.append)
        bob.messaging.on_message("chat", lambda event: got.append(event.message.message["n"]))
        bob.messaging.enable()
        sim.spawn(sender, numbers, name="alice")
        for at in range(8):
            sim.sleep(3 + at / 31)
            sim.crash("alice")
            sim.restart("alice")
        sim.sleep(5)
    assert missed == []
    assert got == sorted(set(got))
    assert len(numbers) - len(got) <= 9  # of each life at most the last one


def test_a_client_that_comes_back_after_a_loss_is_another_matter_than_another_life() -> None:
    """A loss of the connection alone loses nothing; the crash behind it does not bring the offline client back."""
    got = list[int]()
    with simulated(latency=LATENCY) as sim:
        room = sim.room("demo")
        alice = room.join("alice", enable=True)
        sim.spawn(receiver, got, name="bob")
        peer = present(alice)
        sim.plan(faults.reset("bob"))
        alice.messaging.send_message(peer, "chat", {"n": 1}, confirm=True)
        sim.plan(faults.reset("bob"))
        sim.crash("bob")
        with pytest.raises(MeshsyncError):
            alice.messaging.send_message(peer, "chat", {"n": 2}, confirm=True, timeout=20)
        assert got == [1]


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("resume_for", [0.0, 60.0])
def test_the_reader_of_a_stream_is_told_that_its_writer_crashed(resume_for: float, how: str) -> None:
    """What came before is there, whole and in order; then comes an error, and not the end."""
    ended, chunks = list[BaseException | str](), list[int]()

    def read(reader: MessageStreamReader) -> None:
        try:
            for chunk in reader:
                chunks.append(chunk.header["n"])
            ended.append("regular")
        except StreamError as error:
            ended.append(error)

    def writer() -> None:
        with meshsync.connect("demo", name="bob") as client:
            client.messaging.enable()
            with client.messaging.create_stream(present(client, "alice"), resume_for=resume_for) as stream:
                n = 0
                while True:
                    stream.write(MessageStreamChunk(header={"n": n}, data=b"x"))
                    n += 1
                    meshsync.sleep(0.1)

    with simulated(latency=LATENCY) as sim:
        alice = sim.room("demo").join("alice")
        alice.messaging.enable(read)
        sim.spawn(writer, name="bob")
        sim.sleep(5)
        sim.crash("bob", how)
        sim.sleep(45 + 60 + 10)  # the room's heartbeat, and the time for which the reader waits for its writer's return
    (error,) = ended
    assert isinstance(error, StreamInterrupted)
    assert error.connection_alive
    assert "bob" in str(error) or "left" in str(error), str(error)
    assert chunks == [*range(len(chunks))]
    assert len(chunks) > 20


def test_a_writer_is_told_that_the_reader_crashed_and_another_life_takes_a_new_stream() -> None:
    """No chunk of the old stream comes to the new life."""
    got = list[int]()

    def program(sim: Simulation) -> None:
        with meshsync.connect("demo", name="bob") as client:
            client.messaging.enable(lambda reader: got.extend(chunk.header["life"] for chunk in reader))
            client.wait_closed()

    with simulated(latency=LATENCY) as sim:
        alice = sim.room("demo").join("alice", enable=True)
        sim.spawn(program, sim, name="bob")
        with pytest.raises(StreamError), alice.messaging.create_stream(present(alice)) as stream:
            for _ in range(5):
                stream.write(MessageStreamChunk(header={"life": 1}))
            sim.sleep(1)
            sim.crash("bob")
            sim.restart("bob")
            while True:
                stream.write(MessageStreamChunk(header={"life": "late"}))
                sim.sleep(0.1)
        sim.sleep(5)
        with alice.messaging.create_stream(present(alice)) as stream:
            stream.write(MessageStreamChunk(header={"life": 2}))
        sim.sleep(1)
    assert got == [1] * 5 + [2]


def test_a_file_goes_on_where_the_disk_of_the_receiver_has_it() -> None:
    """The receiver's process crashes in the midst; its next life finds the partial file, and completes it."""
    content = bytes(range(256)) * 4000

    def program(sim: Simulation) -> None:
        with meshsync.connect("demo", name="bob") as client:

            def take(reader: MessageStreamReader) -> None:
                with suppress(MeshsyncError):
                    client.messaging.receive_file(reader, sim.disk("bob"))

            client.messaging.enable(take)
            client.wait_closed()

    with simulated(latency=LATENCY, bandwidth=200_000) as sim:
        source = sim.disk("alice") / "data.bin"
        source.write_bytes(content)
        alice = sim.room("demo").join("alice", enable=True)
        sim.spawn(program, sim, name="bob")
        sim.plan(faults.at(4, faults.crash("bob", restart_after=1)))
        for _ in range(5):
            try:
                alice.messaging.send_file(source, present(alice), timeout=20)
                break
            except MeshsyncError:
                sim.sleep(2)
        sim.sleep(5)
        found = [path for path in sim.disk("bob").iterdir() if path.name == "data.bin"]
        assert len(sim.crashes) == 1
        assert [digest(path) for path in found] == [hashlib.sha256(content).hexdigest()]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- leases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_a_lease_of_a_holder_that_crashes_runs_out(how: str) -> None:
    """It is granted again when it is over, not before; a holder whose machine is silent is still listed then."""
    lasts, grants = 5.0, list[tuple[str, float]]()

    def keeper() -> None:
        with meshsync.connect("demo", name="keeper") as client:
            until = [0.0]

            def grant(event: RoomMessageEvent) -> None:
                if meshsync.monotonic() >= until[0] and event.participant is not None:
                    until[0] = meshsync.monotonic() + lasts
                    grants.append((event.participant.name, round(meshsync.monotonic(), 2)))
                    with suppress(MeshsyncError):
                        client.messaging.send_message(event.participant, "granted", {})

            client.messaging.on_message("want", grant)
            client.messaging.enable()
            client.wait_closed()

    def worker(name: str) -> None:
        with meshsync.connect("demo", name=name) as client:
            client.messaging.enable()
            peer = present(client, "keeper")
            while True:
                client.messaging.send_message(peer, "want", {})
                meshsync.sleep(0.5)

    with simulated(latency=0.01) as sim:
        sim.room("demo")
        sim.spawn(keeper, name="keeper")
        sim.spawn(worker, "one", name="one")
        sim.sleep(1)
        sim.spawn(worker, "two", name="two")
        sim.sleep(1)
        sim.crash("one", how)
        sim.sleep(5)
    assert [name for name, _ in grants] == ["one", "two"]
    assert grants[1][1] - grants[0][1] >= lasts
