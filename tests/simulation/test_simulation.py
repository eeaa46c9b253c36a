"""`Simulation`: the production client in simulated rooms, what is recorded of it, and how it begins and ends."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import meshsync
import simulator
from meshsync import ParticipantNotFound, RoomMessage
from meshsync.errors import AuthenticationFailed, PermissionDenied, RoomNotFound, UsageError
from simulator import Simulation, Transcript, current, faults, latency, participants
from simulator.errors import ActorFailed, HorizonReached, SimulationClosed
from tests.support.worlds import outcomes, simulated, told

# --- the face ---------------------------------------------------------------------------------------------------------


def test_the_face_hands_on_what_it_promises_and_starts_nothing() -> None:
    """Importing simulator, or simulating, needs neither aiohttp nor matplotlib, and starts no thread."""
    program = (
        "import sys, threading, simulator\n"
        "assert not {'simulator.simulation', 'simulator.network'} & set(sys.modules)\n"
        "from simulator import Simulation, latency, faults, participants, current, Transcript\n"
        "with Simulation(seed=1) as sim: sim.room('demo').join('alice').close()\n"
        "assert not {'aiohttp', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert {"Simulation", "current", "latency", "faults", "participants", "Transcript"} <= set(simulator.__all__)


def test_the_example_of_the_design_runs() -> None:
    """Each name in it does what it says."""

    def agent_program() -> None:
        with meshsync.connect("demo", name="agent") as room:
            room.messaging.enable()
            room.messaging.broadcast_message("hello", {})

    with Simulation(seed=7, latency=latency.lognormal(median=0.040, sigma=0.4)) as sim:
        demo = sim.room("demo")
        alice, _ = demo.join("alice", enable=True), demo.join("bob")
        busy = participants.Rejecting("busy", reason="in a call")
        demo.add(participants.Echo("bot", delay=latency.exponential(0.2)), busy)
        task = sim.spawn(agent_program)
        sim.plan(faults.at(12, faults.reset("alice")), faults.during(30, 45, faults.partition({"bob"})))
        sim.sleep(60)
        assert task.is_done and task.error is None
        assert alice.is_connected  # again, after the reset
    assert isinstance(demo.transcript, Transcript)
    assert ("agent", "alice", "delivered") in outcomes(demo.transcript, "hello")
    assert [record.type for record in demo.transcript.faults()] == ["reset", "partition", "partition"]


# --- rooms ------------------------------------------------------------------------------------------------------------


def test_two_clients_talk() -> None:
    """A message takes the law's delay up and down, its acknowledgement another, and all of it is written down."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        alice, bob = room.join("alice", enable=True), room.join("bob", enable=True)
        with bob.messaging.messages() as heard:
            begun = sim.now
            alice.messaging.send_message(alice.messaging.wait_for_participant(name="bob"), "chat", {"n": 1}, b"x")
            assert sim.now - begun == pytest.approx(0.2)
            got = heard.get()
        assert got.sender is not None and got.sender.name == "alice"
        assert (got.type, got.message, got.attachment) == ("chat", {"n": 1}, b"x")
        (record,) = room.transcript.messages()
        assert (record.sender, record.recipient, record.latency_ns) == ("alice", "bob", 200_000_000)


def test_a_broadcasts_latency_is_told_for_each_recipient() -> None:
    """One way up in common, and one down for each."""
    with simulated(latency=latency.uniform(0.01, 1)) as sim:
        room = sim.room("demo")
        alice, *_ = (room.join(name, enable=True) for name in ("alice", "bob", "carol"))
        room.add(participants.Sink("sink"))
        sim.sleep(5)
        alice.messaging.broadcast_message("news", {})
        sim.sleep(5)
        records = room.transcript.messages(type="news")
        assert sorted(record.recipient for record in records) == ["bob", "carol", "sink"]
        assert len({record.latency_ns for record in records}) == 3


def test_the_transcript_tells_of_people_and_attributes() -> None:
    """Coming, taking part, changing, leaving."""
    with simulated() as sim:
        room = sim.room("demo")
        with room.join("alice", attributes={"mood": "calm"}, enable=True) as alice:
            alice.messaging.disable()
        assert told(room.transcript) == [
            (0.0, "connected", "alice"),
            (0.0, "attributes", "alice"),
            (0.0, "enabled", "alice"),
            (0.0, "disabled", "alice"),
            (0.0, "disconnected", "alice"),
        ]


def test_joining_sets_attributes_before_others_see_them() -> None:
    """They are in the roster and in the announcement."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        alice = room.join("alice", role="agent", attributes={"mood": "calm"}, enable=True)
        bob = room.join("bob", enable=True)
        (seen,) = bob.messaging.remote_participants
        assert (seen.role, seen.get_attribute("mood")) == ("agent", "calm")
        assert alice.local_participant.role == "agent"


def test_rooms_are_apart() -> None:
    """Equal names in two rooms do not meet; each room has a transcript of its own."""
    with simulated() as sim:
        one, two = sim.room("one"), sim.room("two")
        clients = [room.join("alice", enable=True) for room in (one, two)]
        clients[0].messaging.broadcast_message("chat", {})
        sim.sleep(1)
        assert clients[1].messaging.remote_participants == ()
        assert (len(one.transcript.messages()), len(two.transcript.messages())) == (1, 0)
        assert sim.rooms == (one, two) and sim.room("one") is one


def test_connecting_to_a_room_makes_it() -> None:
    """A program names its room; whoever looks for it later finds it."""
    with simulated() as sim:
        meshsync.connect("elsewhere", name="alice").close()
        assert [record.sender for record in sim.room("elsewhere").transcript] == ["alice", "alice"]


def test_equal_names_are_told_apart_in_the_transcript() -> None:
    """The second one at a time has a number; packets are told apart by connection."""
    with simulated() as sim:
        room = sim.room("demo")
        first, second = room.join("bob", enable=True), room.join("bob", enable=True)
        second.messaging.send_message(second.messaging.wait_for_participant(name="bob"), "chat", {})
        sim.sleep(1)
        assert outcomes(room.transcript, "chat") == [("bob#2", "bob", "delivered")]
        assert list(dict.fromkeys(packet.link for packet in room.transcript.packets)) == ["bob", "bob~2"]
        assert first.is_connected


def test_an_empty_room_has_an_empty_transcript() -> None:
    """Time passes, nothing happens, and what is drawn of it is still something."""
    with simulated() as sim:
        room = sim.room("empty")
        sim.sleep(3600)
        sim.run_until_idle()
    assert (len(room.transcript), room.transcript.packet_count) == (0, 0)
    assert room.transcript.to_mermaid().startswith("sequenceDiagram")
    assert room.participants == () and "0 participants" in repr(room)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 64])
def test_a_name_that_no_room_can_have_is_refused(name: str) -> None:
    """At once, and no such room is left behind."""
    with simulated() as sim:
        with pytest.raises(RoomNotFound):
            sim.room(name)
        assert sim.rooms == ()


def test_options_are_given_when_a_room_is_made() -> None:
    """Later ones would be forgotten silently."""
    with simulated() as sim:
        sim.room("demo", acknowledge="delivered")
        with pytest.raises(UsageError, match="there already"):
            sim.room("demo", acknowledge="routed")


def test_an_acknowledgement_can_mean_delivery() -> None:
    """Sending takes the way up, the way down to the recipient, and the answer's; or ends in error 1003."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo", acknowledge="delivered")
        alice, _ = room.join("alice", enable=True), room.join("bob", enable=True)
        bob = alice.messaging.wait_for_participant(name="bob")
        begun = sim.now
        alice.messaging.send_message(bob, "chat", {})
        assert sim.now - begun == pytest.approx(0.3)
        late = alice.messaging.send_message_nowait(bob, "late", {})
        sim.plan(faults.at(sim.now + 0.15, faults.reset("bob")))
        with pytest.raises(ParticipantNotFound):
            late.wait(5)


def test_a_slow_reader_loses_its_seat_and_what_waited_is_lost() -> None:
    """The room holds so many bytes for one; every message is accounted for."""
    with simulated() as sim:
        room = sim.room("demo", queue_limit=1_000_000)
        alice, _ = room.join("alice", enable=True), room.join("bob", enable=True)
        bob = alice.messaging.wait_for_participant(name="bob")
        sim.plan(faults.pause("bob", 20))
        sent = [alice.messaging.send_message_nowait(bob, "bulk", {}, bytes(200_000)) for _ in range(30)]
        sim.sleep(30)
        fates = [outcome for *_, outcome in outcomes(room.transcript, "bulk")]
        assert len(fates) == len(sent)
        assert {fate.split(":")[0] for fate in fates} == {"delivered", "lost", "error 1003"}
        assert room.transcript.messages()[-1].time_s < 30


def test_what_belongs_to_ended_connections_is_not_kept() -> None:
    """A room of comings and goings does not grow but by its transcript."""
    with simulated(latency=0.05) as sim:
        sim.room("demo").add(*participants.churn(10, stay=2, away=1))
        sim.sleep(300)
        assert len(sim.network.connections()) <= 20
        assert len(sim._wires) <= 150


# --- who is let in ----------------------------------------------------------------------------------------------------


def test_a_token_that_nobody_signed_is_refused() -> None:
    """As by a real room, with the same error; and it is written down."""
    with simulated() as sim:
        room = sim.room("demo")
        token = meshsync.ParticipantToken.for_room("demo", "mallory").encode("another secret of some length, for HS256")
        with pytest.raises(AuthenticationFailed):
            meshsync.connect("demo", token=token)
        assert told(room.transcript) == [(0.0, "refused", "mallory")]


def test_a_token_for_another_room_is_refused() -> None:
    """It says so."""
    with simulated() as sim:
        secret = sim.world.environ["MESHAGENT_SECRET"]
        token = meshsync.ParticipantToken.for_room("one", "alice").encode(secret)
        with pytest.raises(PermissionDenied):
            sim.room("two").join("alice", token=token)


# --- time and actors --------------------------------------------------------------------------------------------------


def test_an_actors_program_connects_to_the_simulation() -> None:
    """Without an address, a token, or knowing that it is simulated."""
    got: list[RoomMessage] = []

    def listener() -> None:
        with meshsync.connect("demo", name="listener") as room:
            room.messaging.enable()
            got.append(room.messaging.wait_for_message("chat"))

    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        task = sim.spawn(listener)
        alice = room.join("alice", enable=True)
        to = alice.messaging.wait_for_participant(name="listener")
        sim.sleep(1)
        alice.messaging.send_message(to, "chat", {"n": 1})
        assert task.join(10)
    assert [message.message for message in got] == [{"n": 1}]


def test_spawn_hands_on_arguments_and_names() -> None:
    """And a task's end can be waited for, in virtual seconds."""
    with simulated() as sim:
        results: list[object] = []

        def work(*values: object) -> None:
            sim.sleep(5)
            results.extend(values)

        task = sim.spawn(work, 1, "two", name="worker")
        assert task.name == "worker"
        assert not task.join(4.9)
        assert task.join(0.2)
        assert (results, sim.now) == ([1, "two"], 5.0)


def test_the_wall_clock_begins_where_it_is_told() -> None:
    """Without a zone it is UTC, wherever this runs."""
    with simulated(start="2030-06-01T12:00:00") as sim:
        sim.sleep(1)
        assert sim.runtime.wall() == 1_906_545_601.0
    with simulated() as sim:
        assert sim.runtime.wall() == 1_767_225_600.0


def test_the_world_can_be_moved_from_outside() -> None:
    """By steps, by seconds, until nothing is left but heartbeats, or as in real time."""
    with simulated() as sim:
        room = sim.room("demo")
        room.add(participants.Chatter("chatter", 10, limit=2))
        assert sim.step()
        sim.advance(15)
        assert len(room.transcript.messages()) == 1
        sim.run_until_idle()
        assert (len(room.transcript.messages()), sim.now) == (2, 20.0)
        sim.run(3600, speed=1e6)
        assert sim.now == pytest.approx(3620.0)


def test_a_run_can_have_a_horizon() -> None:
    """It is stopped there, in the main thread."""
    with simulated(horizon=10) as sim:
        with pytest.raises(HorizonReached):
            sim.sleep(20)
        assert sim.now == 10


# --- beginning and end ------------------------------------------------------------------------------------------------


def test_the_open_simulation_can_be_asked_for() -> None:
    """And when none is open, that is an error that says what to do."""
    with pytest.raises(UsageError, match="with Simulation"):
        current()
    with simulated() as sim:
        assert current() is sim
    with pytest.raises(UsageError):
        current()


def test_arguments_are_checked_before_anything_is_open() -> None:
    """After each of these another simulation can be opened."""
    for wrong in ({"latency": -1}, {"schedule": "lifo"}, {"start": "yesterday"}):
        with pytest.raises(ValueError):
            Simulation(0, **wrong)
    with simulated():
        pass


def test_closing_gives_the_thread_its_own_world_back() -> None:
    """Afterwards ``meshsync.connect`` finds no simulation."""
    sim = Simulation(0)
    sim.close()
    sim.close()
    assert "closed" in repr(sim)
    assert meshsync.monotonic() != sim.now
    with pytest.raises(AuthenticationFailed, match="nothing to join with"):
        meshsync.connect("demo", name="alice", url="ws://127.0.0.1:1")


def test_closing_runs_what_actors_have_to_tidy_up_and_leaves_no_thread() -> None:
    """Their ``finally`` blocks run, and every thread has ended."""
    tidied: list[str] = []

    def worker(name: str) -> None:
        try:
            meshsync.connect("demo", name=name).wait_closed()
        finally:
            tidied.append(name)

    before = set(threading.enumerate())
    names = {"simulation watchdog", "worker", "worker#2"}
    names |= {f"meshsync {task} of {name} in demo" for task in ("reader", "dispatcher") for name in ("a", "b")}
    with simulated() as sim:
        for name in ("a", "b"):
            sim.spawn(worker, name)
        sim.sleep(1)
        # Its threads alone: others of the process begin and end when they like.
        threads = [thread for thread in threading.enumerate() if thread not in before and thread.name in names]
    assert tidied == ["a", "b"]
    assert {thread.name for thread in threads} == names
    assert not any(map(threading.Thread.is_alive, threads))


def test_closing_raises_an_actors_failure_that_nobody_has_seen() -> None:
    """And all is closed nevertheless."""

    def failing() -> None:
        try:
            meshsync.sleep(100)
        finally:
            raise LookupError("no such thing")

    sim = Simulation(0)
    sim.spawn(failing)
    sim.sleep(1)
    with pytest.raises(ActorFailed, match="LookupError: no such thing"):
        sim.close()
    with simulated():
        pass


def test_an_error_on_its_way_out_is_not_replaced() -> None:
    """What went wrong first is what is seen, and the simulation is closed."""
    with pytest.raises(ZeroDivisionError), Simulation(0) as sim:
        sim.room("demo").join("alice", enable=True)
        raise ZeroDivisionError
    assert not sim.runtime.is_open
    with pytest.raises(SimulationClosed):
        sim.sleep(1)


def test_a_client_that_cannot_enable_does_not_stay() -> None:
    """Joining either works or leaves nobody behind."""
    with simulated() as sim:
        room = sim.room("demo")
        room.join("alice").close()
        sim.plan(faults.error_replies("alice", 1001))
        with pytest.raises(meshsync.RoomError):
            room.join("alice", enable=True)
        sim.sleep(1)
        assert room.seated.is_empty


def test_physics_of_the_network_are_given_to_the_simulation() -> None:
    """A law of its own each way, a wire of 1,000 bytes a second, and heartbeats.

    The message of 5,000 bytes takes 5 s onto the wire at its sender and 5 s more at the room, besides 0.1 s up, 2 s
    down and what its packets' headers take; without the wire's limit it would be 2.1 s.
    """
    with simulated(latency=0.1, latency_down=2, bandwidth=1000, window=100_000, heartbeat=None) as sim:
        room = sim.room("demo")
        alice, bob = (room.join(name, enable=True, timeout=300) for name in ("alice", "bob"))
        to = alice.messaging.wait_for_participant(name="bob")
        sim.sleep(100)
        begin = sim.now
        with bob.messaging.messages() as received:
            alice.messaging.send_message_nowait(to, "t", {}, attachment=bytes(5000))
            received.get(timeout=60)
        assert 12.1 < sim.now - begin < 20
        packets = room.transcript.packet_count
        sim.sleep(1000)
        assert room.transcript.packet_count == packets


@pytest.mark.parametrize("given", [{"bandwidth": 0}, {"window": -1}, {"heartbeat": 0.0}, {"bandwidth": float("inf")}])
def test_physics_that_cannot_be_are_refused(given: dict[str, float]) -> None:
    """The text names the argument, and no simulation is left open."""
    (name,) = given
    with pytest.raises(ValueError, match=f"{name}: a number above 0"):
        Simulation(**given)
    Simulation().close()
