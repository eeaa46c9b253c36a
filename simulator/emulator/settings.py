"""The options and the counts of a gateway, and the variables that lead past one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.emulator.doorway import Doorway
from simulator.emulator.limits import Limits
from simulator.emulator.recording import Recording

if TYPE_CHECKING:  # commands that serve nothing need not wait for them
    from simulator.faults.fault import Fault
    from simulator.faults.plans import Planned
    from simulator.latency import Latency
    from simulator.participants import Participant

__all__ = ["CLEARED", "LOOPS", "EmulatorStats", "Settings"]

LOOPS = ("asyncio", "uvloop")
"""The event loops that a gateway may run on."""

CLEARED = ("MESHAGENT_TOKEN", "MESHAGENT_ROOM_URL", "MESHAGENT_PROFILE_API_URL")
"""Variables that would lead a client past the emulator, so they must not be set beside ``Emulator.env``.

Source: variables that ``meshagent-api`` 0.0.21, 0.29.4 and 0.56.0 read: a ready token, and addresses that beat
``MESHAGENT_API_URL``.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a gateway."""

    secret: str = field(repr=False)
    limits: Limits = field(default_factory=Limits)
    doorway: Doorway = field(default_factory=Doorway)
    record: Recording | None = None
    """None to keep nothing."""
    latency: Latency | None = None
    """The law of delays between each client and its room, in each direction; None for none."""
    seed: int | str = 0
    """What the chance of delays and faults follows from."""
    plan: tuple[Planned | Fault, ...] = ()
    """The faults from the start on."""
    populate: Callable[[str], Iterable[Participant]] | None = None
    """Returns the participants without a thread that a room begins with, given its name."""
    loop: str = "asyncio"
    """Which event loop it runs on, of `LOOPS`."""


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

    ``origin`` ``host``: pages and hosts that are not let in (status 403). ``token`` ``name``: tokens that do not
    admit (401, 403), and what is no name of a room (404). ``connections`` ``rooms`` ``participants``
    ``joins`` ``memory``: a limit was reached (status 503). ``closing``: it was being closed (503). ``handshake``: too
    slow before there was a participant. ``waiting``: the oldest without a participant gave way. ``malformed`` ``lost``:
    requests that are not HTTP, and connections lost in their handshake. ``descriptors``: the process had none left.
    ``fault``: reset while it connected, by a planned fault or for its latency. ``1002`` ``1003`` ``1008`` ``1009``:
    participants disconnected for a fault, by the close code.
    """
    held: int = field(default=0, compare=False)
    """Bytes that are held for all clients, in queues and besides; a message for several of them counts once."""
    unwritten: int = field(default=0, compare=False)
    """Records that the disk did not take; see `Recording`."""
