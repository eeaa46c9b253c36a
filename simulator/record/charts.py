"""Pictures of a transcript: a sequence chart, a timeline, lines for a terminal, a table for a notebook.

`Transcript` has them as its methods; importing this module is what connects the two. All of them choose from the
records and say what they left out. None trusts a name, a type or a body: these come from whoever was in the room.
"""

from __future__ import annotations

import enum
import html
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.record.transcript import Record, Transcript, draw_with, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot", "to_html", "to_mermaid", "to_text"]

ROOM = ""
"""The lane of the room itself, for what it sends or is sent."""
MAX_LANES = 40
"""The most lanes that can be told apart in one picture."""

# --- what a record means ----------------------------------------------------------------------------------------------


class Fate(enum.Enum):
    """What became of something sent."""

    ARRIVED = enum.auto()
    LOST = enum.auto()
    REFUSED = enum.auto()


_LEVELS = {"connected": 1, "enabled": 2, "disabled": 1, "disconnected": 0}
"""The kinds of records by which presence changes, and what it is from then on: none, connected, taking part."""
_REFUSALS = ("refus", "reject", "error", "denied")


def _fate(record: Record) -> Fate:
    told = [record.outcome]
    if record.kind == "stream":
        told.append(record.type.removeprefix("stream."))  # of a message, the type is its sender's own word
    if record.kind == "refused" or any(word.lower().startswith(_REFUSALS) for word in told):
        return Fate.REFUSED
    lost = record.outcome.startswith("lost")
    never_came = record.kind == "message" and record.latency_ns is None and record.outcome != "delivered"
    return Fate.LOST if lost or never_came else Fate.ARRIVED


def _travels(record: Record) -> bool:
    """Return whether it went from one to another."""
    return record.kind == "message" or (record.kind == "stream" and bool(record.recipient))


def _is_routine(record: Record) -> bool:
    """Return whether it is an answer of the room that tells of no error: half of all records, and no news."""
    return record.kind == "reply" and _fate(record) is Fate.ARRIVED


def _who(record: Record) -> tuple[str, ...]:
    """Return the lanes that a record is about; none for a fault, whose victims need not be in the room."""
    if record.kind == "fault":
        return ()
    if _travels(record):
        return tuple(dict.fromkeys((record.sender, record.recipient)))
    return (record.sender or record.recipient,)


def _lanes(records: Iterable[Record]) -> dict[str, int]:
    """Return the place of everybody who occurs, in the order of first appearance."""
    return {name: place for place, name in enumerate(dict.fromkeys(name for r in records for name in _who(r)))}


def _victims(record: Record) -> tuple[str, ...]:
    """Return whom a fault hits; nobody if it is about all of them, or about the room."""
    named: list[Any] = []
    for part in (record.detail, record.detail.get("fault")):
        if isinstance(part, Mapping):
            for key in ("name", "names", "cut_off"):
                named += part[key] if isinstance(part.get(key), (list, tuple)) else [part.get(key)]
    names = dict.fromkeys(name for name in named if isinstance(name, str) and name)
    return tuple(names) or tuple(filter(None, record.recipient.split(", ")))


def _places(record: Record, lanes: Mapping[str, int]) -> list[int]:
    """Return the lanes that a fault hits: all of them if it names nobody, none if those it names have none."""
    victims = _victims(record)
    return [lanes[name] for name in victims if name in lanes] if victims else list(lanes.values())


def _what(record: Record) -> str:
    """Return what a record is about, in a word or two."""
    if record.kind == "message":
        return record.type or "message"
    if record.kind == "stream":
        return " ".join(
            filter(None, ("stream", record.stream_id.removeprefix("stream "), record.type.removeprefix("stream.")))
        )
    if record.kind == "refused":
        return "connection refused"
    if record.kind == "fault":
        return " ".join(filter(None, (record.type, record.outcome)))
    return " ".join(filter(None, (record.kind, record.type)))


def _fault_label(what: str, record: Record, limit: int = 6) -> str:
    names = _victims(record)
    return what + (f": {_list(names, limit)}" if names else "")


# --- texts ------------------------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def _clip(text: str, length: int) -> str:
    """Return a text as one printable line of at most so many characters."""
    short = _printable(text[: length + 1])
    return short if len(text) <= length else short[: max(0, length - 3)] + "..."


def _body(detail: Mapping[str, Any], length: int = 40) -> str:
    """Return a message's JSON or somebody's attributes as ``text=hello, n=1``, clipped."""
    parts: list[str] = []
    for key, value in detail.items():
        # Cut before anything is made of it: a body may be megabytes, and there may be hundreds.
        shown = value[: length + 1] if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        parts.append(f"{key}={shown}")
        if sum(map(len, parts)) > length:
            break
    return _clip(", ".join(parts), length)


def _list(names: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(_label(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _label(name: str, length: int = 24) -> str:
    return _clip(name, length) if name != ROOM else "(room)"


def _instant(seconds: float) -> str:
    return f"{seconds:.3f} s"


def _duration(nanoseconds: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.4g} {unit}"
    return f"{nanoseconds} ns"


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _story(record: Record) -> str:
    """Return a record without its time and route, in one line."""
    if record.kind == "fault":
        return _fault_label(f"fault {_what(record)}", record)
    parts = [_what(record)]
    if record.outcome not in ("", "delivered", "ok"):
        parts.append(f"[{_clip(record.outcome, 60)}]")
    elif _fate(record) is not Fate.ARRIVED:
        parts.append(f"[{_fate(record).name.lower()}]")
    if record.latency_ns is not None:
        parts.append(f"({_duration(record.latency_ns)})")
    if record.kind in ("message", "attributes", "stream"):
        parts.append(_body(record.detail))
    return " ".join(filter(None, parts))


def _summary(transcript: Transcript, records: Sequence[Record]) -> str:
    """Return one line that says which room it was and how much of what there was."""
    room = _label(transcript.room) if transcript.room else "a room"
    seed = "" if transcript.seed is None else f" (seed {_clip(str(transcript.seed), 24)})"
    # A refused request has an answer that says so; the two are one refusal.
    fates = Counter(_fate(record) for record in records if record.kind not in ("fault", "reply"))
    errors = sum(record.kind == "reply" and not _is_routine(record) for record in records)
    began = sum(record.kind == "fault" and record.outcome != "ended" for record in records)
    counts = [
        _count(len(_lanes(records).keys() - {ROOM}), "participant"),
        _count(sum(record.kind == "message" for record in records), "message"),
        *(f"{fates[fate]:,} {fate.name.lower()}" for fate in (Fate.LOST, Fate.REFUSED) if fates[fate]),
        *([_count(errors, "error answer")] if errors else []),
        *([_count(began, "fault")] if began else []),
    ]
    return f"{room}{seed}: {', '.join(counts)}"


def _window(transcript: Transcript, start: float, end: float | None) -> list[Record]:
    """Return the records of an interval, ends included; to its end if ``end`` is None."""
    return [record for record in transcript if start <= record.time_s and (end is None or record.time_s <= end)]


# --- Mermaid ----------------------------------------------------------------------------------------------------------

MERMAID_SIZE = 45_000
"""The most characters of a diagram. Source: Mermaid's default ``maxTextSize`` is 50,000; the rest is for the notes."""

_MERMAID_PLAIN = frozenset(" _-.,=()/'!?")


def _escape(text: str) -> str:
    """Return a text that Mermaid shows as it is.

    Whatever is neither letter, digit nor harmless becomes a numbered entity. A list of what is dangerous would be
    longer and less sure: ``;`` ends a statement, ``#`` begins an entity, ``%%{`` a directive, ``<br>`` breaks a line.
    """
    return "".join(c if c.isalnum() or c in _MERMAID_PLAIN else f"#{ord(c)};" for c in _printable(text))


def to_mermaid(transcript: Transcript, *, max_messages: int, start: float, end: float | None) -> str:
    """Draw `Transcript.to_mermaid`."""
    window = _window(transcript, start, end)
    records = [record for record in window if not _is_routine(record)]
    shown = _affordable(records, max_messages)
    lanes = _cast(shown) or {ROOM: 0}
    everybody = _over(0, len(lanes) - 1)
    lines = [
        "sequenceDiagram",
        f"    title {_escape(_summary(transcript, list(transcript)))}",
        *(f"    participant p{place} as {_escape(_label(name))}" for name, place in lanes.items()),
    ]
    earlier = sum(record.time_s < start for record in transcript)
    if earlier:
        lines.append(f"    {everybody}: left out: {_count(earlier, 'record')} before {_instant(start)}")
    for _, step in _steps(shown, lanes):
        lines += step
    if left := records[len(shown) :]:
        arrows = sum(map(_travels, left))
        counts = f"{_count(arrows, 'message')} or stream events, {_count(len(left) - arrows, 'other record')}"
        lines.append(f"    {everybody}: left out: {counts}, from {_instant(left[0].time_s)} on")
    later = sum(end is not None and record.time_s > end for record in transcript)
    if later and end is not None:
        lines.append(f"    {everybody}: left out: {_count(later, 'record')} after {_instant(end)}")
    if not records:
        lines.append(f"    {everybody}: nothing happened")
    if routine := len(window) - len(records):
        lines.append(f"    %% not drawn: {_count(routine, 'answer')} of the room without an error")
    return "\n".join(lines) + "\n"


def _cast(records: Sequence[Record]) -> dict[str, int]:
    """Return the lanes of a diagram: of everybody, or in a crowd of those who sent or were sent something."""
    lanes = _lanes(records)
    if len(lanes) > MAX_LANES:
        active = _lanes(filter(_travels, records)) or dict(itertools.islice(lanes.items(), MAX_LANES))
        return {name: place for place, name in enumerate(name for name in lanes if name in active)}
    return lanes


def _affordable(records: Sequence[Record], max_messages: int) -> Sequence[Record]:
    """Return the first records, as far as the bounds on arrows and on characters allow."""
    lanes = _lanes(records) or {ROOM: 0}
    arrows = size = used = 0
    known: set[str] = set()
    for taken, step in _steps(records, lanes):
        group = records[used : used + taken]
        arrows += sum(map(_travels, group))
        size += sum(len(line) + 1 for line in step)
        names = list(_lanes(group))
        # A note names who has no lane in the end, six of them at most.
        size += 20 + sum(2 + len(_escape(_label(name))) for name in names[:6])
        for name in names:
            # Who comes in costs a line; in a crowd, only those with arrows do.
            if name not in known and (len(known) < MAX_LANES or _travels(group[0])):
                known.add(name)
                size += 30 + len(_escape(_label(name)))
        if arrows > max_messages or size > MERMAID_SIZE:
            break
        used += taken
    return records[:used]


def _steps(records: Sequence[Record], lanes: Mapping[str, int]) -> Iterable[tuple[int, list[str]]]:
    """Yield each step of the chart: how many records it tells of, and its lines."""

    def alike(pair: tuple[int, Record]) -> object:
        # Thirty people who come in one after the other are one note.
        number, record = pair
        return number if record.kind not in _LEVELS else (record.kind, record.outcome)

    for _, group in itertools.groupby(enumerate(records), alike):
        members = [record for _, record in group]
        step = _arrow(members[0], lanes) if _travels(members[0]) else [_note(members, lanes)]
        yield len(members), [f"    {line}" for line in step]


def _arrow(record: Record, lanes: Mapping[str, int]) -> list[str]:
    fate, dotted = _fate(record), "-" if record.kind == "stream" else ""
    head = "->>" if fate is Fate.ARRIVED else "-x"
    ends = (f"p{lanes[record.sender]}", f"p{lanes[record.recipient]}")
    lines = [f"{ends[0]}{dotted}{head}{ends[1]}: {_escape(f'{_instant(record.time_s)} {_clip(_story(record), 80)}')}"]
    if fate is Fate.REFUSED:
        first, last = sorted((lanes[record.sender], lanes[record.recipient]))
        lines.append(f"{_over(first, last)}: {_escape(_clip(record.outcome or 'refused', 60))}")
    return lines


def _note(records: Sequence[Record], lanes: Mapping[str, int]) -> str:
    first, last = records[0], records[-1]
    story, when = _clip(_story(first), 80), _instant(first.time_s)
    if first.kind == "fault":
        places = _places(first, lanes)
    else:
        names = tuple(dict.fromkeys(name for record in records for name in _who(record)))
        places = [lanes[name] for name in names if name in lanes]
        if len(records) > 1:
            when = f"{when} to {_instant(last.time_s)}"
        if len(names) > 1 or not places:
            story = f"{story}: {_list(names)}"
    places = places or list(lanes.values())
    return f"{_over(min(places), max(places))}: {_escape(f'{when} {story}')}"


def _over(first: int, last: int) -> str:
    return f"Note over p{first}" + (f",p{last}" if first < last else "")


# --- lines for a terminal ---------------------------------------------------------------------------------------------

_LANES_WIDTH = 60
"""The most columns for lanes; with more participants the lines name who sent to whom."""


def to_text(transcript: Transcript, *, limit: int, width: int) -> str:
    """Draw `Transcript.to_text`."""
    records = [record for record in transcript if not _is_routine(record)]
    head, tail = _ends(records, limit, first=limit // 4)  # a failure is explained by what came last
    lanes = _lanes([*head, *tail])
    spacing = min(14, max([8, *(len(_label(name, 12)) + 2 for name in lanes)]))
    route = _lane_row(lanes, spacing) if len(lanes) * spacing <= _LANES_WIDTH else _route_row(lanes)
    names = "".join(_label(name, spacing - 2).ljust(spacing) for name in lanes)
    lines = [_summary(transcript, list(transcript))]
    if lanes and len(names) <= _LANES_WIDTH:
        lines.append(f"{'time':>12}  {names}")
    lines += [_row(record, route) for record in head]
    if left := len(records) - len(head) - len(tail):
        lines.append(f"{'...':>12}  {_count(left, 'record')} left out")
    lines += [_row(record, route) for record in tail]
    return "\n".join(_clip(line.rstrip(), width) for line in lines)


def _ends(records: Sequence[Record], limit: int, first: int) -> tuple[Sequence[Record], Sequence[Record]]:
    """Return the first and the last records, so many in all."""
    if len(records) <= limit:
        return records, ()
    return records[:first], records[len(records) - (limit - first) :]


def _row(record: Record, route: Callable[[Record], str]) -> str:
    return f"{_instant(record.time_s):>12}  {route(record)}  {_story(record)}"


def _route_row(lanes: Mapping[str, int]) -> Callable[[Record], str]:
    longest = max((len(_label(name, 16)) for name in lanes), default=0)

    def draw(record: Record) -> str:
        names = [_label(name, 16) for name in _who(record)] or [""]  # a fault's story names its victims
        if not _travels(record):
            return names[0].ljust(2 * longest + 4)
        head = {Fate.ARRIVED: "->", Fate.LOST: "-x", Fate.REFUSED: "-!"}[_fate(record)]
        return f"{names[0]:<{longest}} {head} {names[-1]:<{longest}}"

    return draw


def _lane_row(lanes: Mapping[str, int], spacing: int) -> Callable[[Record], str]:
    """Return what draws one record across lanes that stand ``spacing`` columns apart."""

    def draw(record: Record) -> str:
        row = list(("|" + " " * (spacing - 1)) * len(lanes))
        at = {name: place * spacing for name, place in lanes.items()}
        fate = _fate(record)
        if record.kind == "fault":
            for place in _places(record, lanes):
                row[place * spacing] = "#"
        elif not _travels(record) or record.sender == record.recipient:
            row[at[_who(record)[0]]] = {Fate.ARRIVED: "o", Fate.LOST: "x", Fate.REFUSED: "!"}[fate]
        else:
            source, target = at[record.sender], at[record.recipient]
            step = 1 if target > source else -1
            stop = source + (target - source) // 2 if fate is Fate.LOST else target
            for column in range(source + step, stop, step):
                if row[column] == " ":
                    row[column] = "=" if record.kind == "stream" else "-"
            row[stop - step] = {Fate.ARRIVED: ">" if step > 0 else "<", Fate.LOST: "x", Fate.REFUSED: "!"}[fate]
        return "".join(row)

    return draw


# --- a table for a notebook -------------------------------------------------------------------------------------------

_COLUMNS = ("time (s)", "kind", "from", "to", "type", "bytes", "latency", "outcome", "stream", "content")


def to_html(transcript: Transcript) -> str:
    """Draw `Transcript._repr_html_`: a summary, and the first and last records as a table."""
    records = list(transcript)
    head, tail = _ends(records, 20, first=10)
    rows = ["<tr>" + "".join(f"<th>{name}</th>" for name in _COLUMNS) + "</tr>"]
    rows += map(_html_row, head)
    if left := len(records) - len(head) - len(tail):
        rows.append(f'<tr><td colspan="{len(_COLUMNS)}">… {_count(left, "record")} left out …</td></tr>')
    rows += map(_html_row, tail)
    summary = f"{_summary(transcript, records)}; {_count(len(records), 'record')}"
    return f"<div><p>{html.escape(summary)}</p><table>{''.join(rows)}</table></div>"


def _html_row(record: Record) -> str:
    cells = (
        f"{record.time_s:.3f}",
        record.kind,
        record.sender,
        record.recipient,
        record.type,
        f"{record.size_bytes:,}" if record.size_bytes else "",
        "" if record.latency_ns is None else _duration(record.latency_ns),
        record.outcome,
        record.stream_id,
        _body(record.detail, 60),
    )
    return "<tr>" + "".join(f"<td>{html.escape(_clip(str(cell), 80))}</td>" for cell in cells) + "</tr>"


# --- the timeline -----------------------------------------------------------------------------------------------------

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
_STREAM_STYLE = ("#000000", (0, (1, 1.5)))
_BANDS = ((1, 0.10, "#d4d4d4", "connected"), (2, 0.24, "#d4d4d4", "enabled"))
"""Of each presence: its level, height in lanes, colour, name."""


@dataclass(frozen=True, slots=True)
class _View:
    """What part of a transcript is drawn, and on what scale."""

    lanes: Mapping[str, int]
    start: float
    """Seconds, as ``end``."""
    end: float
    unit: str
    scale: float
    """Units in a second."""
    legend: dict[str, Any] = field(default_factory=dict)
    """What occurs: its name, and a handle, or several drawn upon each other."""
    notes: list[str] = field(default_factory=list)
    """What was left out."""

    def x(self, seconds: float) -> float:
        return seconds * self.scale


def plot(
    transcript: Transcript,
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
    records = _window(transcript, start, end)
    view = _view(transcript, records, start, end)
    if ax is None:
        height = 1.9 + len(view.lanes) * (0.62 if len(view.lanes) <= 6 else 0.3)
        _, ax = pyplot.subplots(figsize=(11, max(3.2, height)), layout="constrained")
    changes = [record for record in transcript if record.kind in _LEVELS and _fate(record) is Fate.ARRIVED]
    _draw_lanes(ax, view, changes)
    rows = _draw_faults(ax, view, list(transcript))
    _draw_messages(ax, view, transcript, records, max_messages)
    _draw_marks(ax, view, records)
    ax.set_title(_summary(transcript, records) if title is None else title, pad=8 + 12 * rows, parse_math=False)
    _draw_legend(ax, view)
    return ax


def _view(transcript: Transcript, records: Sequence[Record], start: float, end: float | None) -> _View:
    """Choose the lanes, the interval and the unit of time."""
    news = [record for record in records if not _is_routine(record)]
    seen = _lanes(news)
    # In the order of the whole transcript, so that a part of it looks like the whole.
    order = [name for name in _lanes(record for record in transcript if not _is_routine(record)) if name in seen]
    lanes = {name: place for place, name in enumerate(order)}
    notes = []
    if len(lanes) > MAX_LANES:
        busy = Counter(name for record in news for name in _who(record))
        # Ties fall in order of appearance, which is the order in which a Counter lists equals.
        kept = {name for name, _ in busy.most_common(MAX_LANES)}
        notes.append(f"the {MAX_LANES} busiest of {len(lanes):,} participants, and what they did among themselves")
        lanes = {name: place for place, name in enumerate(name for name in lanes if name in kept)}
    if end is None:
        end = max([start, *(record.time_s for record in records)])
    if end <= start:
        end = start + 1.0
    unit, scale = next(
        (unit, scale)
        for limit, unit, scale in ((2, "ms", 1e3), (900, "s", 1.0), (10_800, "min", 1 / 60), (math.inf, "h", 1 / 3600))
        if end - start <= limit and (unit != "ms" or end <= 10)
    )
    return _View(lanes, start, end, unit, scale, notes=notes)


def _draw_lanes(ax: Axes, view: _View, changes: Sequence[Record]) -> None:
    """Draw the axes, and for each participant a band whose height is its presence."""
    from matplotlib.lines import Line2D

    margin = (view.end - view.start) * 0.012
    ax.set_xlim(view.x(view.start - margin), view.x(view.end + margin))
    ax.set_ylim(max(len(view.lanes), 1) - 0.45, -0.55)
    ax.set_yticks(list(view.lanes.values()), [_label(name, 20) for name in view.lanes])
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


def _presence(records: Sequence[Record], name: str, view: _View) -> list[tuple[float, float, int]]:
    """Return when somebody was how present: beginning and end in seconds, and the level."""
    changes = [(record.time_s, record.kind) for record in records if _who(record) == (name,)]
    if not changes:
        return []
    # A transcript that begins in the middle: who leaves has been there.
    level = {"disabled": 2, "disconnected": 1}.get(changes[0][1], 0)
    spans, since = [], view.start
    for time, kind in changes:
        spans.append((since, min(max(time, view.start), view.end), level))
        since, level = spans[-1][1], _LEVELS[kind]
    spans.append((since, view.end, level))
    return [span for span in spans if span[0] < span[1]]


def _draw_faults(ax: Axes, view: _View, records: Sequence[Record]) -> int:
    """Draw the faults and, above the axes, their names; return how many rows of names there are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels: list[tuple[float, str]] = []
    hatched: dict[str, Any] = {"facecolor": "#f0e44255", "edgecolor": "#8a6d00", "hatch": "////", "lw": 0}
    bar: dict[str, Any] = {"color": "#000000", "lw": 2.5}
    guide: dict[str, Any] = {"color": "#555555", "lw": 0.8, "ls": (0, (1, 2)), "zorder": 0.7}
    for begin, stop, record in _fault_spans(records, view):
        places = _places(record, view.lanes)
        labels.append((view.x(begin), _fault_label(record.type, record, 2)))
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


def _fault_spans(records: Sequence[Record], view: _View) -> list[tuple[float, float | None, Record]]:
    """Return each fault within the view: its beginning, its end or None for a blow, and its record."""
    found: list[tuple[float, float | None, Record]] = []
    held: defaultdict[object, list[float]] = defaultdict(list)
    faults = [record for record in records if record.kind == "fault"]
    for record in reversed(faults):  # backwards, so that what has no end is known when its beginning is met
        same = held[record.type, record.sender, _victims(record)]
        if record.outcome == "ended":
            same.append(record.time_s)
        elif record.outcome == "began":
            found.append((record.time_s, same.pop() if same else view.end, record))
        else:
            found.append((record.time_s, None, record))
    seen: list[tuple[float, float | None, Record]] = []
    for begin, stop, record in reversed(found):
        if begin <= view.end and (begin if stop is None else stop) >= view.start:
            seen.append((max(begin, view.start), None if stop is None else min(stop, view.end), record))
    return seen


def _draw_fault_labels(ax: Axes, view: _View, labels: Sequence[tuple[float, str]], max_rows: int = 4) -> int:
    """Write the names of faults above the axes, in as many rows as keep them apart."""
    left, right = ax.get_xlim()
    # The layout isn't made yet: a tenth goes to names and legend.
    points = ax.get_window_extent().width / ax.figure.dpi * 72 * 0.9
    free = [0.0] * max_rows
    used = left_out = 0
    for x, label in labels:
        text = _clip(label, 44)
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
        view.notes.append(f"{_count(left_out, 'fault')} without a name, for want of room")
    return used


def _draw_messages(ax: Axes, view: _View, transcript: Transcript, records: Sequence[Record], max_messages: int) -> None:
    """Draw a slanted line for each message, with a head where it arrived."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    sent = [record for record in records if _travels(record)]
    sent = [record for record in sent if all(name in view.lanes for name in _who(record))]
    arrived = [record for record in sent if _fate(record) is Fate.ARRIVED]
    shown = _thin(arrived, max_messages)
    failed = [record for record in sent if _fate(record) is not Fate.ARRIVED]
    shown_failed = _thin(failed, max_messages)
    for kept, all_of_them, word in ((shown, arrived, "arrivals"), (shown_failed, failed, "losses and refusals")):
        if len(kept) < len(all_of_them):
            view.notes.append(f"{len(kept):,} of {len(all_of_them):,} {word}, evenly chosen")
    styles = _styles(transcript)
    crowd = len(shown) + len(shown_failed)
    width, alpha, head = (1.3, 1.0, 5.5) if crowd <= 80 else (0.8, 0.75, 4) if crowd <= 250 else (0.6, 0.6, 3)
    for label, (colour, dashes) in styles.items():
        group = [record for record in (*shown, *shown_failed) if _style_name(record, styles) == label]
        if not group:
            continue  # the type of something beyond this part
        lines = [_segment(record, view) for record in group]
        # What failed is never thin: it is what one looks for in a crowd.
        bold = [_fate(record) is not Fate.ARRIVED for record in group]
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
        view.legend[_clip(label, 24)] = Line2D([], [], color=colour, ls=dashes, lw=1.6)
        for marker in (6, 7, "o"):
            tips = [
                line[-1]
                for record, line in zip(group, lines, strict=True)
                if _fate(record) is Fate.ARRIVED and _head(line) == marker
            ]
            ax.plot(*_columns(tips), ls="", marker=marker, ms=head, color=colour, alpha=alpha, zorder=3.5, mew=0)
    _draw_ends(ax, view, shown_failed)


def _thin(records: Sequence[Record], limit: int) -> Sequence[Record]:
    """Return at most so many, evenly chosen."""
    if len(records) <= limit:
        return records
    return [records[number * len(records) // limit] for number in range(limit)]


def _styles(records: Iterable[Record]) -> dict[str, tuple[str, Any]]:
    """Return colour and dashes for each type of message in a whole transcript; the rarest share one."""
    kinds = Counter((record.kind, _what(record) if record.kind == "message" else "") for record in records)
    types = [label for (kind, label), _ in kinds.most_common() if kind == "message"]
    own = types if len(types) <= len(_STYLES) else types[: len(_STYLES) - 1]
    styles: dict[str, tuple[str, Any]] = dict(zip(own, _STYLES, strict=False))
    if len(types) > len(own):
        styles[f"{len(types) - len(own)} other types"] = _OTHER_STYLE
    if ("stream", "") in kinds:
        styles["stream"] = _STREAM_STYLE
    return styles


def _style_name(record: Record, styles: Mapping[str, object]) -> str:
    if record.kind == "stream":
        return "stream"
    return _what(record) if _what(record) in styles else next(name for name in styles if name.endswith("other types"))


def _segment(record: Record, view: _View) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return a message's line: from its sender when it was sent to where it ended."""
    source, target = view.lanes[record.sender], view.lanes[record.recipient]
    ended = float(target)
    if _fate(record) is Fate.LOST:
        # Half way to the next lane, whoever it was for: a cross on a third one's lane would seem to be about them.
        ended = source + (0.5 if target > source else -0.5)
    return (view.x(record.time_s - (record.latency_s or 0.0)), source), (view.x(record.time_s), ended)


def _head(line: tuple[tuple[float, float], tuple[float, float]]) -> int | str:
    """Return the marker of an arrival: a tip that points up or down; a dot for what somebody sent to themselves."""
    (_, source), (_, target) = line
    return 7 if target > source else 6 if target < source else "o"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _draw_ends(ax: Axes, view: _View, failed: Sequence[Record]) -> None:
    """Mark where messages got lost or were refused."""
    for fate, draw in ((Fate.LOST, _draw_crosses), (Fate.REFUSED, _draw_stops)):
        if points := [_segment(record, view)[-1] for record in failed if _fate(record) is fate]:
            draw(ax, view, points)


def _draw_crosses(ax: Axes, view: _View, points: Sequence[tuple[float, float]]) -> None:
    style: dict[str, Any] = {"ls": "", "marker": "X", "ms": 8, "mfc": "#D55E00", "mec": "black", "mew": 0.7}
    view.legend.setdefault("lost", ax.plot(*_columns(points), zorder=5, **style)[0])


def _draw_stops(ax: Axes, view: _View, points: Sequence[tuple[float, float]]) -> None:
    disc = ax.plot(*_columns(points), ls="", marker="o", ms=8.5, mfc="black", mec="white", mew=0.8, zorder=5)[0]
    bar = ax.plot(*_columns(points), ls="", marker="_", ms=5, mec="white", mew=1.8, zorder=5.1)[0]
    view.legend.setdefault("refused", (disc, bar))


def _draw_marks(ax: Axes, view: _View, records: Sequence[Record]) -> None:
    """Mark what happens on one lane: connections and requests that were refused, changed attributes."""
    alone = [record for record in records if record.kind != "fault" and not _travels(record)]
    alone = [record for record in alone if not _is_routine(record) and _who(record)[0] in view.lanes]

    def places(chosen: Iterable[Record]) -> list[tuple[float, float]]:
        return [(view.x(record.time_s), view.lanes[_who(record)[0]]) for record in chosen]

    if points := places(record for record in alone if _fate(record) is Fate.REFUSED):
        _draw_stops(ax, view, points)
    if points := places(record for record in alone if record.kind == "attributes"):
        style: dict[str, Any] = {"ls": "", "marker": "D", "ms": 5, "mfc": "white", "mec": "black"}
        view.legend["attributes"] = ax.plot(*_columns(points), zorder=4, **style)[0]


def _draw_legend(ax: Axes, view: _View) -> None:
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


class _Charts:
    """This module as a `transcript.Charts`."""

    to_mermaid = staticmethod(to_mermaid)
    to_text = staticmethod(to_text)
    to_html = staticmethod(to_html)
    plot = staticmethod(plot)


draw_with(_Charts())
