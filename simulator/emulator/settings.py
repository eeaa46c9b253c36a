"""What a gateway goes by, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Seconds of silence before a ping; as long again by half, and the connection is given up."""
    linger: float = 2.0
    """Seconds in which a client that was sent a close frame may read it and go, before its connection is cut."""
    answer: float = ANSWER_LIMIT
    """Seconds in which a duplex stream has to be answered."""


@dataclass(frozen=True, slots=True)
class EmulatorStats:
    """What an emulator holds at one moment."""

    rooms: int = 0
    """Rooms that exist; one that its last participant has left is forgotten."""
    participants: int = 0
    """Participants in all rooms, those included that have not enabled messaging."""
    connections: int = 0
    """Clients whose connections have not ended, those being disconnected included."""
    queued: int = 0
    """Bytes that wait for participants to read, in all."""
