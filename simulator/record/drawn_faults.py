"""The faults of a timeline: bars where one struck, hatching while one held, and their names above the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.record.records import Record
from simulator.record.timeline_view import View
from simulator.record.wording import clip, counted, fault_label, fault_spans, places_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_faults"]


def draw_faults(ax: Axes, view: View, records: Sequence[Record]) -> int:
    """Draw the faults and, above the axes, their names; return the number of rows of names."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels: list[tuple[float, str]] = []
    hatched: dict[str, Any] = {"facecolor": "#f0e44255", "edgecolor": "#8a6d00", "hatch": "////", "lw": 0}
    bar: dict[str, Any] = {"color": "#000000", "lw": 2.5}
    guide: dict[str, Any] = {"color": "#555555", "lw": 0.8, "ls": (0, (1, 2)), "zorder": 0.7}
    for begin, stop, record in fault_spans(records, view.start, view.end):
        places = places_of(record, view.lanes)
        labels.append((view.x(begin), fault_label(record.type, record, 2)))
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
    return _draw_fault_labels(ax, view, labels)


def _draw_fault_labels(ax: Axes, view: View, labels: Sequence[tuple[float, str]], max_rows: int = 4) -> int:
    """Write the names of faults above the axes, in as many rows as keep them apart."""
    left, right = ax.get_xlim()
    # The layout is not made yet: a tenth goes to names and legend.
    points = ax.get_window_extent().width / ax.figure.dpi * 72 * 0.9
    free = [0.0] * max_rows
    used = left_out = 0
    for x, label in labels:
        text = clip(label, 44)
        width = len(text) * 4.6 + 8  # points, of 8-point type
        offset = min((x - left) / (right - left) * points, points - width)
        row = next((row for row in range(max_rows) if free[row] <= offset), None)
        if row is None:
            left_out += 1
            continue
        free[row] = offset + width
        used = max(used, row + 1)
        ax.annotate(
            text,
            (offset / points, 1),
            xycoords="axes fraction",
            xytext=(0, 3 + 12 * row),
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
            annotation_clip=False,
        )
    if left_out:
        view.notes.append(f"{counted(left_out, 'fault')} without a name, for want of room")
    return used
