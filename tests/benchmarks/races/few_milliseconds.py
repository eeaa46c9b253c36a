"""A value that is read and written within five milliseconds, by two that come a quarter of a second apart."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Counter:
    """Visitors so far."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.visitors = 0


def count(counter: Counter) -> None:
    """The bug: both may read before one writes."""
    before = counter.visitors
    meshsync.sleep(0.005)  # the picture is compared
    counter.visitors = before + 1


def count_once(counter: Counter) -> None:
    """Compare first."""
    meshsync.sleep(0.005)
    with counter.lock:
        counter.visitors += 1


def museum(sim: Simulation, note: Callable[[Counter], None]) -> None:
    """Three cameras report visitors, each in a task of its own; the office counts each when it is reported."""
    office = sim.room("museum").join("office", enable=True)
    counter = Counter()

    def camera(name: str, begins: float) -> None:
        with meshsync.connect("museum", name=name) as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="office")
            meshsync.sleep(begins)
            client.messaging.send_message(to, "visitor", {})

    with office.messaging.messages("visitor") as reports:
        tasks = [sim.spawn(camera, name, begins) for name, begins in (("east", 0.0), ("west", 0.25), ("gate", 0.5))]
        for number in range(3):
            reports.get()
            tasks.append(sim.spawn(note, counter, name=f"note {number}"))
    for task in tasks:
        task.join()
    sim.run_until_idle()
    assert counter.visitors == 3, f"{counter.visitors} visitors"


def racy(sim: Simulation) -> None:
    """An office that reads and writes."""
    museum(sim, count)


def repaired(sim: Simulation) -> None:
    """An office that counts in one go."""
    museum(sim, count_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "museum", "assert counter.visitors == 3"),
    LateStep("note 0", "meshsync.sleep(0.005)", 0.6),
)
