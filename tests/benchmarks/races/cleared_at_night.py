"""A table that is cleared at a fixed hour, seconds after all are believed to have gone."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Kitchen:
    """Plates on the table, and those that were cleared."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.eating = 0
        self.plates: set[str] = set()


def clear(kitchen: Kitchen) -> None:
    """The bug: after seven seconds all are believed to have eaten."""
    kitchen.plates.clear()


def clear_when_eaten(kitchen: Kitchen) -> None:
    """Wait until all have."""
    with kitchen.changed:
        kitchen.changed.wait_for(lambda: not kitchen.eating)
        kitchen.plates.clear()


def tavern(sim: Simulation, close: Callable[[Kitchen], None]) -> None:
    """Two guests are called to eat, and take two and three seconds; the table is cleared seven seconds after that."""
    host = sim.room("tavern").join("host", enable=True)
    kitchen = Kitchen()

    def guest(name: str, takes: float) -> None:
        with meshsync.connect("tavern", name=name) as client, client.messaging.messages("dinner") as calls:
            client.messaging.enable()
            kitchen.eating += 1
            calls.get()
            kitchen.plates.add(name)
            meshsync.sleep(takes)
            kitchen.plates.remove(name)
            with kitchen.changed:
                kitchen.eating -= 1
                kitchen.changed.notify_all()

    guests = [sim.spawn(guest, name, takes, name=name) for name, takes in (("jo", 2.0), ("kai", 3.0))]
    for name in ("jo", "kai"):
        host.messaging.wait_for_participant(name=name)
    host.messaging.broadcast_message("dinner", {})
    meshsync.sleep(7.0)
    close(kitchen)
    for task in guests:
        task.join()


def racy(sim: Simulation) -> None:
    """A host who looks at the clock."""
    tavern(sim, clear)


def repaired(sim: Simulation) -> None:
    """A host who looks at the table."""
    tavern(sim, clear_when_eaten)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: KeyError", "guest", "kitchen.plates.remove(name)"),
    LateStep("kai", "meshsync.sleep(takes)", 5.0),
)
