"""Leader election by the lowest name: each node waits half a second for the others, and looks who is there."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

NODES = ("a", "b", "c")


def elect(client: RoomClient) -> str:
    """The bug: who is not there yet is not there. Return who leads."""
    meshsync.sleep(0.6)  # until all have come
    peers = [peer.name for peer in client.messaging.remote_participants if peer.role == "node"]
    return min([*peers, client.local_participant.name])


def elect_among_all(client: RoomClient) -> str:
    """Wait for all that there are. Return who leads."""
    peers = [name for name in NODES if name != client.local_participant.name]
    for name in peers:
        client.messaging.wait_for_participant(name=name)
    return min([*peers, client.local_participant.name])


def cluster(sim: Simulation, choose: Callable[[RoomClient], str]) -> None:
    """Three nodes start at once, and leave when all have chosen."""
    observer = sim.room("cluster").join("observer", enable=True)

    def node(name: str) -> None:
        with meshsync.connect("cluster", name=name, role="node") as client:
            with client.messaging.messages("end") as ends:
                client.messaging.enable()
                leader = choose(client)
                to = client.messaging.wait_for_participant(name="observer")
                client.messaging.send_message(to, "chosen", {"leader": leader})
                ends.get()

    with observer.messaging.messages("chosen") as choices:
        nodes = [sim.spawn(node, name, name=name) for name in NODES]
        leaders = {choices.get().message["leader"] for _ in NODES}
    observer.messaging.broadcast_message("end", {})
    for task in nodes:
        task.join()
    sim.run_until_idle()
    assert len(leaders) == 1, f"{' and '.join(sorted(leaders))} are taken for the leader"


def racy(sim: Simulation) -> None:
    """Nodes that wait for a while."""
    cluster(sim, elect)


def repaired(sim: Simulation) -> None:
    """Nodes that wait for each other."""
    cluster(sim, elect_among_all)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "cluster", "assert len(leaders) == 1"),
    LateStep("a", 'meshsync.connect("cluster", name=name', 1.0),
)
