"""A counter that is read and written by messages: each single message is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import meshsync
from meshsync import MessagingClient, RemoteParticipant, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def ask(messaging: MessagingClient, counter: RemoteParticipant, type: str, **message: Any) -> int:
    """Ask the counter, and return its value."""
    with messaging.messages("value", sender=counter) as answers:
        messaging.send_message(counter, type, message)
        return int(answers.get().message["value"])


def count(messaging: MessagingClient, counter: RemoteParticipant) -> None:
    """The bug: between get and set others count, too."""
    value = ask(messaging, counter, "get")
    meshsync.sleep(0.05)  # the display shows it
    ask(messaging, counter, "set", value=value + 1)


def count_there(messaging: MessagingClient, counter: RemoteParticipant) -> None:
    """Have the counter count."""
    meshsync.sleep(0.05)  # the display shows it
    ask(messaging, counter, "add", amount=1)


def museum(sim: Simulation, enter: Callable[[MessagingClient, RemoteParticipant], None]) -> None:
    """Two doors count visitors, who come 0.7 s apart."""
    counter = sim.room("museum").join("counter", enable=True)
    values = [0]

    @counter.messaging.on("message")
    def serve(event: RoomMessageEvent) -> None:
        message = event.message.message
        if event.message.type == "set":
            values.append(message["value"])
        elif event.message.type == "add":
            values.append(values[-1] + message["amount"])
        assert event.participant is not None
        counter.messaging.send_message(event.participant, "value", {"value": values[-1]})

    def door(name: str, visitor: float) -> None:
        with meshsync.connect("museum", name=name) as client:
            client.messaging.enable()
            peer = client.messaging.wait_for_participant(name="counter")
            meshsync.sleep(visitor)
            enter(client.messaging, peer)

    doors = [sim.spawn(door, name, visitor, name=name) for name, visitor in (("east", 0.1), ("west", 0.8))]
    for task in doors:
        task.join()
    sim.run_until_idle()
    assert values[-1] == 2, f"{values[-1]} visitors and not 2"


def racy(sim: Simulation) -> None:
    """Doors that read and write."""
    museum(sim, count)


def repaired(sim: Simulation) -> None:
    """Doors that add."""
    museum(sim, count_there)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "museum", "assert values[-1] == 2"),
    LateStep("east", "meshsync.sleep(0.05)", 1.0),
)
