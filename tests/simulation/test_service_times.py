"""Rooms and participants that take time for a message: overload shows, and nothing changes where none is asked for."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from meshsync.errors import UsageError
from simulator import Simulation, calibrate, check, explore, faults, latency, participants, replay
from simulator.exploring import sweeps
from simulator.exploring.halted_search import HaltedSearch
from simulator.exploring.network_options import NetworkOptions
from simulator.latency import Law
from simulator.simulation import SimulatedRoom
from tests.support.sweeping import RecordingExecutor
from tests.support.worlds import simulated


def delays(room: SimulatedRoom, type: str) -> list[float]:
    """Return the delays of the messages of a type, in seconds, the shortest first."""
    return sorted(one.latency_s for one in room.transcript.messages(type) if one.latency_s is not None)


def overload(service: object, gap: float = 0.0) -> list[float]:
    """Let 20 clients broadcast 50 times each, and return the delays."""
    with Simulation(seed=1, latency=0.0005, service=service) as sim:  # type: ignore[arg-type]
        room = sim.room("demo")
        clients = [room.join(f"client {number}", enable=True) for number in range(20)]
        begun = sim.now

        def talk(client) -> None:
            for _ in range(50):
                client.messaging.broadcast_message_nowait("tick", {})
                sim.sleep(gap)

        for client in clients:
            sim.spawn(talk, client)
        sim.sleep(100)
        assert begun < 10
        return delays(room, "tick")


@pytest.mark.once
def test_a_room_is_overloaded_by_a_burst_and_not_by_a_trickle() -> None:
    """1,000 broadcasts of 0.4 ms each take 400 ms; at one in 5 ms the room is idle most of the time."""
    burst, trickle = overload(0.0004), overload(0.0004, gap=0.1)
    assert len(burst) == len(trickle) == 20 * 50 * 19
    assert 0.390 < burst[int(0.99 * len(burst))] < 0.402
    assert 0.19 < burst[len(burst) // 2] < 0.21
    assert trickle[int(0.99 * len(trickle))] <= 0.0095  # the twenty of one moment, at most


@pytest.mark.once
def test_a_participant_is_overloaded_by_itself() -> None:
    """Each gets 950 broadcasts and 50 acknowledgements, of 0.2 ms each: 200 ms, whatever the others have to do."""
    slow = overload({"participants": 0.0002})
    assert 0.185 < slow[-1] < 0.202


def test_who_takes_time_answers_in_turns_and_nothing_overtakes() -> None:
    """A flood of one client does not keep another one's message waiting for all of it."""
    with simulated(latency=0.0, service=latency.constant(0.01)) as sim:
        room = sim.room("demo")
        flood, ada, bob = (room.join(name, enable=True) for name in ("flood", "ada", "bob"))
        to = ada.messaging.wait_for_participant(name="bob")
        with bob.messaging.messages() as inbox:
            for number in range(100):
                flood.messaging.send_message_nowait(to, "flood", {"number": number})
            ada.messaging.send_message_nowait(to, "ask", {})
            sim.sleep(10)
            got = [inbox.get(timeout=0) for _ in range(101)]
        (asked,) = delays(room, "ask")
    assert [one.message["number"] for one in got if one.type == "flood"] == list(range(100))
    assert asked < 0.05


def test_participants_without_a_thread_take_time_too() -> None:
    """An echo that reads for a second each answers the third question after three."""
    with simulated(service={"participants": 1.0}) as sim:
        room = sim.room("demo")
        room.add(participants.Echo("bot"))
        ada = room.join("ada", enable=True)
        sim.sleep(20)
        bot = ada.messaging.wait_for_participant(name="bot")
        for _ in range(3):
            ada.messaging.send_message_nowait(bot, "ask", {})
        sim.sleep(20)
        to_bot = [one.latency_s for one in room.transcript.messages("ask", to="bot")]
    assert to_bot == [1.0, 2.0, 3.0]


def test_an_idle_law_draws_nothing_of_others() -> None:
    """A service time of zero is no service time: the same digest, and so are draws of all links."""

    def digest(**options: object) -> str:
        with simulated(latency=latency.uniform(0.01, 0.02), **options) as sim:
            room = sim.room("demo")
            room.add(participants.Echo("bot", delay=latency.exponential(0.1)))
            ada = room.join("ada", enable=True)
            bot = ada.messaging.wait_for_participant(name="bot")
            for _ in range(5):
                ada.messaging.send_message(bot, "ask", {})
            sim.sleep(5)
            return room.transcript.digest()

    assert digest() == digest(service=0) == digest(service={"room": 0.0, "participants": 0.0})
    assert digest() != digest(service=0.001)


def test_the_same_seed_takes_the_same_times() -> None:
    """A law is drawn from, in streams of its own."""

    def measured(seed: int) -> list[float]:
        with Simulation(seed=seed, service=latency.exponential(0.01)) as sim:
            room = sim.room("demo")
            ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)
            to = ada.messaging.wait_for_participant(name="bob")
            for _ in range(20):
                ada.messaging.send_message(to, "tick", {})
            sim.sleep(5)
            assert bob.is_connected
            return delays(room, "tick")

    assert measured(1) == measured(1) != measured(2)


def test_an_unknown_service_is_refused() -> None:
    """Before a simulation is open."""
    with pytest.raises(ValueError, match="service: of 'room' and 'participants', not of 'rooms'"):
        Simulation(service={"rooms": 1.0})
    with pytest.raises(ValueError, match="at least 0"):
        Simulation(service=-1.0)
    with simulated():
        pass


def test_calibrating_returns_a_law_and_refuses_a_simulation() -> None:
    """Each sample is the mean of a batch; what they are depends on the machine."""
    law: Law = calibrate(3, batches=3, batch=5)
    assert len(law.to_json()["samples"]) == 3
    assert law.quantile(0.5) > 0
    with simulated(), pytest.raises(UsageError, match="a simulation is open"):
        calibrate()
    with pytest.raises(ValueError, match="at least 2 participants"):
        calibrate(1)


def test_delays_that_go_together_do_so_through_faults_of_others() -> None:
    """Over a correlation of eleven days a connection has one delay, also after a partition that is not its own."""
    law = latency.correlated(latency.exponential(0.1), 1e6)
    with simulated(latency=law) as sim:
        room = sim.room("demo")
        ada, bob = room.join("ada", enable=True), room.join("bob", enable=True)
        assert room.join("carol").is_connected
        to = ada.messaging.wait_for_participant(name="bob")
        sim.plan(faults.during(sim.now + 2, sim.now + 4, faults.partition({"carol"})))
        for _ in range(10):
            ada.messaging.send_message_nowait(to, "tick", {})
            sim.sleep(1)
        assert bob.is_connected
        measured = delays(room, "tick")
    assert len(measured) == 10
    assert measured[-1] - measured[0] < 0.01


# --- in searches ------------------------------------------------------------------------------------------------------

NETWORK: NetworkOptions = {
    "service": {"room": latency.uniform(0.01, 0.03), "participants": 0.001},
    "latency_down": latency.constant(0.05),
    "bandwidth": 1e6,
    "window": 100_000,
    "heartbeat": None,
}


def burst(sim: Simulation) -> None:
    """Fail if the last of twenty messages takes longer than the first one by more than 0.4 s."""
    room = sim.room("demo")
    ada, _bob = room.join("ada", enable=True), room.join("bob", enable=True)
    to = ada.messaging.wait_for_participant(name="bob")
    for _ in range(20):
        ada.messaging.send_message_nowait(to, "tick", {})
    sim.sleep(100)
    taken = delays(room, "tick")
    assert taken[-1] - taken[0] < 0.4


def test_a_search_finds_what_only_overload_shows(tmp_path: Path) -> None:
    """The twenty of a burst take 0.4 s in the mean; the failure is kept, and replayed, with all of the network."""
    assert explore(burst, range(8), schedule="random", save=None, report=None) is None
    failure = explore(burst, range(8), schedule="random", save=tmp_path / "kept.json", report=None, **NETWORK)
    assert failure is not None
    assert failure.run.case.network == NETWORK
    again = replay(tmp_path / "kept.json")
    assert again.is_same
    assert again.is_identical
    assert again.run.case.network == NETWORK

    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    del kept["case"]["network"]  # as in a file from before there was any
    (tmp_path / "kept.json").write_text(json.dumps(kept), encoding="utf-8")
    assert replay(tmp_path / "kept.json").run.error is None


def test_workers_and_a_second_process_get_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of a sweep is that of the search here, and both runs of a check have the digest of a simulation."""
    reports: list[str] = []
    executor = RecordingExecutor()
    monkeypatch.setattr(sweeps, "wait", executor.wait)
    for workers in (None, executor):
        explore(burst, range(8), schedule="random", save=None, report=reports.append, executor=workers, **NETWORK)
    assert executor.done
    assert len(reports) == 2
    assert reports[0] == reports[1]

    checked = check(burst, report=None, service=0.01)
    with Simulation(service=0.01) as sim:
        burst(sim)
        assert checked.digests == {"demo": sim.room("demo").transcript.digest()}
    assert "in another process" in checked.how


def test_an_interrupted_search_goes_on_with_its_network(tmp_path: Path) -> None:
    """And with no other one."""

    def interrupt(sim: Simulation) -> None:
        if sim.seed == 2:
            raise KeyboardInterrupt

    kept = tmp_path / "kept.json"
    with pytest.raises(KeyboardInterrupt):
        explore(interrupt, range(8), resume=kept, report=None, **NETWORK)
    assert HaltedSearch.load(kept).arguments().items() >= NETWORK.items()
    with pytest.raises(UsageError, match=r"its network is \{'service'"):
        explore(interrupt, range(8), resume=kept, report=None)


def test_an_unknown_argument_of_a_search_is_refused() -> None:
    """Before anything is run."""
    for function in (explore, check):
        with pytest.raises(TypeError, match="there is no argument 'servce': it is service="):
            function(burst, servce=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="there is no argument 'colour'; "):
            function(burst, colour=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="service: of 'room' and 'participants', not of 'rooms'"):
        explore(burst, service={"rooms": 1.0})


def test_options_of_the_network_are_arguments_of_a_simulation() -> None:
    """Each by its name, and all that are about the network."""
    others = {"self", "seed", "latency", "schedule", "horizon", "pin", "start", "stall_after"}
    assert set(NetworkOptions.__annotations__) == set(inspect.signature(Simulation.__init__).parameters) - others


@pytest.mark.simulated(service={"participants": 0.25})
def test_the_marker_of_pytest_takes_a_service_time(simulation: Simulation, sim_room: SimulatedRoom) -> None:
    """As `Simulation` does."""
    ada, _bob = sim_room.join("ada", enable=True), sim_room.join("bob", enable=True)
    simulation.sleep(5)
    ada.messaging.send_message_nowait(ada.messaging.wait_for_participant(name="bob"), "tick", {})
    simulation.sleep(5)
    assert delays(sim_room, "tick") == [0.25]
