"""Comparing two records of a room: what each participant did towards each other one, in its order.

Times differ from run to run, ids too, and so does the order of what participants do beside each other. None of that is
compared: a *route* has what one participant sent to another one, a route of its own what it sent on one stream, and one
without a recipient what it told the room. Two records are equal when their routes are.

Not compared either is what clients exchange beneath their programs: proofs and reports of confirmed messages, a
stream's credits and resumptions. Differences to the byte are the business of `records.first_difference`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

from meshsync.confirming.bodies import ATTRIBUTE
from meshsync.errors import UsageError
from simulator.record.confirmed_messages import outcome_of_answer
from simulator.record.records import KINDS, Record, Records
from simulator.record.redaction import split_path
from simulator.record.transcript import Transcript
from simulator.record.whole_chunks import WholeChunks
from simulator.record.wording import clip, counted, label_of

__all__ = [
    "Difference",
    "Event",
    "Path",
    "Route",
    "RouteDifference",
    "diff",
    "differing_paths",
    "events_by_route",
    "participant_ids",
]

Path = tuple[str | int, ...]
"""A place in a message: keys of objects and numbers of items, from its body inwards."""

FIELDS = ("time", "id", "body", "attachment", "outcome")
"""What may be ignored of a record, besides kinds of records and parts of bodies."""

_BENEATH = "stream.meshsync."
_CANCEL = "stream.meshsync.cancel"
_MOST_SHOWN = 12


# --- the result -------------------------------------------------------------------------------------------------------


class Route(NamedTuple):
    """From whom to whom."""

    sender: str
    recipient: str
    """Empty for what it told the room."""
    stream: str = ""
    """The stream, as ``stream 2 from alice to bob``; empty for all else."""

    def __str__(self) -> str:
        way = f"{label_of(self.sender)} -> {label_of(self.recipient)}"
        return f"{way}, {clip(self.stream, 80)}" if self.stream else way


class Event(NamedTuple):
    """What is compared of one record."""

    kind: str
    type: str
    body: str
    """As JSON with its ids numbered."""
    attachment: str
    outcome: str
    times: tuple[int, int | None] | None
    """When it happened and how long it took, in nanoseconds; None if times are ignored."""


@dataclass(frozen=True, slots=True)
class RouteDifference:
    """The first difference on one route."""

    route: Route
    index: int
    """The number of the event that differs, from 0."""
    one: Record | None
    """The first one's; None if it has no such event."""
    other: Record | None
    """The second one's, likewise."""
    text: str
    """What differs."""
    sizes: tuple[int, int]
    """The number of events that each has on this route."""

    def __str__(self) -> str:
        return f"{self.route}, number {self.index + 1}: {self.text}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What `diff` found: false if the two are equal. Its text has the first difference and counts the others."""

    routes: tuple[RouteDifference, ...]
    """One for each route that differs, the earliest first."""
    route_count: int
    """The number of routes that were compared."""
    event_count: int
    """The number of events on them, of the one that has more."""

    def __bool__(self) -> bool:
        return bool(self.routes)

    @property
    def first(self) -> RouteDifference | None:
        """The earliest difference; None if there is none."""
        return self.routes[0] if self.routes else None

    def __str__(self) -> str:
        if not self.routes:
            return f"equal: {counted(self.event_count, 'event')} on {counted(self.route_count, 'route')}"
        differ = "differs" if len(self.routes) == 1 else "differ"
        lines = [str(self.first), f"{len(self.routes)} of {counted(self.route_count, 'route')} {differ}:"]
        for found in self.routes[:_MOST_SHOWN]:
            ours, theirs = found.sizes
            lines.append(f"  {found.route}: from number {found.index + 1} on; {ours} and {counted(theirs, 'event')}")
        rest = len(self.routes) - _MOST_SHOWN
        return "\n".join([*lines, f"  and {counted(rest, 'more route')}"] if rest > 0 else lines)


# --- comparing --------------------------------------------------------------------------------------------------------


def diff(
    a: Records | str | PathLike[str],
    b: Records | str | PathLike[str],
    ignore: Iterable[str | Path] = ("time", "id"),
    *,
    sender: str | None = None,
) -> Difference:
    r"""Compare two records of rooms, and return what differs.

    Args:
        a: A transcript, or the file of one.
        b: Likewise.
        ignore: What is not compared: ``"time"``, ``"id"`` (ids of participants and streams, which are then compared by
            the name or the number of what they belong to), ``"body"``, ``"attachment"``, ``"outcome"``; a kind of
            records, as ``"fault"``; ``"message.sent.at"`` for the member ``at`` of a body's member ``sent``, where
            ``*`` stands for every member or item and ``\.`` for a dot; or that part for messages of one type, as the
            tuple ``("reply", "message", "sent", "at")``, in which ``"attachment"`` may stand for all behind the type.
        sender: Compare what this participant does alone.
    Raises:
        UsageError: If a file is no transcript, or ``ignore`` has what cannot be ignored.
    """
    skipped = _Ignored(ignore)
    ours, theirs = (events_by_route(_open(one), skipped, sender) for one in (a, b))
    found: list[tuple[int, RouteDifference]] = []
    for route in dict.fromkeys([*ours, *theirs]):
        difference = _compare(route, ours.get(route, []), theirs.get(route, []))
        if difference is not None:
            record = difference.one or difference.other
            found.append((record.time_ns if record is not None else 0, difference))
    found.sort(key=lambda one: one[0])
    count = max(sum(map(len, events.values())) for events in (ours, theirs))
    return Difference(tuple(one for _, one in found), len(ours.keys() | theirs.keys()), count)


def differing_paths(one: Any, other: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where two JSON values differ, as deep inside as possible."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            if key in one and key in other:
                yield from differing_paths(one[key], other[key], (*path, key))
            else:
                yield (*path, key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differing_paths(ours, theirs, (*path, number))
    elif type(one) is not type(other) or one != other:
        yield path


def events_by_route(
    records: Records, ignored: _Ignored | None = None, sender: str | None = None
) -> dict[Route, list[tuple[Event, Record]]]:
    """Return what is compared of a record of a room, by route, each in order."""
    skipped = ignored if ignored is not None else _Ignored(("time", "id"))
    ids = _Ids(records) if skipped.has("id") else None
    streams = StreamNames()
    found: dict[Route, list[tuple[Event, Record]]] = {}
    for record in WholeChunks(records):
        stream = streams.name(record)
        if record.kind in skipped.kinds or _is_beneath(record) or (sender is not None and record.sender != sender):
            continue
        bodies = _attributes_of(record) if record.kind == "attributes" else [_body_of(record)]
        for body in bodies:
            event = skipped.event(record, body, ids)
            found.setdefault(Route(record.sender, record.recipient, stream), []).append((event, record))
    return found


def participant_ids(records: Records) -> dict[str, str]:
    """Return the name of each participant by its id, in the order of connecting."""
    return {record.id: record.sender for record in records if record.kind == "connected" and record.id}


def _open(given: Records | str | PathLike[str]) -> Records:
    return given if isinstance(given, Records) else Transcript.load(str(given))


def _compare(
    route: Route, ours: list[tuple[Event, Record]], theirs: list[tuple[Event, Record]]
) -> RouteDifference | None:
    sizes = (len(ours), len(theirs))
    for index, ((one, record), (other, second)) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return RouteDifference(route, index, record, second, _tell(one, other), sizes)
    if len(ours) == len(theirs):
        return None
    index = min(sizes)
    longer = ours if len(ours) > len(theirs) else theirs
    event, record = longer[index]
    if longer is ours:
        return RouteDifference(route, index, record, None, f"only the first has {_describe(event)}", sizes)
    return RouteDifference(route, index, None, record, f"only the second has {_describe(event)}", sizes)


def _tell(one: Event, other: Event) -> str:
    """Return what differs between two events."""
    if (one.kind, one.type) != (other.kind, other.type):
        return f"{_describe(one)} versus {_describe(other)}"
    what = f"{one.kind} {one.type!r}" if one.type else one.kind
    if one.body != other.body:
        ours, theirs = json.loads(one.body), json.loads(other.body)
        path = next(differing_paths(ours, theirs), ())
        return f"{what}: {_show_path(path)}: {_show(ours, path)} versus {_show(theirs, path)}"
    for name in ("attachment", "outcome", "times"):
        first, second = getattr(one, name), getattr(other, name)
        if first != second:
            return f"{what}: {name} {first or 'none'} versus {second or 'none'}"
    raise AssertionError("they are the same")


def _describe(event: Event) -> str:
    parts = [event.kind, repr(event.type) if event.type else "", clip(event.body, 100) if event.body != "{}" else ""]
    outcome = f"[{clip(event.outcome, 60)}]" if event.outcome not in ("", "delivered") else ""
    return " ".join(filter(None, [*parts, outcome]))


def _show_path(path: Path) -> str:
    return ".".join(["message", *(str(part) for part in path)])


def _show(value: Any, path: Path) -> str:
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return "missing"
    return clip(json.dumps(value, ensure_ascii=False), 100)


# --- what is compared of a record -------------------------------------------------------------------------------------


class _Ignored:
    """What is not compared.

    Raises:
        UsageError: If that makes no sense.
    """

    def __init__(self, ignore: Iterable[str | Path]) -> None:
        if isinstance(ignore, str):
            raise UsageError(f"ignore: several of what may be ignored, as [{ignore!r}]")
        self.kinds: set[str] = set()
        self._fields: set[str] = set()
        self._paths: list[tuple[str | None, Path]] = []
        """The type of messages, None for all, and what is left out of their bodies."""
        for one in ignore:
            self._add(one)

    def _add(self, one: str | Path) -> None:
        match one:
            case str() if one in FIELDS:
                self._fields.add(one)
            case str() if one in KINDS:
                self.kinds.add(one)
            case str() if one.startswith("message.") and "" not in split_path(one):
                self._paths.append((None, tuple(split_path(one)[1:])))
            case (str(type), "message", *path):
                self._paths.append((type, tuple(path)))
            case (str(type), "attachment"):
                self._paths.append((type, ("attachment of",)))
            case _:
                known = ", ".join([*FIELDS, *KINDS])
                raise UsageError(f"{one!r} cannot be ignored; these can: {known}, and message.PATH.IN.BODIES")

    def has(self, name: str) -> bool:
        """Return whether a field is not compared."""
        return name in self._fields

    def event(self, record: Record, body: Mapping[str, Any], ids: _Ids | None) -> Event:
        """Return what is compared of a record whose body is this."""
        paths = [path for type, path in self._paths if type is None or type == record.type]
        attachment = "" if self.has("attachment") or ("attachment of",) in paths else record.attachment
        for path in paths:
            body = _without(body, path)
        text = "{}" if self.has("body") else json.dumps(body, sort_keys=True, separators=(",", ":"))
        # How a connection ends is told by real rooms alone.
        told = outcome_of_answer(record) or record.outcome
        outcome = "" if self.has("outcome") or record.kind == "disconnected" else told
        if ids is not None:
            text, outcome = ids.number(text), ids.number(outcome)
        times = None if self.has("time") else (record.time_ns, record.latency_ns)
        return Event(record.kind, record.type, text, attachment, outcome, times)


def _without(value: Any, path: Path) -> Any:
    """Return a JSON value without what lies at a path; the value itself is left as it is."""
    if not path:
        return {}
    first, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        keys = [key for key in value if first in ("*", key)]
        changed = {key: _without(value[key], rest) for key in keys if rest}
        return {key: changed.get(key, one) for key, one in value.items() if rest or key not in keys}
    if isinstance(value, list):
        hit = [first == "*" or str(number) == str(first) for number in range(len(value))]
        # An item keeps its place, so that those behind it are compared with their like.
        return [
            (_without(one, rest) if rest else None) if is_hit else one for one, is_hit in zip(value, hit, strict=True)
        ]
    return value


def _is_beneath(record: Record) -> bool:
    """Return whether a record is of what clients exchange beneath their programs, or the room does by itself."""
    if record.kind == "stream" and not record.sender:  # It was not answered in time.
        return True
    if record.kind in ("confirming", "reply"):  # An error that a room answers is the outcome of what it answers, too.
        return True
    if record.type == _CANCEL and record.detail.get("left") is True:  # As a client leaves with a stream open.
        return True
    return record.kind == "stream" and record.type.startswith(_BENEATH) and record.type != _CANCEL


def _body_of(record: Record) -> Mapping[str, Any]:
    # Windows, secrets and proofs are the clients'. A stream's id is in the route.
    if record.stream_id:
        return {key: value for key, value in record.detail.items() if key not in ("meshsync", "proof", "stream_id")}
    return record.detail


def _attributes_of(record: Record) -> list[Mapping[str, Any]]:
    """Return each attribute by itself: whether several are set at once is seen by no participant."""
    return [{key: value} for key, value in record.detail.items() if key != ATTRIBUTE]


class StreamNames:
    """Names for streams that do not depend on the order of opening between different participants."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._opened: Counter[tuple[str, str]] = Counter()

    def name(self, record: Record) -> str:
        """Return the name of the stream of a record; empty for none."""
        if not record.stream_id:
            return ""
        if record.type == "stream.open" and record.stream_id not in self._names:
            pair = (record.sender, record.recipient)
            self._opened[pair] += 1
            self._names[record.stream_id] = f"stream {self._opened[pair]} from {pair[0]} to {pair[1]}"
        return self._names.get(record.stream_id, record.stream_id)


class _Ids:
    """The ids in one record, each with a name that it has in another record too."""

    def __init__(self, records: Records) -> None:
        names: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for id, label in participant_ids(records).items():
            counts[label] += 1
            names[id] = f"<{label}>" if counts[label] == 1 else f"<{label}, id {counts[label]}>"
        streams = StreamNames()
        for record in records:
            name, stream_id = streams.name(record), record.detail.get("stream_id")
            if name and isinstance(stream_id, str) and stream_id:
                names.setdefault(stream_id, f"<{name}>")
        self._names = {_quoted(id): _quoted(name) for id, name in names.items()}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def number(self, text: str) -> str:
        """Return a text in which each id is the name of what it belongs to."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._names[found.group()], text)


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]
