"""Shared by tests of whole clients on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulator import Simulation, Transcript
from simulator.record.records import Record

__all__ = ["outcomes", "simulated", "told"]


@contextmanager
def simulated(seed: int | str = 7, **options: Any) -> Iterator[Simulation]:
    """Open a simulation, and print its seed if it fails."""
    try:
        with Simulation(seed, **options) as simulation:
            yield simulation
    except BaseException:
        print(f"the simulation's seed was {seed!r}")
        raise


def told(transcript: Transcript, *kinds: str) -> list[tuple[float, str, str]]:
    """Return the records: the time in seconds, the kind or type, and the participant."""
    return [
        (round(record.time_s, 6), record.type or record.kind, record.sender or record.recipient)
        for record in transcript
        if not kinds or record.kind in kinds
    ]


def outcomes(transcript: Transcript, type: str) -> list[tuple[str, str, str]]:
    """Return the fate of each message of a type: sender, recipient, outcome."""
    return [(record.sender, record.recipient, record.outcome) for record in _of(transcript, type)]


def _of(transcript: Transcript, type: str) -> list[Record]:
    return [record for record in transcript if record.kind in ("message", "stream") and record.type == type]
