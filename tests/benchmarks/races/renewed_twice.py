"""A token that two tasks renew: the second renewal makes worthless what the first one still uses."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Office:
    """Issues tokens, of which the last alone is good."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.last = 1
        self.expires = 1.0
        self.token = 1

    def issue(self) -> int:
        """Issue a token, which is good for longer than anything here is late."""
        self.last += 1
        return self.last


def renew(office: Office) -> int:
    """The bug: two may see that it has expired."""
    if meshsync.monotonic() >= office.expires:
        meshsync.sleep(0.06)  # the form is filled in
        office.token = office.issue()
        office.expires = meshsync.monotonic() + 1000.0
    return office.token


def renew_once(office: Office) -> int:
    """Look again once the form is filled in."""
    if meshsync.monotonic() >= office.expires:
        meshsync.sleep(0.06)  # the form is filled in
        with office.lock:
            if meshsync.monotonic() >= office.expires:
                office.token = office.issue()
                office.expires = meshsync.monotonic() + 1000.0
    return office.token


def border(sim: Simulation, ask: Callable[[Office], int]) -> None:
    """Two drivers are called at 1.2 s and 1.7 s; each gets the token and passes with it."""
    gate = sim.room("border").join("gate", enable=True)
    office = Office()
    office.expires = meshsync.monotonic() + 1.0

    def driver(name: str) -> None:
        with meshsync.connect("border", name=name) as client, client.messaging.messages("come") as calls:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="gate")
            calls.get()
            ask(office)
            client.messaging.send_message(to, "passed", {})

    drivers = [sim.spawn(driver, name, name=name) for name in ("ana", "ben")]
    peers = [gate.messaging.wait_for_participant(name=name) for name in ("ana", "ben")]
    meshsync.sleep(1.2)
    with gate.messaging.messages("passed") as passed:
        for peer in peers:
            gate.messaging.send_message(peer, "come", {})
            meshsync.sleep(0.5)
        for _ in peers:
            passed.get()
    for task in drivers:
        task.join()
    assert office.last == 2, f"token {office.last} is there, and another one is in use"


def racy(sim: Simulation) -> None:
    """Drivers who look and then fill in the form."""
    border(sim, renew)


def repaired(sim: Simulation) -> None:
    """Drivers who look again."""
    border(sim, renew_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "border", "assert office.last == 2"),
    LateStep("ana", "meshsync.sleep(0.06)", 0.9),
)
