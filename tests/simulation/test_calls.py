"""Duplex streams in the simulation: between clients, over the room's bridge, and in the transcript."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import meshsync
from meshsync import MessageStreamChunk, StreamReader
from simulator import Simulation, diff, faults, latency, participants
from simulator.record.record import Record
from simulator.record.records import Records
from simulator.replaying.steps import read_script

TRAVEL = 0.025
"""Seconds that each way between a client and its room takes."""


def record_of(records: Iterable[Record]) -> Records:
    """Return some records as one of a room."""
    made = Records()
    for record in records:
        made.add(record)
    return made


def receive(reader: StreamReader) -> None:
    """Answer one chunk, and read to the end."""
    if "no" in reader.header:
        raise meshsync.StreamRejected("not today")
    reader.accept()
    reader.writer.write(MessageStreamChunk({"from": "bob"}, b"hello"))
    for _ in reader:
        pass


def test_calls_are_recorded_as_the_streams_they_carry() -> None:
    """With who said what to whom, what became of it, and numbered like any other stream."""
    with Simulation(seed=1, latency=latency.constant(TRAVEL), failing_receivers="log") as sim:
        demo = sim.room("demo")
        alice, bob = demo.join("alice", enable=True), demo.join("bob")
        bob.messaging.enable(receive)
        demo.add(participants.Rejecting("busy", reason="in a call"), participants.Sink("sink"))
        sim.sleep(1)
        here = {other.name: other for other in alice.messaging.remote_participants}
        create = alice.messaging.create_stream
        with create(here["bob"], {"k": 1}, kind="duplex") as writer:
            assert writer.reader.read(5) == MessageStreamChunk({"from": "bob"}, b"hello")
            writer.write(b"data")
        with create(here["sink"], kind="duplex") as writer:
            writer.write(b"over the bridge")
        for name, header, reason in (("bob", {"no": 1}, "not today"), ("busy", {}, "in a call")):
            with pytest.raises(meshsync.StreamRejected, match=reason):
                create(here[name], header, kind="duplex")
        with pytest.raises(meshsync.ParticipantNotFound):
            create("nobody", kind="duplex")
        writer = create(here["bob"], kind="duplex")
        writer.abort("changed my mind")
        sim.sleep(1)
    told = [
        (record.stream_id.removeprefix("stream "), record.sender, record.recipient, record.type[7:], record.outcome)
        for record in demo.transcript
        if record.kind in ("stream", "message")
    ]
    assert [line for line in told if line[0] == "1"] == [
        ("1", "alice", "bob", "open", "delivered"),
        ("1", "bob", "alice", "accept", "delivered"),
        ("1", "bob", "alice", "chunk", "delivered"),
        ("1", "alice", "bob", "chunk", "delivered"),
        ("1", "alice", "bob", "close", "delivered"),
    ]
    assert [line for line in told if line[0] == "2"] == [
        ("2", "alice", "sink", "open", "delivered"),
        ("2", "sink", "alice", "accept", "delivered"),
        ("2", "alice", "sink", "chunk", "delivered"),
        ("2", "alice", "sink", "close", "delivered"),
    ]
    assert [line[1:] for line in told if line[0] in "345"] == [
        ("alice", "bob", "open", "delivered"),
        ("bob", "alice", "reject", "rejected: not today"),
        ("alice", "busy", "open", "delivered"),
        ("busy", "alice", "reject", "rejected: in a call"),
        ("alice", "nobody", "open", "error 1003: the participant was not found"),
    ]
    assert told[-1] == ("6", "alice", "bob", "meshsync.cancel", "delivered")
    travelled = [r.latency_s for r in demo.transcript if r.stream_id and r.outcome == "delivered"]
    # Straight through the room, or to a scripted one behind it.
    assert set(travelled) == {2 * TRAVEL}


def test_fault_of_rejecting_holds_for_calls_too() -> None:
    """Whichever way a stream is opened."""
    with Simulation(seed=1) as sim:
        demo = sim.room("demo")
        alice, bob = demo.join("alice", enable=True), demo.join("bob")
        bob.messaging.enable(receive)
        sim.plan(faults.reject_streams("bob", reason="on holiday"))
        for kind in ("classic", "duplex"):
            with pytest.raises(meshsync.StreamRejected, match="on holiday"):
                alice.messaging.create_stream(bob.local_participant, kind=kind)


def test_peer_lost_in_the_midst_of_a_call() -> None:
    """Both ends hear of it, and what came is read first."""
    with Simulation(seed=1, latency=latency.constant(TRAVEL)) as sim:
        demo = sim.room("demo")
        alice, bob = demo.join("alice", enable=True, reconnect=False), demo.join("bob")
        readers: list[StreamReader] = []
        bob.messaging.enable(readers.append)
        writer = alice.messaging.create_stream(bob.local_participant, kind="duplex")
        writer.write(b"first")
        sim.sleep(1)
        sim.plan(faults.at(sim.now, faults.reset("alice")))
        sim.sleep(1)
        assert readers[0].read() == MessageStreamChunk({}, b"first")
        with pytest.raises(meshsync.StreamInterrupted, match="left"):
            readers[0].read()
        with pytest.raises(meshsync.StreamInterrupted) as caught:
            writer.write(b"second")
        assert not caught.value.connection_alive


@pytest.mark.parametrize("kind", ["duplex", "classic"])
def test_a_stream_that_the_room_rejects_for_its_time_is_recorded_so(kind: str) -> None:
    """From the room itself; between two classic clients it has no time limit, and its record is that of the cancel."""
    with Simulation(seed=1, latency=latency.constant(TRAVEL)) as sim:
        demo = sim.room("demo")
        alice = demo.join("alice", enable=True)
        demo.add(participants.Silent("silent"))
        silent = alice.messaging.wait_for_participant(name="silent")
        with pytest.raises(meshsync.StreamTimeout):
            alice.messaging.create_stream(silent, kind=kind, timeout=60)
        sim.sleep(1)
    rejected = [record for record in demo.transcript if record.type == "stream.reject"]
    if kind == "classic":
        assert rejected == []
        return
    (record,) = rejected
    assert (record.sender, record.recipient, record.stream_id) == ("", "alice", "stream 1")
    assert record.outcome == "rejected: the participant did not answer within 30 s"
    assert 30 < record.time_s < 31
    assert "(room)" in demo.transcript.to_text()
    script = read_script(demo.transcript)
    assert script.left_out == {"rejected by the room": 1}
    assert script.participants == ("alice", "silent")
    others = [other for other in demo.transcript if other is not record]
    assert not diff(demo.transcript, record_of(others))
