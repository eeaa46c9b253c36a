"""A job that two workers accept: each says so to all, and the second looks whether the first did."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

WORKERS = {"lea": 0.0, "max": 0.6}
"""How long each waits before it accepts a job, so that the others can be first."""


def accept(client: RoomClient, taken: set[str], job: str) -> bool:
    """The bug: until others read that it is taken, it is free to them. Return whether it is this one's."""
    meshsync.sleep(WORKERS[client.local_participant.name])
    if job in taken:
        return False
    meshsync.sleep(0.05)  # the tools are looked for
    client.messaging.broadcast_message("taken", {"job": job})
    return True


def accept_if_given(client: RoomClient, taken: set[str], job: str) -> bool:
    """Ask whose job it is. Return whether it is this one's."""
    meshsync.sleep(WORKERS[client.local_participant.name])
    meshsync.sleep(0.05)  # the tools are looked for
    foreman = client.messaging.wait_for_participant(name="foreman")
    with client.messaging.messages("whose", sender=foreman) as answers:
        client.messaging.send_message(foreman, "mine?", {"job": job})
        return bool(answers.get().message["name"] == client.local_participant.name)


def site(sim: Simulation, apply: Callable[[RoomClient, set[str], str], bool]) -> None:
    """A foreman tells two workers of one job."""
    room = sim.room("site")
    foreman = room.join("foreman", enable=True)
    owners: dict[str, str] = {}
    done: list[str] = []

    @foreman.messaging.on_message("mine?")
    def give(event: RoomMessageEvent) -> None:
        assert event.participant is not None
        owner = owners.setdefault(event.message.message["job"], event.participant.name)
        foreman.messaging.send_message(event.participant, "whose", {"name": owner})

    def worker(name: str) -> None:
        client = room.join(name)
        taken: set[str] = set()
        client.messaging.on_message("taken", lambda event: taken.add(event.message.message["job"]))
        with client.messaging.messages("job") as jobs:
            client.messaging.enable()
            job = jobs.get().message["job"]
            if apply(client, taken, job):
                done.append(f"{job} by {name}")

    workers = [sim.spawn(worker, name, name=name) for name in WORKERS]
    for name in WORKERS:
        foreman.messaging.wait_for_participant(name=name)
    foreman.messaging.broadcast_message("job", {"job": "the roof"})
    for task in workers:
        task.join()
    sim.run_until_idle()
    assert len(done) == 1, f"done: {', '.join(done)}"


def racy(sim: Simulation) -> None:
    """Workers who tell each other."""
    site(sim, accept)


def repaired(sim: Simulation) -> None:
    """Workers who ask the foreman."""
    site(sim, accept_if_given)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "site", "assert len(done) == 1"),
    LateStep("lea", "meshsync.sleep(0.05)", 0.9),
)
