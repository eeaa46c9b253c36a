"""What happens in an emulator, for its log: arrivals, departures, streams, faults, and each message at DEBUG.

A line is a sentence for people; its ``extra`` has the same as members, for programs: ``event`` and what
docs/logging.md lists. Names are escaped, bodies shortened, tokens left out; see `meshsync.excerpts`. What strangers can
cause without end is bounded: of each event so many a second are logged, the others counted. Of refusals at the door
there are still fewer; see `Refusals`. The form of a line, colours, and where it goes are the business of whoever
handles the logger ``simulator.emulator``.

A room is watched if INFO is enabled when it opens; otherwise its messages cost what they cost without a log.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from meshsync.excerpts import excerpt, show_name, show_text
from meshsync.protocol.content import Error
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    Push,
    Reply,
    Request,
    Send,
    SetAttributes,
)
from simulator.emulator.rates import Rate
from simulator.record.calls_as_streams import as_message
from simulator.record.confirmed_messages import inside
from simulator.record.names import Recent
from simulator.room.members import Member, Output

__all__ = ["EventLog", "RoomLog"]

_log = logging.getLogger("simulator.emulator")

_PER_SECOND = 50.0
"""Lines of one event at INFO in a second; two seconds' worth may be saved up. A line costs about 20 us, so that all of
them together take some thousandths of a processor, however many come and go."""

_REPORT_AFTER = 1.0
"""Seconds after which the log tells what was left out."""

_MESSAGES = (Send, Broadcast, CallChunk, AnswerCall, AnswerChunk)
"""The requests that are messages of a participant to others, or may be."""

_MOST_CALLS = 1000
"""Calls of a room whose ids are known, the latest ones."""

_LONGEST_ID = 100
"""Characters of a stream's id that are logged."""

_CAPITAL = re.compile(r"\B(?=[A-Z])")

_STREAM_EVENTS = {
    "stream.open": ("stream_opened", "opens stream %s to %s"),
    "stream.accept": ("stream_accepted", "accepts stream %s of %s"),
    "stream.reject": ("stream_rejected", "rejects stream %s of %s"),
    "stream.close": ("stream_ended", "ends stream %s with %s"),
    "stream.meshsync.cancel": ("stream_ended", "breaks off stream %s with %s"),
}
"""By the type of a stream's message: the event, and what its sender does; with the stream's id and the other end."""


class EventLog:
    """Writes lines about an emulator's rooms, no more of them in a second than a person can want.

    Args:
        now: Returns the time in seconds, from any origin.
        later: Calls a function after a delay in seconds.
    """

    def __init__(self, now: Callable[[], float], later: Callable[[float, Callable[[], None]], object]) -> None:
        self._now = now
        self._later = later
        self._rates: dict[str, Rate] = {}
        self._left_out: Counter[str] = Counter()

    def write(self, event: str, text: str, *values: object, **members: object) -> None:
        """Write a line at INFO about an event, or count it if there were too many of that kind."""
        rate = self._rates.get(event)
        if rate is None:
            rate = self._rates[event] = Rate(_PER_SECOND, self._now())
        if rate.take(1, self._now()):
            _log.info(text, *values, extra={"event": event, **members})
            return
        if not self._left_out:
            self._later(_REPORT_AFTER, self._report)
        self._left_out[event] += 1

    def _report(self) -> None:
        counts = dict(self._left_out)
        self._left_out.clear()
        text = ", ".join(f"{count} {event}" for event, count in counts.items())
        _log.info("not logged, since there were too many in a second: %s", text, extra={"event": "left_out", **counts})


class RoomLog:
    """Watches one room for an `EventLog`: a `Watcher`.

    Args:
        name: The room's.
    """

    def __init__(self, log: EventLog, name: str) -> None:
        self._log = log
        self._room = name
        self._names: dict[str, str] = {}
        """The name of each participant that is here, by id."""
        self._calls: Recent[int, str] = Recent(_MOST_CALLS)
        """The id of each call, by that of the message which notified its recipient."""
        self._streams: Recent[str, tuple[Member, Member]] = Recent(_MOST_CALLS)
        """The ends of each stream that ends when one of them leaves, by its id."""

    def joined(self, member: Member) -> None:
        """Log an arrival."""
        self._names[member.id] = member.name
        members = {"role": member.role, "participants": len(self._names)}
        values = (show_name(member.role), len(self._names))
        self._write("arrived", member, "%s: %s arrives as %s; there are %d", values, members)

    def left(self, member: Member) -> None:
        """Log a departure, with the reason that was noted for it."""
        self._names.pop(member.id, None)
        count, reason = len(self._names), show_text(member.departure or "its connection ended")
        members = {"reason": reason, "participants": count}
        self._write("left", member, "%s: %s leaves: %s; there are %d", (reason, count), members)
        for stream, ends in list(self._streams.items()):
            if member in ends:
                del self._streams[stream]
                to = ends[member is ends[0]]
                ended = {"to": to.name, "stream": stream, "reason": "left"}
                values = (_short_id(stream), show_name(to.name))
                self._write("stream_ended", member, "%s: %s has left, which ends stream %s with %s", values, ended)

    def received(self, member: Member) -> int:
        """Do nothing, since the time of a request is of no interest here."""
        return 0

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Log what a request led to: streams and errors at INFO, everything at DEBUG."""
        outputs = tuple(output for output in outputs if output.to)
        if _log.isEnabledFor(logging.DEBUG):
            self._show(member, request, outputs)
        if len(outputs) > 1 and isinstance(request, (Send, Broadcast)) and not request.type.startswith("stream."):
            return  # Nearly all messages: the only output for one that is refused is an error.
        for output in outputs:
            what = output.what
            if isinstance(what, Reply):
                if isinstance(what.content, Error):
                    self._refuse(member, request, output.to[0], what.content)
                continue
            if isinstance(what, Call):
                self._calls[what.push_id] = what.call_id
            # (A caller that closes a call gets a close back.)
            is_echo = isinstance(request, CallChunk) and isinstance(what, AnswerChunk)
            message = None if is_echo or isinstance(what, Call) else as_message(what)
            if message is not None and message.type in _STREAM_EVENTS:
                self._stream(member, message, output.to[0])

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        """Log that a fault rejected a stream before its recipient knew of it."""
        stream, to, reason = _stream_of(request), self._name(request.to), show_text(outcome)
        members = {"to": to, "stream": stream, "reason": reason}
        text = "%s: %s opens stream %s to %s, and a fault intervenes: %s"
        self._write("stream_rejected", member, text, (_short_id(stream), show_name(to), reason), members)

    def lost(self, member: Member, request: Request) -> None:
        """Log that a request was held back by a fault until its sender had left."""
        if _log.isEnabledFor(logging.DEBUG):
            what = _kind_of(request)
            values = (self._room, show_name(member.name), what)
            extra = {"event": "request_lost", **self._about(member), "request": what}
            _log.debug("%s: %s has left before a fault let go of what it asked for: %s", *values, extra=extra)

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        """Log what a fault had kept from a recipient when it goes out."""
        self.handled(member, sent_ns, request, (output,))

    def blocked(self, member: Member, request: Request, output: Output) -> None:
        """Log that a fault keeps something from its recipient for good."""
        if _log.isEnabledFor(logging.DEBUG):
            what, to = _kind_of(request), output.to[0].name
            values = (self._room, show_name(to), show_name(member.name), what)
            extra = {"event": "message_lost", **self._about(member), "request": what, "to": to}
            _log.debug("%s: a fault keeps from %s what %s has requested: %s", *values, extra=extra)

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        """Log what the room rejects by itself, since the answer to a stream did not come in time."""
        text = "%s: a stream of %s comes to nothing: %s"
        values = (self._room, show_name(opener.name), show_text(reason))
        members = {"participant": "", "to": opener.name, "reason": show_text(reason)}
        self._log.write("stream_rejected", text, *values, room=self._room, **members)

    # --- what there is to say about a request -------------------------------------------------------------------------

    def _refuse(self, member: Member, request: Request, to: Member, error: Error) -> None:
        reason = show_text(error.text)
        if to is not member:  # The recipient of a duplex stream rejects it, and its opener gets the answer.
            stream = self._calls.get(request.push_id, "") if isinstance(request, AnswerCall) else ""
            self._streams.pop(stream, None)
            members = {"to": to.name, "stream": stream, "reason": reason}
            values = (_short_id(stream), show_name(to.name), reason)
            self._write("stream_rejected", member, "%s: %s rejects stream %s of %s: %s", values, members)
            return
        kind = _kind_of(request)
        members = {"kind": "" if error.code is None else str(int(error.code)), "request": kind, "reason": reason}
        code = "" if error.code is None else f"{error.code}, "
        self._write("refused", member, "%s: %s is refused its %s: error %s%s", (kind, code, reason), members)

    def _stream(self, member: Member, message: Push, to: Member) -> None:
        event, what = _STREAM_EVENTS[message.type]
        stream, body = _stream_of(message), message.message
        if event == "stream_opened" and not _is_resumable(body):
            self._streams[stream] = (member, to)
        elif event in ("stream_rejected", "stream_ended"):
            self._streams.pop(stream, None)
        reason = show_text(str(body.get("error") or body.get("reason") or ""))
        values = (_short_id(stream), show_name(to.name), f": {reason}" if reason else "")
        members = {"to": to.name, "stream": stream, "reason": reason}
        self._write(event, member, f"%s: %s {what}%s", values, members)

    def _show(self, member: Member, request: Request, outputs: Sequence[Output]) -> None:
        """Log a request at DEBUG: none is left out."""
        name, kind = show_name(member.name), _kind_of(request)
        extra = {"event": "request", **self._about(member), "request": kind}
        if not isinstance(request, _MESSAGES):
            extra["body"] = excerpt(request.attributes) if isinstance(request, SetAttributes) else ""
            _log.debug("%s: %s requests %s %s", self._room, name, kind, extra["body"], extra=extra)
            return
        passed, message = _passed_on(outputs)
        sent = request if isinstance(request, (Send, Broadcast)) else message
        if sent is None:
            _log.debug("%s: %s requests %s", self._room, name, kind, extra=extra)
            return
        recipient = self._name(request.to) if isinstance(request, Send) else passed.to[0].name if passed else ""
        to = "" if isinstance(request, Broadcast) else recipient
        type, body = inside(sent)
        size, attached, shown = passed.size if passed else 0, len(sent.attachment), excerpt(body)
        extra |= {"event": "message", "to": to, "type": type, "size": size, "attachment": attached, "body": shown}
        sizes = f"{size} bytes, {attached} of them attached" if attached else f"{size} bytes"
        values = (show_name(type), show_name(to) if to else "all", sizes if passed else "not passed on", shown)
        _log.debug("%s: %s sends %s to %s, %s: %s", self._room, name, *values, extra=extra)

    def _write(
        self, event: str, member: Member, text: str, values: Iterable[object], members: Mapping[str, object]
    ) -> None:
        """Write a line that begins with the room and a participant."""
        about = (self._room, show_name(member.name))
        self._log.write(event, text, *about, *values, **self._about(member), **members)

    def _about(self, member: Member) -> dict[str, object]:
        return {"room": self._room, "participant": member.name, "id": member.id}

    def _name(self, id: str) -> str:
        return self._names.get(id, id)


def _passed_on(outputs: Sequence[Output]) -> tuple[Output | None, Push | None]:
    """Return the output that is a message of a participant, on a call or not, and that message; or None twice."""
    for output in outputs:
        message = None if isinstance(output.what, (Reply, Call)) else as_message(output.what)
        if message is not None:
            return output, message
    return None, None


def _stream_of(what: Send | Push) -> str:
    return str(what.message.get("stream_id"))[:_LONGEST_ID]


def _is_resumable(offer: Mapping[str, Any]) -> bool:
    """Return whether a stream may go on when one of its ends has left, and is back. Source: PROTOCOL.md, section 13."""
    own = offer.get("meshsync")
    return isinstance(own, dict) and "resume" in own


def _short_id(id: str) -> str:
    """Return enough of a stream's id to tell it from others."""
    return show_name(id[:8])


def _kind_of(request: Request) -> str:
    """Return what kind of request it is, as ``send`` or ``set_attributes``."""
    return _CAPITAL.sub("_", type(request).__name__).lower()
