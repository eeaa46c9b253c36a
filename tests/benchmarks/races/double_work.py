"""Double work after a time-out and retry: the first request was late, not lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import meshsync
from meshsync import ReceiveTimeout
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Till:
    """What was charged, and how each order ended."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.outcomes: dict[str, dict[str, Any]] = {}

    def charge(self, order: str) -> dict[str, Any]:
        """Charge an order at the bank."""
        meshsync.sleep(0.2)
        self.charged.append(order)
        return {"paid": order}


def handle(till: Till, order: str) -> dict[str, Any]:
    """The bug: each request is new."""
    return till.charge(order)


def handle_once(till: Till, order: str) -> dict[str, Any]:
    """Answer a repeated request as the first one."""
    if order not in till.outcomes:
        till.outcomes[order] = till.charge(order)
    return till.outcomes[order]


def shop(sim: Simulation, work: Callable[[Till, str], dict[str, Any]]) -> None:
    """A customer pays one order, and asks again when there is no answer for a second."""
    cashier = sim.room("shop").join("cashier", enable=True)
    till = Till()

    def customer() -> None:
        with meshsync.connect("shop", name="customer") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="cashier")
            with client.messaging.messages("paid") as answers:
                while True:
                    client.messaging.send_message(to, "pay", {"order": "order 1"})
                    try:
                        answers.get(timeout=1)
                    except ReceiveTimeout:
                        continue
                    break
            with client.messaging.messages("bye") as farewell:
                client.messaging.send_message(to, "bye", {})
                farewell.get()

    with cashier.messaging.messages() as requests:
        task = sim.spawn(customer)
        for request in requests:
            assert request.sender is not None
            if request.type == "bye":
                cashier.messaging.send_message(request.sender, "bye", {})
                break
            outcome = work(till, request.message["order"])
            cashier.messaging.send_message(request.sender, "paid", outcome)
    task.join()
    sim.run_until_idle()
    assert till.charged == ["order 1"], f"charged {till.charged}"


def racy(sim: Simulation) -> None:
    """A cashier who charges whatever is asked for."""
    shop(sim, handle)


def repaired(sim: Simulation) -> None:
    """A cashier who knows an order again."""
    shop(sim, handle_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "shop", 'assert till.charged == ["order 1"]'),
    LateStep("main", "meshsync.sleep(0.2)", 1.2),
)
