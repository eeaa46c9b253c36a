"""The picture of where a failure came from: its probability over virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from simulator.exploring.moments import Event, Point
from simulator.record.timeline import missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

_LINE = "#0072B2"
_JUMP = "#D55E00"
"""Source: Okabe and Ito (2008), told apart by people of every colour vision."""
_WIDTH = 60
"""Characters of a line of the label."""


def plot(
    title: str, events: Sequence[Event], points: Sequence[Point], jump: tuple[Point, Point] | None, ax: Axes | None
) -> Axes:
    """Draw `Origin.plot`."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise missing("plot()", "matplotlib", error) from None
    if ax is None:
        _, ax = pyplot.subplots(figsize=(10, 4), layout="constrained")
    times = [point.time for point in points]
    shares = [point.probability for point in points]
    lows, highs = zip(*(point.interval for point in points), strict=True)
    # What chance has left to decide changes at an event, and not between two.
    ax.step(times, shares, where="post", color=_LINE, linewidth=1.6, zorder=3)
    below = [share - low for share, low in zip(shares, lows, strict=True)]
    above = [high - share for share, high in zip(shares, highs, strict=True)]
    ax.errorbar(
        times, shares, yerr=(below, above), fmt="o", color=_LINE, markersize=4, capsize=2.5, elinewidth=0.9, zorder=4
    )
    for event in events:
        ax.axvline(event.time, ymax=0.025, color="#888888", linewidth=0.8, zorder=1)
    if jump is not None:
        _mark_jump(jump, (points[0].time + points[-1].time) / 2, ax)
    ax.set_ylim(-0.04, 1.06)
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    ax.set_xlabel("all is as it was up to … s of virtual time; ticks at the bottom are events")
    ax.set_ylabel("probability of the failure")
    ax.set_title(title, parse_math=False, fontsize="medium")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _mark_jump(jump: tuple[Point, Point], middle: float, ax: Axes) -> None:
    before, after = jump
    ax.plot([after.time] * 2, [before.probability, after.probability], color=_JUMP, linewidth=3, zorder=5)
    text = fill(f"{after.event.text}, at {after.time:.3f} s", _WIDTH)
    is_late = after.time > middle
    ax.annotate(
        text,
        (after.time, (before.probability + after.probability) / 2),
        xytext=(-10 if is_late else 10, 0),
        textcoords="offset points",
        ha="right" if is_late else "left",
        va="center",
        color=_JUMP,
        fontsize="small",
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2},
        zorder=6,
    )
