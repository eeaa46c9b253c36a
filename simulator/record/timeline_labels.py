"""The labels of a timeline's messages: what each is, on its line, wherever there is room for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.record.records import Record
from simulator.record.wording import Fate, body_of, clip, fate_of, stream_event_of, what_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Line", "label_lines"]

_SHARES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78)
"""Where on a line its label may be, from its sender (0) to its recipient (1); the first is best."""
_MOST = 80
"""Lines of which each may have a label; of more, only those of failed messages."""
_MOST_CROSSED = 1
"""Other lines that a label may lie upon."""
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
    if len(lines) > _MOST:
        lines = [line for line in lines if fate_of(line.record) is not Fate.ARRIVED]
    if not lines or len(lines) > _MOST:
        return
    ax.figure.canvas.figure.draw_without_rendering()  # makes the layout, on which the room depends
    to_pixels = ax.transData.transform
    ends = [(tuple(to_pixels(line.begin)), tuple(to_pixels(line.end))) for line in lines]
    size = ax.figure.dpi / 72
    boxes = [_around(tuple(to_pixels(mark)), 5 * size, 5 * size) for mark in _marks(ax)]
    boxes += [_around(end, 3 * size, 3 * size) for _, end in ends]
    lanes = [float(to_pixels((0, lane))[1]) for lane in ax.get_yticks()]
    whole = ax.get_window_extent()
    # What failed has the first choice: it is what a reader looks for.
    order = sorted(range(len(lines)), key=lambda number: fate_of(lines[number].record) is Fate.ARRIVED)
    for number in order:
        others = [end for place, end in enumerate(ends) if place != number and end != ends[number]]
        for text in _texts(lines[number].record):
            label = _write(ax, text, lines[number].colour)
            extent = label.get_window_extent()
            box = _place(ends[number], extent.width + 3 * size, extent.height + 2 * size, boxes, others, lanes)
            if box is not None and whole.x0 <= box.left and box.right <= whole.x1:
                middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
                label.set_position(ax.transData.inverted().transform(middle))
                boxes.append(box)
                break
            label.remove()


def _marks(ax: Axes) -> list[Any]:
    """Return where marks are that no label may hide, as [time, lane]."""
    drawn: Any = ax.lines
    return [point for line in drawn if line.get_zorder() >= 4 for point in line.get_xydata()]


def _texts(record: Record) -> Iterator[str]:
    """Yield labels of a message, the best first."""
    event = stream_event_of(record)
    if event in ("chunk", "credit"):
        return  # there are many of them, and they are all alike
    name = clip(event or what_of(record), 20)
    said = record.outcome.partition(": ")[2] if fate_of(record) is Fate.REFUSED else body_of(record, 18)
    if said:
        yield f"{name}\n{clip(said, 18)}"
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
) -> _Box | None:
    """Return where on a line there is most room for a label; None if there is not enough."""
    (begin_x, begin_y), (end_x, end_y) = line
    if math.hypot(end_x - begin_x, end_y - begin_y) < height:
        places = [(begin_x, begin_y + height)]  # of a message to oneself: above it
    else:
        places = [(begin_x + share * (end_x - begin_x), begin_y + share * (end_y - begin_y)) for share in _SHARES]
    best, least = None, _MOST_CROSSED + 2 * _LANE
    for place in places:
        box = _around(place, width / 2, height / 2)
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
