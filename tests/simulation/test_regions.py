"""Regions, bandwidths by link, partitions of one direction: with whole clients and participants without a thread."""

from __future__ import annotations

import pytest

from meshsync import SendTimeout
from meshsync.errors import UsageError
from simulator import Simulation, explore, faults, latency, participants, replay
from simulator.exploring.exploration import Failure
from simulator.exploring.runs import Case, run
from tests.support.worlds import simulated, told

REGIONS = {"ada": "us", "ann": "us", "bob": "eu", "room": "eu"}
TABLE = latency.matrix({("us", "eu"): 0.050, ("eu", "us"): 0.070, ("eu", "eu"): 0.001}, regions=REGIONS)


class Trio:
    """ada and ann in one region, bob and the room in another, at 10 s."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.room = sim.room("demo")
        self.ada, self.ann, self.bob = (self.room.join(name, enable=True) for name in ("ada", "ann", "bob"))
        sim.sleep(10 - sim.now)

    def tell(self, sender: str, to: str, type: str, size: int = 0) -> None:
        """Have one send another a message, without waiting."""
        client = getattr(self, sender)
        peer = client.messaging.wait_for_participant(name=to)
        client.messaging.send_message_nowait(peer, type, {"text": "x" * size})

    @property
    def latencies(self) -> dict[str, float | None]:
        """How long each message took, by its type, in seconds."""
        return {one.type: one.latency_s for one in self.room.transcript.messages()}


# --- latency ----------------------------------------------------------------------------------------------------------


def test_a_message_takes_the_way_to_the_room_and_the_way_from_there() -> None:
    """From ada to bob 50 and 1 ms, back 1 and 70 ms, from ada to ann 50 and 70 ms: the room is in between."""
    with simulated(latency=TABLE) as sim:
        trio = Trio(sim)
        for sender, to in (("ada", "bob"), ("bob", "ada"), ("ada", "ann")):
            trio.tell(sender, to, f"{sender} to {to}")
        sim.sleep(1)
        assert trio.latencies == {"ada to bob": 0.051, "bob to ada": 0.071, "ada to ann": 0.120}


def test_participants_without_a_thread_are_somewhere_too() -> None:
    """And who is nowhere is not let in, by name, whichever it is."""
    with simulated(latency=TABLE) as sim:
        room = sim.room("demo")
        room.add(participants.Chatter("ann", 0.5, to="bob", limit=1), participants.Silent("bob"))
        sim.sleep(2)
        assert [one.latency_s for one in room.transcript.messages("chat")] == [0.051]
        with pytest.raises(UsageError, match="'eve' is in no region of the matrix"):
            room.join("eve")
        with pytest.raises(UsageError, match="'eve' is in no region of the matrix"):
            room.add(participants.Silent("eve"))
        assert [member.name for member in (seat.member for seat in room.seated.seats)] == ["ann", "bob"]


def test_a_matrix_is_not_given_beside_a_law_of_one_direction() -> None:
    """It has both; nothing is open."""
    with pytest.raises(ValueError, match="latency_down: a matrix has both directions"):
        Simulation(latency=TABLE, latency_down=0.1)
    with simulated():
        pass


def test_a_law_of_a_fault_counts_while_it_holds() -> None:
    """For all that are in a region; then the matrix does again."""
    with simulated(latency=TABLE) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 13, faults.latency(1, "us")))
        sim.sleep(2)
        trio.tell("ada", "bob", "slow")
        trio.tell("bob", "ann", "half")
        sim.sleep(3)
        trio.tell("ada", "bob", "fast")
        sim.sleep(1)
        assert trio.latencies == {"slow": 1.001, "half": 1.001, "fast": 0.051}


def needs_ada_in_time(sim: Simulation) -> None:
    """Fail unless bob gets a message of ada's within 60 ms of a partition's beginning."""
    trio = Trio(sim)
    sim.plan(faults.at(15, faults.drop("ann")), faults.during(11, 12, faults.partition({"us"}, direction="up")))
    sim.sleep(1)
    trio.tell("ada", "bob", "hello")
    sim.sleep(0.2)
    assert trio.latencies == {"hello": 0.051}


def test_a_failure_in_regions_is_found_shrunk_kept_and_replayed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A matrix is part of the case, as a partition of one direction is of its plan; the drop is left out."""
    path = tmp_path_factory.mktemp("kept") / "failure.json"
    failure = explore(needs_ada_in_time, range(1), latency=TABLE, schedule="fifo", save=path, report=None)
    assert isinstance(failure, Failure)
    assert failure.run.plan == (faults.during(11, 12, faults.partition({"us"}, direction="up")),)
    again = replay(path)
    assert again.is_same
    assert again.is_identical
    assert again.run.case.latency == TABLE


def test_a_run_with_a_matrix_is_that_of_its_seed() -> None:
    """Also if laws of chance are in it."""
    table = latency.matrix(
        {"eu": {"eu": latency.exponential(0.01), "us": latency.lognormal(0.04, 0.4)}}, regions=REGIONS
    )

    def talk(sim: Simulation) -> None:
        trio = Trio(sim)
        for number in range(20):
            trio.tell("ada", "bob", f"{number}")
        sim.sleep(1)

    first, second, other = (run(talk, Case(seed, table)) for seed in (1, 1, 2))
    assert first.error is None
    assert first.digests == second.digests != other.digests


# --- bandwidth --------------------------------------------------------------------------------------------------------


def test_bandwidths_are_by_participant_region_and_direction() -> None:
    """10 kB take a second at 10 kB/s; the participant counts before the region, and that before all others."""
    limits = {"us": {"up": 10_000}, "ann": 100_000, "*": {"down": 5_000}}
    with simulated(latency=TABLE, bandwidth=limits) as sim:
        trio = Trio(sim)
        for sender, to in (("ada", "ann"), ("ann", "ada"), ("ann", "bob"), ("bob", "ada")):
            trio.tell(sender, to, f"{sender} to {to}", 10_000)
            sim.sleep(5)
        taken = {type: round(seconds or 0, 1) for type, seconds in trio.latencies.items()}
    # With what frames cost: 10 kB are up to 3 % more on the wire. ann has 0.1 s in either direction.
    assert taken == {"ada to ann": 1.3, "ann to ada": 0.2, "ann to bob": 2.2, "bob to ada": 0.1}


def test_one_bandwidth_for_each_direction() -> None:
    """Of all connections."""
    with simulated(bandwidth={"up": 10_000}) as sim:
        trio = Trio(sim)
        trio.tell("ada", "bob", "large", 10_000)
        sim.sleep(5)
        assert 1.0 < (trio.latencies["large"] or 0) < 1.05


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"up": 0}, "bandwidth, up: a number above 0, not 0"),
        ({"ada": -1}, "bandwidth of 'ada': a number above 0"),
        ({"ada": {"sideways": 1}}, "bandwidth of 'ada': a number, or one for 'up' and 'down', not for ['sideways']"),
        ({"ada": {}}, "not for nothing"),
        ({}, "not for nothing"),
        ("fast", "bandwidth: a number above 0, not 'fast'"),
        ({"ada": True}, "a number above 0, not True"),
    ],
)
def test_what_is_no_bandwidth_is_refused(given: object, text: str) -> None:
    """By name; nothing is open."""
    with pytest.raises(ValueError) as caught:
        Simulation(bandwidth=given)  # type: ignore[arg-type]
    assert text in str(caught.value)
    with simulated():
        pass


# --- partitions of one direction --------------------------------------------------------------------------------------


def test_who_is_cut_off_upwards_gets_messages_and_is_not_heard() -> None:
    """What it sent arrives after repair, in order."""
    with simulated(latency=0.1) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 20, faults.partition({"ada"}, direction="up")))
        sim.sleep(2)
        inbox = trio.ada.messaging.messages()
        trio.tell("ada", "bob", "one")
        trio.tell("ada", "bob", "two")
        trio.tell("bob", "ada", "heard")
        assert inbox.get(timeout=1).type == "heard"
        with pytest.raises(SendTimeout):
            trio.ada.messaging.broadcast_message("asks", {}, timeout=1)
        sim.sleep(10)
        came = [one.type for one in trio.room.transcript.messages() if one.recipient == "bob"]
        assert came == ["one", "two", "asks"]
        assert 7 < (trio.latencies["one"] or 0) < 9


def test_who_is_cut_off_downwards_is_heard_and_gets_nothing() -> None:
    """Not even that its messages have arrived, until repair."""
    with simulated(latency=0.1) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 20, faults.partition({"ada"}, direction="down")))
        sim.sleep(2)
        inbox = trio.bob.messaging.messages()
        trio.tell("bob", "ada", "late")
        with pytest.raises(SendTimeout):
            trio.ada.messaging.send_message(trio.ada.messaging.wait_for_participant(name="bob"), "heard", {}, timeout=1)
        assert inbox.get(timeout=1).type == "heard"
        sim.sleep(10)
        assert 8 < (trio.latencies["late"] or 0) < 9


@pytest.mark.parametrize("who", ["client", "participant without a thread"])
def test_the_room_gives_up_who_is_not_heard(who: str) -> None:
    """After its heartbeat, though it goes on sending: acknowledgements are cut, too."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        if who == "client":
            room.join("ada", enable=True, reconnect=False)
        else:
            room.add(participants.Silent("ada"))
        room.add(participants.Chatter("bob", 1, to="ada"))
        sim.sleep(1)
        sim.plan(faults.partition({"ada"}, direction="up"))
        sim.sleep(60)
        (left,) = [when for when, kind, name in told(room.transcript, "disconnected") if name == "ada"]
        assert 40 < left < 50  # 30 s of silence and 15 s without an answer.
        assert [one.outcome for one in room.transcript.messages("chat")].count("delivered") > 40


def test_who_is_not_heard_gets_no_more_than_the_window_holds() -> None:
    """Nothing tells the room that it was read: 20 kB of 50 arrive before the repair, the rest after it."""
    with simulated(latency=0.1, window=20_000) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 20, faults.partition({"ada"}, direction="up")))
        sim.sleep(2)
        for number in range(50):
            trio.tell("bob", "ada", f"{number}", 1000)
        sim.sleep(7)
        assert 15 < len(trio.latencies) < 20
        sim.sleep(5)
        assert list(trio.latencies) == [f"{number}" for number in range(50)]


def test_a_client_that_gets_nothing_gives_up_and_comes_back() -> None:
    """After its own heartbeat, and in a new connection once it can."""
    with simulated(latency=0.1) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 100, faults.partition({"ada"}, direction="down")))
        sim.sleep(60)
        assert not trio.ada.is_connected
        sim.sleep(100)
        assert trio.ada.is_connected


def test_partitions_of_both_directions_add_up() -> None:
    """Each ends by itself."""
    with simulated(latency=0.1) as sim:
        trio = Trio(sim)
        up, down = (faults.partition({"ada"}, direction=way) for way in ("up", "down"))
        both = faults.partition({"ada"})
        sim.plan(faults.during(11, 16, up), faults.during(12, 13, down), faults.during(12, 14, both))
        sim.sleep(2.5)
        trio.tell("ada", "bob", "asks")
        trio.tell("bob", "ada", "told")
        sim.sleep(10)
        assert trio.latencies == {"told": 1.6, "asks": 3.7}


def test_a_region_is_known_to_faults_of_the_network_alone() -> None:
    """The record says who is struck; rooms know no regions."""
    with simulated(latency=TABLE) as sim:
        trio = Trio(sim)
        sim.plan(faults.reset("us"), faults.at(13, faults.throttle("us", 1000)))
        with pytest.raises(UsageError, match=r"which no room knows; there are ada, ann, bob$"):
            sim.plan(faults.reject_streams("us"))
        with pytest.raises(UsageError, match=r"there are ada, ann, bob, us, eu$"):
            sim.plan(faults.reset("ap"))
        sim.sleep(4)
        struck = [one.detail["struck"] for one in trio.room.transcript if one.kind == "fault"]
        assert struck == [["ada", "ann"], ["ada", "ann"]]
        left = [name for _, _, name in told(trio.room.transcript, "disconnected")]
        assert left == ["ada", "ann"]


def test_regions_can_be_cut_from_each_other_while_both_reach_the_room() -> None:
    """What is in the record says between whom."""
    places = {"ada": "us", "ann": "us", "bob": "ap", "room": "eu"}
    table = latency.matrix({("us", "eu"): 0.05, ("ap", "eu"): 0.1}, regions=places)
    with simulated(latency=table) as sim:
        trio = Trio(sim)
        sim.plan(faults.during(11, 15, faults.block("us", "ap")))
        sim.sleep(1.5)
        for sender, to in (("ada", "bob"), ("bob", "ada"), ("ada", "ann")):
            trio.tell(sender, to, f"{sender} to {to}")
        sim.sleep(5)
        assert trio.latencies == {"ada to ann": 0.1, "bob to ada": 0.15, "ada to bob": 3.6}
        assert [one.detail["struck"] for one in trio.room.transcript.faults()] == [["ada", "ann", "bob"]] * 2
