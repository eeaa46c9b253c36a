"""One check-then-act in a room where much else goes on: four people talk, and two book the same table."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Tables:
    """Who has which table."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.guests: dict[int, str] = {}


def book(tables: Tables, client: RoomClient, guest: str) -> None:
    """The bug: others book while all are told."""
    if 4 in tables.guests:
        return
    client.messaging.broadcast_message("chat", {"text": f"{guest} would like table 4"})
    assert 4 not in tables.guests, f"{guest} and {tables.guests[4]} have the same table"
    tables.guests[4] = guest


def book_at_once(tables: Tables, client: RoomClient, guest: str) -> None:
    """Book, and then tell."""
    with tables.lock:
        if 4 in tables.guests:
            return
        tables.guests[4] = guest
    client.messaging.broadcast_message("chat", {"text": f"{guest} would like table 4"})


def inn(sim: Simulation, reserve: Callable[[Tables, RoomClient, str], None]) -> None:
    """Four guests chat every 0.25 s; one of them books after 0.7 s, another one after 1.3 s."""
    room = sim.room("inn")
    tables = Tables()
    bookings = {"mia": 3, "noa": 5}

    def guest(name: str, client: RoomClient) -> None:
        for number in range(8):
            if bookings.get(name) == number:
                reserve(tables, client, name)
            client.messaging.broadcast_message("chat", {"text": f"{name} says {number}"})
            meshsync.sleep(0.25)

    clients = {name: room.join(name, enable=True) for name in ("lou", "mia", "noa", "ole")}
    for task in [sim.spawn(guest, name, client, name=name) for name, client in clients.items()]:
        task.join()


def racy(sim: Simulation) -> None:
    """Guests who tell and book."""
    inn(sim, book)


def repaired(sim: Simulation) -> None:
    """Guests who book and tell."""
    inn(sim, book_at_once)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "book", "assert 4 not in tables.guests"),
    LateStep("mia", 'text": f"{guest} would like table 4"', 1.3),
)
