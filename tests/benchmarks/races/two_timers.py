"""Two timers, one of which is believed to end first: a warning after one second, the gate after one and a quarter."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, RemoteParticipant
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def by_two_clocks(sim: Simulation, messaging: MessagingClient, to: RemoteParticipant) -> None:
    """The bug: the shorter sleep is believed to end first."""

    def warn() -> None:
        meshsync.sleep(1.0)
        messaging.send_message(to, "warning", {})

    def close() -> None:
        meshsync.sleep(1.25)
        messaging.send_message(to, "closed", {})

    for task in (sim.spawn(warn), sim.spawn(close)):
        task.join()


def by_one_clock(sim: Simulation, messaging: MessagingClient, to: RemoteParticipant) -> None:
    """Do one after the other."""

    def warn() -> None:
        meshsync.sleep(1.0)
        messaging.send_message(to, "warning", {})
        meshsync.sleep(0.25)
        messaging.send_message(to, "closed", {})

    sim.spawn(warn).join()


def crossing(sim: Simulation, guard: Callable[[Simulation, MessagingClient, RemoteParticipant], None]) -> None:
    """A driver at a crossing expects to be warned before the gate closes."""
    keeper = sim.room("crossing").join("keeper", enable=True)

    def driver() -> None:
        with meshsync.connect("crossing", name="driver") as client:
            with client.messaging.messages() as signs:
                client.messaging.enable()
                seen = [signs.get().type, signs.get().type]
                assert seen[0] == "warning", f"saw {' and then '.join(seen)}"

    task = sim.spawn(driver)
    to = keeper.messaging.wait_for_participant(name="driver")
    guard(sim, keeper.messaging, to)
    task.join()


def racy(sim: Simulation) -> None:
    """A keeper with two clocks."""
    crossing(sim, by_two_clocks)


def repaired(sim: Simulation) -> None:
    """A keeper with one clock."""
    crossing(sim, by_one_clock)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "driver", 'assert seen[0] == "warning"'),
    LateStep("warn", "meshsync.sleep(1.0)", 0.5),
)
