"""A file that is read before it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import meshsync
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def write_parts(path: Path) -> None:
    """Write the report as its parts are made."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"sales": 12, ')
        file.flush()
        meshsync.sleep(0.03)  # the second half is calculated
        file.write('"returns": 1}')


def write(path: Path) -> None:
    """The bug: the file is there before it is whole."""
    write_parts(path)


def write_aside(path: Path) -> None:
    """Give the file its name when it is whole."""
    part = path.with_suffix(".part")
    write_parts(part)
    os.replace(part, path)


def archive(sim: Simulation, report: Callable[[Path], None]) -> None:
    """A clerk writes a report when the boss asks for it; the archive looks twice a second whether it is there."""
    boss = sim.room("archive").join("boss", enable=True)

    def clerk(path: Path) -> None:
        with meshsync.connect("archive", name="clerk") as client:
            with client.messaging.messages("report, please") as orders:
                client.messaging.enable()
                orders.get()
                report(path)

    def keep(path: Path) -> None:
        while not path.exists():
            meshsync.sleep(0.5)
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept == {"sales": 12, "returns": 1}

    with TemporaryDirectory() as directory:
        path = Path(directory, "report.json")
        task = sim.spawn(clerk, path)
        peer = boss.messaging.wait_for_participant(name="clerk")
        keeper = sim.spawn(keep, path)
        boss.messaging.send_message(peer, "report, please", {})
        task.join()
        keeper.join()


def racy(sim: Simulation) -> None:
    """A clerk who writes in place."""
    archive(sim, write)


def repaired(sim: Simulation) -> None:
    """A clerk who writes aside."""
    archive(sim, write_aside)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: JSONDecodeError", "keep", "kept = json.loads("),
    LateStep("clerk", "meshsync.sleep(0.03)", 0.6),
)
