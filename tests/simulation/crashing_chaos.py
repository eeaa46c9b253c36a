"""Programs that crash and begin anew, under faults of all other kinds."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk
from simulator import Simulation, Transcript, faults
from tests.support import chaos

__all__ = ["run"]

NAMES = chaos.NAMES[:4]
SCHEDULES = ("fifo", "random", "pct")


def run(seed: int) -> Transcript:
    """Let it happen, and return the transcript."""
    chance = Random(seed)
    options = {
        "schedule": SCHEDULES[seed % 3],
        "failing_receivers": "log",
    }  # Streams break in callbacks that read them.
    with Simulation(seed, latency=chaos.LATENCY, **options) as sim:
        room = sim.room("chaos")
        for name in NAMES:
            sim.spawn(_agent, name, name=name)
        sim.plan(*(entry for entry in chaos.plan(chance, losses=4) if not isinstance(entry, faults.Quiet)))
        for number in range(14):
            how = "machine" if chance.random() < 0.5 else "process"
            crash = faults.crash(NAMES[number % 4], how, restart_after=chance.random() * 5)
            sim.plan(faults.at(5 + chance.random() * 80, crash))
        sim.sleep(120)
    return room.transcript


def _agent(name: str) -> None:
    """Talk to all, confirmed and not, and by streams, with one client after the other."""
    count = 0
    while True:
        try:
            with meshsync.connect("chaos", name=name, default_timeout=4) as client:
                client.messaging.enable(lambda reader: [None for _ in reader])
                while not client.state.is_over:
                    count += 1
                    with suppress(MeshsyncError):
                        _talk(client, count)
                    meshsync.sleep(0.5)
        except MeshsyncError:
            meshsync.sleep(0.5)


def _talk(client: meshsync.RoomClient, count: int) -> None:
    client.messaging.broadcast_message("note", {"n": count})
    for peer in client.messaging.remote_participants[:2]:
        client.messaging.send_message(peer, "chat", {"n": count}, confirm=count % 2 == 0)
    for peer in client.messaging.remote_participants[-1:]:
        with client.messaging.create_stream(peer) as writer:
            for _ in range(4):
                writer.write(MessageStreamChunk(header={}, data=bytes(200)))
