"""Programs with a bug each, which no first-in-first-out run shows: `explore` has to find them."""

from __future__ import annotations

import meshsync
from meshsync import ConnectionLost, MeshsyncError, RoomClient
from simulator import faults
from simulator.simulation import Simulation

# --- a lost update ----------------------------------------------------------------------------------------------------


class Account:
    """A balance, of which each single call is safe."""

    def __init__(self) -> None:
        self._lock = meshsync.condition()
        self._balance = 0

    def read(self) -> int:
        """Return the balance."""
        with self._lock:
            return self._balance

    def write(self, balance: int) -> None:
        """Set the balance."""
        with self._lock:
            self._balance = balance


def lost_update(sim: Simulation) -> None:
    """Two tellers deposit what a bank announces. The bug: nothing is held from reading to writing."""
    room = sim.room("bank")
    bank = room.join("bank", enable=True)
    account = Account()

    def teller(name: str) -> None:
        with meshsync.connect("bank", name=name) as client:
            client.messaging.enable()
            with client.messaging.messages("deposit") as deposits:
                for _ in range(2):
                    amount = deposits.get(timeout=60).message["amount"]
                    account.write(account.read() + amount)

    tellers = [sim.spawn(teller, name) for name in ("ann", "tom")]
    sim.sleep(1)
    for _ in range(2):
        bank.messaging.broadcast_message(type="deposit", message={"amount": 10})
    for task in tellers:
        task.join()
    assert account.read() == 40, f"the balance is {account.read()} and not 40"


# --- locks in two orders ----------------------------------------------------------------------------------------------


def lock_order(sim: Simulation) -> None:
    """Two clerks move goods between two shelves. The bug: each locks the shelf that it takes from first."""
    boss = sim.room("store").join("boss", enable=True)
    shelves = [meshsync.condition(), meshsync.condition()]

    def clerk(name: str, source: int, target: int) -> None:
        with meshsync.connect("store", name=name) as client:
            client.messaging.enable()
            with client.messaging.messages("move") as orders:
                orders.get(timeout=60)
                with shelves[source]:
                    with shelves[target]:
                        pass

    clerks = [sim.spawn(clerk, "cleo", 0, 1), sim.spawn(clerk, "carl", 1, 0)]
    sim.sleep(1)
    boss.messaging.broadcast_message(type="move", message={})
    for task in clerks:
        task.join()


# --- a duplicate after a reset ----------------------------------------------------------------------------------------


class Outbox:
    """What waits to be sent again. The bug: to look and to take are two steps."""

    def __init__(self) -> None:
        self._lock = meshsync.condition()
        self._orders: list[str] = []

    def put(self, order: str) -> None:
        """Add an order."""
        with self._lock:
            self._orders.append(order)

    def take(self) -> list[str]:
        """Return all orders, and keep none."""
        with self._lock:
            orders = list(self._orders)
        with self._lock:
            self._orders.clear()
        return orders


class Buyer:
    """Sends orders, and those that got lost again over a new connection."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._client = self._connect()

    def _connect(self) -> RoomClient:
        client = meshsync.connect("shop", name="buyer")
        client.messaging.on("disconnected", lambda event: self._send_again())
        client.messaging.enable()
        return client

    def order(self, text: str) -> None:
        """Have an order arrive, whatever happens to the connection."""
        self._outbox.put(text)
        try:
            self._send(self._client, text)
        except ConnectionLost:
            self._send_again()
        else:
            self._outbox.take()

    def _send_again(self) -> None:
        # Both the failed call and the signal lead here: whoever comes first does it.
        for text in self._outbox.take():
            self._client = self._connect()
            self._send(self._client, text)

    def _send(self, client: RoomClient, text: str) -> None:
        seller = client.messaging.wait_for_participant(name="seller", timeout=10)
        client.messaging.send_message(to=seller, type="order", message={"text": text})


def duplicate(sim: Simulation) -> None:
    """A buyer orders something every second, and its connection is reset while the second order is on its way."""
    room = sim.room("shop")
    seller = room.join("seller", enable=True)
    room.join("onlooker", enable=True)
    sim.plan(
        faults.at(1.5, faults.pause("onlooker", 0.1)),
        faults.at(3.0 + 0.005, faults.reset("buyer")),
        faults.during(2, 2.5, faults.partition({"seller"})),
        faults.at(2.2, faults.leave("onlooker")),
        faults.during(4.2, 4.4, faults.partition({"buyer"})),
    )

    def buy() -> None:
        buyer = Buyer()
        for number in range(3):
            meshsync.sleep(number + 2 - sim.now)
            try:
                buyer.order(f"book {number}")
            except MeshsyncError:
                return

    task = sim.spawn(buy)
    with seller.messaging.messages("order", timeout=10) as orders:
        received = [order.message["text"] for order in orders]
    task.join()
    assert len(received) == len(set(received)), f"received {received}"


PROGRAMS = (lost_update, lock_order, duplicate)
