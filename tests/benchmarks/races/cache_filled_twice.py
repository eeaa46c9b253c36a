"""A cache that is filled twice: what is on its way is not in it yet."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant, RoomMessage
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Quotes:
    """Rates that are bought from an exchange, each but once a day."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.known: dict[str, float] = {}
        self.under_way: set[str] = set()
        self.bought: list[str] = []

    def buy(self, pair: str) -> float:
        """Buy a rate from the exchange."""
        self.bought.append(pair)
        meshsync.sleep(0.1)
        return 1.0 + len(self.bought) / 100


def rate(quotes: Quotes, pair: str) -> float:
    """The bug: looking and filling are two steps, with a purchase between them."""
    if pair not in quotes.known:
        quotes.known[pair] = quotes.buy(pair)
    return quotes.known[pair]


def rate_once(quotes: Quotes, pair: str) -> float:
    """Wait for a purchase that is under way."""
    with quotes.changed:
        quotes.changed.wait_for(lambda: pair not in quotes.under_way)
        if pair in quotes.known:
            return quotes.known[pair]
        quotes.under_way.add(pair)
    bought = quotes.buy(pair)
    with quotes.changed:
        quotes.known[pair] = bought
        quotes.under_way.discard(pair)
        quotes.changed.notify_all()
    return bought


def bureau(sim: Simulation, find: Callable[[Quotes, str], float]) -> None:
    """Two customers ask for the same rate, half a second apart; each is served in a task."""
    room = sim.room("bureau")
    desk = room.join("desk", enable=True)
    quotes = Quotes()

    def serve(request: RoomMessage, customer: RemoteParticipant) -> None:
        found = find(quotes, request.message["pair"])
        desk.messaging.send_message(customer, "rate", {"rate": found})

    def customer(name: str, begins: float) -> None:
        client = room.join(name, enable=True)
        meshsync.sleep(begins)
        to = client.messaging.wait_for_participant(name="desk")
        with client.messaging.messages("rate") as rates:
            client.messaging.send_message(to, "rate?", {"pair": "EUR/NOK"})
            rates.get()

    with desk.messaging.messages("rate?") as requests:
        tasks = [sim.spawn(customer, name, begins, name=name) for name, begins in (("ada", 0.0), ("bob", 0.5))]
        for _ in range(2):
            request = requests.get()
            assert isinstance(request.sender, RemoteParticipant)
            tasks.append(sim.spawn(serve, request, request.sender, name=f"clerk for {request.sender.name}"))
    for task in tasks:
        task.join()
    sim.run_until_idle()
    assert quotes.bought == ["EUR/NOK"], f"bought {quotes.bought}"


def racy(sim: Simulation) -> None:
    """Clerks who look, buy and fill."""
    bureau(sim, rate)


def repaired(sim: Simulation) -> None:
    """Clerks who know what is under way."""
    bureau(sim, rate_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "bureau", 'assert quotes.bought == ["EUR/NOK"]'),
    LateStep("clerk for ada", "meshsync.sleep(0.1)", 0.9),
)
