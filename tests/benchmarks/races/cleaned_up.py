"""A cleanup timer against a late arrival: a sensor that is silent for a second is forgotten, and then it sends."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RoomMessage
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Station:
    """What each sensor measured, and when it last did."""

    def __init__(self) -> None:
        self.values: dict[str, list[int]] = {}
        self.seen: dict[str, float] = {}
        self.is_open = True

    def clean_up(self) -> None:
        """Forget sensors that are silent, until closed."""
        while self.is_open:
            meshsync.sleep(0.25)
            now = meshsync.monotonic()
            for name in [name for name, seen in self.seen.items() if now - seen > 1.0]:
                del self.values[name], self.seen[name]


def keep(station: Station, name: str, got: RoomMessage) -> None:
    """The bug: a sensor that began is there."""
    station.seen[name] = meshsync.monotonic()
    if got.type == "begin":
        station.values[name] = []
    else:
        station.values[name].append(got.message["value"])


def keep_again(station: Station, name: str, got: RoomMessage) -> None:
    """A sensor that is not there any more begins anew."""
    station.seen[name] = meshsync.monotonic()
    values = station.values.setdefault(name, [])
    if got.type != "begin":
        values.append(got.message["value"])


def measure(sim: Simulation, store: Callable[[Station, str, RoomMessage], None]) -> None:
    """A sensor sends three values, 0.3 s apart."""
    room = sim.room("station").join("station", enable=True)

    def sensor() -> None:
        with meshsync.connect("station", name="sensor") as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="station")
            client.messaging.send_message(to, "begin", {})
            for value in range(3):
                meshsync.sleep(0.3)
                client.messaging.send_message(to, "value", {"value": value})

    station = Station()
    with room.messaging.messages() as inbox:
        task = sim.spawn(sensor)
        cleaner = sim.spawn(station.clean_up)
        while True:
            got = inbox.get()
            assert got.sender is not None
            store(station, got.sender.name, got)
            if got.message.get("value") == 2:
                break
    station.is_open = False
    task.join()
    cleaner.join()


def racy(sim: Simulation) -> None:
    """A station that trusts its table."""
    measure(sim, keep)


def repaired(sim: Simulation) -> None:
    """A station that lets sensors come back."""
    measure(sim, keep_again)


RACE = Race(
    racy,
    repaired,
    Planted("KeyError", "keep", 'station.values[name].append(got.message["value"])'),
    LateStep("sensor", "meshsync.sleep(0.3)", 1.5, time=2),
)
