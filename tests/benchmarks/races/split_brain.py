"""Split brain by attributes: whoever sees no leader among the participants becomes it."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def prepare() -> None:
    """Mount the disks that the leader writes to."""
    meshsync.sleep(0.1)


def stand(client: RoomClient) -> bool:
    """The bug: others look while this one prepares. Return whether this one leads."""
    if any(peer.get_attribute("leads") for peer in client.messaging.remote_participants):
        return False
    prepare()
    client.local_participant.set_attribute("leads", True)
    return True


def ask_to_lead(client: RoomClient) -> bool:
    """Have one participant decide. Return whether this one leads."""
    judge = client.messaging.wait_for_participant(name="judge")
    with client.messaging.messages("verdict", sender=judge) as verdicts:
        client.messaging.send_message(judge, "candidate", {})
        leads = bool(verdicts.get().message["leads"])
    if leads:
        prepare()
        client.local_participant.set_attribute("leads", True)
    return leads


def cluster(sim: Simulation, candidate: Callable[[RoomClient], bool]) -> None:
    """Two nodes start 0.8 s apart, and stay until both know who leads."""
    room = sim.room("cluster")
    judge = room.join("judge", enable=True)
    candidates: list[str] = []
    leaders: list[str] = []

    @judge.messaging.on_message("candidate")
    def decide(event: meshsync.RoomMessageEvent) -> None:
        assert event.participant is not None
        candidates.append(event.participant.name)
        leads = candidates[0] == event.participant.name
        judge.messaging.send_message(event.participant, "verdict", {"leads": leads})

    def node(name: str, begins: float) -> None:
        meshsync.sleep(begins)
        client = room.join(name, enable=True)
        if candidate(client):
            leaders.append(name)

    nodes = [sim.spawn(node, name, begins, name=name) for name, begins in (("north", 0.0), ("south", 0.8))]
    for task in nodes:
        task.join()
    sim.run_until_idle()
    assert len(leaders) == 1, f"{' and '.join(leaders)} lead"


def racy(sim: Simulation) -> None:
    """Nodes that look at attributes."""
    cluster(sim, stand)


def repaired(sim: Simulation) -> None:
    """Nodes that ask a judge."""
    cluster(sim, ask_to_lead)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "cluster", "assert len(leaders) == 1"),
    LateStep("north", "meshsync.sleep(0.1)", 1.5),
)
