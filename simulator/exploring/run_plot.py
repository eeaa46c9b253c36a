"""The picture of a run: the timeline of one of its rooms, with its failure and the steps that were late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from meshsync.errors import UsageError
from simulator.record import timeline
from simulator.record.timeline_marks import Mark
from simulator.record.transcript import Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]


def plot(
    transcripts: Mapping[str, Transcript],
    marks: Sequence[Mark],
    ax: Axes | None,
    *,
    room: str | None,
    start: float,
    end: float | None,
    title: str | None,
) -> Axes:
    """Draw `Run.plot` and `Failure.plot`."""
    if not transcripts:
        raise UsageError("there is nothing to draw: the run opened no room, or its process died")
    if room is None:
        room = max(transcripts, key=lambda name: len(transcripts[name]))  # of equals the first
    if room not in transcripts:
        raise UsageError(f"the run has no room {room!r}; it has {', '.join(map(repr, transcripts))}")
    chosen = transcripts[room]
    return timeline.plot(chosen, ax, start=start, end=end, max_messages=400, title=title, marks=marks)
