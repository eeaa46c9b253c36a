"""Replaying the conversation of a record, with a scripted participant for each of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from meshsync.errors import UsageError
from simulator.record.comparing import Difference, diff
from simulator.record.records import Records
from simulator.record.transcript import Transcript
from simulator.record.wording import counted
from simulator.replaying.performing import perform
from simulator.replaying.steps import Script, read_script
from simulator.replaying.venues import WorldName, open_venue

__all__ = ["STALL", "Replayed", "replay_room", "stall_of"]

STALL = 10.0
"""Seconds without progress after which a conversation is given up, where its record was never silent for so long."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A conversation that was replayed."""

    transcript: Transcript
    """What happened."""
    difference: Difference
    """Where that differs from the record; false if nowhere."""
    missing: tuple[str, ...]
    """Attachments that the record lacks, as it has their hashes alone: they were replaced by empty ones."""
    left_out: Mapping[str, int]
    """How often the record has what cannot be done again: faults, refusals, what got lost."""

    def __str__(self) -> str:
        lines = [f"the record lacks the attachment of {one}" for one in self.missing]
        lines += [f"left out: {counted(count, 'record')} of what is {what}" for what, count in self.left_out.items()]
        same = "replayed as it was" if not self.difference else "replayed, and differs from its record"
        return "\n".join([*lines, f"{same}: {self.difference}"])


def replay_room(
    record: Records | str | PathLike[str],
    *,
    into: WorldName = "simulation",
    stall: float | None = None,
    **options: Any,
) -> Replayed:
    """Replay the conversation of a record, with a scripted participant for each of its own.

    Each does its steps when what it had got before them has come again, not by the record's times. Faults are not
    repeated: what got lost for them is left out.

    Args:
        record: A transcript, or the file of one.
        into: The world to replay it in, in a room of its own: ``"simulation"`` or ``"emulator"``.
        stall: Seconds without any progress after which it is given up; by default 10, or twice the longest silence of
            the record if that is more.
        options: Of the `Simulation`; an emulator has none.
    Raises:
        ReplayStalled: If nothing happened for so long; the text has who waits for what.
        ReplayFailed: If a step could not be done.
        UsageError: If the record is none, or has no participants.
    """
    records = record if isinstance(record, Records) else Transcript.load(str(record))
    script = read_script(records)
    if not script.steps:
        raise UsageError(f"in the record of room {records.room!r} no participant does anything")
    limit = stall_of(script) if stall is None else stall
    with open_venue(into, records.room, **options) as venue:
        transcript = perform(script.steps, venue, stall=limit)
    return Replayed(transcript, diff(records, transcript), script.missing, script.left_out)


def stall_of(script: Script) -> float:
    """Return the seconds without progress after which a script is given up, unless another limit is given."""
    return max(STALL, 2 * script.longest_silence)
