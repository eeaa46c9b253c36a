"""A reply after its time-out is taken for the next one."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, ReceiveTimeout, RemoteParticipant, Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateDelivery, Planted, Race

DEGREES = {"Bergen": 7, "Malaga": 24, "Tartu": -3}


def ask(messaging: MessagingClient, station: RemoteParticipant, replies: Subscription, town: str) -> int | None:
    """The bug: the next reply is taken for the reply to this question. None if there is none in time."""
    messaging.send_message(station, "ask", {"town": town})
    try:
        return int(replies.get(timeout=0.6).message["degrees"])
    except ReceiveTimeout:
        return None


def ask_by_name(messaging: MessagingClient, station: RemoteParticipant, replies: Subscription, town: str) -> int | None:
    """Skip replies to other questions."""
    messaging.send_message(station, "ask", {"town": town})
    end = meshsync.monotonic() + 0.6
    while (left := end - meshsync.monotonic()) > 0:
        try:
            reply = replies.get(timeout=left)
        except ReceiveTimeout:
            break
        if reply.message["town"] == town:
            return int(reply.message["degrees"])
    return None


def forecast(
    sim: Simulation, question: Callable[[MessagingClient, RemoteParticipant, Subscription, str], int | None]
) -> None:
    """An editor asks a station for three towns, and leaves out those without an answer in 0.6 s."""
    station = sim.room("weather").join("station", enable=True)

    questions = station.messaging.messages("ask")

    def answer() -> None:
        for asked in questions:
            meshsync.sleep(0.15)  # the thermometers are read
            town = asked.message["town"]
            if asked.sender is not None:
                station.messaging.send_message(asked.sender, "reply", {"town": town, "degrees": DEGREES[town]})
            if town == "Tartu":
                return

    service = sim.spawn(answer)
    with meshsync.connect("weather", name="editor") as client:
        client.messaging.enable()
        to = client.messaging.wait_for_participant(name="station")
        with client.messaging.messages("reply") as replies:
            page = {town: question(client.messaging, to, replies, town) for town in DEGREES}
        service.join()
    sim.run_until_idle()
    wrong = {town: degrees for town, degrees in page.items() if degrees not in (None, DEGREES[town])}
    assert not wrong, f"the page says {wrong}"


def racy(sim: Simulation) -> None:
    """An editor who takes the next reply."""
    forecast(sim, ask)


def repaired(sim: Simulation) -> None:
    """An editor who looks which town it is about."""
    forecast(sim, ask_by_name)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "forecast", "assert not wrong"),
    LateDelivery("station#1/down", "Bergen", 0.6),
)
