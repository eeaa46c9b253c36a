"""Confirmed messages over real sockets: dropped connections at either end cost nothing but time."""

from __future__ import annotations

from contextlib import suppress

import meshsync
from simulator import Emulator
from tests.support.scripted import PATIENCE


def test_dropped_connections_lose_and_repeat_nothing() -> None:
    """Each side is dropped in turn, with ten messages under way."""
    with Emulator() as emulator:
        alice = meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "alice"))
        bob = meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "bob"))
        with alice, bob, bob.messaging.messages("chat") as came:
            for room in (alice, bob):
                room.messaging.enable()
            peer = alice.messaging.wait_for_participant("bob", timeout=PATIENCE)
            for begin in range(0, 60, 10):
                deliveries = [
                    alice.messaging.send_message_nowait(
                        peer, "chat", {"n": n}, bytes(n), confirm=True, timeout=PATIENCE
                    )
                    for n in range(begin, begin + 10)
                ]
                with suppress(meshsync.UsageError):  # It is not back yet.
                    emulator.drop("bob" if begin % 20 else "alice")
                for delivery in deliveries:
                    delivery.wait(PATIENCE)
            numbers = [came.get(0).message["n"] for _ in range(came.pending)]
        assert numbers == [*range(60)]
        assert all(task.is_done for client in (alice, bob) for task in client._meshsync.tasks)
