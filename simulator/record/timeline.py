"""The timeline of a transcript: a lane for each participant, and every message a line from lane to lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.record.drawn_faults import draw_faults
from simulator.record.records import Record, Records
from simulator.record.timeline_view import View, choose_view
from simulator.record.wording import (
    LEVELS,
    Fate,
    clip,
    fate_of,
    is_routine,
    label_of,
    people_in,
    records_between,
    stream_event_of,
    summary_of,
    travels,
    what_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["missing", "plot"]

_STYLES = (
    ("#0072B2", "-"),
    ("#E69F00", (0, (5, 1.5))),
    ("#009E73", (0, (6, 1.5, 1.2, 1.5))),
    ("#56B4E9", (0, (1.5, 1))),
    ("#CC79A7", (0, (9, 2))),
)
"""Colour and dashes for message types, the most frequent first. Source: Okabe and Ito (2008), told apart by people of
every colour vision; the dashes tell them apart in grey."""
_OTHER_STYLE = ("#777777", "-")
_STREAM_STYLES = {"stream": ("#000000", (0, (1, 1.5))), "stream credit": ("#888888", (0, (1, 2.5)))}
"""Of the events of streams; their chunks are styled as messages of a type."""
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
) -> Axes:
    """Draw `Transcript.plot`."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise missing("plot()", "matplotlib", error) from None
    records = records_between(transcript, start, end)
    view = choose_view(transcript, records, start, end)
    if ax is None:
        height = 1.9 + len(view.lanes) * (0.62 if len(view.lanes) <= 6 else 0.3)
        _, ax = pyplot.subplots(figsize=(11, max(3.2, height)), layout="constrained")
    changes = [record for record in transcript if record.kind in LEVELS and fate_of(record) is Fate.ARRIVED]
    _draw_lanes(ax, view, changes)
    rows = draw_faults(ax, view, list(transcript))
    _draw_messages(ax, view, transcript, records, max_messages)
    _draw_marks(ax, view, records)
    ax.set_title(summary_of(transcript, records) if title is None else title, pad=8 + 12 * rows, parse_math=False)
    _draw_legend(ax, view)
    return ax


def _draw_lanes(ax: Axes, view: View, changes: Sequence[Record]) -> None:
    """Draw the axes, and for each participant a band whose height is its presence."""
    from matplotlib.lines import Line2D

    margin = (view.end - view.start) * 0.012
    ax.set_xlim(view.x(view.start - margin), view.x(view.end + margin))
    ax.set_ylim(max(len(view.lanes), 1) - 0.45, -0.55)
    ax.set_yticks(list(view.lanes.values()), [label_of(name, 20) for name in view.lanes])
    for label in ax.get_yticklabels():
        label.set_parse_math(False)  # a name may have dollar signs
    ax.tick_params(axis="y", length=0)
    ax.ticklabel_format(axis="x", useOffset=False)
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


def _draw_messages(ax: Axes, view: View, transcript: Records, records: Sequence[Record], max_messages: int) -> None:
    """Draw a slanted line for each message, with a head where it arrived."""
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
    styles = _styles(transcript)
    crowd = len(shown) + len(shown_failed)
    width, alpha, head = (1.3, 1.0, 5.5) if crowd <= 80 else (0.8, 0.75, 4) if crowd <= 250 else (0.6, 0.6, 3)
    for label, (colour, dashes) in styles.items():
        group = [record for record in (*shown, *shown_failed) if _style_name(record, styles) == label]
        if not group:
            continue  # a type that occurs outside this interval only
        lines = [_segment(record, view) for record in group]
        # A failed message is never thin: a reader looks for it in a crowd.
        bold = [fate_of(record) is not Fate.ARRIVED for record in group]
        ax.add_collection(
            LineCollection(
                lines,
                colors=colour,
                linewidths=[1.3 if failed else width for failed in bold],
                alpha=[1.0 if failed else alpha for failed in bold],
                linestyles=[dashes],
                zorder=3,
            ),
            autolim=False,
        )
        view.legend[clip(label, 24)] = Line2D([], [], color=colour, ls=dashes, lw=1.6)
        for marker in (6, 7, "o"):
            tips = [
                line[-1]
                for record, line in zip(group, lines, strict=True)
                if fate_of(record) is Fate.ARRIVED and _head(line) == marker and not _is_turn(record)
            ]
            ax.plot(*_columns(tips), ls="", marker=marker, ms=head, color=colour, alpha=alpha, zorder=3.5, mew=0)
    _draw_ends(ax, view, shown_failed)
    _draw_turns(ax, view, shown_turns)


def _thin(records: Sequence[Record], limit: int) -> Sequence[Record]:
    """Return at most so many, evenly chosen."""
    if len(records) <= limit:
        return records
    return [records[number * len(records) // limit] for number in range(limit)]


def _styles(records: Iterable[Record]) -> dict[str, tuple[str, Any]]:
    """Return colour and dashes for each type of message in a whole transcript; the rarest share one."""
    kinds = Counter(map(_kind_of, records))
    types = [label for label, _ in kinds.most_common() if label and label not in _STREAM_STYLES]
    own = types if len(types) <= len(_STYLES) else types[: len(_STYLES) - 1]
    styles: dict[str, tuple[str, Any]] = dict(zip(own, _STYLES, strict=False))
    if len(types) > len(own):
        styles[f"{len(types) - len(own)} other types"] = _OTHER_STYLE
    return styles | {label: style for label, style in _STREAM_STYLES.items() if label in kinds}


def _kind_of(record: Record) -> str:
    """Return the label of a line in the chart: the type of a message; empty for a record without a line."""
    if record.kind == "stream":
        return "stream credit" if stream_event_of(record) == "credit" else "stream"
    if record.kind == "message":
        return "stream chunk" if record.stream_id else what_of(record)
    return ""


def _style_name(record: Record, styles: Mapping[str, object]) -> str:
    kind = _kind_of(record)
    return kind if kind in styles else next(name for name in styles if name.endswith("other types"))


def _segment(record: Record, view: View) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return a message's line: from its sender when it was sent to where it ended."""
    source, target = view.lanes[record.sender], view.lanes[record.recipient]
    ended = float(target)
    if fate_of(record) is Fate.LOST:
        # Half way to the next lane, whatever its recipient: a cross on a third one's lane would seem to be theirs.
        ended = source + (0.5 if target > source else -0.5)
    return (view.x(record.time_s - (record.latency_s or 0.0)), source), (view.x(record.time_s), ended)


def _head(line: tuple[tuple[float, float], tuple[float, float]]) -> int | str:
    """Return the marker of an arrival: a tip that points up or down; a dot if the sender is the recipient."""
    (_, source), (_, target) = line
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


def _draw_legend(ax: Axes, view: View) -> None:
    notes = f"\ndrawn: {'; '.join(view.notes)}" if view.notes else ""
    ax.set_xlabel(f"virtual time ({view.unit}){notes}")
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
