"""The timeline of a transcript: a lane for each participant, and every message a line from lane to lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from simulator.record.drawn_faults import draw_faults
from simulator.record.records import Record, Records
from simulator.record.timeline_labels import Line, label_lines
from simulator.record.timeline_marks import Mark, draw_failures, draw_late_steps
from simulator.record.timeline_names import draw_names
from simulator.record.timeline_scale import draw_gaps, set_scale
from simulator.record.timeline_styles import choose_styles
from simulator.record.timeline_view import View, choose_view
from simulator.record.wording import (
    LEVELS,
    Fate,
    fate_of,
    is_routine,
    label_of,
    people_in,
    records_between,
    stream_event_of,
    summary_of,
    travels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["missing", "plot"]

_BANDS = ((1, 0.10, "#d4d4d4", "connected"), (2, 0.24, "#d4d4d4", "enabled"))
"""Of each presence: its level, height in lanes, colour, name."""


def missing(what: str, library: str, error: ImportError) -> ImportError:
    """Return the error to raise where an optional library could not be imported."""
    if error.name is not None and error.name.split(".")[0] != library:
        return error  # it is installed and broken, which installing it would not mend
    return ImportError(f"{what} needs {library}: pip install 'meshsync-client[notebook]'", name=library)


def plot(
    transcript: Records,
    ax: Axes | None,
    *,
    start: float,
    end: float | None,
    max_messages: int,
    title: str | None,
    marks: Sequence[Mark] = (),
) -> Axes:
    """Draw `Transcript.plot`, with marks of a run besides."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise missing("plot()", "matplotlib", error) from None
    records = records_between(transcript, start, end)
    view = choose_view(transcript, records, start, end, [mark.time_s for mark in marks])
    made = None
    if ax is None:
        made, ax = pyplot.subplots(figsize=(11, _height(len(view.lanes))), layout="constrained")
    changes = [record for record in transcript if record.kind in LEVELS and fate_of(record) is Fate.ARRIVED]
    _draw_lanes(ax, view, changes)
    draw_gaps(ax, view)
    # Names in the order of who has the first choice of a place: a reader looks for the failure.
    names = [*draw_failures(ax, view, marks), *draw_late_steps(ax, view, marks)]
    names += draw_faults(ax, view, list(transcript))
    rows = draw_names(ax, view, names)
    if made is not None:
        made.set_figheight(made.get_figheight() + rows / 6)  # a row is 12 points
    lines = _draw_messages(ax, view, transcript, records, max_messages)
    _draw_marks(ax, view, records)
    ax.set_title(summary_of(transcript, records) if title is None else title, pad=8 + 12 * rows, parse_math=False)
    _draw_legend(ax, view, "time" if transcript.seed is None else "virtual time")
    label_lines(ax, lines)
    return ax


def _height(lanes: int) -> float:
    """Return the height of a figure in inches: each lane has less room the more there are."""
    return 1.4 + (0.8 * max(lanes, 1) if lanes <= 5 else 2 + 0.4 * lanes if lanes <= 12 else 3.2 + 0.3 * lanes)


def _draw_lanes(ax: Axes, view: View, changes: Sequence[Record]) -> None:
    """Draw the axes, and for each participant a band whose height is its presence."""
    from matplotlib.lines import Line2D

    margin = view.shown * 0.012
    set_scale(ax, view)
    ax.set_xlim(view.x(view.start - margin), view.x(view.end + margin))
    ax.set_ylim(max(len(view.lanes), 1) - 0.45, -0.55)
    ax.set_yticks(list(view.lanes.values()), [label_of(name, 20) for name in view.lanes])
    for label in ax.get_yticklabels():
        label.set_parse_math(False)  # a name may have dollar signs
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "left", "right"]].set_visible(False)
    ax.hlines(list(view.lanes.values()), 0, 1, transform=ax.get_yaxis_transform(), color="#b0b0b0", lw=0.6, zorder=1)
    for name, place in view.lanes.items():
        for level, height, colour, word in _BANDS:
            spans = [
                (view.x(begin), view.x(stop) - view.x(begin))
                for begin, stop, reached in _presence(changes, name, view)
                if reached == level
            ]
            if spans:
                ax.broken_barh(spans, (place - height / 2, height), facecolor=colour, zorder=1.1, lw=0)
                view.legend.setdefault(word, Line2D([], [], color=colour, lw=30 * height, solid_capstyle="butt"))


def _presence(records: Sequence[Record], name: str, view: View) -> list[tuple[float, float, int]]:
    """Return a participant's intervals of presence: beginning and end in seconds, and the level."""
    changes = [(record.time_s, record.kind) for record in records if people_in(record) == (name,)]
    if not changes:
        return []
    # A transcript that begins in the middle: a participant that leaves has been there.
    level = {"disabled": 2, "disconnected": 1}.get(changes[0][1], 0)
    spans, since = [], view.start
    for time, kind in changes:
        spans.append((since, min(max(time, view.start), view.end), level))
        since, level = spans[-1][1], LEVELS[kind]
    spans.append((since, view.end, level))
    return [span for span in spans if span[0] < span[1]]


def _draw_messages(
    ax: Axes, view: View, transcript: Records, records: Sequence[Record], max_messages: int
) -> list[Line]:
    """Draw a slanted line for each message, with a head where it arrived; return the lines."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    sent = [record for record in records if travels(record)]
    sent = [record for record in sent if all(name in view.lanes for name in people_in(record))]
    failed = [record for record in sent if fate_of(record) is not Fate.ARRIVED]
    # Among a thousand chunks a reader looks for the beginning and end of their stream.
    turns = [record for record in sent if fate_of(record) is Fate.ARRIVED and _is_turn(record)]
    arrived = [record for record in sent if fate_of(record) is Fate.ARRIVED and not _is_turn(record)]
    shown_arrived, shown_turns, shown_failed = (_thin(group, max_messages) for group in (arrived, turns, failed))
    shown = [*shown_arrived, *shown_turns]
    for kept, all_of_them, word in (
        (shown_arrived, arrived, "arrivals"),
        (shown_turns, turns, "stream answers and ends"),
        (shown_failed, failed, "losses and refusals"),
    ):
        if len(kept) < len(all_of_them):
            view.notes.append(f"{len(kept):,} of {len(all_of_them):,} {word}, evenly chosen")
    styles = choose_styles(list(transcript))
    crowd = len(shown) + len(shown_failed)
    width, alpha, head = (1.3, 1.0, 5.5) if crowd <= 80 else (0.8, 0.75, 4) if crowd <= 250 else (0.6, 0.6, 3)
    groups: dict[str, list[Line]] = {}
    for record in sorted((*shown, *shown_failed), key=lambda record: record.time_ns):
        line = Line(record, *_segment(record, view), styles.colour(record))
        groups.setdefault(styles.name(record), []).append(line)
    for name in filter(groups.get, styles.order):
        group = groups[name]
        # A failed message is never thin: a reader looks for it in a crowd.
        bold = [fate_of(line.record) is not Fate.ARRIVED for line in group]
        dashes = styles.dashes(group[0].record)
        ax.add_collection(
            LineCollection(
                [[line.begin, line.end] for line in group],
                colors=[line.colour for line in group],
                linewidths=[1.3 if failed else width for failed in bold],
                alpha=[1.0 if failed else alpha for failed in bold],
                linestyles=[dashes],
                zorder=3,
            ),
            autolim=False,
        )
        colours = {line.colour for line in group}
        colour = group[0].colour if len(colours) == 1 else "#777777"
        view.legend[name] = Line2D([], [], color=colour, ls=dashes, lw=1.6)
        for colour, marker in dict.fromkeys((line.colour, _head(line)) for line in group):
            tips = [
                line.end
                for line in group
                if (line.colour, _head(line)) == (colour, marker)
                and fate_of(line.record) is Fate.ARRIVED
                and not _is_turn(line.record)
            ]
            ax.plot(*_columns(tips), ls="", marker=marker, ms=head, color=colour, alpha=alpha, zorder=3.5, mew=0)
    _draw_ends(ax, view, shown_failed)
    _draw_turns(ax, view, shown_turns)
    return [line for group in groups.values() for line in group]


def _thin(records: Sequence[Record], limit: int) -> Sequence[Record]:
    """Return at most so many, evenly chosen."""
    if len(records) <= limit:
        return records
    return [records[number * len(records) // limit] for number in range(limit)]


def _segment(record: Record, view: View) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return a message's line: from its sender when it was sent to where it ended."""
    source, target = view.lanes[record.sender], view.lanes[record.recipient]
    ended = float(target)
    if fate_of(record) is Fate.LOST:
        # Half way to the next lane, whatever its recipient: a cross on a third one's lane would seem to be theirs.
        ended = source + (0.5 if target > source else -0.5)
    return (view.x(record.time_s - (record.latency_s or 0.0)), source), (view.x(record.time_s), ended)


def _head(line: Line) -> int | str:
    """Return the marker of an arrival: a tip that points up or down; a dot if the sender is the recipient."""
    source, target = line.begin[1], line.end[1]
    return 7 if target > source else 6 if target < source else "o"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _draw_ends(ax: Axes, view: View, failed: Sequence[Record]) -> None:
    """Mark where messages got lost or were refused."""
    for fate, draw in ((Fate.LOST, _draw_crosses), (Fate.REFUSED, _draw_stops)):
        if points := [_segment(record, view)[-1] for record in failed if fate_of(record) is fate]:
            draw(ax, view, points)


def _draw_crosses(ax: Axes, view: View, points: Sequence[tuple[float, float]]) -> None:
    style: dict[str, Any] = {"ls": "", "marker": "X", "ms": 8, "mfc": "#D55E00", "mec": "black", "mew": 0.7}
    view.legend.setdefault("lost", ax.plot(*_columns(points), zorder=5, **style)[0])


def _draw_stops(ax: Axes, view: View, points: Sequence[tuple[float, float]]) -> None:
    disc = ax.plot(*_columns(points), ls="", marker="o", ms=8.5, mfc="black", mec="white", mew=0.8, zorder=5)[0]
    bar = ax.plot(*_columns(points), ls="", marker="_", ms=5, mec="white", mew=1.8, zorder=5.1)[0]
    view.legend.setdefault("refused", (disc, bar))


_TURNS: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "accept": ("accepted", ({"marker": "o", "ms": 7.5, "mfc": "white", "mec": "black", "mew": 1.2},)),
    "close": ("closed", ({"marker": "s", "ms": 7, "mfc": "white", "mec": "black", "mew": 1.2},)),
    "cancel": (
        "cancelled",
        (
            {"marker": "s", "ms": 8, "mfc": "black", "mec": "white", "mew": 0.8},
            {"marker": "x", "ms": 4, "mec": "white", "mew": 1.5},
        ),
    ),
}
"""Events by which a stream's state changes, where they arrive: the name, and marks that are drawn upon each other. A
rejection has the mark of all refusals."""


def _is_turn(record: Record) -> bool:
    return record.kind == "stream" and stream_event_of(record) in _TURNS


def _draw_turns(ax: Axes, view: View, turns: Sequence[Record]) -> None:
    """Mark where streams are accepted and where they end."""
    for event, (name, marks) in _TURNS.items():
        if points := [_segment(record, view)[-1] for record in turns if stream_event_of(record) == event]:
            drawn = [ax.plot(*_columns(points), ls="", zorder=5 + 0.1 * n, **mark)[0] for n, mark in enumerate(marks)]
            view.legend.setdefault(f"stream {name}", tuple(drawn))


def _draw_marks(ax: Axes, view: View, records: Sequence[Record]) -> None:
    """Mark events of one lane: connections and requests that were refused, changed attributes."""
    alone = [record for record in records if record.kind != "fault" and not travels(record)]
    alone = [record for record in alone if not is_routine(record) and people_in(record)[0] in view.lanes]

    def places(chosen: Iterable[Record]) -> list[tuple[float, float]]:
        return [(view.x(record.time_s), view.lanes[people_in(record)[0]]) for record in chosen]

    if points := places(record for record in alone if fate_of(record) is Fate.REFUSED):
        _draw_stops(ax, view, points)
    if points := places(record for record in alone if record.kind == "attributes"):
        style: dict[str, Any] = {"ls": "", "marker": "D", "ms": 5, "mfc": "white", "mec": "black"}
        view.legend["attributes"] = ax.plot(*_columns(points), zorder=4, **style)[0]


def _draw_legend(ax: Axes, view: View, time: str) -> None:
    notes = f"\ndrawn: {'; '.join(view.notes)}" if view.notes else ""
    ax.set_xlabel(f"{time} ({view.unit}){notes}")
    if view.legend:
        legend = ax.legend(
            list(view.legend.values()),
            list(view.legend),
            loc="upper left",
            bbox_to_anchor=(1.005, 1),
            frameon=False,
            fontsize=9,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
