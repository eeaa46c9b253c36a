"""A broadcast assumed to precede a direct message: they go over two connections."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import Subscription
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateDelivery, Planted, Race


def play(inbox: Subscription) -> str:
    """The bug: the scene is known when the director calls. Return what is said."""
    text = "nothing"
    while True:
        got = inbox.get()
        if got.type == "action":
            return text
        text = got.message["text"]


def play_numbered(inbox: Subscription) -> str:
    """Wait for the scene that the director means. Return what is said."""
    scenes: dict[int, str] = {}
    wanted = None
    while wanted is None or wanted not in scenes:
        got = inbox.get()
        if got.type == "action":
            wanted = got.message["scene"]
        else:
            scenes[got.message["scene"]] = got.message["text"]
    return scenes[wanted]


def stage(sim: Simulation, perform: Callable[[Subscription], str]) -> None:
    """A theatre has a loudspeaker and a director, with a connection each."""
    room = sim.room("stage")
    loudspeaker = room.join("loudspeaker", enable=True)
    director = room.join("director", enable=True)
    said: list[str] = []

    def actor() -> None:
        with meshsync.connect("stage", name="actor") as client:
            with client.messaging.messages() as inbox:
                client.messaging.enable()
                said.append(perform(inbox))

    task = sim.spawn(actor)
    peer = director.messaging.wait_for_participant(name="actor")
    loudspeaker.messaging.wait_for_participant(name="actor")
    loudspeaker.messaging.broadcast_message_nowait("scene", {"scene": 1, "text": "to be or not to be"})
    meshsync.sleep(0.3)  # the curtain rises
    director.messaging.send_message(peer, "action", {"scene": 1})
    task.join()
    loudspeaker.close()
    sim.run_until_idle()
    assert said == ["to be or not to be"], f"said {said}"


def racy(sim: Simulation) -> None:
    """An actor who knows the last scene."""
    stage(sim, play)


def repaired(sim: Simulation) -> None:
    """An actor who waits for the scene."""
    stage(sim, play_numbered)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "stage", 'assert said == ["to be or not to be"]'),
    LateDelivery("loudspeaker#1/up", "scene", 0.6),
)
