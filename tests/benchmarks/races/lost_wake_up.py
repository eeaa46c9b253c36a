"""A lost wake-up: what is notified between looking and waiting is never noticed."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Oven:
    """An oven, and whether it is hot."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.is_hot = False

    def heat(self) -> None:
        """Heat it, which takes a second and a half."""
        meshsync.sleep(1.5)
        with self.changed:
            self.is_hot = True
            self.changed.notify_all()


def wait(oven: Oven) -> None:
    """The bug: the oven may become hot while the table is wiped."""
    if not oven.is_hot:
        meshsync.sleep(0.1)  # the table is wiped
        with oven.changed:
            oven.changed.wait()


def wait_for(oven: Oven) -> None:
    """Look while holding what the other one has to hold."""
    meshsync.sleep(0.1)  # the table is wiped
    with oven.changed:
        oven.changed.wait_for(lambda: oven.is_hot)


def bakery(sim: Simulation, wait_until_hot: Callable[[Oven], None]) -> None:
    """A customer orders a loaf, for which the baker waits until the oven is hot."""
    shop = sim.room("bakery").join("shop", enable=True)
    oven = Oven()

    def customer() -> None:
        with meshsync.connect("bakery", name="customer") as client, client.messaging.messages("loaf") as loaves:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="shop")
            client.messaging.send_message(to, "order", {})
            loaves.get()

    with shop.messaging.messages("order") as orders:
        tasks = [sim.spawn(oven.heat), sim.spawn(customer)]
        order = orders.get()
        wait_until_hot(oven)
        assert order.sender is not None
        shop.messaging.send_message(order.sender, "loaf", {})
    for task in tasks:
        task.join()


def racy(sim: Simulation) -> None:
    """A baker who looks and then waits."""
    bakery(sim, wait)


def repaired(sim: Simulation) -> None:
    """A baker who waits for what is to be."""
    bakery(sim, wait_for)


RACE = Race(
    racy,
    repaired,
    Planted("SimulationDeadlock", "customer", "loaves.get()"),
    LateStep("main", "meshsync.sleep(0.1)", 2.0),
)
