"""A picture that is announced by one participant while the attachment, sent to another one, is not stored yet."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Album:
    """Pictures by number."""

    def __init__(self) -> None:
        self.changed = meshsync.condition()
        self.pictures: dict[int, bytes] = {}

    def store(self, number: int, picture: bytes) -> None:
        """Keep a picture."""
        meshsync.sleep(0.05)  # it is made smaller
        with self.changed:
            self.pictures[number] = picture
            self.changed.notify_all()


def show(album: Album, number: int) -> bytes:
    """The bug: what is announced is believed to be stored."""
    return album.pictures[number]


def show_stored(album: Album, number: int) -> bytes:
    """Wait for it."""
    with album.changed:
        album.changed.wait_for(lambda: number in album.pictures)
        return album.pictures[number]


def gallery(sim: Simulation, find: Callable[[Album, int], bytes]) -> None:
    """A painter sends each of three pictures to the archive, and 0.3 s later its number to the frame that shows it."""
    painter = sim.room("gallery").join("painter", enable=True)
    album = Album()
    shown: list[int] = []

    def archive() -> None:
        with meshsync.connect("gallery", name="archive") as client, client.messaging.messages("picture") as pictures:
            client.messaging.enable()
            for _ in range(3):
                got = pictures.get()
                album.store(got.message["number"], got.attachment)

    def frame() -> None:
        with meshsync.connect("gallery", name="frame") as client, client.messaging.messages("new") as numbers:
            client.messaging.enable()
            for _ in range(3):
                shown.append(len(find(album, numbers.get().message["number"])))

    tasks = [sim.spawn(archive), sim.spawn(frame)]
    peers: list[RemoteParticipant] = []
    for name in ("archive", "frame"):
        peers.append(painter.messaging.wait_for_participant(name=name))
    for number in range(3):
        painter.messaging.send_message(peers[0], "picture", {"number": number}, attachment=bytes(3000))
        meshsync.sleep(0.3)
        painter.messaging.send_message(peers[1], "new", {"number": number})
    for task in tasks:
        task.join()
    assert shown == [3000] * 3


def racy(sim: Simulation) -> None:
    """A frame that trusts the painter."""
    gallery(sim, show)


def repaired(sim: Simulation) -> None:
    """A frame that waits for the archive."""
    gallery(sim, show_stored)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: KeyError", "show", "return album.pictures[number]"),
    LateStep("archive", "meshsync.sleep(0.05)", 0.8),
)
