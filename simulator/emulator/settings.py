"""The options and the counts of a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.emulator.doorway import Doorway
from simulator.emulator.limits import Limits
from simulator.emulator.recording import Recording

__all__ = ["EmulatorStats", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a gateway."""

    secret: str = field(repr=False)
    limits: Limits = field(default_factory=Limits)
    doorway: Doorway = field(default_factory=Doorway)
    record: Recording | None = None
    """None to keep nothing."""


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
    waiting: int = 0
    """Connections that have no participant yet."""
    refused: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How often something was refused since it was started, by its kind; a kind that did not occur is not there. It is
    no part of a comparison.

    ``origin`` ``host``: pages and hosts that are not let in (status 403). ``connections`` ``rooms`` ``participants``
    ``joins`` ``memory``: a limit was reached (status 503). ``closing``: it was being closed (503). ``handshake``: too
    slow before there was a participant. ``waiting``: the oldest without a participant gave way. ``malformed`` ``lost``:
    requests that are not HTTP, and connections lost in their handshake. ``descriptors``: the process had none left.
    ``1002`` ``1003`` ``1008`` ``1009``: participants disconnected for a fault, by the close code.
    """
    held: int = field(default=0, compare=False)
    """Bytes that are held for all clients, in queues and besides; a message for several of them counts once."""
    unwritten: int = field(default=0, compare=False)
    """Records that the disk did not take; see `Recording`."""
