"""A room whose clients confirm messages to each other while their connections break; shared by CI and soak."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from meshsync import MeshsyncError, RoomClient, RoomMessageEvent
from meshsync.connection.deliveries import Delivery
from simulator import faults, latency
from tests.support.worlds import simulated

__all__ = ["Report", "run"]


@dataclass
class Report:
    """What became of all messages."""

    sent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """The numbers that were confirmed, by sender and recipient, in order of sending."""
    handled: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """The numbers that receivers got, in order."""
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Virtual ones until all was confirmed."""


def run(
    seed: int, *, clients: int = 10, messages: int = 10_000, mean: float = 2.0, restarts: tuple[float, ...] = (5, 15)
) -> Report:
    """Have each client send its share to all others in turn, with time-outs of 60 s.

    Latency is uniform from 5 to 200 ms one way.

    Args:
        messages: Of all clients together.
        mean: Seconds between two resets of one client, drawn from an exponential law.
        restarts: When the server restarts, which forgets its roster, in seconds.
    """
    report = Report()
    names = [f"agent-{number}" for number in range(clients)]
    with _quiet(), simulated(seed, latency=latency.uniform(0.005, 0.2)) as sim:
        room = sim.room("busy")
        rooms = {name: room.join(name, enable=True) for name in names}
        for name in names:
            rooms[name].messaging.on_message("chat", partial(_note, report, name))
        tasks = [
            sim.spawn(partial(_send, report, rooms[name], name, names, messages // clients), name=name)
            for name in names
        ]
        sim.plan(*(faults.every(latency.exponential(mean), faults.reset(name)) for name in names))
        sim.plan(*(faults.at(when, faults.restart(down=1)) for when in restarts))
        for task in tasks:
            task.join()
            assert task.error is None, task.error
        report.seconds = sim.now
    return report


def _note(report: Report, recipient: str, event: RoomMessageEvent) -> None:
    body = event.message.message
    report.handled.setdefault((body["from"], recipient), []).append(body["number"])


def _send(report: Report, room: RoomClient, name: str, names: list[str], count: int) -> None:
    others = [other for other in names if other != name]
    peers = {other: room.messaging.wait_for_participant(other) for other in others}
    held: list[tuple[str, int, Delivery]] = []
    for number in range(count):
        to = others[number % len(others)]
        body = {"from": name, "number": number}
        # Many at once, as a program that pipelines; the bound of 64 makes it wait.
        delivery = room.messaging.send_message_nowait(peers[to], "chat", body, confirm=True, timeout=60)
        held.append((to, number, delivery))
    for to, number, delivery in held:
        try:
            delivery.wait()
            report.sent.setdefault((name, to), []).append(number)
        except MeshsyncError as error:
            report.failures.append(f"{name} to {to}, {number}: {error!r}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep thousands of warnings about connections out of the report of a test."""
    logger = logging.getLogger("meshsync")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
