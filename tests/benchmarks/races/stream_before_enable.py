"""A stream opened before it is accepted: a listener takes part at once, and says later what it does with streams."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, StreamReader
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race


def load() -> None:
    """Load the model that understands what is said."""
    meshsync.sleep(0.1)


def begin(messaging: MessagingClient, listen: Callable[[StreamReader], None]) -> None:
    """The bug: meanwhile streams are rejected."""
    messaging.enable()
    load()
    messaging.enable(listen)


def begin_ready(messaging: MessagingClient, listen: Callable[[StreamReader], None]) -> None:
    """Load first, take part then."""
    load()
    messaging.enable(listen)


def radio(sim: Simulation, start: Callable[[MessagingClient, Callable[[StreamReader], None]], None]) -> None:
    """A speaker opens a stream 0.5 s after it sees the listener."""
    speaker = sim.room("radio").join("speaker", enable=True)

    def listener() -> None:
        with meshsync.connect("radio", name="listener") as client:

            def listen(reader: StreamReader) -> None:
                reader.read_all()

            with client.messaging.messages("off the air") as ends:
                start(client.messaging, listen)
                ends.get()

    task = sim.spawn(listener)
    peer = speaker.messaging.wait_for_participant(name="listener")
    meshsync.sleep(0.5)  # the microphone warms up
    with speaker.messaging.create_stream(peer, {"name": "the news"}) as writer:
        writer.write(b"good evening")
    speaker.messaging.send_message(peer, "off the air", {})
    task.join()


def racy(sim: Simulation) -> None:
    """A listener who takes part while loading."""
    radio(sim, begin)


def repaired(sim: Simulation) -> None:
    """A listener who takes part when ready."""
    radio(sim, begin_ready)


RACE = Race(
    racy,
    repaired,
    Planted("StreamRejected", "radio", 'with speaker.messaging.create_stream(peer, {"name": "the news"})'),
    LateStep("listener", "meshsync.sleep(0.1)", 0.8),
)
