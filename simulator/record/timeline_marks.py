"""What a timeline shows of a run besides its records: which steps were late, and where it failed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.record.timeline_names import Name
from simulator.record.timeline_view import View
from simulator.record.wording import instant_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Mark", "draw_failures", "draw_late_steps"]

_FAILURE = "#B00000"
_LATE = "#7A3E9D"


@dataclass(frozen=True, slots=True)
class Mark:
    """An instant of a run that is marked: its failure, or a step that was late."""

    time_s: float
    text: str
    """A sentence, which stands above."""
    who: str = ""
    """The path of the actor, or the name of the participant or link; empty for none."""
    until_s: float | None = None
    """When the late step came; None for a failure."""


def draw_failures(ax: Axes, view: View, marks: Sequence[Mark]) -> list[Name]:
    """Draw a line across all lanes where the run failed; return the names."""
    names = []
    for mark in marks:
        if mark.until_s is not None:
            continue
        # Where nothing had happened for long before, the line is at the edge, and the text has the instant.
        is_shown = view.start <= mark.time_s <= view.end
        x = view.x(min(max(mark.time_s, view.start), view.end))
        handle = ax.axvline(x, color=_FAILURE, lw=2.2, zorder=2.6)
        text = mark.text if is_shown else f"at {instant_of(mark.time_s)}: {mark.text}"
        names.append(Name(x, text, _FAILURE, 110))
        lane = _lane(mark.who, view.lanes)
        if lane is not None:
            style: dict[str, Any] = {"ls": "", "marker": "*", "ms": 15, "mfc": _FAILURE, "mec": "white", "mew": 0.8}
            handle = ax.plot([x], [lane], zorder=5.5, **style)[0]
        view.legend.setdefault("the run fails", handle)
    return names


def draw_late_steps(ax: Axes, view: View, marks: Sequence[Mark]) -> list[Name]:
    """Draw a bar on the lane of each that was late, from when its step was due until it came; return the names."""
    from matplotlib.patches import Patch

    names = []
    for mark in marks:
        if mark.until_s is None or mark.time_s > view.end or mark.until_s < view.start:
            continue
        begin, end = view.x(max(mark.time_s, view.start)), view.x(min(mark.until_s, view.end))
        lane = _lane(mark.who, view.lanes)
        names.append(Name(begin, mark.text, _LATE, 60))
        look: dict[str, Any] = {"facecolor": "#7A3E9D33", "edgecolor": _LATE, "lw": 1.2}
        if lane is None:
            ax.axvspan(begin, end, zorder=0.8, **look)
        else:
            ax.vlines(begin, lane - 0.34, -0.55, color=_LATE, lw=0.8, ls=(0, (1, 2)), zorder=0.7)
            ax.broken_barh([(begin, end - begin)], (lane - 0.34, 0.68), zorder=1.6, **look)
        view.legend.setdefault("step is late", Patch(**look))
    return names


def _lane(who: str, lanes: Mapping[str, int]) -> int | None:
    """Return the lane of an actor: that of a participant with the name of its task, or of a part of its path."""
    parts = [who, *reversed(re.split(r"[/ ~]+", who))]
    return next((lanes[part] for part in parts if part and part in lanes), None)
