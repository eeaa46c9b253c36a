"""Rooms and participants that take time for a message: overload shows, and nothing changes where none is asked for."""

from __future__ import annotations

import pytest

from meshsync.errors import UsageError
from simulator import Simulation, calibrate, faults, latency, participants
from simulator.latency import Law
from simulator.simulation import SimulatedRoom
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


def test_a_room_is_overloaded_by_a_burst_and_not_by_a_trickle() -> None:
    """1,000 broadcasts of 0.4 ms each take 400 ms; at one in 5 ms the room is idle most of the time."""
    burst, trickle = overload(0.0004), overload(0.0004, gap=0.1)
    assert len(burst) == len(trickle) == 20 * 50 * 19
    assert 0.390 < burst[int(0.99 * len(burst))] < 0.402
    assert 0.19 < burst[len(burst) // 2] < 0.21
    assert trickle[int(0.99 * len(trickle))] <= 0.0095  # the twenty of one moment, at most


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
