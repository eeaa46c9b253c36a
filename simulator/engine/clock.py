"""The clock that links, participants and faults run on: a simulation's `Kernel`, or a real loop's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulator.engine.kernel import Timer

__all__ = ["Clock"]

__engine__ = True


class Clock(Protocol):
    """Gives the time and calls back; timers due at the same instant are called in the order in which they were made."""

    @property
    def now(self) -> int:
        """Nanoseconds since the start."""

    @property
    def late(self) -> Callable[[str, int, int, str], int] | None:
        """Returns by how many nanoseconds a step is late; see `Kernel.late`. None where time is real."""

    def instant(self, seconds: float) -> int:
        """Return the first instant at which ``seconds`` have passed, in nanoseconds since the start."""

    def after(self, seconds: float, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """Call ``callback`` when ``seconds`` have passed; zero or less means at this instant, after all others."""

    def at(self, when: int, callback: Callable[[], object], *, background: bool = False) -> Timer:
        """Call ``callback`` at an instant, in nanoseconds since the start; one that is past means now."""
