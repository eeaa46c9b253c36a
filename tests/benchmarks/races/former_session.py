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
    """Bo stays for a second and a half, is away for half a second, and stays until there is the letter."""
    room = sim.room("island")
    mail = room.join("mail", enable=True)
    letters: list[str] = []

    @room.join("log", enable=True).messaging.on_message("got it")
    def note(event: meshsync.RoomMessageEvent) -> None:
        letters.append("letter")

    def visit(stays: float | None) -> None:
        with meshsync.connect("island", name="bo") as client, client.messaging.messages("letter") as got:
            client.messaging.enable()
            if stays is None:
                got.get()
            else:
                meshsync.sleep(stays)
            while got.pending:
                got.get()

    def bo() -> None:
        visit(1.5)
        meshsync.sleep(0.5)
        visit(None)

    task = sim.spawn(bo)
    post(mail.messaging)
    meshsync.sleep(4.0)
    if not task.is_done:
        mail.messaging.send_message(mail.messaging.wait_for_participant(name="bo"), "letter", {})
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
