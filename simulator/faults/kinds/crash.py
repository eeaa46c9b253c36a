"""A program crashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simulator.faults import fields
from simulator.faults.layers import SimulationFault, StruckSimulation
from simulator.faults.registry import register

__all__ = ["HOW", "Crash", "crash"]

HOW = ("process", "machine")
"""What crashes: the process, whose connections end, or the machine, which falls silent."""


@register
@dataclass(frozen=True, slots=True)
class Crash(SimulationFault):
    """A program that was spawned crashes, with its threads and clients, and may begin anew after a while."""

    word: ClassVar[str] = "crash"
    is_recorded_by_itself: ClassVar[bool] = True
    who: str = field(metadata=fields.name)
    """The program's name, which need not be that of a participant."""
    how: str = field(metadata=fields.choice(*HOW))
    restart_after: float | None = field(metadata=fields.optional(fields.duration))
    """Seconds until it begins anew; None for never."""

    @property
    def names(self) -> tuple[str, ...]:
        return ()

    def strike(self, simulation: StruckSimulation) -> None:
        """End the program's life by force; one that is over already stays so.

        Raises:
            UsageError: If no program has that name; nothing has changed.
        """
        simulation.crash(self.who, self.how, self.restart_after)


def crash(who: str, how: str = "process", *, restart_after: float | None = None) -> Crash:
    """Let a program that ``sim.spawn`` began crash, as `Simulation.crash` does; one that is over stays so.

    Args:
        who: The program's name.
        how: ``"process"``: its connections end without a close frame; ``"machine"``: they fall silent.
        restart_after: Seconds until it begins anew; None for never.
    Raises:
        ValueError: As all functions here, if an argument has a wrong type or value; the text names it.
    """
    return Crash(who, how, restart_after)
