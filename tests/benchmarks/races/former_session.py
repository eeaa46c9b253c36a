"""A participant that has left and come back: what is sent to its former session arrives nowhere."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, ParticipantNotFound
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def compose() -> None:
    """Write the letter."""
    meshsync.sleep(0.2)


def deliver(messaging: MessagingClient) -> None:
    """The bug: whoever was there when the letter was begun is there when it is sent."""
    to = messaging.wait_for_participant(name="bo")
    compose()
    messaging.send_message(to, "letter", {})


def deliver_again(messaging: MessagingClient) -> None:
    """Look again for one that has left."""
    compose()
    while True:
        try:
            messaging.send_message(messaging.wait_for_participant(name="bo"), "letter", {})
            return
        except ParticipantNotFound:
            continue


def island(sim: Simulation, post: Callable[[MessagingClient], None]) -> None:
    """Bo stays for a second and a half, is away for half a second, and stays until the letter is sent."""
    mail = sim.room("island").join("mail", enable=True)
    changed = meshsync.condition()
    sent: list[str] = []

    def bo() -> None:
        with meshsync.connect("island", name="bo") as client:
            client.messaging.enable()
            meshsync.sleep(1.5)
        meshsync.sleep(0.5)
        with meshsync.connect("island", name="bo") as client:
            client.messaging.enable()
            with changed:
                changed.wait_for(lambda: bool(sent))

    task = sim.spawn(bo)
    post(mail.messaging)
    with changed:
        sent.append("letter")
        changed.notify_all()
    task.join()


def racy(sim: Simulation) -> None:
    """A post that writes an address once."""
    island(sim, deliver)


def repaired(sim: Simulation) -> None:
    """A post that looks it up."""
    island(sim, deliver_again)


RACE = Race(
    racy,
    repaired,
    Planted("ParticipantNotFound", "deliver", "messaging.send_message(to,"),
    LateStep("main", "meshsync.sleep(0.2)", 1.6),
)
