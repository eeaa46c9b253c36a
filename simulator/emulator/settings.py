"""The options and the counts of a gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.emulator.memory import MEMORY_LIMIT
from simulator.room.calls import ANSWER_LIMIT
from simulator.room.seat import QUEUE_LIMIT

__all__ = ["EmulatorStats", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a gateway."""

    secret: str
    queue_limit: int = QUEUE_LIMIT
    """Bytes that may wait for one participant."""
    heartbeat: float = 30.0
    """Seconds of silence before a ping; after half as long again without an answer the connection is cut."""
    linger: float = 2.0
    """Seconds from a close frame until the connection is cut."""
    answer: float = ANSWER_LIMIT
    """Seconds in which a duplex stream has to be answered."""
    memory: int = MEMORY_LIMIT
    """Bytes that may be held for all clients together."""


@dataclass(frozen=True, slots=True)
class EmulatorStats:
    """The counts of an emulator at one moment."""

    rooms: int = 0
    """Rooms that exist; a room ends when its last participant leaves."""
    participants: int = 0
    """Participants in all rooms, including those that have not enabled messaging."""
    connections: int = 0
    """Connections that have not ended, including those being disconnected."""
    queued: int = 0
    """Bytes that wait for all participants to read."""
    held: int = field(default=0, compare=False)
    """Bytes that are held for all clients, in queues and besides; a message for several of them counts once."""
