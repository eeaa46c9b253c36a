"""A room whose programs crash and begin anew, process and machine, by plan, by another program and by themselves.

``python -m tests.simulation.crashing_room`` prints the digest of its transcript.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk
from simulator import Simulation, Transcript, faults, latency

__all__ = ["DIGEST", "run"]

DIGEST = "7c68d7cf0e258d1caaf0a80510b275773ca6084f9fa0dcd274aa6d68cfe8d018"
"""Of `run()`. A change of this library that changes what happens in a simulation changes it, knowingly."""

NAMES = ("ada", "ben", "cyd")
LOCK = meshsync.Lock()


def run(seed: int = 7, *, schedule: str = "fifo") -> Transcript:
    """Let it happen, and return the transcript."""
    chance = Random(seed)
    with Simulation(seed, latency=latency.lognormal(0.04, 0.5), schedule=schedule) as sim:
        room = sim.room("crashing")
        for name in NAMES:
            sim.spawn(_agent, sim, name, name=name)
        sim.plan(
            *(
                faults.at(
                    5 + number * 4 + chance.random() * 3,
                    faults.crash(
                        NAMES[number % 3],
                        "machine" if chance.random() < 0.5 else "process",
                        restart_after=chance.random() * 3,
                    ),
                )
                for number in range(12)
            )
        )
        sim.spawn(_supervisor, sim)
        sim.sleep(80)
        for name in NAMES:
            sim.crash(name)
        assert LOCK.acquire(timeout=1)
    return room.transcript


def _supervisor(sim: Simulation) -> None:
    """Let another program crash now and then, and begin anew."""
    for number in range(6):
        meshsync.sleep(9.7)
        if sim.crash(NAMES[number % 3], "process") is not None:
            meshsync.sleep(0.3)
            with suppress(meshsync.UsageError):
                sim.restart(NAMES[number % 3])


def _agent(sim: Simulation, name: str) -> None:
    """Talk, confirmed and not, by streams, under a lock that all share; crash where a file says so."""
    count, marks = 0, sim.disk(name) / "marks"
    with meshsync.connect("crashing", name=name, default_timeout=5) as client:
        with suppress(MeshsyncError):
            client.messaging.enable(lambda reader: [None for _ in reader])
        while True:
            count += 1
            with suppress(MeshsyncError), LOCK:
                peers = client.messaging.remote_participants
                client.messaging.broadcast_message("note", {"n": count})
                if peers:
                    client.messaging.send_message(peers[count % len(peers)], "chat", {"n": count}, confirm=True)
            with suppress(MeshsyncError):
                for peer in client.messaging.remote_participants[:1]:
                    with client.messaging.create_stream(peer) as writer:
                        for part in range(3):
                            writer.write(MessageStreamChunk(header={"part": part}, data=bytes(100)))
            with marks.open("a") as file:
                file.write(f"{count}\n")
            if marks.read_text().count("\n") % 23 == 0:
                sim.kernel.after(1, lambda: sim.crash(name) and sim.restart(name))
                sim.crash(name)
            meshsync.sleep(0.7)


if __name__ == "__main__":
    print(run().digest())
