"""Where a conversation is replayed: a room of a simulation, or one of an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import meshsync
from meshsync.discovery import only
from meshsync.errors import UsageError
from meshsync.room import RoomClient
from simulator.record.transcript import Transcript
from simulator.simulation import Simulation

__all__ = ["EmulatedVenue", "SimulatedVenue", "WorldName", "open_venue"]

WorldName = Literal["simulation", "emulator"]


class SimulatedVenue:
    """A room of a simulation, which is open as long as this is entered.

    Args:
        options: Of `Simulation`.
    """

    quiet: float = 1.0
    """Seconds without news after which nothing more is under way."""

    def __init__(self, room: str, **options: Any) -> None:
        self._name = room
        self._options = options

    def __enter__(self) -> SimulatedVenue:
        # What a handler raises is part of the conversation, and compared: it may have failed when it was recorded, too.
        self.simulation: Simulation = Simulation(**{"failing_receivers": "log", **self._options})
        self._room = self.simulation.room(self._name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.simulation.__exit__(kind, error, trace)

    def connect(self, name: str, role: str) -> RoomClient:
        """Return a client in the room."""
        return meshsync.connect(self._name, name=name, role=role)

    def transcript(self) -> Transcript:
        """Return what was recorded so far."""
        return self._room.transcript.copy()


class EmulatedVenue:
    """A room of an emulator, which listens as long as this is entered."""

    quiet: float = 0.5
    """As for a simulation."""

    def __init__(self, room: str) -> None:
        from simulator.emulator import Emulator  # needs aiohttp, which a simulation does without

        self._name = room
        self._emulator = Emulator(record=True)

    def __enter__(self) -> EmulatedVenue:
        self._emulator.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._emulator.close()

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables with which a program connects here, also by ``url="emulator"``; see `Emulator.env`."""
        emulator = self._emulator
        return {**emulator.env, **only(emulator.url, emulator.env), "MESHAGENT_ROOM": self._name}

    def connect(self, name: str, role: str) -> RoomClient:
        """Return a client in the room."""
        emulator = self._emulator
        token = emulator.token(self._name, name, role=role)
        return meshsync.connect(self._name, name=name, role=role, url=emulator.url, token=token, reconnect=False)

    def transcript(self) -> Transcript:
        """Return what was recorded so far."""
        return self._emulator.transcript(self._name).copy()


def open_venue(world: WorldName, room: str, **options: Any) -> SimulatedVenue | EmulatedVenue:
    """Return a venue that is not entered yet.

    Args:
        options: Of `Simulation`; an emulator has none.
    Raises:
        UsageError: If there is no such world, or an emulator is given options.
    """
    if world == "simulation":
        return SimulatedVenue(room, **options)
    if world != "emulator":
        raise UsageError(f"in a simulation or an emulator, not in {world!r}")
    if options:
        raise UsageError(f"{', '.join(options)}: an emulator has no options of a simulation")
    return EmulatedVenue(room)
