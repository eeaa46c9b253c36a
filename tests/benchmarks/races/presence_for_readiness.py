"""Presence taken for readiness: a library is in the room, and still reads its catalogue."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant, RoomClient, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Library:
    """Answers on which shelf a book is."""

    def __init__(self, client: RoomClient) -> None:
        self.client = client
        self.shelves: dict[str, int] = {}
        client.messaging.on_message("where is", self.answer)

    def read_catalogue(self) -> None:
        """Read where the books are."""
        meshsync.sleep(0.1)
        self.shelves = {"Emma": 3, "Ulysses": 8}

    def answer(self, event: RoomMessageEvent) -> None:
        """Tell the shelf; None if there is no such book."""
        assert event.participant is not None
        shelf = self.shelves.get(event.message.message["title"])
        self.client.messaging.send_message(event.participant, "shelf", {"shelf": shelf})


def find(client: RoomClient) -> RemoteParticipant:
    """The bug: whoever is there is believed to be ready."""
    return client.messaging.wait_for_participant(name="library")


def find_ready(client: RoomClient) -> RemoteParticipant:
    """Wait until the library says that it is ready."""
    return client.messaging.wait_for_participant(name="library", where=lambda one: bool(one.get_attribute("ready")))


def city(sim: Simulation, look: Callable[[RoomClient], RemoteParticipant]) -> None:
    """A reader comes with the library, finds glasses and asks for a book."""
    reader = sim.room("city").join("reader", enable=True)

    def library() -> None:
        with meshsync.connect("city", name="library") as client:
            with client.messaging.messages("thanks") as thanks:
                shelves = Library(client)
                client.messaging.enable()
                shelves.read_catalogue()
                client.local_participant.set_attribute("ready", True)
                thanks.get()

    task = sim.spawn(library)
    peer = look(reader)
    meshsync.sleep(0.3)  # the glasses are found
    with reader.messaging.messages("shelf") as answers:
        reader.messaging.send_message(peer, "where is", {"title": "Emma"})
        shelf = answers.get().message["shelf"]
    reader.messaging.send_message(peer, "thanks", {})
    task.join()
    sim.run_until_idle()
    assert shelf == 3, f"the book is on shelf {shelf}"


def racy(sim: Simulation) -> None:
    """A reader who asks whoever is there."""
    city(sim, find)


def repaired(sim: Simulation) -> None:
    """A reader who waits until the library is ready."""
    city(sim, find_ready)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "city", "assert shelf == 3"),
    LateStep("library", "meshsync.sleep(0.1)", 0.6),
)
