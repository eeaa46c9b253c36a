"""A stale snapshot of attributes: a printer says that it is idle, and prints by the time the job is there."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient, Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Drum:
    """What prints: one page at a time."""

    def __init__(self, client: RoomClient) -> None:
        self.client = client
        self.is_turning = False

    def print(self, page: str) -> None:
        """Print a page, which takes 0.4 s."""
        assert not self.is_turning, f"a paper jam: {page} came while another was printed"
        self.is_turning = True
        self.client.local_participant.set_attribute("state", "busy")
        meshsync.sleep(0.4)
        self.is_turning = False
        self.client.local_participant.set_attribute("state", "idle")


def print_each(sim: Simulation, drum: Drum, jobs: Subscription) -> None:
    """The bug: whoever sends a job is trusted to have seen that the printer is idle."""
    tasks = [sim.spawn(drum.print, jobs.get().message["page"]) for _ in range(2)]
    for task in tasks:
        task.join()


def print_in_turn(sim: Simulation, drum: Drum, jobs: Subscription) -> None:
    """Print one after the other, whatever others have seen."""
    for _ in range(2):
        drum.print(jobs.get().message["page"])


def office(sim: Simulation, work: Callable[[Simulation, Drum, Subscription], None]) -> None:
    """Two clerks, one 1.2 s after the other, wait until the printer is idle, set the page and send it."""
    printer = sim.room("office").join("printer", attributes={"state": "idle"}, enable=True)

    def clerk(name: str, begins: float) -> None:
        meshsync.sleep(begins)
        with meshsync.connect("office", name=name) as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(where=lambda one: one.get_attribute("state") == "idle")
            meshsync.sleep(0.15)  # the page is set
            client.messaging.send_message(to, "job", {"page": f"a letter of {name}"})

    with printer.messaging.messages("job") as jobs:
        clerks = [sim.spawn(clerk, name, begins, name=name) for name, begins in (("cleo", 0.0), ("carl", 1.2))]
        work(sim, Drum(printer), jobs)
    for task in clerks:
        task.join()


def racy(sim: Simulation) -> None:
    """A printer that relies on its attribute."""
    office(sim, print_each)


def repaired(sim: Simulation) -> None:
    """A printer with a queue."""
    office(sim, print_in_turn)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "print", "assert not self.is_turning"),
    LateStep("cleo", "meshsync.sleep(0.15)", 1.1),
)
