"""A record is replayed by scripted participants, in a simulation."""

from __future__ import annotations

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import Simulation, Transcript, diff, faults, latency, participants, replay_room
from simulator.errors import ReplayFailed, ReplayStalled, SimulationNested
from simulator.record.records import Record
from simulator.replaying.steps import read_script, records_of
from tests.support.conversations import ROOM, hold
from tests.support.worlds import simulated


def recorded(**options: object) -> Transcript:
    """Return the record of the conversation."""
    with simulated(**options) as sim:  # type: ignore[arg-type]
        hold()
        sim.sleep(1)
        return sim.room(ROOM).transcript


def test_two_records_of_one_conversation_are_equal_whatever_chance_and_schedule() -> None:
    """Several rounds, tasks and streams: times, ids and the order between participants differ."""
    one = recorded()
    for seed, schedule in enumerate(["fifo", "random", "pct"]):
        other = recorded(seed=seed, latency=latency.lognormal(0.02, 0.5), schedule=schedule)
        assert not diff(one, other), diff(one, other)
        assert diff(one, other, ignore=("id",)) and diff(one, other, ignore=("time",))
    assert len(one) > 50


def test_a_record_is_said_again_as_it_was() -> None:
    """By scripted participants alone: messages, attachments, streams, rejections, attributes, errors, leaving."""
    for record in (recorded(), recorded(latency=latency.lognormal(0.05, 0.8), seed="other")):
        replayed = replay_room(record, latency=0.01)
        assert not replayed.difference, replayed.difference
        assert (replayed.missing, replayed.left_out) == ((), {})
        assert str(replayed).startswith("replayed as it was: equal: ")
        kinds = {(record.kind, record.type) for record in replayed.transcript}
        assert kinds >= {("message", "end"), ("stream", "stream.reject"), ("message", "stream.chunk")}


def test_steps_become_the_records_that_they_were_made_of() -> None:
    """Nothing that is compared is lost on the way."""
    record = recorded()
    script = read_script(record)
    assert not diff(record, records_of(script.steps))
    assert [step.verb for step in script.steps if step.type == "end"] == ["broadcast"]


def test_a_saved_record_is_said_again(tmp_path) -> None:
    """From its file, attachments and ids included."""
    recorded().save(tmp_path / "lab.jsonl")
    replayed = replay_room(tmp_path / "lab.jsonl")
    assert not replayed.difference
    assert replayed.transcript.attachments


def test_scripted_participants_of_all_kinds_are_said_again() -> None:
    """Those without threads, and streams that are cancelled by either side."""
    with simulated(latency=0.02) as sim:
        room = sim.room("lab")
        room.add(participants.Echo("echo", delay=0.5), participants.Sink("sink", cancel_after=1000))
        room.add(participants.Streamer("source", "sink", [bytes(600)] * 5, 0.1), participants.Rejecting("busy"))
        ada = room.join("ada", enable=True)
        echo = ada.messaging.wait_for_participant(name="echo")
        for number in range(3):
            ada.messaging.send_message(echo, "chat", {"number": number})
        busy = ada.messaging.wait_for_participant(name="busy")
        with pytest.raises(meshsync.StreamRejected):
            ada.messaging.create_stream(busy, {})
        sink = ada.messaging.wait_for_participant(name="sink")
        ada.messaging.create_stream(sink, {"to": "abort"}).abort("never mind")
        sim.sleep(5)
        record = room.transcript.copy()
    replayed = replay_room(record)
    assert not replayed.difference, replayed.difference
    assert "stream.meshsync.cancel" in {record.type for record in replayed.transcript}


def test_who_takes_streams_only_later_does_so_again() -> None:
    """Until then its client rejects them by itself, without its program."""
    with simulated(latency=0.01) as sim:
        room = sim.room("lab")
        ada, ben = room.join("ada", enable=True), room.join("ben", enable=True)
        to_ben = ada.messaging.wait_for_participant(name="ben")
        for _ in range(2):
            with pytest.raises(meshsync.StreamRejected):
                ada.messaging.create_stream(to_ben, {"now": False})
        ben.messaging.enable(lambda reader: reader.read_all())
        with ada.messaging.create_stream(to_ben, {"now": True}) as writer:
            writer.write(b"data")
        sim.sleep(1)
        record = room.transcript.copy()
    for seed, schedule in enumerate(["fifo", "random", "pct"]):
        replayed = replay_room(record, latency=latency.lognormal(0.05, 0.5), seed=seed, schedule=schedule)
        assert not replayed.difference, replayed.difference
    assert [one.type for one in record.streams() if one.sender == "ben"][:3] == ["stream.reject"] * 2 + [
        "stream.accept"
    ]


def test_large_chunks_and_streams_that_end_by_leaving_are_said_again() -> None:
    """However their writer cuts them, and whether it tells that it leaves."""
    with simulated(latency=0.02) as sim:
        room = sim.room("lab")
        room.add(participants.Sink("sink"), participants.Streamer("one", "sink", [bytes(300_000)] * 2, 0.1))
        room.add(participants.Streamer("two", "sink", [b"x"] * 5, 0.1, window=None, leave_after=3))
        room.add(participants.Streamer("three", "sink", [b"x"] * 5, 0.1, leave_after=3))
        sim.sleep(5)
        record = room.transcript.copy()
    replayed = replay_room(record)
    assert not replayed.difference, replayed.difference
    parts = replayed.transcript.messages("stream.chunk", sender="one")
    assert len(parts) > 2 == len(record.messages("stream.chunk", sender="one"))


def test_two_participants_of_one_name_keep_apart() -> None:
    """Each says its own."""
    with simulated() as sim:
        room = sim.room("lab")
        first, second, ada = (room.join(name, enable=True) for name in ("bob", "bob", "ada"))
        for number, bob in enumerate([second, first, second]):
            bob.messaging.broadcast_message("chat", {"number": number})
        sim.sleep(1)
        ada.messaging.send_message(second.local_participant.id, "chat", {"to": second.local_participant.id})
        sim.sleep(1)
        record = room.transcript.copy()
    replayed = replay_room(record)
    assert not replayed.difference, replayed.difference
    assert [one.sender for one in replayed.transcript.messages("chat", to="ada")] == ["bob#2", "bob", "bob#2"]


def test_who_comes_back_says_the_rest_then() -> None:
    """Leaving, coming again and disabling in between; a message to one that is away is refused again."""
    with simulated(latency=0.01) as sim:
        room = sim.room("lab")
        ada = room.join("ada", enable=True)
        bob = room.join("bob", enable=True)
        id = bob.local_participant.id
        ada.messaging.send_message(id, "chat", {"number": 1})
        bob.messaging.disable()
        with pytest.raises(meshsync.ParticipantNotFound):
            ada.messaging.send_message(id, "chat", {"number": 2})
        bob.messaging.enable()
        ada.messaging.wait_for_participant(name="bob")
        ada.messaging.send_message(id, "chat", {"number": 3})
        bob.close()
        sim.sleep(1)
        bob = room.join("bob", enable=True)
        sim.sleep(1)
        ada.messaging.broadcast_message("chat", {"number": 4})
        sim.sleep(1)
        record = room.transcript.copy()
    replayed = replay_room(record)
    assert not replayed.difference, replayed.difference
    assert [one.outcome for one in replayed.transcript.messages("chat")] == [
        "delivered",
        "error 1003: the participant was not found",
        "delivered",
        "delivered",
    ]


def test_what_got_lost_is_left_out_and_named() -> None:
    """A fault is not repeated."""
    with simulated(latency=1.0) as sim:
        room = sim.room("lab")
        ada, _ = room.join("ada", enable=True), room.join("bob", enable=True)
        sim.sleep(5)
        ada.messaging.broadcast_message("chat", {"number": 1})
        ada.messaging.send_message_nowait(ada.messaging.remote_participants[0], "chat", {"number": 2})
        sim.sleep(1.5)
        sim.plan(faults.reset("bob"))
        sim.sleep(0.1)
        record = room.transcript.copy()
    replayed = replay_room(record)
    assert set(replayed.left_out) == {"lost on the way", "fault"}
    assert "left out: 1 record of what is fault" in str(replayed)
    assert replayed.difference


def test_an_attachment_that_the_record_lacks_is_named() -> None:
    """With the hash that it has; it is replaced by none."""
    with simulated() as sim:
        room = sim.room("lab")
        ada, _ = room.join("ada", enable=True), room.join("bob", enable=True)
        sim.sleep(1)
        ada.messaging.broadcast_message("file", {}, bytes(2_000_000))
        sim.sleep(1)
        record = room.transcript.copy()
    replayed = replay_room(record)
    (missing,) = replayed.missing
    assert missing.startswith("'file' from ada to bob at ")
    assert replayed.difference.first.text.startswith("message 'file': attachment ")


def test_a_record_that_lost_its_beginning_is_said_again() -> None:
    """Who was there before its first line comes at the beginning."""
    record = Transcript("lab")
    for number, (sender, recipient) in enumerate([("ada", "bob"), ("bob", "ada")]):
        record.add(Record(number, "message", sender, recipient, "chat", 0, 0, "delivered", detail={"number": number}))
    replayed = replay_room(record)
    assert not diff(record, replayed.transcript, ignore=("time", "id", "connected", "enabled"))


def test_a_conversation_that_gets_stuck_tells_who_waits_for_what() -> None:
    """A message to one that is not there in the record, and still arrived: no run can have it so."""
    record = Transcript("lab")
    for name in ("ada", "bob"):
        record.add(Record(0, "connected", name, detail={"role": "user"}))
        record.add(Record(0, "enabled", name))
    record.add(Record(1, "disabled", "bob"))
    record.add(Record(3_200_000_000, "message", "bob", "ada", "reply", 0, 0, "delivered"))
    record.add(Record(4_000_000_000, "message", "ada", "bob", "thanks", 0, 0, "delivered"))
    with pytest.raises(ReplayStalled) as caught:
        replay_room(record, stall=3)
    begin = "nothing has happened for 3 s: ada waits for 'reply' from bob, which the record has at 3.2 s"
    assert str(caught.value).startswith(begin)


def test_a_record_without_participants_is_refused() -> None:
    """And so is a file that is none."""
    with pytest.raises(UsageError, match="no participant does anything"):
        replay_room(Transcript("lab"))


def test_options_that_make_no_sense_are_refused() -> None:
    """There is no third world, and an emulator has no seed."""
    record = Transcript("lab")
    record.add(Record(0, "connected", "ada", detail={"role": "user"}))
    with pytest.raises(UsageError, match="not in 'moon'"):
        replay_room(record, into="moon")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seed: an emulator has no options"):
        replay_room(record, into="emulator", seed=3)


def test_a_replay_opens_no_simulation_in_another() -> None:
    """The error is that of the simulation."""
    record = Transcript("lab")
    record.add(Record(0, "connected", "ada", detail={"role": "user"}))
    with Simulation(), pytest.raises(SimulationNested):
        replay_room(record)


def test_failures_are_errors_of_the_simulation() -> None:
    """So that whoever catches those catches them."""
    assert issubclass(ReplayStalled, ReplayFailed) and issubclass(ReplayStalled, TimeoutError)
