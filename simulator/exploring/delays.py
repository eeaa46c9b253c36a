"""What a late step means in a run: who was late, where in the program, and what happened meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.engine.lateness import ReplaySchedule
from simulator.engine.schedules import Late
from simulator.errors import WorkerFailed
from simulator.exploring.runs import Program, Run, run
from simulator.record.records import Record
from simulator.record.timeline_marks import Mark

__all__ = ["Delay", "delays", "described", "late_mark"]


@dataclass(frozen=True, slots=True)
class Delay:
    """A late step of a run, with its surroundings. Its text is a sentence."""

    late: Late
    instant: float
    """When the step was due, in seconds."""
    before: Record | None
    """The last event up to that instant; None if there was none."""
    meanwhile: Record | None
    """The first event after that instant, which may be what it came too late for; None if there is none."""

    def __str__(self) -> str:
        step = f"{self.late.kind} {self.late.step}"
        text = f"{self.late.who} is {self.late.by / 1e9:.3g} s late at its {step}, due at {self.instant:.3f} s"
        around = (("after", self.before), ("before", self.meanwhile))
        said = [f"{word} {described(record)}" for word, record in around if record is not None]
        return text + (f", {' and '.join(said)}" if said else "")


def late_mark(delay: Delay) -> Mark:
    """Return a late step as a picture marks it."""
    late, by = delay.late, delay.late.by / 1e9
    text = f"{late.who} is {by:.3g} s late at its {late.kind} {late.step}"
    return Mark(delay.instant, text, late.who, delay.instant + by)


def delays(program: Program, found: Run) -> tuple[Delay, ...]:
    """Return the late steps of a run, which is made again for that, unless it ended the process that made it."""
    if not found.lates or isinstance(found.error, WorkerFailed):
        return ()
    schedule = ReplaySchedule(found.deviations, found.lates)
    again = run(program, found.case, schedule=schedule)
    records = [record for transcript in again.transcripts.values() for record in transcript]
    records.sort(key=lambda record: record.time_ns)
    result = []
    for late, instant in zip(schedule.lates, schedule.instants, strict=True):
        before = [record for record in records if record.time_ns <= instant]
        after = [record for record in records if record.time_ns > instant]
        result.append(Delay(late, instant / 1e9, before[-1] if before else None, after[0] if after else None))
    return tuple(result)


def described(record: Record) -> str:
    """Return an event in a few words."""
    route = f"{record.sender} to {record.recipient}" if record.recipient else record.sender
    return f"{' '.join(filter(None, (record.kind, record.type)))!r} of {route or 'the room'} at {record.time_s:.3f} s"
