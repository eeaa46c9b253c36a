"""The server restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import SimulationFault, StruckParticipant, StruckSimulation
from simulator.faults.registry import register

__all__ = ["Restart", "restart"]


@register
@dataclass(frozen=True, slots=True)
class Restart(SimulationFault):
    """The room's server goes down with every connection, and comes back after a while."""

    word: ClassVar[str] = "restart"
    down: float = field(metadata=fields.duration)
    """Seconds during which connecting is refused."""
    forgets: bool = field(metadata=fields.truth)
    """Whether all participants leave; else they stay listed until the server notices that they are gone."""

    def strike(self, simulation: StruckSimulation) -> None:
        """Take the server down. Participants without a client come back with it, as they do not reconnect."""
        here = [participant for room in simulation.rooms for participant in room.participants if participant.is_here]
        simulation.network.restart(self.down, forgets=self.forgets)
        if here:
            simulation.after(self.down, partial(_come_back, here))


def restart(*, down: float = 1.0, forgets: bool = True) -> Restart:
    """Take the room's server down, with every connection, for ``down`` seconds.

    Args:
        forgets: Whether it comes back with no participants. If not, the earlier participants are listed until the
            server notices that their connections are gone, one heartbeat interval and timeout later.
    """
    return Restart(down, forgets)


def _come_back(participants: Iterable[StruckParticipant]) -> None:
    for participant in participants:
        participant.come_back()
