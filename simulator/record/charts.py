"""Charts of a transcript in text: a sequence chart, lines for a terminal, a table for a notebook.

`Transcript` has them as its methods, and the timeline too. All of them choose from the records and count those they
left out.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from simulator.record.records import Record, Records
from simulator.record.wording import (
    LEVELS,
    MAX_LANES,
    ROOM,
    Fate,
    body_of,
    cast_of,
    clip,
    counted,
    duration_of,
    fate_of,
    instant_of,
    is_routine,
    label_of,
    lanes_of,
    listed,
    people_in,
    places_of,
    printable,
    records_between,
    story_of,
    struck_in,
    summary_of,
    travels,
)

__all__ = ["to_html", "to_mermaid", "to_text"]

# --- Mermaid ----------------------------------------------------------------------------------------------------------

MERMAID_SIZE = 45_000
"""The most characters of a diagram. Source: Mermaid's default ``maxTextSize`` is 50,000; the rest is for the notes."""

_MERMAID_PLAIN = frozenset(" _-.,=()/'!?")


def _escape(text: str) -> str:
    """Return a text that Mermaid shows as it is.

    A character that is neither letter, digit nor harmless becomes a numbered entity. A list of dangerous ones would be
    longer and less sure: ``;`` ends a statement, ``#`` begins an entity, ``%%{`` a directive, ``<br>`` breaks a line.
    """
    return "".join(c if c.isalnum() or c in _MERMAID_PLAIN else f"#{ord(c)};" for c in printable(text))


def to_mermaid(transcript: Records, *, max_messages: int, start: float, end: float | None) -> str:
    """Draw `Transcript.to_mermaid`."""
    window = records_between(transcript, start, end)
    records = [record for record in window if not is_routine(record)]
    shown = _affordable(records, max_messages)
    lanes = _cast(shown, records) or {ROOM: 0}
    all_lanes = _over(0, len(lanes) - 1)
    lines = [
        "sequenceDiagram",
        f"    title {_escape(summary_of(transcript, list(transcript)))}",
        *(f"    participant p{place} as {_escape(label_of(name))}" for name, place in lanes.items()),
    ]
    earlier = sum(record.time_s < start for record in transcript)
    if earlier:
        lines.append(f"    {all_lanes}: left out: {counted(earlier, 'record')} before {instant_of(start)}")
    for _, step in _steps(shown, lanes):
        lines += step
    if left := records[len(shown) :]:
        arrows = sum(map(travels, left))
        counts = f"{counted(arrows, 'message')} or stream events, {counted(len(left) - arrows, 'other record')}"
        lines.append(f"    {all_lanes}: left out: {counts}, from {instant_of(left[0].time_s)} on")
    later = sum(end is not None and record.time_s > end for record in transcript)
    if later and end is not None:
        lines.append(f"    {all_lanes}: left out: {counted(later, 'record')} after {instant_of(end)}")
    if not records:
        lines.append(f"    {all_lanes}: nothing happened")
    if routine := len(window) - len(records):
        lines.append(f"    %% not drawn: {counted(routine, 'answer')} of the room without an error")
    return "\n".join(lines) + "\n"


def _cast(records: Sequence[Record], everything: Sequence[Record]) -> dict[str, int]:
    """Return the lanes of a diagram: of all participants, or beyond `MAX_LANES` of senders, recipients and struck."""
    lanes = cast_of(records, lanes_of(everything))
    if len(lanes) > MAX_LANES:
        struck = struck_in(records, lanes)[:MAX_LANES]
        active = {*lanes_of(filter(travels, records)), *struck} or dict(itertools.islice(lanes.items(), MAX_LANES))
        return {name: place for place, name in enumerate(name for name in lanes if name in active)}
    return lanes


def _affordable(records: Sequence[Record], max_messages: int) -> Sequence[Record]:
    """Return the first records, as far as the bounds on arrows and on characters allow."""
    lanes = cast_of(records, lanes_of(records)) or {ROOM: 0}
    arrows = size = used = 0
    known: set[str] = set()
    for taken, step in _steps(records, lanes):
        group = records[used : used + taken]
        arrows += sum(map(travels, group))
        size += sum(len(line) + 1 for line in step)
        names = list(cast_of(group, lanes))
        # A note names participants that have no lane in the end, six at most.
        size += 20 + sum(2 + len(_escape(label_of(name))) for name in names[:6])
        for name in names:
            # Each new participant costs a line; in a crowd, only those with arrows do.
            if name not in known and (len(known) < MAX_LANES or travels(group[0]) or group[0].kind == "fault"):
                known.add(name)
                size += 30 + len(_escape(label_of(name)))
        if arrows > max_messages or size > MERMAID_SIZE:
            break
        used += taken
    return records[:used]


def _steps(records: Sequence[Record], lanes: Mapping[str, int]) -> Iterable[tuple[int, list[str]]]:
    """Yield each step of the chart: how many records it stands for, and its lines."""

    def alike(pair: tuple[int, Record]) -> object:
        # Thirty participants that connect one after the other are one note.
        number, record = pair
        return number if record.kind not in LEVELS else (record.kind, record.outcome)

    for _, group in itertools.groupby(enumerate(records), alike):
        members = [record for _, record in group]
        step = _arrow(members[0], lanes) if travels(members[0]) else [_note(members, lanes)]
        yield len(members), [f"    {line}" for line in step]


def _arrow(record: Record, lanes: Mapping[str, int]) -> list[str]:
    fate, dotted = fate_of(record), "-" if record.kind == "stream" else ""
    head = "->>" if fate is Fate.ARRIVED else "-x"
    ends = (f"p{lanes[record.sender]}", f"p{lanes[record.recipient]}")
    lines = [
        f"{ends[0]}{dotted}{head}{ends[1]}: {_escape(f'{instant_of(record.time_s)} {clip(story_of(record), 80)}')}"
    ]
    if fate is Fate.REFUSED:
        first, last = sorted((lanes[record.sender], lanes[record.recipient]))
        lines.append(f"{_over(first, last)}: {_escape(clip(record.outcome or 'refused', 60))}")
    return lines


def _note(records: Sequence[Record], lanes: Mapping[str, int]) -> str:
    first, last = records[0], records[-1]
    story, when = clip(story_of(first), 80), instant_of(first.time_s)
    if first.kind == "fault":
        places = places_of(first, lanes)
    else:
        names = tuple(dict.fromkeys(name for record in records for name in people_in(record)))
        places = [lanes[name] for name in names if name in lanes]
        if len(records) > 1:
            when = f"{when} to {instant_of(last.time_s)}"
        if len(names) > 1 or not places:
            story = f"{story}: {listed(names)}"
    places = places or list(lanes.values())
    return f"{_over(min(places), max(places))}: {_escape(f'{when} {story}')}"


def _over(first: int, last: int) -> str:
    return f"Note over p{first}" + (f",p{last}" if first < last else "")


# --- lines for a terminal ---------------------------------------------------------------------------------------------

_LANES_WIDTH = 60
"""The most columns for lanes; with more participants the lines name sender and recipient."""


def to_text(transcript: Records, *, limit: int, width: int) -> str:
    """Draw `Transcript.to_text`."""
    records = [record for record in transcript if not is_routine(record)]
    head, tail = _ends(records, limit, first=limit // 4)  # a failure is explained by the last records
    lanes = cast_of([*head, *tail], lanes_of(records))
    spacing = min(14, max([8, *(len(label_of(name, 12)) + 2 for name in lanes)]))
    route = _lane_row(lanes, spacing) if len(lanes) * spacing <= _LANES_WIDTH else _route_row(lanes)
    names = "".join(label_of(name, spacing - 2).ljust(spacing) for name in lanes)
    lines = [summary_of(transcript, list(transcript))]
    if lanes and len(names) <= _LANES_WIDTH:
        lines.append(f"{'time':>12}  {names}")
    lines += [_row(record, route) for record in head]
    if left := len(records) - len(head) - len(tail):
        lines.append(f"{'...':>12}  {counted(left, 'record')} left out")
    lines += [_row(record, route) for record in tail]
    return "\n".join(clip(line.rstrip(), width) for line in lines)


def _ends(records: Sequence[Record], limit: int, first: int) -> tuple[Sequence[Record], Sequence[Record]]:
    """Return the first and the last records, so many in all."""
    if len(records) <= limit:
        return records, ()
    return records[:first], records[len(records) - (limit - first) :]


def _row(record: Record, route: Callable[[Record], str]) -> str:
    return f"{instant_of(record.time_s):>12}  {route(record)}  {story_of(record)}"


def _route_row(lanes: Mapping[str, int]) -> Callable[[Record], str]:
    longest = max((len(label_of(name, 16)) for name in lanes), default=0)

    def draw(record: Record) -> str:
        names = [label_of(name, 16) for name in people_in(record)] or [""]  # a fault's story names its victims
        if not travels(record):
            return names[0].ljust(2 * longest + 4)
        head = {Fate.ARRIVED: "->", Fate.LOST: "-x", Fate.REFUSED: "-!"}[fate_of(record)]
        return f"{names[0]:<{longest}} {head} {names[-1]:<{longest}}"

    return draw


def _lane_row(lanes: Mapping[str, int], spacing: int) -> Callable[[Record], str]:
    """Return a function that draws one record across lanes ``spacing`` columns apart."""

    def draw(record: Record) -> str:
        row = list(("|" + " " * (spacing - 1)) * len(lanes))
        at = {name: place * spacing for name, place in lanes.items()}
        fate = fate_of(record)
        if record.kind == "fault":
            for place in places_of(record, lanes):
                row[place * spacing] = "#"
        elif not travels(record) or record.sender == record.recipient:
            row[at[people_in(record)[0]]] = {Fate.ARRIVED: "o", Fate.LOST: "x", Fate.REFUSED: "!"}[fate]
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


def to_html(transcript: Records) -> str:
    """Draw `Transcript._repr_html_`: a summary, and the first and last records as a table."""
    records = list(transcript)
    head, tail = _ends(records, 20, first=10)
    rows = ["<tr>" + "".join(f"<th>{name}</th>" for name in _COLUMNS) + "</tr>"]
    rows += map(_html_row, head)
    if left := len(records) - len(head) - len(tail):
        rows.append(f'<tr><td colspan="{len(_COLUMNS)}">… {counted(left, "record")} left out …</td></tr>')
    rows += map(_html_row, tail)
    summary = f"{summary_of(transcript, records)}; {counted(len(records), 'record')}"
    return f"<div><p>{html.escape(summary)}</p><table>{''.join(rows)}</table></div>"


def _html_row(record: Record) -> str:
    cells = (
        f"{record.time_s:.3f}",
        record.kind,
        record.sender,
        record.recipient,
        record.type,
        f"{record.size_bytes:,}" if record.size_bytes else "",
        "" if record.latency_ns is None else duration_of(record.latency_ns),
        record.outcome,
        record.stream_id,
        body_of(record, 60),
    )
    return "<tr>" + "".join(f"<td>{html.escape(clip(str(cell), 80))}</td>" for cell in cells) + "</tr>"
