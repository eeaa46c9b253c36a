"""Writes the transcript of one room, from what the room's rules report: the outputs of each request.

Here a message has arrived when it is in its recipients' queues, which is what a real room can know of it. A simulated
one follows it further: see `simulator.record.link_recorder`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from meshsync.confirming.bodies import ATTRIBUTE, OWN_PREFIX
from meshsync.errors import InvalidMessage
from meshsync.protocol.codec import encode_push
from meshsync.protocol.content import Error
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    Connected,
    Disable,
    Enable,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
)
from simulator.record.calls_as_streams import as_message
from simulator.record.confirmed_messages import inside, mark_of
from simulator.record.joined_chunks import apart, trips_apart
from simulator.record.names import Names, Recent
from simulator.record.record import Record
from simulator.record.records import Records
from simulator.room.rules import RESERVED_TYPES, Member, Output

__all__ = ["Notice", "Recorder", "is_introduction", "kind_of", "outcome_of"]


class Notice(Protocol):
    """Records an event that a fault can follow: its name, its sender, its recipient, the message's type."""

    def __call__(
        self, event: str, /, *, sender: str | None = None, to: str | None = None, type: str | None = None
    ) -> None: ...


class Recorder:
    """Keeps the transcript of one room.

    Args:
        now: Returns the instant, in nanoseconds since the start.
        notice: Called with each event that a fault can follow.
        most: How many participants that left, and of streams, are known by their labels.

    Attributes:
        notice: That argument, which may change.
    """

    def __init__(self, transcript: Records, now: Callable[[], int], notice: Notice, *, most: float = math.inf) -> None:
        self.transcript = transcript
        self._now = now
        self.notice = notice
        self._names = Names(most)
        self._enabled: set[str] = set()
        self._calls: Recent[int, str] = Recent(most)
        """The id of each call, by that of the message which notified its recipient."""

    @property
    def names(self) -> dict[str, None]:
        """The name of each participant that is or was here, or wanted to be, in order of appearance."""
        return self._names.seen

    # --- participants -------------------------------------------------------------------------------------------------

    def appeared(self, name: str) -> None:
        """Note that a participant of that name wants to connect."""
        self._names.appear(name)
        self.notice("connect", sender=name)

    def joined(self, member: Member) -> None:
        """Note that a participant's connection is there, and choose its label."""
        label = self._names.join(member.id, member.name)
        self._add("connected", label, detail={"role": member.role}, id=member.id)
        self.notice("join", sender=member.name)

    def left(self, member: Member) -> None:
        """Note that a participant's connection is gone."""
        self._leave(member)
        self.notice("leave", sender=member.name)

    def _leave(self, member: Member, reason: str = "") -> None:
        self._enabled.discard(member.id)
        self._add("disconnected", self._names.leave(member.id), outcome=reason)

    def refused(self, name: str, reason: str) -> None:
        """Note that a participant was not let in."""
        self._add("refused", name, outcome=reason)

    # --- requests and their outputs -----------------------------------------------------------------------------------

    def received(self, member: Member) -> int:
        """Note that the room begins to handle a request; return the instant it was sent, in nanoseconds."""
        return self._now()

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Note the room's outputs for a request that was sent at ``sent_ns``, or now if that is None."""
        outcome = ""
        trips: list[tuple[Output, Push]] = []
        for output in outputs:
            what = output.what
            if isinstance(what, Reply):
                content = what.content
                if isinstance(content, Error) and output.to == (member,):
                    outcome = f"error {content.code}: {content.text}"
                elif isinstance(content, Error):
                    self._refused_call(member, request, output.to[0], content.text)
                self.notice("reply", to=member.name)
                continue
            push = what if isinstance(what, Push) else self._on_call(request, what)
            if push is not None and push.type not in RESERVED_TYPES:
                trips.append((output, push))
        sent_ns = self._now() if sent_ns is None else sent_ns
        if isinstance(request, (Send, Broadcast)):
            self._passed_on(member, sent_ns, request, trips, outcome)
        elif isinstance(request, (CallChunk, AnswerCall, AnswerChunk)):
            self._sent_on_call(member, sent_ns, request, trips, outcome)
        elif isinstance(request, SetAttributes) and not is_introduction(request.attributes):
            self._add("attributes", self._names.label(member.id), outcome=outcome, detail=request.attributes)
            self.notice("attributes", sender=member.name)
        elif isinstance(request, (Enable, Disable)):
            self._moved(member, isinstance(request, Enable), outcome)

    def _on_call(self, request: Request, what: Call | CallChunk | AnswerChunk | RoomReady | Connected) -> Push | None:
        """Return the message that an output on a call stands for; None for all that is not recorded."""
        if isinstance(what, Call):
            self._calls[what.push_id] = what.call_id
        # A caller that closes a call gets a close back, which is not recorded.
        is_echo = isinstance(request, CallChunk) and isinstance(what, AnswerChunk)
        return None if is_echo else as_message(what)

    def _passed_on(
        self,
        member: Member,
        sent_ns: int,
        request: Send | Broadcast,
        trips: Sequence[tuple[Output, Push]],
        outcome: str,
    ) -> None:
        if request.type == "stream.chunk" and len(parts := apart(request)) > 1:
            several = trips_apart(trips) or [()] * len(parts)
            for part, its_trips in zip(parts, several, strict=True):
                self._passed_on(member, sent_ns, part, its_trips, outcome)
            return
        stream_id = self._names.stream_of(request)
        if outcome:
            self._add_message(member.id, request, stream_id, outcome)
        elif isinstance(request, Broadcast) and not trips:  # It has come as far as the room, and has no recipients.
            self._add_message(member.id, request, stream_id, "delivered", self._now() - sent_ns)
        for output, push in trips:
            if output.to:
                self._set_out(member, sent_ns, output, push, stream_id)
        type, _ = inside(request)
        event = type if type.startswith("stream.") else "message" if isinstance(request, Send) else "broadcast"
        to = self._names.plain(request.to) if isinstance(request, Send) else None
        self.notice(event, sender=member.name, to=to, type=type)

    def _set_out(self, member: Member, sent_ns: int, output: Output, push: Push, stream_id: str) -> None:
        """Note that a message is on its way, which here is all of it."""
        type, message = inside(push)
        now = self._now()
        record = Record(
            now,
            kind_of(type, stream_id),
            self._names.label(member.id),
            "",
            type,
            output.size,
            now - sent_ns,
            outcome_of(push, stream_id),
            stream_id,
            message,
            self.transcript.attach(push.attachment),
            mark=mark_of(push),
        )
        recipients = [self._names.label(recipient.id) for recipient in output.to]
        if len(recipients) > 1:
            self._write(record, recipients)
        else:
            self._write(replace(record, recipient=recipients[0]))

    def _sent_on_call(
        self,
        member: Member,
        sent_ns: int,
        request: CallChunk | AnswerCall | AnswerChunk,
        trips: Sequence[tuple[Output, Push]],
        outcome: str,
    ) -> None:
        for output, push in trips:
            stream_id = self._names.stream_of(push)
            if not output.to:
                continue
            self._set_out(member, sent_ns, output, push, stream_id)
            self.notice(push.type, sender=member.name, to=output.to[0].name, type=push.type)
        if outcome and isinstance(request, CallChunk) and isinstance(request.content, CallMessage):
            offer = Push("", "stream.open", {"stream_id": request.call_id, "header": request.content.message})
            self._add(
                "stream",
                self._names.label(member.id),
                self._names.label(request.content.to),
                offer.type,
                outcome=outcome,
                stream_id=self._names.stream_of(offer),
                detail=offer.message,
            )

    def _refused_call(self, member: Member, request: Request, opener: Member, reason: str) -> None:
        """Note that a participant rejected a call; the room notifies its opener by a reply."""
        call_id: object = None
        if isinstance(request, AnswerCall):
            call_id = self._calls.get(request.push_id)
        elif isinstance(request, Send):
            call_id = request.message.get("stream_id")
        self._add(
            "stream",
            self._names.label(member.id),
            self._names.label(opener.id),
            "stream.reject",
            outcome=f"rejected: {reason}",
            stream_id=self._names.stream(str(call_id)),
            detail={"stream_id": call_id, "error": reason},
        )
        if not isinstance(request, Send):
            self.notice("stream.reject", sender=member.name, to=opener.name, type="stream.reject")

    def _moved(self, member: Member, is_enabling: bool, outcome: str) -> None:
        # Doing either again changes nothing, and so is not recorded.
        if not outcome and is_enabling == (member.id in self._enabled):
            return
        if not outcome and is_enabling:
            self._enabled.add(member.id)
        elif not outcome:
            self._enabled.discard(member.id)
        self._add("enabled" if is_enabling else "disabled", self._names.label(member.id), outcome=outcome)
        self.notice("enable" if is_enabling else "disable", sender=member.name)

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        """Note that the room kept an offered stream from its recipient."""
        self._add_message(member.id, request, self._names.stream_of(request), outcome)
        to = self._names.plain(request.to)
        self.notice(request.type, sender=member.name, to=to, type=request.type)

    def lost(self, member: Member, request: Request) -> None:
        """Note that a request was dropped, since its sender had left before it was handled."""
        self._lose_request(member.id, request)

    def _lose_request(self, member_id: str, request: Request) -> None:
        sender = self._names.label(member_id)
        match request:
            case Send() | Broadcast():
                for part in apart(request):
                    self._add_message(member_id, part, self._names.stream_of(part), "lost")
            case SetAttributes(attributes) if not is_introduction(attributes):
                self._add("attributes", sender, outcome="lost", detail=attributes)
            case Enable():
                self._add("enabled", sender, outcome="lost")
            case Disable():
                self._add("disabled", sender, outcome="lost")

    def _add_message(
        self, sender_id: str, request: Send | Broadcast, stream_id: str, outcome: str, latency_ns: int | None = None
    ) -> None:
        """Note a message that no participant gets."""
        recipient = self._names.label(request.to) if isinstance(request, Send) else ""
        type, message = inside(request)
        self._add(
            kind_of(type, stream_id),
            self._names.label(sender_id),
            recipient,
            type,
            size_bytes=_size(sender_id, request),
            latency_ns=latency_ns,
            outcome=outcome,
            stream_id=stream_id,
            detail=message,
            attachment=self.transcript.attach(request.attachment),
            mark=mark_of(request),
        )

    def expired(self, opener: Member, stream_id: str, reason: str) -> None:
        """Note that the room rejects a stream by itself."""
        self._add(
            "stream",
            "",
            self._names.label(opener.id),
            "stream.reject",
            outcome=f"rejected: {reason}",
            stream_id=self._names.stream(stream_id),
            detail={"stream_id": stream_id, "error": reason},
        )

    def released(self, member: Member, sent_ns: int, request: Request, output: Output) -> None:
        """Note that what was kept from one recipient goes out to it now."""
        what = output.what
        if not isinstance(what, Reply):
            push = as_message(what)
            for trip in trips_apart([(output, push)]) if push is not None else ():
                self._set_out(member, sent_ns, *trip[0], self._stream_in(request, trip[0][1]))
        elif isinstance(what.content, Error):
            self._refused_call(member, request, output.to[0], what.content.text)

    def blocked(self, member: Member, request: Request, output: Output) -> None:
        """Note that a message never reaches one recipient."""
        push = None if isinstance(output.what, Reply) else as_message(output.what)
        if push is None:
            return
        for ((way, part),) in trips_apart([(output, push)]):
            stream_id = self._stream_in(request, part)
            type, message = inside(part)
            self._add(
                kind_of(type, stream_id),
                self._names.label(member.id),
                self._names.label(way.to[0].id),
                type,
                size_bytes=way.size,
                outcome="lost",
                stream_id=stream_id,
                detail=message,
                attachment=self.transcript.attach(part.attachment),
                mark=mark_of(part),
            )

    def _stream_in(self, request: Request, push: Push) -> str:
        """Return the label of a message's stream, which was given when its request was handled."""
        is_of_stream = push.type.startswith("stream.") and not isinstance(request, Broadcast)
        return self._names.stream(str(push.message.get("stream_id"))) if is_of_stream else ""

    def struck(self, fault: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Note that a fault struck, began or ended."""
        self._add("fault", "", ", ".join(names), fault, outcome=outcome, detail=detail)

    def _add(self, kind: str, sender: str, recipient: str = "", type: str = "", **rest: Any) -> None:
        self._write(Record(self._now(), kind, sender, recipient, type, **rest))

    def _write(self, record: Record, recipients: Sequence[str] = ()) -> None:
        """Write down a record; of several recipients, one for each."""
        self.transcript.add(record, recipients)


def outcome_of(push: Push, stream_id: str) -> str:
    """Return the fate of a message that has arrived."""
    is_rejection = stream_id and push.type == "stream.reject"
    return f"rejected: {push.message.get('error', '')}" if is_rejection else "delivered"


def is_introduction(attributes: Mapping[str, Any]) -> bool:
    """Return whether only this package's own attribute is set, as each time that a client enables messaging."""
    return attributes.keys() == {ATTRIBUTE}


def kind_of(type: str, stream_id: str) -> str:
    """Return the kind of the record of a message."""
    if stream_id and type != "stream.chunk":
        return "stream"
    return "confirming" if type.startswith(OWN_PREFIX) else "message"


def _size(sender_id: str, request: Send | Broadcast) -> int:
    """Return the bytes that a message would have had on its way to a recipient."""
    try:
        return len(encode_push(Push(sender_id, request.type, request.message))[1]) + len(request.attachment)
    except InvalidMessage:
        return len(request.attachment)
