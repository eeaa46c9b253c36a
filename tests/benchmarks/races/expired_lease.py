"""A lease that expires while its holder works: another one has the ledger by then, and both write."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

LEASE = 1.0
"""Seconds."""


class Superseded(Exception):
    """The lease is another one's by now."""


class Ledger:
    """A total, and the lease that one has to hold to change it."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.total = 0
        self.latest = 0
        self.holder: int | None = None
        self.expires = 0.0
        self.seen = 0

    def acquire(self) -> int:
        """Wait until the lease is free or has expired; return its number."""
        with self.lock:
            while self.holder is not None and (left := self.expires - meshsync.monotonic()) > 0:
                self.lock.wait(left)
            self.latest += 1
            self.holder, self.expires = self.latest, meshsync.monotonic() + LEASE
            return self.latest

    def release(self, lease: int) -> None:
        """Give the lease back."""
        with self.lock:
            if self.holder == lease:
                self.holder = None
                self.lock.notify_all()

    def read(self, lease: int) -> int:
        """Return the total, which from now on no older lease changes by ``write_as``."""
        with self.lock:
            self.seen = max(self.seen, lease)
            return self.total

    def write_as(self, lease: int, total: int) -> None:
        """Change the total, unless a later lease was used."""
        with self.lock:
            if lease < self.seen:
                raise Superseded
            self.total = total


def count() -> None:
    """Count what came in, which takes a while and fits the lease."""
    meshsync.sleep(0.3)


def add(ledger: Ledger, amount: int) -> None:
    """The bug: the lease is believed to last."""
    lease = ledger.acquire()
    total = ledger.read(lease)
    count()
    ledger.total = total + amount
    ledger.release(lease)


def add_with_number(ledger: Ledger, amount: int) -> None:
    """Write with the lease's number; begin again if it is superseded."""
    while True:
        lease = ledger.acquire()
        total = ledger.read(lease)
        count()
        try:
            ledger.write_as(lease, total + amount)
        except Superseded:
            continue
        finally:
            ledger.release(lease)
        return


def warehouse(sim: Simulation, book: Callable[[Ledger, int], None]) -> None:
    """Two porters count what came in, the second one when a van is announced 0.6 s after the first."""
    gate = sim.room("warehouse").join("gate", enable=True)
    ledger = Ledger()

    def porter(name: str) -> None:
        with meshsync.connect("warehouse", name=name) as client:
            with client.messaging.messages("van") as vans:
                client.messaging.enable()
                book(ledger, vans.get().message["crates"])

    porters = [sim.spawn(porter, name, name=name) for name in ("pia", "per")]
    for name, crates in (("pia", 5), ("per", 7)):
        peer = gate.messaging.wait_for_participant(name=name)
        gate.messaging.send_message(peer, "van", {"crates": crates})
        meshsync.sleep(0.6)
    for task in porters:
        task.join()
    sim.run_until_idle()
    assert ledger.total == 12, f"{ledger.total} crates and not 12"


def racy(sim: Simulation) -> None:
    """Porters who believe in the lease."""
    warehouse(sim, add)


def repaired(sim: Simulation) -> None:
    """Porters whose late writes are refused."""
    warehouse(sim, add_with_number)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "warehouse", "assert ledger.total == 12"),
    LateStep("pia", "meshsync.sleep(0.3)", 1.0),
)
