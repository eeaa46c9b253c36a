"""A conversation as a list of steps: what each participant does, in an order in which all of it can be done again.

The steps stand in the order in which they were done, not in that in which they arrived. So each can be done when all
above it have been done and have arrived: whatever a participant had got before a step is among them, and the
conversation cannot get stuck.

Steps are what the file of a test consists of, where people edit them. So a step is one class with few fields, and
whatever is wrong with one is an error when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

from meshsync.confirming.bodies import ATTRIBUTE
from meshsync.errors import UsageError
from meshsync.protocol.bridging import NO_HANDLER
from simulator.record.comparing import StreamNames, participant_ids
from simulator.record.records import Record, Records
from simulator.record.whole_chunks import WholeChunks
from simulator.replaying.questions import ANSWERS, Questions

__all__ = [
    "Id",
    "Script",
    "Sent",
    "Step",
    "mapped",
    "read_script",
    "records_of",
    "refused_by_client",
    "sha256_of",
    "texts_in",
]

PRESENCE = ("connect", "enable", "disable", "leave")
"""Steps that change who is there."""
ANSWERING = tuple(ANSWERS.values())
"""Steps that end a question."""
STREAM = ("open", "accept", "reject", "chunk", "close", "cancel")
"""Steps of streams."""
VERBS = (*PRESENCE, "set", "send", "broadcast", "ask", *ANSWERING, *STREAM)


@dataclass(frozen=True, slots=True)
class Id:
    """The id that a participant has when a step is done, wherever a message has it: a room gives other ones each time.

    Args:
        name: The participant's, as in the steps.
    """

    name: str

    def __repr__(self) -> str:
        return f"Id({self.name!r})"


@dataclass(frozen=True, slots=True, init=False)
class Sent:
    """What the program under test has sent to the participant whose step this is in: it is sent back.

    Args:
        type: Of the program's message.
        number: Which of those of this type to this participant, from 0.
        path: Where in it, as ``"question", "id"``.
    """

    type: str
    number: int
    path: tuple[str | int, ...]

    def __init__(self, type: str, number: int, *path: str | int) -> None:
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "path", path)

    def __repr__(self) -> str:
        return f"Sent({', '.join(map(repr, (self.type, self.number, *self.path)))})"


@dataclass(frozen=True, slots=True)
class Step:
    """What one participant does at one time.

    Args:
        at: When the record has it, in seconds; it is shown, and not kept to.
        who: The participant's name; a second one that is there at the same time is ``bob#2``.
        verb: ``connect``, ``enable``, ``disable``, ``leave``; ``set`` (attributes); ``send``, ``broadcast``; ``ask``,
            ``reply``, ``refuse``, ``fail`` (a question); ``open``, ``accept``, ``reject``, ``chunk``, ``close``,
            ``cancel`` (a stream).
        to: The recipient; of a broadcast, all of them; whoever is at the other end of the stream.
        type: Of a message, a question or an answer.
        body: A message's JSON, a stream's or a chunk's header, or the attributes. It may have an `Id` or a `Sent` where
            a text is.
        attachment: Of a message or a chunk, or its SHA-256 in hex where that is enough: it is only compared.
        stream: The stream's name, which is any text that no other stream has.
        question: The question's name, likewise.
        reply_type: The type that the asker of a question wants of its answer.
        role: Of a participant that connects.
        reason: Why a stream is rejected or cancelled, or a question refused.
        outcome: What the room answers; empty if it does as asked.
    Raises:
        UsageError: If there is no such verb, or what it needs is missing.
    """

    at: float
    who: str
    verb: str
    to: str | tuple[str, ...] = ""
    type: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    attachment: bytes | str = b""
    stream: str = ""
    question: str = ""
    reply_type: str = ""
    role: str = ""
    reason: str = ""
    outcome: str = ""

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise UsageError(f"{self._place}: there is no verb {self.verb!r}; these are: {', '.join(VERBS)}")
        if self.verb in ("send", "ask", *ANSWERING, *STREAM) and not (self.to and isinstance(self.to, str)):
            raise UsageError(f"{self._place}: to=, the name of one participant, is missing")
        if self.verb == "broadcast" and not isinstance(self.to, tuple):
            raise UsageError(f"{self._place}: to=, the names of all who get it as a tuple, is missing")
        if self.verb in STREAM and not self.stream:
            raise UsageError(f"{self._place}: stream=, the name of the stream, is missing")
        if self.verb in ("ask", *ANSWERING) and not self.question:
            raise UsageError(f"{self._place}: question=, the name of the question, is missing")

    @property
    def _place(self) -> str:
        return f"the step of {self.who!r} at {self.at:g} s"

    @property
    def recipients(self) -> tuple[str, ...]:
        """The names of all that it reaches."""
        if self.outcome and self.verb != "reject":
            return ()
        return self.to if isinstance(self.to, tuple) else (self.to,) if self.to else ()

    def __str__(self) -> str:
        match self.verb:
            case "connect":
                return f"{self.who} to connect"
            case "enable" | "disable":
                return f"{self.who} to {self.verb} messaging"
            case "leave":
                return f"{self.who} to leave"
            case "set":
                return f"{self.who} to set {', '.join(map(repr, self.body))}"
            case "send" | "broadcast":
                return f"{self.type!r} from {self.who}"
            case "ask":
                return f"the question {self.type!r} from {self.who}"
            case "reply" | "refuse" | "fail":
                return f"the answer of {self.who} to {self.question}"
            case "chunk":
                return f"a chunk from {self.who} on {self.stream}"
        return f"the {_NOUNS[self.verb]} of {self.stream} by {self.who}"


_NOUNS = {"open": "offer", "accept": "acceptance", "reject": "rejection", "close": "closing", "cancel": "cancelling"}


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of a record, and what of it cannot be done again."""

    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    """Attachments that the record lacks: it has their hashes alone. They are empty when it is replayed."""
    left_out: Mapping[str, int]
    """How often the record has what no participant did, or what did not get far, by its name."""

    @property
    def participants(self) -> tuple[str, ...]:
        """The names of all that do something, in the order of their first steps."""
        return tuple(dict.fromkeys(step.who for step in self.steps))

    @property
    def longest_silence(self) -> float:
        """The longest time between two steps that follow each other, in seconds."""
        times = [step.at for step in self.steps]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


# --- from records -----------------------------------------------------------------------------------------------------


def read_script(records: Records) -> Script:
    """Return the steps of a record of a room."""
    reading = _Reading(records)
    found = sorted(reading.steps(), key=lambda one: one[0])
    steps = tuple(_join_broadcasts(found))
    return Script((*_arrivals_before(steps), *steps), tuple(reading.missing), reading.left_out)


def _arrivals_before(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps of those who were there when the record begins, since it has lost its beginning."""
    first: dict[str, Step] = {}
    for step in steps:
        for who in (step.who, *step.recipients):
            first.setdefault(who, step)
    for who, step in first.items():
        if step.who != who or step.verb != "connect":
            yield Step(steps[0].at, who, "connect", role="user")
            if step.who != who or step.verb != "enable":
                yield Step(steps[0].at, who, "enable")


class _Reading:
    def __init__(self, records: Records) -> None:
        self._records = WholeChunks(records)
        self._ids = participant_ids(records)
        self._streams = StreamNames()
        self._questions = Questions()
        self.missing: dict[str, None] = {}
        self.left_out: dict[str, int] = {}

    def steps(self) -> Iterator[tuple[tuple[int, int], Step]]:
        """Yield each step with when it was done: the instant in nanoseconds, and the number of its record."""
        enabled_ns: dict[str, int] = {}
        for number, record in enumerate(self._records):
            stream = self._streams.name(record)
            if record.outcome.startswith("lost"):
                self._leave_out("lost on the way")
                continue
            if record.kind == "stream" and not record.sender:
                self._leave_out("rejected by the room")
                continue
            if record.kind == "enabled":
                enabled_ns[record.sender] = record.time_ns
            step = self._step(record, stream)
            if step is not None:
                # Where it came to the room while its recipient was not there yet, it was on its way when that came.
                when = max(_sent_ns(record), enabled_ns.get(record.recipient, 0))
                yield (when, number), step

    def _step(self, record: Record, stream: str) -> Step | None:
        at = round(_sent_ns(record) / 1e9, 3)
        begin = Step(at, record.sender, "leave")
        outcome = "" if record.outcome in ("", "delivered") else record.outcome
        body = record.detail
        match record.kind:
            case "connected":
                self._questions.connected(record.sender)
                return replace(begin, verb="connect", role=str(body.get("role", "user")))
            case "disconnected":
                return begin
            case "enabled" | "disabled":
                return replace(begin, verb=record.kind[:-1], outcome=outcome)
            case "attributes":
                own = {key: value for key, value in body.items() if key != ATTRIBUTE}
                return replace(begin, verb="set", body=self._insert_ids(own), outcome=outcome) if own else None
            case "message" if not record.stream_id:
                message = replace(begin, type=record.type, body=self._insert_ids(body), outcome=outcome)
                return self._message_step(record, replace(message, attachment=self._attachment(record)))
            case "message" | "stream":
                return self._stream_step(
                    record, replace(begin, verb="send", to=record.recipient, stream=stream), outcome
                )
            case "refused" | "fault":
                self._leave_out(record.kind)
        return None

    def _message_step(self, record: Record, begin: Step) -> Step | None:
        if not record.recipient:
            return replace(begin, verb="broadcast", to=())
        verb, question = self._questions.verb(record)
        if not verb:
            self._leave_out("a question or an answer that came again, or was left")
            return None
        mark = record.mark.get("ask") or record.mark.get("answer") or {}
        wanted, reason = str(mark.get("reply_type", "")), str(mark.get("reason", ""))
        if verb == "send":
            return replace(begin, verb=verb, to=record.recipient)
        return replace(begin, verb=verb, to=record.recipient, question=question, reply_type=wanted, reason=reason)

    def _stream_step(self, record: Record, begin: Step, outcome: str) -> Step | None:
        header = record.detail.get("header") or {}
        match record.type:
            case "stream.open":
                return replace(begin, verb="open", body=self._insert_ids(header), outcome=outcome)
            case "stream.accept":
                return replace(begin, verb="accept", outcome=outcome)
            case "stream.reject":
                return replace(begin, verb="reject", reason=str(record.detail.get("error", "")))
            case "stream.chunk":
                data = self._attachment(record)
                header = self._insert_ids(header)
                return replace(begin, verb="chunk", body=header, attachment=data, outcome=outcome)
            case "stream.close":
                return replace(begin, verb="close", outcome=outcome)
            case "stream.meshsync.cancel" if record.detail.get("left") is not True:  # That follows from leaving.
                reason = str(record.detail.get("reason", ""))
                return replace(begin, verb="cancel", reason=reason, outcome=outcome)
        return None

    def _attachment(self, record: Record) -> bytes | str:
        if not record.attachment:
            return b""
        content = self._records.attachments.get(record.attachment)
        if content is None:
            what = f"{record.type!r} from {record.sender} to {record.recipient} at {record.time_s:.3f} s"
            self.missing[f"{what}: SHA-256 {record.attachment}"] = None
            return record.attachment
        return content

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def _insert_ids(self, value: Any) -> Any:
        """Return a JSON value in which ids of participants are `Id`s."""
        return mapped(value, lambda text: Id(self._ids[text]) if text in self._ids else text)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a JSON value in which each key and each value that is no list or object was changed."""
    if isinstance(value, Mapping):
        return {change(key): mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mapped(item, change) for item in value]
    return change(value)


def texts_in(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield each text in a JSON value, keys excepted, with where it is."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_in(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from texts_in(item, (*path, number))
    elif isinstance(value, str):
        yield path, value


def _sent_ns(record: Record) -> int:
    """Return when a message was sent; of one without a recipient, when the room had it: who was there then counts."""
    return record.time_ns - (record.latency_ns or 0) if record.recipient else record.time_ns


def _join_broadcasts(found: Iterable[tuple[tuple[int, int], Step]]) -> Iterator[Step]:
    """Yield the steps in order, several sends of one instant as the broadcast that they were."""
    present: set[str] = set()
    waiting: list[Step] = []
    for (_, _), step in found:
        if waiting and not _is_same_broadcast(waiting, step):
            yield from _joined(waiting, present)
            waiting = []
        if step.verb == "send" and not step.outcome:
            waiting.append(step)
            continue
        if step.verb == "enable" and not step.outcome:
            present.add(step.who)
        elif step.verb in ("disable", "leave"):
            present.discard(step.who)
        yield step
    yield from _joined(waiting, present)


def _is_same_broadcast(sends: Sequence[Step], step: Step) -> bool:
    is_like = step.verb == "send" and replace(step, to=sends[0].to) == sends[0]
    return is_like and step.to not in [one.to for one in sends]


def _joined(sends: Sequence[Step], present: set[str]) -> Iterator[Step]:
    if len(sends) > 1 and {one.to for one in sends} == present - {sends[0].who}:
        yield replace(sends[0], verb="broadcast", to=tuple(str(one.to) for one in sends))
    else:
        yield from sends


def refused_by_client(steps: Iterable[Step]) -> frozenset[str]:
    """Return the streams that a client rejected by itself, since its program takes none; it does so again."""
    return frozenset(step.stream for step in steps if step.verb == "reject" and step.reason == NO_HANDLER)


# --- to records -------------------------------------------------------------------------------------------------------


def records_of(steps: Iterable[Step]) -> Records:
    """Return a record that has these steps, to be compared with another; its times are those of the steps."""
    records = Records()
    ids: dict[str, str] = {}
    last = 0
    for step in steps:
        last = max(last, round(step.at * 1e9))
        for record in _records(step, last, ids):
            records.add(record)
    return records


_KINDS = {"connect": "connected", "leave": "disconnected", "enable": "enabled", "disable": "disabled"}
_TYPES = {"cancel": "stream.meshsync.cancel"}


def _records(step: Step, time_ns: int, ids: dict[str, str]) -> Iterator[Record]:
    def known(value: Any) -> Any:
        if isinstance(value, Id):
            return ids.get(value.name, f"id of {value.name}")
        return repr(value) if isinstance(value, Sent) else value

    body = mapped(step.body, known)
    hash = sha256_of(step.attachment)
    if step.verb in PRESENCE:
        id = ""
        if step.verb == "connect":
            id = ids[step.who] = f"<<<id of {step.who} at {time_ns}>>>"
        detail = {"role": step.role} if step.verb == "connect" else {}
        yield Record(time_ns, _KINDS[step.verb], step.who, outcome=step.outcome, detail=detail, id=id)
        return
    if step.verb == "set":
        yield Record(time_ns, "attributes", step.who, outcome=step.outcome, detail=body)
        return
    outcome = step.outcome or "delivered"
    if step.verb in ("send", "broadcast", "ask", *ANSWERING):
        recipients = step.to if isinstance(step.to, tuple) else (step.to,)
        for to in recipients or ("",):
            mark = _mark_of(step)
            yield Record(time_ns, "message", step.who, to, step.type, 0, 0, outcome, "", body, hash, mark=mark)
        return
    detail = {"stream_id": f"<<<id of {step.stream}>>>"}
    if step.verb in ("open", "chunk"):
        detail["header"] = body
    elif step.verb == "reject":
        detail["error"], outcome = step.reason, f"rejected: {step.reason}"
    elif step.verb == "cancel":
        detail["reason"] = step.reason
    kind, type = ("message" if step.verb == "chunk" else "stream"), _TYPES.get(step.verb, f"stream.{step.verb}")
    yield Record(time_ns, kind, step.who, str(step.to), type, 0, 0, outcome, step.stream, detail, hash)


def _mark_of(step: Step) -> Mapping[str, Any]:
    """Return how the wire tells that a question has no answer; empty for all else, which is compared as a message."""
    outcomes = {verb: outcome for outcome, verb in ANSWERS.items() if verb != "reply"}
    outcome = outcomes.get(step.verb)
    return {} if outcome is None else {"answer": {"outcome": outcome, "reason": step.reason}}


def sha256_of(attachment: bytes | str) -> str:
    """Return the SHA-256 in hex of an attachment of a step; empty for none."""
    if isinstance(attachment, str):
        return attachment
    return sha256(attachment).hexdigest() if attachment else ""
