"""The programs of a simulation as faults see them: their actors, and their ends of connections."""

from __future__ import annotations

from collections.abc import Hashable

from simulator.engine.hindrances import Hindrances, is_of_program
from simulator.network.network import Network

__all__ = ["StruckProgramsOf"]


class StruckProgramsOf:
    """Hinders programs; see `simulator.faults.layers.StruckPrograms`."""

    def __init__(self, hindrances: Hindrances, network: Network) -> None:
        self._hindrances = hindrances
        self._network = network

    def pause(self, who: str, seconds: float) -> None:
        """Let a program and its connections stand still for some seconds; of several pauses the longest counts."""
        self._hindrances.check(who)
        for connection in self._network.connections():
            if is_of_program(connection.opener, who):
                connection.pause(seconds)
        self._hindrances.pause(who, seconds)

    def slow(self, cause: Hashable, who: str, factor: float, by: float) -> None:
        """Let a program's sleeps last ``factor`` times as long, and its turns begin ``by`` seconds later."""
        self._hindrances.slow(cause, who, factor, by)

    def skew(self, cause: Hashable, who: str, offset: float, drift: float) -> None:
        """Let a program's wall clock be ahead by ``offset`` seconds, and by ``drift`` more each second."""
        self._hindrances.skew(cause, who, offset, drift)

    def relieve(self, cause: Hashable) -> None:
        """End what a fault has begun."""
        self._hindrances.relieve(cause)

    def relieve_all(self) -> None:
        """End all of that, pauses included."""
        self._hindrances.relieve_all()
