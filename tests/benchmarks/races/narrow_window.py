"""A narrow window: a gift is lost only if it comes while the sum is carried over, which takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator import latency
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Box:
    """A box for donations, and the books."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.inside = 0
        self.booked = 0

    def give(self, amount: int) -> None:
        """Put something in."""
        with self.lock:
            self.inside += amount


def empty(box: Box) -> None:
    """The bug: what comes between counting and emptying is not counted."""
    counted = box.inside
    meshsync.sleep(0.1)  # it is counted twice
    box.inside = 0
    box.booked += counted


def empty_counted(box: Box) -> None:
    """Take out what was counted."""
    counted = box.inside
    meshsync.sleep(0.1)  # it is counted twice
    with box.lock:
        box.inside -= counted
        box.booked += counted


def church(sim: Simulation, count: Callable[[Box], None]) -> None:
    """The sexton, who lets all know when it begins, counts after two seconds; a visitor gives after one."""
    sexton = sim.room("church").join("sexton", enable=True)
    box = Box()

    def visitor(name: str, stays: float) -> None:
        with meshsync.connect("church", name=name) as client:
            with client.messaging.messages("service") as services:
                client.messaging.enable()
                services.get()
            meshsync.sleep(stays)
            box.give(10)

    visitors = [sim.spawn(visitor, name, stays, name=name) for name, stays in (("gil", 0.4), ("gus", 1.0))]
    for name in ("gil", "gus"):
        sexton.messaging.wait_for_participant(name=name)
    sexton.messaging.broadcast_message("service", {})
    meshsync.sleep(2.0)
    count(box)
    for task in visitors:
        task.join()
    sim.run_until_idle()
    assert box.booked + box.inside == 20, f"{box.booked} booked, {box.inside} in the box"


def racy(sim: Simulation) -> None:
    """A sexton who empties the box."""
    church(sim, empty)


def repaired(sim: Simulation) -> None:
    """A sexton who takes out what was counted."""
    church(sim, empty_counted)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "church", "assert box.booked + box.inside == 20"),
    LateStep("gus", "meshsync.sleep(stays)", 1.05),
    law=latency.constant(0.02),
)
