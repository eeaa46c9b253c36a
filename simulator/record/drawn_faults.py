"""The faults of a timeline: bars where one struck, hatching while one held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.record.records import Record
from simulator.record.timeline_names import Name
from simulator.record.timeline_view import View
from simulator.record.wording import fault_label, fault_spans, places_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_faults"]


def draw_faults(ax: Axes, view: View, records: Sequence[Record]) -> list[Name]:
    """Draw the faults; return their names, which stand above the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names: list[Name] = []
    hatched: dict[str, Any] = {"facecolor": "#f0e44255", "edgecolor": "#8a6d00", "hatch": "////", "lw": 0}
    bar: dict[str, Any] = {"color": "#000000", "lw": 2.5}
    guide: dict[str, Any] = {"color": "#555555", "lw": 0.8, "ls": (0, (1, 2)), "zorder": 0.7}
    for begin, stop, record in fault_spans(records, view.start, view.end):
        places = places_of(record, view.lanes)
        names.append(Name(view.x(begin), fault_label(record.type, record, 2)))
        ax.axvline(view.x(begin), **guide)
        if stop is None:
            for place in places:
                ax.vlines(view.x(begin), place - 0.38, place + 0.38, zorder=2.5, **bar)
            if places:
                handle = Line2D([], [], ls="", marker="|", ms=10, mew=2.5, color="#000000")
                view.legend.setdefault("fault strikes", handle)
            continue
        ax.axvline(view.x(stop), **guide)
        for place in places:
            width = view.x(stop) - view.x(begin)
            ax.broken_barh([(view.x(begin), width)], (place - 0.4, 0.8), zorder=1.5, **hatched)
        if places:
            view.legend.setdefault("fault holds", Patch(**hatched))
    return names
