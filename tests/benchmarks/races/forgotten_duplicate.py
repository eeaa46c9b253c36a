"""A duplicate that comes when it has been forgotten: numbers of requests are kept for a second and a half."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

KEPT = 1.5
"""Seconds."""


class Accounts:
    """Transfers that were made, and the numbers of requests that were seen."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.seen: dict[int, float] = {}
        self.last = 0

    def transfer(self, number: int) -> None:
        """Make a transfer."""
        self.made.append(number)


def handle(accounts: Accounts, number: int) -> None:
    """The bug: a duplicate is believed to come soon."""
    now = meshsync.monotonic()
    accounts.seen = {one: when for one, when in accounts.seen.items() if now - when < KEPT}
    if number not in accounts.seen:
        accounts.seen[number] = now
        accounts.transfer(number)


def handle_newer(accounts: Accounts, number: int) -> None:
    """One customer's numbers grow, so that the last one is enough."""
    if number > accounts.last:
        accounts.last = number
        accounts.transfer(number)


def bank(sim: Simulation, receive: Callable[[Accounts, int], None]) -> None:
    """A customer sends each of two transfers twice, half a second apart, since paper gets lost."""
    clerk = sim.room("bank").join("clerk", enable=True)
    accounts = Accounts()

    def customer() -> None:
        with meshsync.connect("bank", name="customer") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="clerk")
            for number in (1, 2):
                client.messaging.send_message(to, "transfer", {"number": number})
                meshsync.sleep(0.5)
                client.messaging.send_message(to, "transfer", {"number": number})

    with clerk.messaging.messages("transfer") as requests:
        task = sim.spawn(customer)
        for _ in range(4):
            receive(accounts, requests.get().message["number"])
    task.join()
    sim.run_until_idle()
    assert accounts.made == [1, 2], f"made: {accounts.made}"


def racy(sim: Simulation) -> None:
    """A clerk who forgets."""
    bank(sim, handle)


def repaired(sim: Simulation) -> None:
    """A clerk who knows the last number."""
    bank(sim, handle_newer)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "bank", "assert accounts.made == [1, 2]"),
    LateStep("customer", "meshsync.sleep(0.5)", 1.5),
)
