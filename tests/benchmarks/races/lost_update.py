"""A lost update: two tellers read a balance, look something up, and write the sum."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Account:
    """A balance."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.balance = 0


def deposit(account: Account, amount: int) -> None:
    """The bug: what was read is old by the time it is written."""
    balance = account.balance
    meshsync.sleep(0.03)  # the limits of this customer are looked up
    account.balance = balance + amount


def deposit_at_once(account: Account, amount: int) -> None:
    """Look up first; then read and write in one step."""
    meshsync.sleep(0.03)  # the limits of this customer are looked up
    with account.lock:
        account.balance += amount


def bank(sim: Simulation, put: Callable[[Account, int], None]) -> None:
    """A counter sends each teller a deposit, a quarter of a second apart."""
    counter = sim.room("bank").join("counter", enable=True)
    account = Account()

    def teller(name: str) -> None:
        with meshsync.connect("bank", name=name) as client:
            with client.messaging.messages("deposit") as deposits:
                client.messaging.enable()
                put(account, deposits.get().message["amount"])

    tellers = [sim.spawn(teller, name, name=name) for name in ("ann", "tom")]
    for name, amount in (("ann", 10), ("tom", 20)):
        peer = counter.messaging.wait_for_participant(name=name)
        counter.messaging.send_message(peer, "deposit", {"amount": amount})
        meshsync.sleep(0.25)
    for task in tellers:
        task.join()
    sim.run_until_idle()
    assert account.balance == 30, f"the balance is {account.balance} and not 30"


def racy(sim: Simulation) -> None:
    """Tellers who read, wait and write."""
    bank(sim, deposit)


def repaired(sim: Simulation) -> None:
    """Tellers who read and write in one step."""
    bank(sim, deposit_at_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "bank", "assert account.balance == 30"),
    LateStep("ann", "meshsync.sleep(0.03)", 0.4),
)
