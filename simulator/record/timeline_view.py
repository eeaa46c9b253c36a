"""The part of a transcript that a timeline shows: which lanes, from when to when, in which unit of time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.record.records import Record, Records
from simulator.record.wording import MAX_LANES, fault_spans, is_routine, lanes_of, people_in, struck_in

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
    if end is None:
        end = max([start, *(record.time_s for record in records)])
    if end <= start:
        end = start + 1.0
    drawn = [record for record in records if not is_routine(record)]
    everyone = lanes_of(record for record in transcript if not is_routine(record))
    struck = struck_in((record for _, _, record in fault_spans(transcript, start, end)), everyone)
    seen = {*lanes_of(drawn), *struck}
    # In the order of the whole transcript, so that a part of it looks like the whole.
    order = [name for name in (*everyone, *(name for name in struck if name not in everyone)) if name in seen]
    notes = []
    if len(order) > MAX_LANES:
        busy = Counter(name for record in drawn for name in people_in(record))
        # Those that were struck first: a reader looks for them. Ties fall in order of appearance, which is the order in
        # which a Counter lists equals.
        chosen = (*struck, *(name for name, _ in busy.most_common()))
        kept = set(list(dict.fromkeys(chosen))[:MAX_LANES])
        which = f"the struck and the busiest, {MAX_LANES}" if struck else f"the {MAX_LANES} busiest"
        notes.append(f"{which} of {len(order):,} participants, and what they did among themselves")
        order = [name for name in order if name in kept]
    lanes = {name: place for place, name in enumerate(order)}
    unit, scale = next(
        (unit, scale)
        for limit, unit, scale in ((2, "ms", 1e3), (900, "s", 1.0), (10_800, "min", 1 / 60), (math.inf, "h", 1 / 3600))
        if end - start <= limit and (unit != "ms" or end <= 10)
    )
    return View(lanes, start, end, unit, scale, notes=notes)
