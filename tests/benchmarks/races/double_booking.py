"""Check, then act: a seat is free, the card is charged, the seat is sold."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant, RoomMessage
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Hall:
    """The seats of a hall, and who has them."""

    def __init__(self) -> None:
        self.lock = meshsync.condition()
        self.buyers: dict[str, str] = {}

    def sell(self, seat: str, buyer: str) -> None:
        """Give a seat away."""
        assert seat not in self.buyers, f"{seat} is sold twice"
        self.buyers[seat] = buyer

    def reserve(self, seat: str, buyer: str) -> bool:
        """Give a seat away if it is free."""
        with self.lock:
            if seat in self.buyers:
                return False
            self.sell(seat, buyer)
            return True


def charge() -> None:
    """Charge the card, which takes a while."""
    meshsync.sleep(0.08)


def book(hall: Hall, seat: str, buyer: str) -> str:
    """The bug: between looking and selling the card is charged."""
    if seat in hall.buyers:
        return "sold out"
    charge()
    hall.sell(seat, buyer)
    return "sold"


def book_reserved(hall: Hall, seat: str, buyer: str) -> str:
    """Have the seat before the card is charged."""
    if not hall.reserve(seat, buyer):
        return "sold out"
    charge()
    return "sold"


def theatre(sim: Simulation, sale: Callable[[Hall, str, str], str]) -> None:
    """Two customers want the same seat, half a second apart; the box office serves each in a task."""
    room = sim.room("theatre")
    office = room.join("office", enable=True)
    hall = Hall()

    def serve(order: RoomMessage, buyer: RemoteParticipant) -> None:
        outcome = sale(hall, order.message["seat"], buyer.name)
        office.messaging.send_message(buyer, "answer", {"outcome": outcome})

    def customer(name: str) -> None:
        with meshsync.connect("theatre", name=name) as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="office")
            with client.messaging.messages("answer") as answers:
                client.messaging.send_message(to, "order", {"seat": "A7"})
                answers.get()

    with office.messaging.messages("order") as orders:
        customers, clerks = [], []
        for name in ("ida", "ole"):
            customers.append(sim.spawn(customer, name))
            order = orders.get()
            assert isinstance(order.sender, RemoteParticipant)
            clerks.append(sim.spawn(serve, order, order.sender, name=f"clerk of {order.sender.name}"))
            meshsync.sleep(0.5)
        for task in (*customers, *clerks):
            task.join()


def racy(sim: Simulation) -> None:
    """Clerks who look, charge and sell."""
    theatre(sim, book)


def repaired(sim: Simulation) -> None:
    """Clerks who reserve and charge."""
    theatre(sim, book_reserved)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "sell", "assert seat not in self.buyers"),
    LateStep("clerk of ida", "meshsync.sleep(0.08)", 1.2),
)
