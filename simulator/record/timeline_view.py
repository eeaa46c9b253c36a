"""The part of a transcript that a timeline shows: which lanes, from when to when, in which unit of time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.record.records import Record, Records
from simulator.record.wording import MAX_LANES, is_routine, lanes_of, people_in

__all__ = ["View", "choose_view"]


@dataclass(frozen=True, slots=True)
class View:
    """The part of a transcript that is drawn, and its scale."""

    lanes: Mapping[str, int]
    start: float
    """Seconds, as ``end``."""
    end: float
    unit: str
    scale: float
    """Units in a second."""
    legend: dict[str, Any] = field(default_factory=dict)
    """The name of each element drawn, and its handle, or several drawn upon each other."""
    notes: list[str] = field(default_factory=list)
    """Texts about the records left out."""

    def x(self, seconds: float) -> float:
        return seconds * self.scale


def choose_view(transcript: Records, records: Sequence[Record], start: float, end: float | None) -> View:
    """Choose the lanes, the interval and the unit of time."""
    drawn = [record for record in records if not is_routine(record)]
    seen = lanes_of(drawn)
    # In the order of the whole transcript, so that a part of it looks like the whole.
    order = [name for name in lanes_of(record for record in transcript if not is_routine(record)) if name in seen]
    lanes = {name: place for place, name in enumerate(order)}
    notes = []
    if len(lanes) > MAX_LANES:
        busy = Counter(name for record in drawn for name in people_in(record))
        # Ties fall in order of appearance, which is the order in which a Counter lists equals.
        kept = {name for name, _ in busy.most_common(MAX_LANES)}
        notes.append(f"the {MAX_LANES} busiest of {len(lanes):,} participants, and what they did among themselves")
        lanes = {name: place for place, name in enumerate(name for name in lanes if name in kept)}
    if end is None:
        end = max([start, *(record.time_s for record in records)])
    if end <= start:
        end = start + 1.0
    unit, scale = next(
        (unit, scale)
        for limit, unit, scale in ((2, "ms", 1e3), (900, "s", 1.0), (10_800, "min", 1 / 60), (math.inf, "h", 1 / 3600))
        if end - start <= limit and (unit != "ms" or end <= 10)
    )
    return View(lanes, start, end, unit, scale, notes=notes)
