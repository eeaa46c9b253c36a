"""What a failing run reads like: who did what when, who went on, what was late, and a chart of the rooms."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulator.exploring.delays import delays
from simulator.exploring.failure_shrinking import FailureShrinker
from simulator.exploring.runs import Run, chart, run
from simulator.simulation import Simulation
from simulator.stateful.performance import Done, Performance

__all__ = ["Report"]

_ATTEMPTS = 300
"""Runs to leave things out in."""


class Printer(Protocol):
    """What Hypothesis prints with."""

    def text(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The report of a failing run. Its text is made, and its transcripts saved, when Hypothesis prints it."""

    machine: str
    again: Callable[[], Performance]
    """Makes a performance of the same script."""
    performance: Performance
    run: Run
    stall_after: float | None
    save: str | Path | None

    def __str__(self) -> str:
        performance, found = self._with_less()
        done = performance.done
        names = [name for name in performance.script.parts if any(one.name == name for one in done)]
        wide = max(map(len, names), default=0)
        parts = [
            f"{self.machine} fails with {' and '.join(names) or 'no operation'}:",
            *(f"  {_line(one, wide)}" for one in done),
            *(f"  {name}: {text}" for name, text in performance.broken.items() if text),
            f"  order of actors: {self._order(found)}",
            *(f"  {delay}" for delay in delays(self.again(), found)),
            *(f"  fault: {entry}" for entry in found.plan),
            *self._saved(found),
            chart(found.transcripts.values()),
        ]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_pretty_(self, printer: Printer, is_cycle: bool) -> None:
        """Be printed by Hypothesis's ``note`` as it is, and not as its fields."""
        printer.text(str(self))

    def _with_less(self) -> tuple[Performance, Run]:
        """Return a run that fails in the same way, with those deviations and late steps alone that it needs.

        Hypothesis draws the seed of an order, of which it can leave out nothing.
        """
        last = self.performance

        def perform(sim: Simulation) -> None:
            nonlocal last
            last = self.again()
            last(sim)

        left = FailureShrinker(perform, self.run, _ATTEMPTS, self.stall_after).shrink()
        if left is self.run:
            return self.performance, self.run
        run(perform, left.case, stall_after=self.stall_after)  # For what was done in it.
        return last, left

    @staticmethod
    def _order(found: Run) -> str:
        deviations = found.deviations
        if not deviations:
            return "fifo"
        return f"fifo, but {'; '.join(map(str, deviations[:5]))}{' …' if len(deviations) > 5 else ''}"

    def _saved(self, found: Run) -> list[str]:
        """Save the transcripts; return a line for each."""
        if self.save is None:
            return []
        lines = []
        for room, transcript in found.transcripts.items():
            path = Path(self.save, re.sub(r"[^\w.-]+", "-", f"{self.machine}-{room}.jsonl"))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                transcript.save(path)
            except OSError as error:
                lines.append(f"  the transcript of {room} could not be saved: {error}")
            else:
                lines.append(f"  transcript: {path}")
        return lines


def _line(done: Done, wide: int) -> str:
    end = "" if done.ended is None else f", until {done.ended:.3f} s"
    outcome = f" {done.outcome}" if done.outcome else ""
    return f"{done.begun:7.3f} s  {done.name:{wide}}  {done.call}{outcome}{end}"
