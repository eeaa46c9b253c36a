"""Results that are collected after a while instead of when all are there."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def collect(results: Subscription, count: int) -> list[int]:
    """The bug: after two seconds all are believed to have answered."""
    meshsync.sleep(2.0)
    found = []
    while (result := results.get(timeout=0) if results.pending else None) is not None:
        found.append(result.message["words"])
    return found


def collect_all(results: Subscription, count: int) -> list[int]:
    """Wait for as many as were asked."""
    return [results.get().message["words"] for _ in range(count)]


def library(sim: Simulation, gather: Callable[[Subscription, int], list[int]]) -> None:
    """Three readers count words, which takes them 0.3 to 0.7 s."""
    editor = sim.room("library").join("editor", enable=True)

    def reader(name: str, takes: float) -> None:
        with meshsync.connect("library", name=name) as client:
            with client.messaging.messages("count") as orders, client.messaging.messages("thanks") as thanks:
                client.messaging.enable()
                orders.get()
                meshsync.sleep(takes)
                to = client.messaging.wait_for_participant(name="editor")
                client.messaging.send_message(to, "counted", {"words": round(takes * 1000)})
                thanks.get()

    readers = [sim.spawn(reader, name, takes, name=name) for name, takes in (("ali", 0.3), ("bea", 0.5), ("cem", 0.7))]
    for name in ("ali", "bea", "cem"):
        editor.messaging.wait_for_participant(name=name)
    with editor.messaging.messages("counted") as results:
        editor.messaging.broadcast_message("count", {})
        words = gather(results, 3)
    editor.messaging.broadcast_message("thanks", {})
    for task in readers:
        task.join()
    assert sum(words) == 1500, f"{sum(words)} words by {len(words)} readers"


def racy(sim: Simulation) -> None:
    """An editor who looks at the clock."""
    library(sim, collect)


def repaired(sim: Simulation) -> None:
    """An editor who counts."""
    library(sim, collect_all)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "library", "assert sum(words) == 1500"),
    LateStep("bea", "meshsync.sleep(takes)", 2.5),
)
