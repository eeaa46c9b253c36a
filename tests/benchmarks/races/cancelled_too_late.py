"""Cancelling against beginning: an order is sent off a second after it came, unless it was cancelled."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateDelivery, Planted, Race


class Order:
    """An order and what became of it."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.state = "new"
        self.is_shipped = False
        self.is_refunded = False

    def moves(self, state: str) -> bool:
        """Move a new order on; return whether it was new."""
        with self.changed:
            if self.state != "new":
                return False
            self.state = state
            return True


def ship(order: Order) -> None:
    """The bug, first half: after a second it is too late to cancel."""
    if order.state == "new":
        order.is_shipped = True


def cancel(order: Order) -> None:
    """The bug, second half: who cancels is in time."""
    order.state = "cancelled"
    order.is_refunded = True


def ship_if_new(order: Order) -> None:
    """Ship what nothing else was done with."""
    if order.moves("shipped"):
        order.is_shipped = True


def cancel_if_new(order: Order) -> None:
    """Refund what nothing else was done with."""
    if order.moves("cancelled"):
        order.is_refunded = True


def shop(sim: Simulation, send_off: Callable[[Order], None], give_back: Callable[[Order], None]) -> None:
    """A customer orders, and cancels 0.4 s later."""
    seller = sim.room("shop").join("seller", enable=True)
    order = Order()

    def customer() -> None:
        with meshsync.connect("shop", name="customer") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="seller")
            client.messaging.send_message(to, "order", {"item": "a lamp"})
            meshsync.sleep(0.4)
            client.messaging.send_message(to, "cancel", {"item": "a lamp"})

    def pack() -> None:
        meshsync.sleep(1.0)
        send_off(order)

    with seller.messaging.messages() as inbox:
        tasks = [sim.spawn(customer)]
        for _ in range(2):
            if inbox.get().type == "order":
                tasks.append(sim.spawn(pack))
            else:
                give_back(order)
    for task in tasks:
        task.join()
    sim.run_until_idle()
    assert not (order.is_shipped and order.is_refunded), "shipped and refunded"


def racy(sim: Simulation) -> None:
    """A seller who does not look."""
    shop(sim, ship, cancel)


def repaired(sim: Simulation) -> None:
    """A seller who moves an order once."""
    shop(sim, ship_if_new, cancel_if_new)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "shop", "assert not (order.is_shipped and order.is_refunded)"),
    LateDelivery("customer#1/up", "cancel", 1.0),
)
