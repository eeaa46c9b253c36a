"""Each fault means what it says, for clients and for participants without a thread; and a plan strikes when it says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

import meshsync
from meshsync import ConnectionLost, DeliveryUnknown, ProtocolError, RoomError, RoomUnavailable, SendTimeout
from meshsync.errors import UsageError
from meshsync.protocol.operations import Send
from simulator import Simulation, faults, latency, participants
from simulator.errors import ActorFailed
from simulator.exploring.exploration import replay
from simulator.exploring.runs import Case
from simulator.faults import Fault, fields
from simulator.faults.layers import (
    PASS,
    Chance,
    ConnectionFault,
    Delay,
    NetworkFault,
    Pass,
    Postpone,
    RoomFault,
    RoomRequest,
    SimulationFault,
    StruckConnection,
    StruckSimulation,
)
from simulator.faults.registry import KINDS, register
from simulator.latency import Law
from simulator.simulation import SimulatedRoom
from tests.support.worlds import outcomes, simulated, told


class Pair:
    """Alice and Bob, two clients in a room, and the bot Echo; everything takes 100 ms each way.

    Args:
        reconnect: Whether the clients come back after a loss.
    """

    def __init__(self, sim: Simulation, *, reconnect: bool = True) -> None:
        self.sim = sim
        self.room: SimulatedRoom = sim.room("demo")
        self.room.add(participants.Echo("echo"))
        self.alice, self.bob = (self.room.join(name, enable=True, reconnect=reconnect) for name in ("alice", "bob"))
        sim.sleep(1)

    def tell(self, type: str, name: str = "bob", **body: object) -> meshsync.Delivery:
        """Have Alice send a message, without waiting."""
        to = self.alice.messaging.wait_for_participant(name)
        return self.alice.messaging.send_message_nowait(to, type, body)

    @property
    def fate(self) -> dict[str, str]:
        """The outcome of each message of Alice's by its type."""
        return {
            record.type: record.outcome
            for record in self.room.transcript.messages(sender="alice")
            if record.recipient != "alice"
        }


# --- what strikes once ------------------------------------------------------------------------------------------------


def test_a_reset_breaks_the_connection_and_loses_what_is_in_flight() -> None:
    """Both sides know at once; what the room had taken still arrives."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        taken = pair.tell("taken")
        sim.sleep(0.15)
        lost = pair.tell("lost")
        sim.plan(faults.reset("alice"))
        sim.sleep(1)
        assert not pair.alice.is_connected
        assert [delivery.error.__class__ for delivery in (taken, lost)] == [DeliveryUnknown, DeliveryUnknown]
        assert pair.fate == {"taken": "delivered", "lost": "lost"}
        assert pair.bob.messaging.get_participant_by_name("alice") is None


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (faults.at(12_500, faults.reset("ada")), []),
        (faults.at(12_000, faults.reset("ada")), ["12000 s, since the run ended at 30 s: for 12000 ms give 12"]),
        (faults.during(5000, 9000, faults.partition({"ada"})), ["5000 s, since the run ended at 30 s: for 5000 ms"]),
        (faults.every(5000, faults.reset("ada")), ["5000 s, since the run ended at 30 s: for 5000 ms give 5"]),
        (faults.quiet(after=20_000), ["20000 s, since"]),
        (faults.during(1, 20_000, faults.partition({"ada"})), []),
        (faults.at(3600, faults.reset("ada")), []),
        (faults.at(40_000, faults.reset("ada")), []),
    ],
)
def test_a_time_in_milliseconds_that_is_never_reached_is_warned_of(planned: faults.Planned, said: list[str]) -> None:
    """At the end; not if 40 s would not have been reached either, nor of what began and would end later."""
    with warnings.catch_warnings(record=True) as caught, Simulation(0) as sim:
        warnings.simplefilter("always")
        sim.room("demo").add(participants.Sink("ada"))
        sim.plan(planned)
        sim.sleep(30)
    texts = [str(one.message) for one in caught]
    assert len(texts) == len(said)
    assert all(part in text for part, text in zip(said, texts, strict=True))


def test_a_fault_that_seems_to_last_for_milliseconds_is_warned_of() -> None:
    """As a time limit is."""
    for make in (
        lambda: faults.pause("ada", 5000),
        lambda: faults.restart(down=5000),
        lambda: faults.late_replies("ada", 5000),
        lambda: faults.pause_program("ada", 5000),
        lambda: faults.crash("ada", restart_after=5000),
    ):
        with pytest.warns(
            RuntimeWarning, match=r"=5000 is 5000 s: for 5000 ms give 5, and for that many seconds 5000\.0"
        ):
            make()


def test_a_half_open_connection_is_noticed_by_its_heartbeat() -> None:
    """Nobody is told; both sides give up 45 s after the last sign of life, 30 of silence and 15 for a pong."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        pair.sim.plan(faults.half_open("bob"))
        begun = sim.now
        assert pair.alice.messaging.wait_for_participant(name="bob").online
        pair.tell("swallowed")
        with pytest.raises(ConnectionLost):
            pair.bob.wait_closed()
        assert 43 < sim.now - begun <= 45
        sim.sleep(5)
        assert [name for _, kind, name in told(pair.room.transcript, "disconnected")] == ["bob"]
        assert pair.fate == {"swallowed": "lost"}


def test_a_paused_participant_stands_still_and_goes_on() -> None:
    """It hears nothing and answers nothing for so long, and nothing is lost."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.pause("bob", 5), faults.pause("echo", 5))
        until = sim.now + 5
        with pair.bob.messaging.messages() as heard, pair.alice.messaging.messages() as echoed:
            pair.tell("to bob")
            pair.tell("to echo", "echo")
            assert heard.get().type == "to bob"
            assert sim.now == pytest.approx(until, abs=1e-6)
            assert echoed.get().type == "to echo"
            assert sim.now == pytest.approx(until + 0.2, abs=1e-6)


def test_a_restart_ends_every_connection_and_refuses_for_a_while() -> None:
    """Programs that join meanwhile are refused; participants without a client are back with the server."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        down_at = sim.now
        sim.plan(faults.restart(down=3))
        with pytest.raises(ConnectionLost):
            pair.alice.wait_closed()
        assert sim.now == down_at
        with pytest.raises(RoomUnavailable, match="Connection refused"):
            pair.room.join("alice")
        sim.sleep(down_at + 3 - sim.now)
        again = pair.room.join("alice", enable=True)
        sim.sleep(0.2)
        assert [one.name for one in again.messaging.remote_participants] == ["echo"]
        assert ("refused", "alice") in [(kind, who) for _, kind, who in told(pair.room.transcript)]


def test_a_restart_that_remembers_keeps_the_roster_until_heartbeats_fail() -> None:
    """Who was there is still listed, and what is sent to them is lost, exactly once."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        sim.plan(faults.restart(down=1, forgets=False))
        sim.sleep(2)
        again = pair.room.join("carol", enable=True)
        ghost = again.messaging.wait_for_participant(name="bob")
        again.messaging.send_message(ghost, "into the void", {})
        sim.sleep(60)
        assert again.messaging.get_participant_by_name("bob") is None
        assert outcomes(pair.room.transcript, "into the void") == [("carol", "bob", "lost")]


def test_leave_closes_the_connection_with_a_goodbye() -> None:
    """The client learns a close code, unlike from a reset."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        sim.plan(faults.leave("bob"), faults.leave("echo"))
        with pytest.raises(ConnectionLost) as caught:
            pair.bob.wait_closed()
        assert (caught.value.code, caught.value.clean) == (1001, True)
        sim.sleep(1)
        assert pair.alice.messaging.remote_participants == ()


def test_a_dropped_connection_ends_without_a_close_frame() -> None:
    """What the room had sent still arrives, and what is on its way to it is lost; the client says so."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        pair.tell("before")
        sim.sleep(0.15)  # It is on its way to bob.
        to = pair.bob.messaging.wait_for_participant("alice")
        late = pair.bob.messaging.send_message_nowait(to, "late", {})
        sim.plan(faults.drop("bob"), faults.drop("echo"))
        start = sim.now
        inbox = pair.bob.messaging.messages()
        assert inbox.get(timeout=1).type == "before"
        with pytest.raises(ConnectionLost, match="dropped the connection without a close frame") as caught:
            pair.bob.wait_closed()
        assert (caught.value.code, caught.value.clean) == (None, False)
        with pytest.raises(DeliveryUnknown):
            late.wait()
        assert round(sim.now - start, 6) == 0.1  # One way, behind what was in flight.
        sim.sleep(1)
        assert pair.alice.messaging.remote_participants == ()
        assert outcomes(pair.room.transcript, "late") == [("bob", "alice", "lost")]


def test_a_client_that_was_dropped_comes_back() -> None:
    """As the same participant with another id; an attempt that is dropped is made again."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.drop("bob"), faults.on("connect", sender="bob").do(faults.drop("bob")))
        sim.sleep(0.15)
        assert not pair.bob.is_connected
        sim.sleep(10)
        assert pair.bob.is_connected
        assert [name for _, kind, name in told(pair.room.transcript, "connected")].count("bob") == 2


def test_a_dropped_connection_that_is_partitioned_ends_at_the_client_after_repair() -> None:
    """The end of a connection travels as all else does."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim, reconnect=False)
        sim.plan(faults.during(3, 8, faults.partition({"bob"})), faults.at(4, faults.drop("bob")))
        sim.sleep(5)
        assert pair.bob.is_connected
        assert [one.name for one in pair.alice.messaging.remote_participants] == ["echo"]
        sim.sleep(3)
        assert not pair.bob.is_connected


@pytest.mark.parametrize("kind", ["packet", "text"])
def test_a_malformed_push_ends_the_connection_it_is_sent_to(kind: str) -> None:
    """The client says what is wrong; a participant without a client leaves likewise; nobody else is hit."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.malformed_push("bob", kind), faults.malformed_push("echo", kind))
        with pytest.raises(ProtocolError):
            pair.bob.wait_closed()
        sim.sleep(1)
        assert pair.alice.is_connected
        assert pair.alice.messaging.remote_participants == ()


def test_a_push_that_is_no_json_is_passed_over() -> None:
    """Its packets are in order, so clients log it and go on."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.malformed_push("bob", "json"), faults.malformed_push("echo", "json"))
        with pair.bob.messaging.messages() as heard:
            pair.tell("after that")
            assert heard.get(1).type == "after that"
        assert len(pair.alice.messaging.remote_participants) == 2


def test_an_oversized_push_is_borne_or_ends_the_connection() -> None:
    """The room passes on 4 MiB, clients bear 64: one of 32 MiB does no harm, one of 65 is too much."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.oversized_push("bob", 5 * 1024 * 1024))
        sim.sleep(1)
        assert pair.bob.is_connected
        sim.plan(faults.oversized_push("bob", 65 * 1024 * 1024))
        sim.sleep(1)
        assert not pair.bob.is_connected


def test_somebody_joins_and_a_participant_that_left_comes_back() -> None:
    """A new name is a participant that does nothing; a known one is what it was."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.join("dora", role="agent"), faults.reset("echo"))
        pair.alice.messaging.wait_for_participant(name="dora", role="agent")
        sim.sleep(1)
        assert pair.alice.messaging.get_participant_by_name("echo") is None
        sim.plan(faults.join("echo"))
        pair.alice.messaging.wait_for_participant(name="echo")
        with pair.alice.messaging.messages() as heard:
            pair.tell("are you there", "echo")
            assert heard.get(1).type == "are you there"


def test_somebody_joins_the_room_that_knows_the_name() -> None:
    """Of two rooms, not simply the first one."""
    with simulated() as sim:
        sim.room("first")
        second = sim.room("second")
        second.join("alice").close()
        sim.plan(faults.join("alice"), faults.join("zoe"))
        assert [seat.member.name for seat in second.seated.seats] == ["alice"]
        assert [seat.member.name for seat in sim.room("first").seated.seats] == ["zoe"]


# --- what lasts, in the network ---------------------------------------------------------------------------------------


def test_a_partition_freezes_what_is_in_flight_and_thaws_it() -> None:
    """Nothing is lost: what was sent before and during it arrives afterwards, as much later."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        now = sim.now
        sim.plan(faults.during(now + 0.15, now + 5, faults.partition({"bob", "echo"})))
        with pair.bob.messaging.messages() as heard, pair.alice.messaging.messages() as echoed:
            pair.tell("before")
            pair.tell("to echo", "echo")
            sim.sleep(1)
            pair.tell("during")
            assert [(heard.get().type, round(sim.now - now, 6)) for _ in range(2)] == [
                ("before", 5.05),
                ("during", 5.1),
            ]
            assert (echoed.get().type, round(sim.now - now, 6)) == ("to echo", 5.25)


@pytest.mark.parametrize("is_sender", [True, False])
def test_what_stands_still_when_a_connection_dies_is_recorded_as_lost(is_sender: bool) -> None:
    """A partition of 100 s outlasts both heartbeats: the message never arrives, whichever end was cut off."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        alice, bob = (room.join(name, enable=True, reconnect=False) for name in ("alice", "bob"))
        to = alice.messaging.wait_for_participant(name="bob")
        sim.plan(faults.during(sim.now, sim.now + 100, faults.partition({"alice" if is_sender else "bob"})))
        sim.sleep(1)
        alice.messaging.send_message_nowait(to, "note", {})
        sim.sleep(200)
        assert not bob.is_connected or not alice.is_connected
        assert [record.outcome for record in room.transcript.messages("note")] == ["lost"]


def test_messages_between_two_are_held_and_reach_all_others() -> None:
    """What alice sends bob waits in the room; the latency in the record has the waiting, and streams wait alike."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        pair.room.add(participants.Sink("sink"))
        sim.sleep(1)
        sim.plan(faults.during(3, 13, faults.block("alice", {"bob", "sink"})))
        sim.sleep(1.5)
        pair.tell("held").wait()
        pair.alice.messaging.broadcast_message("all", {})
        pair.bob.messaging.send_message(pair.bob.messaging.wait_for_participant("alice"), "back", {})
        start = sim.now
        with pair.alice.messaging.create_stream(to=pair.alice.messaging.wait_for_participant("sink")) as writer:
            writer.write(b"data")
        assert start < 6
        assert 13 < sim.now < 14
        sim.sleep(5)
        record = pair.room.transcript
        assert [line for line in outcomes(record, "all") if line[0] == "alice"] == [
            ("alice", name, "delivered") for name in ("echo", "bob", "sink")
        ]
        (held,) = [one for one in record.messages("held") if one.sender == "alice"]
        (opened,) = [one for one in record if one.type == "stream.open"]
        assert 8 < (held.latency_s or 0) < 10
        assert (opened.stream_id, opened.outcome, (opened.latency_s or 0) > 5) == ("stream 1", "delivered", True)


def test_messages_between_two_can_be_lost() -> None:
    """They are acknowledged all the same, and recorded as lost; one fault is for one direction."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.during(3, 13, faults.block("alice", "bob", loses=True)))
        sim.sleep(2)
        pair.tell("lost").wait()
        pair.bob.messaging.send_message(pair.bob.messaging.wait_for_participant("alice"), "back", {})
        sim.sleep(20)
        assert pair.fate == {"lost": "lost"}
        assert outcomes(pair.room.transcript, "back") == [("bob", "alice", "delivered")]


def test_connecting_is_refused_while_that_holds() -> None:
    """The attempt fails at once, and is in the transcript."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.refuse_connect("bob"))
        with pytest.raises(RoomUnavailable):
            pair.room.join("bob")
        assert pair.bob.is_connected
        assert pair.room.join("alice").is_connected
        assert [who for _, _, who in told(pair.room.transcript, "refused")] == ["bob"]


def test_connecting_takes_longer_by_what_is_asked_for() -> None:
    """Two round trips of 200 ms and the greeting's 100, and 3 s more."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        room.join("alice").close()
        sim.plan(faults.delay_connect("alice", 3))
        begun = sim.now
        room.join("alice")
        assert sim.now - begun == pytest.approx(3.4, abs=0.11)


def test_latency_can_change_for_one_in_one_direction() -> None:
    """What Bob is sent takes a second; what he sends does not."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.latency(1.0, "bob", direction="down"))
        pair.tell("slow")
        to = pair.bob.messaging.wait_for_participant(name="alice")
        pair.bob.messaging.send_message_nowait(to, "fast", {})
        sim.sleep(2)
        slow, fast = (pair.room.transcript.messages(type=type)[0].latency_s for type in ("slow", "fast"))
        assert [slow, fast] == pytest.approx([1.1, 0.2])


@pytest.mark.parametrize("name", ["bob", "echo"])
def test_a_throttled_connection_carries_so_many_bytes_per_second(name: str) -> None:
    """100,000 bytes at 10,000 in a second take ten seconds and the delay."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.throttle(name, 10_000, direction="down"))
        to = pair.alice.messaging.wait_for_participant(name=name)
        pair.alice.messaging.send_message(to, "bulk", {}, bytes(100_000))
        sim.sleep(20)
        (record,) = pair.room.transcript.messages(type="bulk", to=name)
        assert record.latency_s == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize("name", ["bob", "echo"])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_slow_connection_is_not_given_up(name: str, direction: str) -> None:
    """3 MB at 30 kB/s are 100 s or more, longer than the 45 s of either end's heartbeat; the pings wait behind them."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.throttle(name if direction == "down" else "alice", 30_000, direction=direction))
        to = pair.alice.messaging.wait_for_participant(name=name)
        pair.alice.messaging.send_message(to, "bulk", {}, bytes(3_000_000), timeout=150)
        sim.sleep(150)
        (record,) = pair.room.transcript.messages(type="bulk", to=name)
        assert record.latency_s is not None
        assert record.latency_s > 99
        assert told(pair.room.transcript, "disconnected") == []


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_silenced_connection_is_given_up_in_time_with_writes_pending(name: str) -> None:
    """3 MB at 100 kB/s, silenced after 20 s: 45 s later the end that writes has given up, and the message is lost."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.throttle(name, 100_000), faults.at(sim.now + 20, faults.half_open(name)))
        to = pair.alice.messaging.wait_for_participant(name="bob")
        delivery = pair.alice.messaging.send_message_nowait(to, "bulk", {}, bytes(3_000_000))
        sim.sleep(19)
        assert told(pair.room.transcript, "disconnected") == []
        sim.sleep(46.5)
        assert [who for _, _, who in told(pair.room.transcript, "disconnected")] == [name]
        assert (delivery.error is None) == (name == "bob")
        assert pair.fate == {"bulk": "lost"}


# --- what lasts, in the room ------------------------------------------------------------------------------------------


def test_streams_are_rejected_by_the_room_in_a_name() -> None:
    """The opener is rejected, the recipient never asked, and the stream is in the transcript with its number."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sink, streamer = participants.Sink("sink"), participants.Streamer("streamer", "sink", [b"data"])
        pair.room.add(sink)
        sim.plan(faults.reject_streams("sink", "out of order"))
        pair.room.add(streamer)
        sim.sleep(2)
        assert streamer.outcome == "rejected: out of order"
        assert sink.streams == ()
        assert [(r.type, r.outcome, r.stream_id) for r in pair.room.transcript.streams()] == [
            ("stream.open", "rejected: out of order", "stream 1"),
            ("stream.reject", "rejected: out of order", "stream 1"),
        ]


def test_an_answer_to_a_stream_comes_late() -> None:
    """Accepting takes three seconds more than the way there and back, four times 100 ms."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        room.add(participants.Sink("sink"))
        sim.plan(faults.delay_accept("sink", 3))
        room.add(participants.Streamer("streamer", "sink", [b"data"]))
        sim.sleep(10)
        assert told(room.transcript, "stream") == [
            (0.3, "stream.open", "streamer"),
            (3.5, "stream.accept", "sink"),
            (3.7, "stream.close", "streamer"),
            (3.9, "stream.meshsync.closed", "sink"),
        ]


def test_requests_are_answered_with_an_error() -> None:
    """The code is the one asked for; nothing comes of the request; others are served."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.error_replies("alice", 1011))
        with pytest.raises(RoomError) as caught:
            pair.alice.messaging.broadcast_message("news", {})
        assert caught.value.code == 1011
        pair.bob.messaging.broadcast_message("other news", {})
        assert outcomes(pair.room.transcript, "news") == [("alice", "", "error 1011: a fault of this simulation")]


def test_replies_come_later_than_a_client_waits() -> None:
    """The message has arrived long before; the call times out, and the late answer harms nobody."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(faults.late_replies("alice", 40))
        with pytest.raises(SendTimeout):
            pair.tell("hello").wait(30)
        sim.sleep(30)
        assert pair.fate == {"hello": "delivered"}
        assert pair.alice.is_connected


# --- when -------------------------------------------------------------------------------------------------------------


def test_a_one_off_fault_strikes_again_and_again() -> None:
    """The first time after one interval."""
    with simulated() as sim:
        room = sim.room("demo")
        room.add(participants.Visitor("guest", stay=1000, away=1))
        sim.plan(faults.every(10, faults.reset("guest")))
        sim.sleep(35)
        assert [time for time, _, _ in told(room.transcript, "fault")] == [10, 20, 30]


def test_a_program_that_is_stuck_is_told_so_although_faults_go_on() -> None:
    """What repeats for ever is no sign that something will happen."""
    with simulated() as sim:
        sim.room("demo").join("guest").close()
        sim.plan(faults.every(10, faults.reset("guest")))
        condition = meshsync.condition()
        with pytest.raises(meshsync.MeshsyncError, match="nobody can run"), condition:
            condition.wait()


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("connect", lambda pair: pair.room.join("carol")),
        ("join", lambda pair: pair.room.join("carol")),
        ("leave", lambda pair: pair.alice.close()),
        ("enable", lambda pair: pair.room.join("carol", enable=True)),
        ("disable", lambda pair: pair.alice.messaging.disable()),
        ("attributes", lambda pair: pair.alice.local_participant.set_attribute("mood", "calm")),
        ("message", lambda pair: pair.tell("hello")),
        ("broadcast", lambda pair: pair.alice.messaging.broadcast_message_nowait("news", {})),
        ("reply", lambda pair: pair.tell("hello")),
        ("stream.open", lambda pair: pair.tell("stream.open", stream_id="s", header={})),
        ("stream.reject", lambda pair: pair.tell("stream.open", stream_id="s", header={})),
        ("fault", lambda pair: pair.sim.plan(faults.pause("bob", 0))),
    ],
)
def test_a_fault_follows_an_event(event: str, act: Callable[[Pair], object]) -> None:
    """It strikes right after the event, and not before."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.on(event).do(faults.reset("echo")))
        sim.sleep(5)
        assert told(pair.room.transcript, "fault") == []
        act(pair)
        sim.sleep(1)
        assert [type for _, type, _ in told(pair.room.transcript, "fault") if type == "reset"] == ["reset"]


def test_a_trigger_counts_and_chooses() -> None:
    """The second message of that type from Alice to Bob, and no other."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.on("message", sender="alice", to="bob", type="x", nth=2).do(faults.pause("bob", 1)))
        for type, name in (("x", "bob"), ("y", "bob"), ("x", "echo")):
            pair.tell(type, name)
            sim.sleep(1)
        assert pair.room.transcript.faults() == ()
        pair.tell("x")
        sim.sleep(1)
        assert len(pair.room.transcript.faults()) == 1


def test_quiet_heals_everything_and_forgets_what_was_planned() -> None:
    """Lasting faults end, pauses too, and nothing planned for later strikes; what is planned afterwards does."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        sim.plan(
            faults.partition({"bob"}),
            faults.error_replies("alice", 1011),
            faults.pause("echo", 100),
            faults.at(50, faults.reset("alice")),
            faults.every(7, faults.reset("bob")),
            faults.on("broadcast").do(faults.reset("bob")),
            faults.quiet(after=5),
        )
        sim.sleep(5)
        with pair.bob.messaging.messages() as heard:
            pair.alice.messaging.broadcast_message("news", {})
            assert heard.get(1).type == "news"
        sim.sleep(60)
        assert pair.alice.is_connected and pair.bob.is_connected
        assert [(r.type, r.outcome) for r in pair.room.transcript.faults()][-3:] == [
            ("quiet", "struck"),
            ("error_replies", "ended"),
            ("partition", "ended"),
        ]
        sim.plan(faults.at(sim.now + 1, faults.reset("bob")))
        sim.sleep(1.05)
        assert pair.bob.state == "offline"


@pytest.mark.parametrize(
    "fault",
    [faults.reset("bobb"), faults.partition({"bob", "bobb"}), faults.error_replies("bobb", 1)],
)
def test_a_fault_about_nobody_known_raises(fault: Fault) -> None:
    """At once if it strikes now, in the main thread when it is planned; the text says who there is."""
    with simulated() as sim:
        pair = Pair(sim)
        with pytest.raises(UsageError, match="'bobb', which no room knows; there are echo, alice, bob"):
            sim.plan(fault)
        sim.plan(faults.at(20, fault))
        with pytest.raises(ActorFailed, match="which no room knows"):
            sim.sleep(30)
        assert pair.alice.is_connected


def test_half_a_trigger_is_no_fault() -> None:
    """The text says what is missing."""
    with simulated() as sim, pytest.raises(UsageError, match=r"needs \.do\(fault\)"):
        sim.plan(faults.on("message"))  # type: ignore[arg-type]


def test_a_lasting_fault_holds_in_rooms_that_are_made_later() -> None:
    """A fault is about a name, wherever that is."""
    with simulated() as sim:
        Pair(sim)
        sim.plan(faults.error_replies("alice", 1011))
        with pytest.raises(RoomError):
            sim.room("later").join("alice", enable=True)


# --- kinds of one's own -----------------------------------------------------------------------------------------------


class Own:
    """Kinds of faults as a program defines them, each in one place: value, what it does, and what makes it."""

    @dataclass(frozen=True, slots=True)
    class Eviction(ConnectionFault):
        """The room closes the participant's connection with a code of the program's choice."""

        word: ClassVar[str] = "eviction"
        name: str = field(metadata=fields.name)
        code: int = field(metadata=fields.whole(1000))

        def strike(self, connection: StruckConnection) -> None:
            connection.close(self.code, "evicted")

    @dataclass(frozen=True, slots=True)
    class Detour(NetworkFault):
        """What the participants are sent takes another way."""

        word: ClassVar[str] = "detour"
        to: tuple[str, ...] = field(metadata=fields.names)
        way: Law = field(metadata=fields.law)

        @property
        def names(self) -> tuple[str, ...]:
            return self.to

        def on_link(self, name: str) -> Pass | Delay:
            return Delay(self.way, "down") if name in self.to else PASS

    @dataclass(frozen=True, slots=True)
    class Censorship(RoomFault):
        """Messages of a type, whoever sends them, are passed on some time later."""

        word: ClassVar[str] = "censorship"
        type: str = field(metadata=fields.text)
        seconds: float = field(metadata=fields.number())

        def on_request(self, request: RoomRequest, chance: Chance) -> Pass | Postpone:
            content = request.content
            return Postpone(self.seconds) if isinstance(content, Send) and content.type == self.type else PASS

    @dataclass(frozen=True, slots=True)
    class Crowd(SimulationFault):
        """So many participants join the first room at once."""

        word: ClassVar[str] = "crowd"
        size: int = field(metadata=fields.whole(1))

        def strike(self, simulation: StruckSimulation) -> None:
            for number in range(self.size):
                simulation.join(simulation.rooms[0], f"guest-{number}", "user")


OWN = (Own.Eviction, Own.Detour, Own.Censorship, Own.Crowd)


@pytest.fixture
def own() -> Iterator[None]:
    """Have the kinds above registered, and take away a ragged one."""
    for kind in OWN:
        register(kind)
    yield
    for word in {kind.word for kind in OWN} | {"ragged"} & KINDS.keys():
        del KINDS[word]


@pytest.mark.usefixtures("own")
def test_a_kind_of_ones_own_acts_is_saved_and_is_named() -> None:
    """One of each layer, from a plan that went through JSON; the transcript calls each by its word."""
    with simulated(latency=0.1) as sim:
        pair = Pair(sim)
        begun = sim.now
        written = json.dumps(
            faults.to_json(
                [
                    faults.during(begun + 1, begun + 9, Own.Detour(("bob",), latency.constant(2))),
                    Own.Censorship("secret", 3),
                    faults.at(begun + 10, Own.Crowd(2)),
                    faults.on("message", type="last").do(Own.Eviction("bob", 4000)),
                ]
            )
        )
        sim.plan(*faults.from_json(json.loads(written)))
        sim.sleep(2)
        pair.tell("slow")
        pair.tell("secret", "echo")
        sim.sleep(8)
        assert {"guest-0", "guest-1"} < set(pair.room.names())
        pair.tell("last", "echo")
        sim.sleep(1)
        times = {record.type: record.latency_s for record in pair.room.transcript.messages(sender="alice")}
        assert [times["slow"], times["secret"]] == pytest.approx([2.1, 3.2])
        with pytest.raises(ConnectionLost) as caught:
            pair.bob.messaging.wait_for_message()
        assert (caught.value.code, caught.value.reason) == (4000, "evicted")
        assert [(r.type, r.recipient, r.outcome) for r in pair.room.transcript.faults()] == [
            ("censorship", "", "began"),
            ("detour", "bob", "began"),
            ("detour", "bob", "ended"),
            ("crowd", "", "struck"),
            ("eviction", "bob", "struck"),
        ]
        assert "fault detour began: bob" in pair.room.transcript.to_text()


def faulty(layer: type[Fault], method: str) -> Fault:
    """Return a fault of a registered kind whose method returns None, or raises if it is to strike."""

    def method_of_it(self: Fault, *arguments: object) -> None:
        if method == "strike":
            raise ValueError("it tears")

    body = {"word": "ragged", "names": ("bob",), method: method_of_it, "__module__": __name__}
    made: Fault = register(dataclass(frozen=True)(type("Ragged", (layer,), body)))()
    return made


@pytest.mark.parametrize(
    ("layer", "method", "text"),
    [
        (ConnectionFault, "strike", "ragged: strike raised ValueError: it tears"),
        (SimulationFault, "strike", "ragged: strike raised ValueError: it tears"),
        (NetworkFault, "on_link", "ragged: on_link returned None"),
        (NetworkFault, "on_attempt", "ragged: on_attempt returned None"),
        (RoomFault, "on_request", "ragged: on_request returned None"),
        (RoomFault, "on_reply", "ragged: on_reply returned None"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_mistake_in_a_kind_of_ones_own_names_it(layer: type[Fault], method: str, text: str) -> None:
    """Where the simulation asks a fault or lets it strike, a mistake in it is an error with its word, never silence."""
    fault = faulty(layer, method)
    with simulated() as sim, pytest.raises(meshsync.MeshsyncError, match=text):
        pair = Pair(sim)
        sim.plan(fault)
        pair.tell("x")
        sim.sleep(1)
        pair.room.join("zoe")


def test_a_kind_that_is_not_registered_is_refused() -> None:
    """A plan with it could be saved, and not loaded: the text says what is missing, and nothing strikes."""
    with simulated() as sim:
        pair = Pair(sim)
        with pytest.raises(UsageError, match="Crowd is no registered kind of fault; put @register above it"):
            sim.plan(faults.reset("alice"), faults.at(5, Own.Crowd(1)))
        assert pair.alice.is_connected


PROGRAM = """
from dataclasses import dataclass, field
from typing import ClassVar
from simulator.faults import fields
from simulator.faults.layers import ConnectionFault
from simulator.faults.registry import register

@register
@dataclass(frozen=True, slots=True)
class Stumble(ConnectionFault):
    word: ClassVar[str] = "stumble"
    name: str = field(metadata=fields.name)
    def strike(self, connection):
        connection.pause(1)

def program(sim):
    room = sim.room("demo").join("alice")
    sim.plan(Stumble("alice"))
    sim.sleep(1)
    raise ValueError("this program fails")
"""


def test_a_replay_file_with_a_programs_own_kind_is_read_where_that_is_new(tmp_path: Path) -> None:
    """The program that the file names is imported first, and registers its kinds."""
    place = tmp_path / "stumbling.py"
    place.write_text(PROGRAM, encoding="utf-8")
    kept = tmp_path / "kept.json"
    case = Case(plan=(faults.at(20, faults.reset("alice")),)).to_json()
    case["plan"][0]["fault"]["fault"] = "stumble"
    value = {"replay": 1, "program": f"{place}:program", "case": case, "digests": {}}
    kept.write_text(json.dumps(value | {"failure": {"kind": "ValueError", "place": ""}}), encoding="utf-8")
    again = replay(kept).run
    assert [entry.fault.word for entry in again.case.plan if isinstance(entry, faults.At)] == ["stumble"]
    assert isinstance(again.error, ValueError)
    del KINDS["stumble"]


# --- late answers to enabling and disabling ---------------------------------------------------------------------------


def test_enabling_comes_after_a_disabling_that_is_not_answered_yet() -> None:
    """A client that asks to be in again is in, although the room answers the request to leave only then."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(faults.latency(3, "alice", direction="down"))
        with pytest.raises(SendTimeout):
            pair.alice.messaging.disable(timeout=1)
        assert pair.alice.messaging.is_enabled
        pair.alice.messaging.enable()
        sim.sleep(20)
        assert pair.alice.messaging.is_enabled
        assert pair.bob.messaging.get_participant_by_name("alice") is not None
        assert {one.name for one in pair.alice.messaging.remote_participants} == {"bob", "echo"}


def test_disabling_comes_after_an_enabling_that_is_not_answered_yet() -> None:
    """A client that asks to be out again is out, although the room answers the request to be in only then."""
    with simulated() as sim:
        pair = Pair(sim)
        pair.alice.messaging.disable()
        sim.plan(faults.late_replies("alice", 3))
        with pytest.raises(SendTimeout):
            pair.alice.messaging.enable(timeout=1)
        pair.alice.messaging.disable()
        sim.sleep(20)
        assert not pair.alice.messaging.is_enabled
        assert pair.bob.messaging.get_participant_by_name("alice") is None


def test_a_client_whose_disabling_is_refused_late_stays_in() -> None:
    """Asking to be in again returns when it is known that nothing has changed."""
    with simulated() as sim:
        pair = Pair(sim)
        sim.plan(
            faults.late_replies("alice", 3), faults.during(sim.now, sim.now + 0.5, faults.error_replies("alice", 1))
        )
        with pytest.raises(SendTimeout):
            pair.alice.messaging.disable(timeout=1)
        pair.alice.messaging.enable()
        assert pair.alice.messaging.is_enabled
        assert pair.bob.messaging.get_participant_by_name("alice") is not None
