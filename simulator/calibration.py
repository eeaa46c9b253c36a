"""What a room's work costs on this machine: measured on an emulator, as a law for a simulation."""

from __future__ import annotations

from meshsync.errors import UsageError
from simulator import simulation
from simulator.emulator import Emulator
from simulator.emulator.emulator import processor_time
from simulator.latency import Law, empirical

__all__ = ["calibrate"]

_ROOM = "calibration"
_TYPE = "calibration"
_WARM_UP = 5
"""Batches that are not counted."""
_PATIENCE = 30.0
"""Seconds for a batch to arrive."""


def calibrate(participants: int = 20, *, batches: int = 40, batch: int = 25, size: int = 100) -> Law:
    """Return the law of the time that a room takes for a broadcast, measured on an emulator of this process.

    It is the processor time of the emulator's own thread: other programs on the machine hardly change it, and what
    clients need is not in it. It takes a second or two.

    Args:
        participants: How many are in the room; the time grows with them, since each gets a copy.
        batches: How many samples the law has.
        batch: How many broadcasts each sample is the mean of.
        size: Characters in each broadcast.
    Returns:
        A law for ``Simulation(service=…)``, in seconds.
    Raises:
        UsageError: If a simulation is open, in whose world the clients would be; `ValueError` if a number is too small.
        ReceiveTimeout: If a batch does not arrive.
    """
    if participants < 2 or batches < 1 or batch < 1 or size < 0:
        raise ValueError("calibrate: at least 2 participants, a batch, and a broadcast in it")
    if simulation.is_open():
        raise UsageError("a simulation is open: calibrate before it, and give it the law")
    samples = []
    with Emulator(port=0) as emulator:
        clients = [emulator.connect(_ROOM, f"participant {number}") for number in range(participants)]
        for client in clients:
            client.messaging.enable()
        sender, last = clients[0], clients[-1]
        with last.messaging.messages(_TYPE) as received:
            for _ in range(_WARM_UP + batches):
                before = processor_time(emulator)
                for _ in range(batch):
                    sender.messaging.broadcast_message_nowait(_TYPE, {"text": "x" * size})
                for _ in range(batch):
                    received.get(timeout=_PATIENCE)
                samples.append((processor_time(emulator) - before) / batch)
    return empirical(samples[_WARM_UP:])
