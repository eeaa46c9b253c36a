"""A shutdown while a job runs: the database is closed under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import meshsync
from meshsync.runtime.interfaces import Task
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


class Database:
    """Rows, until it is closed."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.is_open = True

    def insert(self, row: int) -> None:
        """Add a row."""
        if not self.is_open:
            raise ValueError("the database is closed")
        self.rows.append(row)


def stop(database: Database, jobs: Sequence[Task]) -> None:
    """The bug: jobs are believed to have ended."""
    database.is_open = False


def stop_after_jobs(database: Database, jobs: Sequence[Task]) -> None:
    """Let the jobs end first."""
    for job in jobs:
        job.join()
    database.is_open = False


def lab(sim: Simulation, shut_down: Callable[[Database, Sequence[Task]], None]) -> None:
    """A boss sends two jobs and, 0.6 s later, asks the worker to stop; each job takes 0.2 s."""
    boss = sim.room("lab").join("boss", enable=True)
    database = Database()

    def measure(number: int) -> None:
        meshsync.sleep(0.2)
        database.insert(number)

    jobs: list[Task] = []

    def worker() -> None:
        with meshsync.connect("lab", name="worker") as client:
            with client.messaging.messages() as orders:
                client.messaging.enable()
                for order in orders:
                    if order.type == "stop":
                        break
                    jobs.append(sim.spawn(measure, order.message["number"]))
            shut_down(database, jobs)

    task = sim.spawn(worker)
    peer = boss.messaging.wait_for_participant(name="worker")
    for number in range(2):
        boss.messaging.send_message(peer, "job", {"number": number})
    meshsync.sleep(0.6)
    boss.messaging.send_message(peer, "stop", {})
    task.join()
    for job in jobs:
        job.join()


def racy(sim: Simulation) -> None:
    """A worker who stops at once."""
    lab(sim, stop)


def repaired(sim: Simulation) -> None:
    """A worker who lets jobs end."""
    lab(sim, stop_after_jobs)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: ValueError", "insert", 'raise ValueError("the database is closed")'),
    LateStep("measure", "meshsync.sleep(0.2)", 0.8),
)
