"""The base classes of all kinds of faults: each is a frozen value, and either over by itself or in force until lifted.

Durations are in seconds of virtual time, sizes in bytes, rates between 0 and 1. Names are those of participants;
whether a participant has them is for the simulation to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from simulator.faults import fields

__all__ = ["Fault", "LastingFault", "OneOffFault", "happens"]


@dataclass(frozen=True, slots=True)
class Fault(fields.Value):
    """One fault. Each kind is a class of its own, in ``simulator.faults.kinds`` or in a program."""

    word: ClassVar[str] = ""
    """The kind's name for users, in plans and in transcripts."""
    is_of_programs: ClassVar[bool] = False
    """Whether it is about a program of a simulation, which is none of an emulator's."""

    @property
    def names(self) -> tuple[str, ...]:
        """The participants that it strikes, which rooms have to know; empty for all, or for the room itself."""
        name = getattr(self, "name", None)
        return () if name is None else (name,)


@dataclass(frozen=True, slots=True)
class OneOffFault(Fault):
    """A fault that strikes at one instant; lasting effects of it end by themselves."""


@dataclass(frozen=True, slots=True)
class LastingFault(Fault):
    """A fault that is in force until it is lifted: a rule, asked for a verdict at each decision."""


def happens(rate: float, stream: Random) -> bool:
    """Return whether an event with a probability of ``rate`` happens this time. Rates of 0 and 1 draw nothing."""
    return rate >= 1 or (rate > 0 and stream.random() < rate)
