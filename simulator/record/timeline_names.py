"""What stands above a timeline: the names of its faults, of late steps and of the failure, each at its instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from simulator.record.timeline_view import View
from simulator.record.wording import clip, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Name", "draw_names"]

_ROWS = 5


class Name(NamedTuple):
    """A text above an instant."""

    x: float
    """In the unit of the axis."""
    text: str
    colour: str = "#000000"
    length: int = 44
    """The most characters."""


def draw_names(ax: Axes, view: View, names: Sequence[Name]) -> int:
    """Write names above the axes, in as many rows as keep them apart, the first ones first; return how many rows."""
    # The layout is not made yet: a tenth goes to names and legend.
    points = ax.get_window_extent().width / ax.figure.dpi * 72 * 0.9
    rows: list[list[tuple[float, float]]] = [[] for _ in range(_ROWS)]
    left_out = 0
    for name in names:
        text = clip(name.text, name.length)
        width = min(len(text) * 4.6 + 8, points)  # points, of 8-point type
        at = ax.transAxes.inverted().transform(ax.transData.transform((name.x, 0)))[0]
        is_clamped = at * points > points - width
        begin = points - width if is_clamped else at * points
        free = (
            number
            for number, row in enumerate(rows)
            if all(begin + width <= first or begin >= last for first, last in row)
        )
        row = next(free, None)
        if row is None:
            left_out += 1
            continue
        rows[row].append((begin, begin + width))
        ax.annotate(
            text,
            (1 if is_clamped else begin / points, 1),
            ha="right" if is_clamped else "left",
            xycoords="axes fraction",
            xytext=(0, 3 + 12 * row),
            textcoords="offset points",
            fontsize=8,
            color=name.colour,
            parse_math=False,
            annotation_clip=False,
        )
    if left_out:
        view.notes.append(f"{counted(left_out, 'fault')} without a name, for want of room")
    return max((number for number, row in enumerate(rows, 1) if row), default=0)
