"""Programs with planted bugs that only a crash shows, and what a life leaves in globals."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import meshsync
from meshsync import MeshsyncError, RoomMessageEvent
from simulator import Simulation, faults
from simulator.faults.plans import Planned

__all__ = ["careful_store", "counter", "hasty_store", "keeper", "plan"]

SEEN: list[str] = []
LIMITS = {"most": 3}
LOCK = meshsync.Lock()


class Cache:
    """What a program keeps in memory."""

    def __init__(self) -> None:
        self.entries: dict[str, int] = {}


CACHE = Cache()
CALLS = 0


def plan(chance: Random) -> list[Planned]:
    """Draw crashes of the store's machine, and faults that have nothing to do with it."""
    return [
        faults.at(5 + chance.random() * 5, faults.crash("store", "machine", restart_after=0.5 + chance.random())),
        faults.at(chance.random() * 10, faults.crash("bystander", restart_after=1)),
        faults.at(chance.random() * 10, faults.crash("bystander", "machine")),
        faults.during(chance.random() * 2, 3 + chance.random(), faults.latency(0.1)),
    ]


def hasty_store(sim: Simulation) -> None:
    """Answer before what was written is synchronized: what a client was told is there is gone with the machine."""
    _store(sim, is_careful=False)


def careful_store(sim: Simulation) -> None:
    """Answer behind it."""
    _store(sim, is_careful=True)


def _store(sim: Simulation, *, is_careful: bool) -> None:
    sim.spawn(_server, sim.disk("store") / "log", is_careful, name="store")
    sim.spawn(meshsync.Event().wait, name="bystander")
    client = sim.room("demo").join("client", enable=True)
    stored: set[int] = set()
    client.messaging.on_message("stored", lambda event: stored.add(event.message.message["n"]))
    for number in range(20):
        with suppress(MeshsyncError):
            client.messaging.send_message(_peer(client, "store"), "store", {"n": number}, timeout=1)
        sim.sleep(0.7)
    sim.sleep(60)
    kept = {int(line) for line in (sim.disk("store") / "log").read_text().split()}
    assert stored <= kept, f"lost: {sorted(stored - kept)}"


def _peer(client: meshsync.RoomClient, name: str) -> meshsync.RemoteParticipant:
    return client.messaging.wait_for_participant(name, timeout=1)


def _server(log: Path, is_careful: bool) -> None:
    with meshsync.connect("demo", name="store") as client, log.open("a") as file:

        def store(event: RoomMessageEvent) -> None:
            file.write(f"{event.message.message['n']}\n")
            file.flush()
            sync: Callable[[], None] = lambda: os.fsync(file.fileno())  # noqa: E731
            if is_careful:
                sync()
            with suppress(MeshsyncError):
                client.messaging.send_message(event.participant, "stored", event.message.message)
            meshsync.sleep(1.5)
            sync()

        client.messaging.on_message("store", store)
        client.messaging.enable()
        client.wait_closed()


def keeper(sim: Simulation) -> None:
    """Crash with globals that were changed, and with some that were only read."""
    sim.spawn(_keep, name="keeper")
    sim.sleep(1)
    sim.crash("keeper")
    sim.restart("keeper")
    sim.sleep(1)


def _keep() -> None:
    global CALLS
    CALLS += 1
    with LOCK:
        _note("here")
        CACHE.entries["here"] = LIMITS["most"]
    meshsync.sleep(1e9)


def _note(text: str) -> None:
    SEEN.append(text)


def counter(sim: Simulation) -> None:
    """Crash without any such thing."""
    sim.spawn(lambda: [LIMITS["most"], meshsync.sleep(1e9)], name="counter")
    sim.sleep(1)
    sim.crash("counter")
    sim.restart("counter")
    sim.sleep(1)
