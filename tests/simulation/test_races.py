"""One task writes, another closes: under many schedules a chunk is there before the regular end, or was refused."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import MeshsyncError, UsageError
from meshsync.filters.buffering import buffered
from meshsync.filters.compression import compression
from meshsync.filters.filtering import filtered
from simulator import Simulation
from simulator.exploring.exploration import explore
from tests.support.streaming import Pair

SEEDS = range(40)


def race(sim: Simulation, kind: str) -> None:
    """Have two tasks write and two close; compare what was written with what came."""
    pair = Pair(sim)
    writer, reader = pair.both()
    writer = {"plain": lambda w: w, "buffered": lambda w: buffered(w, 3), "filtered": through}[kind](writer)
    reader = through(reader) if kind == "filtered" else reader
    written: list[int] = []
    failures: list[BaseException] = []

    def write(first: int) -> None:
        for n in range(first, first + 30):
            try:
                writer.write(bytes([n]))
            except UsageError:
                return
            written.append(n)

    def close() -> None:
        try:
            writer.close()
        except MeshsyncError as error:
            failures.append(error)

    tasks = [sim.spawn(write, 0), sim.spawn(write, 100), sim.spawn(close), sim.spawn(close)]
    got = list(reader.read_all(60))
    assert all(task.join(60) for task in tasks)
    assert not failures
    assert sorted(got) == sorted(written)


def through(end: Any) -> Any:
    """Return a writer or a reader through a filter."""
    return filtered(end, compression())


@pytest.mark.parametrize("schedule", ["random", "pct"])
@pytest.mark.parametrize("kind", ["plain", "buffered", "filtered"])
def test_a_chunk_is_there_before_the_end_or_refused(kind: str, schedule: str) -> None:
    """However the tasks of the program and of the clients take turns; and both closings succeed."""
    failure = explore(
        lambda sim: race(sim, kind), SEEDS, schedule=schedule, latency=0.01, shrinking=0, save=None, horizon=100
    )
    assert failure is None, failure
