"""A callback registered after the event: a guest looks at the menu before it listens for its welcome."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Guest:
    """A guest, who has a seat once it is welcomed."""

    def __init__(self, client: RoomClient) -> None:
        self.client = client
        self.seat: int | None = None
        client.messaging.on_message("roll call", self.answer)

    def welcome(self, event: RoomMessageEvent) -> None:
        """Take the seat."""
        self.seat = event.message.message["seat"]

    def answer(self, event: RoomMessageEvent) -> None:
        """Tell the seat."""
        assert event.participant is not None
        self.client.messaging.send_message(event.participant, "here", {"seat": self.seat})

    def read_menu(self) -> None:
        """Read what there is to eat."""
        meshsync.sleep(0.05)


def arrive(guest: Guest) -> None:
    """The bug: whoever takes part can be welcomed."""
    guest.client.messaging.enable()
    guest.read_menu()
    guest.client.messaging.on_message("welcome", guest.welcome)


def arrive_listening(guest: Guest) -> None:
    """Listen first, take part then."""
    guest.client.messaging.on_message("welcome", guest.welcome)
    guest.client.messaging.enable()
    guest.read_menu()


def restaurant(sim: Simulation, come: Callable[[Guest], None]) -> None:
    """A host prepares a table when a guest is there, welcomes it, and a second later calls the roll."""
    host = sim.room("restaurant").join("host", enable=True)

    def guest() -> None:
        with meshsync.connect("restaurant", name="guest") as client:
            with client.messaging.messages("closing time") as closing:
                come(Guest(client))
                closing.get()

    task = sim.spawn(guest)
    peer = host.messaging.wait_for_participant(name="guest")
    meshsync.sleep(0.4)  # the table is laid
    host.messaging.send_message(peer, "welcome", {"seat": 7})
    meshsync.sleep(1)
    with host.messaging.messages("here") as answers:
        host.messaging.send_message(peer, "roll call", {})
        seat = answers.get().message["seat"]
    host.messaging.send_message(peer, "closing time", {})
    task.join()
    sim.run_until_idle()
    assert seat == 7, f"the guest sits at {seat}"


def racy(sim: Simulation) -> None:
    """A guest who listens last."""
    restaurant(sim, arrive)


def repaired(sim: Simulation) -> None:
    """A guest who listens first."""
    restaurant(sim, arrive_listening)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "restaurant", "assert seat == 7"),
    LateStep("guest", "meshsync.sleep(0.05)", 0.7),
)
