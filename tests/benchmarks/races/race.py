"""What a race of the bench consists of, as data: two programs, the symptom, and the moment that has to be late for it.

How a program is written: it sets no time limits but those that its race is about; a participant stays until nothing is
sent to it any more; and before the last assertion the simulation comes to rest, which raises what a task failed with.
Running programs is not this module's business: see ``lateness.py`` and ``searching.py``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from simulator import latency
from simulator.exploring.runs import Program, Symptom
from simulator.latency import Law

__all__ = ["LATENCY", "Late", "LateDelivery", "LateStep", "Planted", "Race"]

LATENCY = latency.lognormal(median=0.020, sigma=0.4)
"""As between two places of one country: of a hundred thousand deliveries one takes longer than 0.12 s."""


@dataclass(frozen=True, slots=True)
class Planted:
    """How a racy program fails when its moment is late."""

    kind: str
    """The class of the exception, behind ``ActorFailed: `` if it comes out of a spawned task."""
    function: str
    """The function in which it shows."""
    line: str
    """A part of the text of the line at which it shows, which no other line of the function has."""

    def matches(self, symptom: Symptom | None) -> bool:
        """Return whether a run that ended in this way failed as planted."""
        if symptom is None or symptom.kind != self.kind:
            return False
        places = (line.partition(f" in {self.function}: ") for line in symptom.source.splitlines())
        return any(separator and self.line in text for _, separator, text in places)


@dataclass(frozen=True, slots=True)
class LateStep:
    """An actor that goes on later than it could: the end of a sleep, of a time limit, or of another wait."""

    actor: str
    """The end of its path: its name, unless several have that."""
    line: str
    """A part of the text of the program's line at which it waited."""
    seconds: float
    """How much later it goes on. Enough to fail, and not the least."""
    time: int = 1
    """At which of its waits at that line, from 1."""


@dataclass(frozen=True, slots=True)
class LateDelivery:
    """Frames that arrive later than by the law, and so do all behind them on their link."""

    link: str
    """As ``alice#1/up`` for what alice's first connection sends, ``alice#1/down`` for what it gets."""
    content: str
    """A part of a packet, such as the type of a message."""
    seconds: float
    time: int = 1
    """Which of the packets with that part, from 1."""


Late: TypeAlias = "LateStep | LateDelivery"


@dataclass(frozen=True, slots=True)
class Race:
    """A program with a race across time, and the same program repaired."""

    racy: Program
    repaired: Program
    symptom: Planted
    late: Late
    """The guilty moment: late, the racy program fails, and the repaired one passes."""
    also_late: tuple[Late, ...] = ()
    """Moments that have to be late besides, each for itself."""
    law: Law = LATENCY

    @property
    def name(self) -> str:
        """The name of the module that the programs are in."""
        return Path(inspect.getfile(self.racy)).stem

    @property
    def moments(self) -> tuple[Late, ...]:
        """All moments that have to be late."""
        return (self.late, *self.also_late)
