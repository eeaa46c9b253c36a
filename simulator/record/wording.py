"""The meaning of records, as text: the fate of an event, its participants, its label.

Charts and timeline share these texts, which are made here alone. Names, types and bodies come from any participant of
the room, so every text is printable and clipped.
"""

from __future__ import annotations

import enum
import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from simulator.record.records import Record, Records

ROOM = ""
"""The lane of the room itself, for messages from and to it."""
MAX_LANES = 40
"""The most lanes that can be told apart in one picture."""

# --- the meaning of a record ------------------------------------------------------------------------------------------


class Fate(enum.Enum):
    """The fate of something sent."""

    ARRIVED = enum.auto()
    LOST = enum.auto()
    REFUSED = enum.auto()


LEVELS = {"connected": 1, "enabled": 2, "disabled": 1, "disconnected": 0}
"""The kinds of records by which presence changes, and its level from then on: none, connected, enabled."""
_CRASHES = {"began": "crash", "ended": "restart after crash"}
"""The words for the outcomes of a program's crash, which holds until its next life."""
_REFUSALS = ("refus", "reject", "error", "denied")


def fate_of(record: Record) -> Fate:
    """Return the fate of a record."""
    texts = [record.outcome]
    if record.kind == "stream":
        texts.append(record.type.removeprefix("stream."))  # of a message, the type is its sender's choice
    if record.kind == "refused" or any(text.lower().startswith(_REFUSALS) for text in texts):
        return Fate.REFUSED
    lost = record.outcome.startswith("lost")
    never_came = record.kind == "message" and record.latency_ns is None and record.outcome != "delivered"
    return Fate.LOST if lost or never_came else Fate.ARRIVED


def travels(record: Record) -> bool:
    """Return whether it went from a sender to a recipient."""
    return record.kind == "message" or (record.kind == "stream" and bool(record.recipient))


def stream_event_of(record: Record) -> str:
    """Return the event of a stream: ``open``, ``chunk``, ``credit``; empty for a record of none."""
    return record.type.rpartition(".")[2] if record.stream_id else ""


_TOLD = ("send", "broadcast", "set_attributes", "enable", "disable")
"""Types of requests that have a record of their own, which has the error of their answer."""


def is_routine(record: Record) -> bool:
    """Return whether it is not drawn: an answer of the room that tells nothing new, which half of all records are.

    And what clients of this package tell each other: proofs and reports.
    """
    is_told = record.type in _TOLD or fate_of(record) is Fate.ARRIVED
    return record.kind == "confirming" or (record.kind == "reply" and is_told)


def people_in(record: Record) -> tuple[str, ...]:
    """Return the names of a record's lanes; none for a fault, whose victims need not be in the room."""
    if record.kind == "fault":
        return ()
    if travels(record):
        return tuple(dict.fromkeys((record.sender, record.recipient)))
    return (record.sender or record.recipient,)


def lanes_of(records: Iterable[Record]) -> dict[str, int]:
    """Return the place of each name in the records, in the order of first appearance."""
    return {name: place for place, name in enumerate(dict.fromkeys(name for r in records for name in people_in(r)))}


def victims_of(record: Record) -> tuple[str, ...]:
    """Return the participants that a fault hits; none if it is about all of them, or about the room."""
    struck = record.detail.get("struck")
    if isinstance(struck, (list, tuple)):  # By a fault that names a region.
        return tuple(name for name in struck if isinstance(name, str))
    named: list[Any] = []
    for part in (record.detail, record.detail.get("fault")):
        if isinstance(part, Mapping):
            for key in ("name", "names", "cut_off", "who"):
                named += part[key] if isinstance(part.get(key), (list, tuple)) else [part.get(key)]
    names = dict.fromkeys(name for name in named if isinstance(name, str) and name)
    return tuple(names) or tuple(filter(None, record.recipient.split(", ")))


def struck_in(records: Iterable[Record], known: Container[str]) -> tuple[str, ...]:
    """Return the participants that the faults among the records strike, each once.

    Of a fault that strikes several, those that are known: the others may belong to another room.
    """
    all_victims = [victims_of(record) for record in records if record.kind == "fault"]
    return tuple(
        dict.fromkeys(name for victims in all_victims for name in victims if name in known or len(victims) == 1)
    )


def cast_of(records: Sequence[Record], known: Container[str]) -> dict[str, int]:
    """Return the place of each name in some records, and of those that are struck, who come last.

    A chart without a participant that was struck would not show what became of it.

    Args:
        known: The names in the whole transcript.
    """
    names = dict.fromkeys((*lanes_of(records), *struck_in(records, known)))
    return {name: place for place, name in enumerate(names)}


def fault_spans(records: Iterable[Record], start: float, end: float) -> list[tuple[float, float | None, Record]]:
    """Return each fault within an interval in seconds: when it began, ended (None for a one-off one), its record."""
    found: list[tuple[float, float | None, Record]] = []
    held: defaultdict[object, list[float]] = defaultdict(list)
    faults = [record for record in records if record.kind == "fault"]
    for record in reversed(faults):  # backwards, so that a fault without an end is known at its beginning
        same = held[record.type, record.sender, victims_of(record), str(record.detail)]
        if record.outcome == "ended":
            same.append(record.time_s)
        elif record.outcome == "began":
            found.append((record.time_s, same.pop() if same else end, record))
        else:
            found.append((record.time_s, None, record))
    seen: list[tuple[float, float | None, Record]] = []
    for begin, stop, record in reversed(found):
        if begin <= end and (begin if stop is None else stop) >= start:
            seen.append((max(begin, start), None if stop is None else min(stop, end), record))
    return seen


def places_of(record: Record, lanes: Mapping[str, int]) -> list[int]:
    """Return the lanes that a fault hits: all of them if it has no names, none if its names have no lanes."""
    victims = victims_of(record)
    return [lanes[name] for name in victims if name in lanes] if victims else list(lanes.values())


def what_of(record: Record) -> str:
    """Return the subject of a record, in a word or two."""
    if record.kind == "stream" or (record.kind == "message" and record.stream_id):
        return " ".join(filter(None, ("stream", record.stream_id.removeprefix("stream "), stream_event_of(record))))
    if record.kind == "message":
        return record.type or "message"
    if record.kind == "refused":
        return "connection refused"
    if record.kind == "fault":
        crash = _CRASHES.get(record.outcome) if record.type == "crash" else None
        return crash or " ".join(filter(None, (record.type, record.outcome)))
    return " ".join(filter(None, (record.kind, record.type)))


def fault_label(what: str, record: Record, limit: int = 6) -> str:
    """Return a fault's name, and the participants it hit."""
    names = victims_of(record)
    return what + (f": {listed(names, limit)}" if names else "")


# --- texts ------------------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Return a text in which no character moves a terminal's cursor."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def clip(text: str, length: int) -> str:
    """Return a text as one printable line of at most so many characters."""
    short = printable(text[: length + 1])
    return short if len(text) <= length else short[: max(0, length - 3)] + "..."


def body_of(record: Record, length: int = 40) -> str:
    """Return a message's JSON or a participant's attributes as ``text=hello, n=1``, clipped.

    Of a stream, the data of its programs: the header; or a credit, or a reason that is not in the outcome.
    """
    parts: list[str] = []
    members = record.detail
    if record.stream_id:
        header = members.get("header")
        known = header if isinstance(header, Mapping) else {}
        members = {**known, **{key: members[key] for key in ("bytes", "reason") if key in members}}
    for key, value in members.items():
        # Cut before it is formatted: a body may have megabytes, and there may be hundreds.
        shown = value[: length + 1] if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        parts.append(f"{key}={shown}")
        if sum(map(len, parts)) > length:
            break
    return clip(", ".join(parts), length)


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Return names as a list, the last ones counted where there are many."""
    shown = ", ".join(label_of(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def label_of(name: str, length: int = 24) -> str:
    """Return the label of a name, clipped."""
    return clip(name, length) if name != ROOM else "(room)"


def instant_of(seconds: float) -> str:
    """Return an instant as text."""
    return f"{seconds:.3f} s"


def duration_of(nanoseconds: int) -> str:
    """Return a duration as text, in a unit that suits it."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.4g} {unit}"
    return f"{nanoseconds} ns"


def counted(number: int, one: str) -> str:
    """Return ``3 messages`` for 3 and ``message``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def story_of(record: Record) -> str:
    """Return a record without its time and route, in one line."""
    if record.kind == "fault":
        return fault_label(f"fault {what_of(record)}", record)
    parts = [what_of(record)]
    if record.outcome not in ("", "delivered", "ok"):
        parts.append(f"[{clip(record.outcome, 60)}]")
    elif fate_of(record) is not Fate.ARRIVED:
        parts.append(f"[{fate_of(record).name.lower()}]")
    if record.latency_ns is not None:
        parts.append(f"({duration_of(record.latency_ns)})")
    if record.kind in ("message", "attributes", "stream"):
        parts.append(body_of(record))
    return " ".join(filter(None, parts))


def summary_of(transcript: Records, records: Sequence[Record]) -> str:
    """Return one line with the room, the seed, the number of records of each sort, and what is missing."""
    room = label_of(transcript.room) if transcript.room else "a room"
    seed = "" if transcript.seed is None else f" (seed {clip(str(transcript.seed), 24)})"
    # A refused request may have an answer with an error; the two are one refusal.
    fates = Counter(fate_of(record) for record in records if record.kind not in ("fault", "reply", "confirming"))
    errors = sum(record.kind == "reply" and not is_routine(record) for record in records)
    streams = {record.stream_id for record in records} - {""}
    chunks = sum(record.kind == "message" and bool(record.stream_id) for record in records)
    began = sum(record.kind == "fault" and record.outcome != "ended" for record in records)
    counts = [
        counted(len(lanes_of(records).keys() - {ROOM}), "participant"),
        counted(sum(record.kind == "message" and not record.stream_id for record in records), "message"),
        *([counted(len(streams), "stream")] if streams else []),
        *([counted(chunks, "chunk")] if chunks else []),
        *(f"{fates[fate]:,} {fate.name.lower()}" for fate in (Fate.LOST, Fate.REFUSED) if fates[fate]),
        *([counted(errors, "error answer")] if errors else []),
        *([counted(began, "fault")] if began else []),
        *([f"{counted(transcript.dropped, 'older record')} dropped"] if transcript.dropped else []),
        *(["cut short"] if not transcript.is_complete and not transcript.dropped else []),
    ]
    return f"{room}{seed}: {', '.join(counts)}"


def records_between(transcript: Records, start: float, end: float | None) -> list[Record]:
    """Return the records of an interval in seconds, ends included; to the last one if ``end`` is None."""
    return [record for record in transcript if start <= record.time_s and (end is None or record.time_s <= end)]
