"""A job that is queued again behind the sign that there are no more."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Jobs:
    """A queue of jobs; None is the sign that there are no more."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.waiting: list[str | None] = []
        self.open = 0
        """How many are not done."""

    def put(self, job: str | None) -> None:
        """Add one."""
        with self.changed:
            self.waiting.append(job)
            self.changed.notify_all()

    def get(self) -> str | None:
        """Wait for one."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self.waiting))
            return self.waiting.pop(0)


def end(jobs: Jobs) -> None:
    """The bug: what failed is believed to be queued again by now."""
    jobs.put(None)


def end_when_done(jobs: Jobs) -> None:
    """Wait until all are done."""
    with jobs.changed:
        jobs.changed.wait_for(lambda: not jobs.open)
    jobs.put(None)


def mill(sim: Simulation, finish: Callable[[Jobs], None]) -> None:
    """A miller grinds three sacks, which a farmer brings; one is wet, and is queued again 0.4 s later."""
    room = sim.room("mill")
    farmer = room.join("farmer", enable=True)
    jobs, ground = Jobs(), list[str]()

    def dry(sack: str) -> None:
        meshsync.sleep(0.4)
        jobs.put(sack)

    def miller() -> None:
        while (sack := jobs.get()) is not None:
            if sack == "wet":
                sim.spawn(dry, "dry")
            else:
                ground.append(sack)
                with jobs.changed:
                    jobs.open -= 1
                    jobs.changed.notify_all()

    with meshsync.connect("mill", name="door") as door, door.messaging.messages() as sacks:
        door.messaging.enable()
        task = sim.spawn(miller)
        to = farmer.messaging.wait_for_participant(name="door")
        for sack in ("rye", "wet", "oats"):
            farmer.messaging.send_message(to, "sack", {"of": sack})
            jobs.open += 1
            jobs.put(sacks.get().message["of"])
        meshsync.sleep(1.2)  # the farmer drinks a coffee
        finish(jobs)
        task.join()
    sim.run_until_idle()
    assert len(ground) == 3, f"ground {' and '.join(ground)}"


def racy(sim: Simulation) -> None:
    """A mill that closes when the farmer goes."""
    mill(sim, end)


def repaired(sim: Simulation) -> None:
    """A mill that closes when all is ground."""
    mill(sim, end_when_done)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "mill", "assert len(ground) == 3"),
    LateStep("dry", "meshsync.sleep(0.4)", 1.5),
)
