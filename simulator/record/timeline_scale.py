"""The time axis of a timeline: long gaps in which nothing happens are cut, so that what happens has the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simulator.record.timeline_view import SHRUNK, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_gaps", "set_scale"]

_TICKS = 8
_FAR = 1e9
"""Beyond any axis, in its unit."""


def set_scale(ax: Axes, view: View) -> None:
    """Give the time axis its scale and ticks."""
    if not view.gaps:
        ax.ticklabel_format(axis="x", useOffset=False)
        return
    import numpy

    times, places = _corners(view)
    ax.set_xscale(
        "function",
        functions=(
            lambda x: numpy.interp(numpy.asarray(x, dtype=float), times, places),
            lambda x: numpy.interp(numpy.asarray(x, dtype=float), places, times),
        ),
    )
    ticks = _ticks(view)
    digits = max((len(f"{tick:.9g}".partition(".")[2]) for tick in ticks), default=0)
    ax.set_xticks(ticks, [f"{tick:.{digits}f}" for tick in ticks])
    ax.minorticks_off()


def _corners(view: View) -> tuple[list[float], list[float]]:
    """Return where the scale changes: the times, and their places on the axis; both in the axis' unit."""
    times, places = [-_FAR], [-_FAR]
    for begin, end in view.gaps:
        places.append(places[-1] + view.x(begin) - times[-1])
        times.append(view.x(begin))
        places.append(places[-1] + view.x(view.shown * SHRUNK))
        times.append(view.x(end))
    places.append(places[-1] + _FAR - times[-1])
    times.append(_FAR)
    return times, places


def _ticks(view: View) -> list[float]:
    """Return instants at round numbers outside the gaps, at least one in each part between them if there is one."""
    edges = [view.start, *(edge for gap in view.gaps for edge in gap), view.end]
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        wish = view.x(view.shown) / _TICKS
        for finer in (1, 2, 5, 10, 20, 50):
            size = 10 ** math.floor(math.log10(wish / finer))
            step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= wish / finer * 0.999)
            numbers = range(math.ceil(view.x(begin) / step), math.floor(view.x(end) / step) + 1)
            ticks = [round(number * step, 9) for number in numbers]
            if ticks:
                found += ticks if finer == 1 else ticks[len(ticks) // 2 :][:1]
                break
    return found


def draw_gaps(ax: Axes, view: View) -> None:
    """Mark where the axis is cut."""
    look: dict[str, Any] = {"facecolor": "#ffffff", "edgecolor": "#999999", "ls": (0, (4, 3)), "lw": 0.8}
    for begin, end in view.gaps:
        ax.axvspan(view.x(begin), view.x(end), zorder=2.7, **look)
        ax.text(
            *(view.middle(begin, end), 0.5),
            f"{float(f'{view.x(end - begin):.3g}'):g} {view.unit} without an event",
            transform=ax.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=7.5,
            color="#666666",
            zorder=2.8,
        )
