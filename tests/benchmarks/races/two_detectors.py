"""Two detectors that are both believed to be gone: it takes both to be late, or all that their guardian gets."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import ReceiveTimeout, Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

DETECTORS = ("hall", "attic")


def watch(signs: Subscription) -> bool:
    """The bug: detectors that are silent for 1.2 s have burned. Return whether there is a fire."""
    ended: set[str] = set()
    while len(ended) < len(DETECTORS):
        try:
            sign = signs.get(timeout=1.2)
        except ReceiveTimeout:
            return True
        if sign.type == "tested" and sign.sender is not None:
            ended.add(sign.sender.name)
    return False


def watch_for_signs(signs: Subscription) -> bool:
    """Trust what detectors say. Return whether there is a fire."""
    ended: set[str] = set()
    while len(ended) < len(DETECTORS):
        sign = signs.get()
        if sign.type == "fire":
            return True
        if sign.type == "tested" and sign.sender is not None:
            ended.add(sign.sender.name)
    return False


def building(sim: Simulation, guard: Callable[[Subscription], bool]) -> None:
    """Each of two detectors sends six signs of life, 0.4 s apart, until its test has ended."""
    guardian = sim.room("building").join("guardian", enable=True)

    def detector(name: str) -> None:
        with meshsync.connect("building", name=name) as client:
            client.messaging.enable()
            to = client.messaging.wait_for_participant(name="guardian")
            for _ in range(6):
                client.messaging.send_message(to, "all is well", {})
                meshsync.sleep(0.4)
            client.messaging.send_message(to, "tested", {})

    with guardian.messaging.messages() as signs:
        detectors = [sim.spawn(detector, name, name=name) for name in DETECTORS]
        is_fire = guard(signs)
        for task in detectors:
            task.join()
    sim.run_until_idle()
    assert not is_fire, "the sprinklers run, and there is no fire"


def racy(sim: Simulation) -> None:
    """A guardian who fears silence."""
    building(sim, watch)


def repaired(sim: Simulation) -> None:
    """A guardian who waits for signs."""
    building(sim, watch_for_signs)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "building", "assert not is_fire"),
    LateStep("hall", "meshsync.sleep(0.4)", 1.8, time=3),
    also_late=(LateStep("attic", "meshsync.sleep(0.4)", 1.8, time=3),),
)
