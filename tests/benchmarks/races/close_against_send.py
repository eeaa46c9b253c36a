"""Closing against sending: a client is closed when its camera should have sent all its pictures."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomClient
from meshsync.runtime.interfaces import Task
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def leave(client: RoomClient, camera: Task) -> None:
    """The bug: the pictures take about half a second."""
    meshsync.sleep(1.0)
    client.close()


def leave_when_done(client: RoomClient, camera: Task) -> None:
    """Leave when the camera has ended."""
    camera.join()
    client.close()


def studio(sim: Simulation, end: Callable[[RoomClient, Task], None]) -> None:
    """A photographer's camera sends four pictures in the background."""
    gallery = sim.room("studio").join("gallery", enable=True)

    def photographer() -> None:
        client = meshsync.connect("studio", name="photographer")
        client.messaging.enable()
        to = client.messaging.wait_for_participant(name="gallery")

        def shoot() -> None:
            for number in range(4):
                client.messaging.send_message(to, "picture", {"number": number}, bytes(100))
                meshsync.sleep(0.1)  # until the next one is taken

        camera = sim.spawn(shoot, name="camera")
        end(client, camera)
        camera.join()

    task = sim.spawn(photographer)
    task.join()
    gallery.close()


def racy(sim: Simulation) -> None:
    """A photographer who leaves after a second."""
    studio(sim, leave)


def repaired(sim: Simulation) -> None:
    """A photographer who waits for the camera."""
    studio(sim, leave_when_done)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: ClientClosed", "shoot", 'client.messaging.send_message(to, "picture"'),
    LateStep("camera", "meshsync.sleep(0.1)", 1.2, time=2),
)
