"""What a failing run reads like: who did what when, who went on, what was late, and a chart of the rooms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulator.engine.schedules import Schedule
from simulator.exploring.delays import Delay, placed
from simulator.exploring.runs import Run, chart
from simulator.stateful.performance import Done, Performance
from simulator.stateful.scripts import DrawnLateness

__all__ = ["Report"]


class Printer(Protocol):
    """What Hypothesis prints with."""

    def text(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The report of a failing run. Its text is made, and its transcripts saved, when Hypothesis prints it."""

    machine: str
    performance: Performance
    run: Run
    schedule: Schedule | None
    save: str | Path | None

    def __str__(self) -> str:
        done = self.performance.done
        names = [name for name in self.performance.script.parts if any(one.name == name for one in done)]
        wide = max(map(len, names), default=0)
        parts = [
            f"{self.machine} fails with {' and '.join(names) or 'no operation'}:",
            *(f"  {_line(one, wide)}" for one in done),
            *(f"  {name}: {text}" for name, text in self.performance.broken.items() if text),
            f"  order of actors: {self._order()}",
            *(f"  {delay}" for delay in self._delays()),
            *(f"  fault: {entry}" for entry in self.run.plan),
            *self._saved(),
            chart(self.run.transcripts.values()),
        ]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_pretty_(self, printer: Printer, is_cycle: bool) -> None:
        """Be printed by Hypothesis's ``note`` as it is, and not as its fields."""
        printer.text(str(self))

    def _delays(self) -> Iterable[Delay]:
        if not isinstance(self.schedule, DrawnLateness):
            return ()
        return placed(self.schedule.lates, self.schedule.instants, self.run)

    def _order(self) -> str:
        deviations = self.run.deviations
        if not deviations:
            return "fifo"
        shown = "; ".join(map(str, deviations[:5]))
        return f"{self.run.case.schedule}, {len(deviations)} deviations from fifo: {shown}"

    def _saved(self) -> list[str]:
        """Save the transcripts; return a line for each."""
        if self.save is None:
            return []
        lines = []
        for room, transcript in self.run.transcripts.items():
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
