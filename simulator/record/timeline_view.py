"""The part of a transcript that a timeline shows: which lanes, from when to when, in which unit of time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.record.records import Record, Records
from simulator.record.wording import MAX_LANES, fault_spans, is_routine, lanes_of, people_in, struck_in

__all__ = ["SHRUNK", "View", "choose_view"]

SHRUNK = 0.05
"""The width of a gap on the axis, as a share of what is shown."""
_LONG = 0.4
"""A gap of less than this share of the interval stays."""
_MOST = 3
"""Gaps that are cut."""
_FEWEST = 6
"""Events without which nothing is cut: there is room for the few."""


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
    gaps: Sequence[tuple[float, float]] = ()
    """Where nothing happens for long: beginning and end in seconds. They are shrunk to `SHRUNK` of the rest."""
    legend: dict[str, Any] = field(default_factory=dict)
    """The name of each element drawn, and its handle, or several drawn upon each other."""
    notes: list[str] = field(default_factory=list)
    """Texts about the records left out."""

    def x(self, seconds: float) -> float:
        return seconds * self.scale

    def middle(self, begin: float, end: float) -> float:
        """Return the middle of an interval, in units."""
        return self.x((begin + end) / 2)

    @property
    def shown(self) -> float:
        """The seconds shown, without the gaps."""
        return self.end - self.start - sum(end - begin for begin, end in self.gaps)


def choose_view(
    transcript: Records, records: Sequence[Record], start: float, end: float | None, marked: Sequence[float] = ()
) -> View:
    """Choose the lanes, the interval and the unit of time.

    Args:
        marked: Other instants that are to be seen, in seconds.
    """
    drawn = [record for record in records if not is_routine(record)]
    gaps: Sequence[tuple[float, float]] = ()
    if end is None:
        start, end, gaps = _fit(transcript, drawn, start, marked)
    if end <= start:
        end = start + 1.0
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
    return View(lanes, start, end, unit, scale, gaps, notes=notes)


def _fit(
    transcript: Records, drawn: Sequence[Record], start: float, marked: Sequence[float]
) -> tuple[float, float, list[tuple[float, float]]]:
    """Return the interval from the first event to the last, and the long gaps in it."""
    # A message's way is an event as long as it lasts.
    spans = [(record.time_s - (record.latency_s or 0.0), record.time_s) for record in drawn]
    spans += [
        (time, time) for begin, stop, _ in fault_spans(transcript, start, math.inf) for time in (begin, stop or begin)
    ]
    spans += [(time, time) for time in marked]
    spans = sorted((max(begin, start), stop) for begin, stop in spans if start <= stop < math.inf)
    if not spans:
        return start, start, []
    first, last, idle = spans[0][0], spans[0][1], list[tuple[float, float]]()
    for begin, stop in spans:
        if begin > last:
            idle.append((last, begin))
        last = max(last, stop)
    gaps: list[tuple[float, float]] = []
    left = last - first
    # The longest first: what is left without it is what the next one is measured by.
    for begin, stop in sorted(idle, key=lambda gap: (gap[0] - gap[1], gap[0])):
        if stop - begin <= _LONG * left or len(gaps) == _MOST or len(drawn) < _FEWEST:
            break
        room = min(0.04 * (left - (stop - begin)), 0.2 * (stop - begin))  # so that no event is at the edge of the cut
        gaps.append((begin + room, stop - room))
        left -= stop - begin - 2 * room
    return first, last, sorted(gaps)
