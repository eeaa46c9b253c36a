"""An order assumed between two senders: the list of prices is out at nine, and shops order from a quarter past on."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateDelivery, Planted, Race

Bill = tuple[str, int]


def bill(inbox: Subscription) -> list[Bill]:
    """The bug: prices are there when an order comes, since they are sent earlier."""
    prices: dict[str, int] = {}
    bills = []
    for _ in range(2):
        got = inbox.get()
        if got.type == "prices":
            prices = dict(got.message)
        else:
            item = got.message["item"]
            bills.append((item, prices[item]))
    return bills


def bill_when_known(inbox: Subscription) -> list[Bill]:
    """Keep orders until the prices are there."""
    prices: dict[str, int] = {}
    items = []
    for _ in range(2):
        got = inbox.get()
        if got.type == "prices":
            prices = dict(got.message)
        else:
            items.append(got.message["item"])
    return [(item, prices[item]) for item in items]


def market(sim: Simulation, write: Callable[[Subscription], list[Bill]]) -> None:
    """An exchange and a shop, each by its own clock, send to a desk that writes bills."""
    room = sim.room("market")
    desk = room.join("desk", enable=True)
    exchange = room.join("exchange", enable=True)
    shop = room.join("shop", enable=True)

    def announce() -> None:
        meshsync.sleep(1.0)
        exchange.messaging.broadcast_message("prices", {"tea": 4})

    def order() -> None:
        meshsync.sleep(1.4)
        to = shop.messaging.wait_for_participant(name="desk")
        shop.messaging.send_message(to, "order", {"item": "tea"})

    with desk.messaging.messages() as inbox:
        tasks = [sim.spawn(announce), sim.spawn(order)]
        bills = write(inbox)
    for task in tasks:
        task.join()
    sim.run_until_idle()
    assert bills == [("tea", 4)]


def racy(sim: Simulation) -> None:
    """A desk that looks prices up."""
    market(sim, bill)


def repaired(sim: Simulation) -> None:
    """A desk that waits for prices."""
    market(sim, bill_when_known)


RACE = Race(
    racy,
    repaired,
    Planted("KeyError", "bill", "bills.append((item, prices[item]))"),
    LateDelivery("exchange#1/up", "prices", 0.8),
)
