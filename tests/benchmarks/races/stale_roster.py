"""A stale roster: a worker is chosen, the job is packed, and by the time it is sent the worker has gone home."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, ParticipantNotFound
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def pack() -> dict[str, int]:
    """Prepare the job."""
    meshsync.sleep(0.2)
    return {"crates": 3}


def assign(messaging: MessagingClient) -> None:
    """The bug: the list of participants is one of then."""
    worker = messaging.wait_for_participant(role="worker")
    job = pack()
    messaging.send_message(worker, "job", job)


def assign_to_whoever_stays(messaging: MessagingClient) -> None:
    """Choose another one if the first has left."""
    job = pack()
    while True:
        worker = messaging.wait_for_participant(role="worker")
        try:
            messaging.send_message(worker, "job", job)
        except ParticipantNotFound:
            meshsync.sleep(0.1)
        else:
            return


def yard(sim: Simulation, give: Callable[[MessagingClient], None]) -> None:
    """Of two workers one has its shift's end a second after the foreman begins."""
    room = sim.room("yard")
    early = room.join("wim", role="worker", enable=True)
    late = room.join("zoe", role="worker", enable=True)

    def shift() -> None:
        meshsync.sleep(1.2)
        early.close()

    def foreman() -> None:
        with meshsync.connect("yard", name="foreman") as client:
            client.messaging.enable()
            give(client.messaging)

    tasks = [sim.spawn(foreman), sim.spawn(shift)]
    for task in tasks:
        task.join()
    late.close()


def racy(sim: Simulation) -> None:
    """A foreman who trusts the list."""
    yard(sim, assign)


def repaired(sim: Simulation) -> None:
    """A foreman who asks again."""
    yard(sim, assign_to_whoever_stays)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: ParticipantNotFound", "assign", 'messaging.send_message(worker, "job", job)'),
    LateStep("foreman", "meshsync.sleep(0.2)", 1.5),
)
