"""A key that is replaced while a request signed with the old one is on its way: one request of thirty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import meshsync
from meshsync import MessagingClient, RemoteParticipant, Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

Send = Callable[[MessagingClient, RemoteParticipant, Subscription], None]


class Keys:
    """The key in force, and the one before it, which is taken for 0.4 s more."""

    def __init__(self) -> None:
        self.current = 1
        self.retired_at = 0.0

    def rotate(self) -> None:
        """Replace the key."""
        self.current += 1
        self.retired_at = meshsync.monotonic()

    def fits(self, key: int) -> bool:
        """Return whether a request signed with that key is taken."""
        age = meshsync.monotonic() - self.retired_at
        return key == self.current or (key == self.current - 1 and age < 0.4)


def request(messaging: MessagingClient, vault: RemoteParticipant, answers: Subscription) -> dict[str, Any]:
    """Sign with the vault's key, and ask. Return the answer."""
    key = vault.get_attribute("key")
    meshsync.sleep(0.02)  # it is signed
    messaging.send_message(vault, "request", {"key": key})
    return dict(answers.get().message)


def once(messaging: MessagingClient, vault: RemoteParticipant, answers: Subscription) -> None:
    """The bug: a key is believed to fit as long as it takes to use it."""
    answer = request(messaging, vault, answers)
    assert answer["is_taken"], "refused: an old key"


def until_taken(messaging: MessagingClient, vault: RemoteParticipant, answers: Subscription) -> None:
    """Sign anew with the key that the answer brings."""
    while not request(messaging, vault, answers)["is_taken"]:
        meshsync.sleep(0.1)


def house(sim: Simulation, send: Send) -> None:
    """A client sends thirty requests; the vault rotates its key once, after 1.2 s."""
    vault = sim.room("house").join("vault", attributes={"key": 1}, enable=True)
    keys = Keys()

    requests = vault.messaging.messages()

    def serve() -> None:
        for got in requests:
            if got.type == "bye":
                return
            assert got.sender is not None
            vault.messaging.send_message(got.sender, "answer", {"is_taken": keys.fits(got.message["key"])})

    def rotate() -> None:
        meshsync.sleep(1.2)
        keys.rotate()
        vault.local_participant.set_attribute("key", keys.current)

    def client() -> None:
        with meshsync.connect("house", name="client") as room:
            room.messaging.enable()
            peer = room.messaging.wait_for_participant(name="vault")
            with room.messaging.messages("answer") as answers:
                for _ in range(30):
                    send(room.messaging, peer, answers)
            room.messaging.send_message(peer, "bye", {})

    for task in [sim.spawn(target) for target in (serve, rotate, client)]:
        task.join()


def racy(sim: Simulation) -> None:
    """A client that signs once."""
    house(sim, once)


def repaired(sim: Simulation) -> None:
    """A client that signs again."""
    house(sim, until_taken)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "once", 'assert answer["is_taken"]'),
    LateStep("client", "meshsync.sleep(0.02)", 1.5, time=6),
)
