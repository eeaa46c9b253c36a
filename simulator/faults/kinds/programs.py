"""A program stands still, is slow, or has a wrong wall clock. It is named as it was spawned."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from simulator.faults import fields
from simulator.faults.layers import ProgramFault, SimulationFault, StruckPrograms, StruckSimulation
from simulator.faults.registry import register

__all__ = ["PauseProgram", "SkewClock", "SlowProgram", "pause_program", "skew_clock", "slow_program"]


def _signed(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r:.100}")
    return float(value)


def _factor(name: str, value: Any) -> float:
    if _signed(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value:g}: no program is faster than it was written")
    return float(value)


@register
@dataclass(frozen=True, slots=True)
class PauseProgram(SimulationFault):
    """A program stands still with its threads, clients and their heartbeats, as in a suspended machine, for a while."""

    word: ClassVar[str] = "pause_program"
    is_of_programs: ClassVar[bool] = True
    who: str = field(metadata=fields.name)
    """The program's name, which need not be that of a participant."""
    seconds: float = field(metadata=fields.duration)

    def strike(self, simulation: StruckSimulation) -> None:
        simulation.programs.pause(self.who, self.seconds)


@register
@dataclass(frozen=True, slots=True)
class SlowProgram(ProgramFault):
    """A program is slow: each of its sleeps lasts longer, each of its turns begins later."""

    word: ClassVar[str] = "slow_program"
    who: str = field(metadata=fields.name)
    factor: float = field(metadata=fields.checked(_factor))
    by: float = field(metadata=fields.number())

    def hinder(self, programs: StruckPrograms) -> None:
        programs.slow(self, self.who, self.factor, self.by)


@register
@dataclass(frozen=True, slots=True)
class SkewClock(ProgramFault):
    """A program's wall clock is wrong."""

    word: ClassVar[str] = "skew_clock"
    who: str = field(metadata=fields.name)
    offset: float = field(metadata=fields.checked(_signed))
    drift: float = field(metadata=fields.checked(_signed))

    def hinder(self, programs: StruckPrograms) -> None:
        programs.skew(self, self.who, self.offset, self.drift)


def pause_program(who: str, seconds: float) -> PauseProgram:
    """Let a program that ``sim.spawn`` began stand still for some seconds, as `Simulation.pause` does."""
    return PauseProgram(who, seconds)


def slow_program(who: str, *, factor: float = 1.0, by: float = 0.0) -> SlowProgram:
    """Let a program be slow while this is in force, as `Simulation.slow` does.

    Args:
        factor: How many times as long each of its sleeps lasts, at least 1.
        by: Seconds by which each of its turns begins later.
    """
    return SlowProgram(who, factor, by)


def skew_clock(who: str, offset: float = 0.0, *, drift: float = 0.0) -> SkewClock:
    """Let a program's wall clock be wrong while this is in force, as `Simulation.skew` does.

    Args:
        offset: Seconds by which it is ahead; behind, if that is negative.
        drift: Seconds by which it is ahead more for each second since this began.
    """
    return SkewClock(who, offset, drift)
