"""The labels of a timeline's messages: what each is, on its line, wherever there is room for it."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.record.records import Record
from simulator.record.wording import Fate, body_of, clip, fate_of, stream_event_of, what_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Line", "label_lines"]

_SHARES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78)
"""Where on a line its label may be, from its sender (0) to its recipient (1); the first is best."""
_MOST = 24
"""Lines of which each may have a label; of more, those of failed messages, and one of each name."""
_MOST_CROSSED = 1
"""Other lines that a label may lie upon, unless it is of a failed message, or the only one of its name."""
_LANE = 0.5
"""How much worse a label is for lying upon a lane, in lines crossed."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a message, from its sender to where it ended, as (time, lane)."""

    record: Record
    begin: tuple[float, float]
    end: tuple[float, float]
    colour: str


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def is_crossed_by(self, begin: tuple[float, float], end: tuple[float, float]) -> bool:
        """Return whether a straight line has a part within it (Liang and Barsky, 1984)."""
        enter, leave = 0.0, 1.0
        for start, stop, low, high in (
            (begin[0], end[0], self.left, self.right),
            (begin[1], end[1], self.bottom, self.top),
        ):
            if start == stop:
                if not low <= start <= high:
                    return False
                continue
            first, last = sorted(((low - start) / (stop - start), (high - start) / (stop - start)))
            enter, leave = max(enter, first), min(leave, last)
        return enter < leave


def label_lines(ax: Axes, lines: Sequence[Line]) -> None:
    """Write on each line what it is, unless that would lie upon another label, a mark or several lines."""
    chosen = _chosen(lines)
    if not chosen:
        return
    ax.figure.canvas.figure.draw_without_rendering()  # makes the layout, on which the room depends
    to_pixels = ax.transData.transform
    ends = [(tuple(to_pixels(line.begin)), tuple(to_pixels(line.end))) for line in lines]
    size = ax.figure.dpi / 72
    boxes = [_around(tuple(to_pixels(mark)), 5 * size, 5 * size) for mark in _marks(ax)]
    boxes += [_around(end, 3 * size, 3 * size) for _, end in ends]
    lanes = [float(to_pixels((0, lane))[1]) for lane in ax.get_yticks()]
    whole = ax.get_window_extent()
    written: set[str] = set()
    # In the end one of each name that found no room, upon as many lines as there are.
    for number, is_last in [*((number, False) for number in chosen), *((number, True) for number in chosen)]:
        if is_last and _name(lines[number].record) in written:
            continue
        others = [end for place, end in enumerate(ends) if place != number and end != ends[number]]
        is_needed = is_last or fate_of(lines[number].record) is not Fate.ARRIVED
        most = len(others) if is_needed else _MOST_CROSSED
        for text in _texts(lines[number].record, written):
            label = _write(ax, text, lines[number].colour)
            extent = label.get_window_extent()
            box = _place(
                ends[number], extent.width + 3 * size, extent.height + 2 * size, boxes, others, lanes, whole, most
            )
            if box is not None:
                middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
                label.set_position(ax.transData.inverted().transform(middle))
                boxes.append(box)
                written.add(_name(lines[number].record))
                break
            label.remove()


def _marks(ax: Axes) -> list[Any]:
    """Return where marks are that no label may hide, as [time, lane]."""
    drawn: Any = ax.lines
    return [point for line in drawn if line.get_zorder() >= 4 for point in line.get_xydata()]


def _chosen(lines: Sequence[Line]) -> list[int]:
    """Return the numbers of the lines that may have a label, in the order in which they have the choice of a place."""
    named = [number for number, line in enumerate(lines) if _name(line.record)]
    # What failed comes first: it is what a reader looks for.
    failed = [number for number in named if fate_of(lines[number].record) is not Fate.ARRIVED]
    arrived = [number for number in named if fate_of(lines[number].record) is Fate.ARRIVED]
    if len(named) > _MOST:  # one of each
        arrived = list({_name(lines[number].record): number for number in reversed(arrived)}.values())[::-1]
    return [*failed[:_MOST], *arrived[:_MOST]]


def _name(record: Record) -> str:
    """Return what a message is, in a word; empty for what has no label: there are many of them, all alike."""
    event = stream_event_of(record)
    return "" if event in ("chunk", "credit") else clip(event or what_of(record), 20)


def _texts(record: Record, written: Container[str]) -> Iterator[str]:
    """Yield labels of a message, the best first.

    Args:
        written: The names that are in the picture already, and need not be there again without what was said.
    """
    name = _name(record)
    said = record.outcome.partition(": ")[2] if fate_of(record) is Fate.REFUSED else body_of(record, 18)
    if said:
        yield f"{name}\n{clip(said, 18)}"
    if not said or name not in written:
        yield name


def _write(ax: Axes, text: str, colour: str) -> Any:
    backing = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.85, "lw": 0}
    return ax.text(
        *(0, 0),
        text,
        fontsize=7.5,
        linespacing=1.0,
        color=_darker(colour),
        ha="center",
        va="center",
        bbox=backing,
        zorder=4.5,
        parse_math=False,
        clip_on=True,
    )


def _darker(colour: str) -> str:
    """Return a colour in which small letters can be read on white."""
    return "#" + "".join(f"{int(int(colour[place : place + 2], 16) * 0.62):02x}" for place in (1, 3, 5))


def _place(
    line: tuple[tuple[float, float], tuple[float, float]],
    width: float,
    height: float,
    boxes: Sequence[_Box],
    others: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    lanes: Sequence[float],
    whole: Any,
    most: int,
) -> _Box | None:
    """Return where on a line there is most room for a label; None if there is not enough."""
    (begin_x, begin_y), (end_x, end_y) = line
    if math.hypot(end_x - begin_x, end_y - begin_y) < height:
        places = [(begin_x, begin_y + height)]  # of a message to oneself: above it
    else:
        places = [(begin_x + share * (end_x - begin_x), begin_y + share * (end_y - begin_y)) for share in _SHARES]
    best, least = None, most + 2 * _LANE
    for x, y in places:
        # At an edge the label is beside the middle of its line, and still upon the line.
        box = _around((min(max(x, whole.x0 + width / 2), whole.x1 - width / 2), y), width / 2, height / 2)
        if any(box.overlaps(other) for other in boxes):
            continue
        crossed = float(sum(box.is_crossed_by(begin, end) for begin, end in others))
        crossed += _LANE * any(box.bottom < lane < box.top for lane in lanes)
        if crossed < least:
            best, least = box, crossed
    return best


def _around(place: tuple[float, float], half_width: float, half_height: float) -> _Box:
    x, y = place
    return _Box(x - half_width, y - half_height, x + half_width, y + half_height)
