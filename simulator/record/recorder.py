"""Writes the transcript of one room: follows each message from its sender's connection to each recipient's.

Taps on the links report the frames that were sent, arrived and got lost there; the room's rules report the outputs of
each request. Between the two it needs no decoding: a push has an id that is the room's own, which its first packet
shows. Only requests that got lost before the room had them are decoded, so that their records name them.

Each message has one record for each recipient, written when it is decided whether it arrives; one without a recipient
if it got lost on the way to the room, or is a broadcast with no recipients; none while it is on its way.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from meshsync.confirming.bodies import ATTRIBUTE, OWN_PREFIX
from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.codec import decode_request, encode_push
from meshsync.protocol.content import Error
from meshsync.protocol.frames import CloseFrame
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    Disable,
    Enable,
    Push,
    Reply,
    Request,
    Send,
    SetAttributes,
)
from meshsync.protocol.packets import WireMessage
from simulator.network.links import ControlFrame, Frame, Link, LinkState
from simulator.network.network import CLIENT_GONE, Ended
from simulator.network.traffic import Traffic
from simulator.record.calls_as_streams import as_message
from simulator.record.confirmed_messages import inside
from simulator.record.names import Names
from simulator.record.records import Record, Records
from simulator.room.rules import RESERVED_TYPES, Member, Output

__all__ = ["Line", "Recorder"]

_START = struct.Struct(">QII")
_BODY = struct.Struct(">QI")
_REPLY = b"__response__"


class Notice(Protocol):
    """Records an event that a fault can follow: its name, its sender, its recipient, the message's type."""

    def __call__(
        self, event: str, /, *, sender: str | None = None, to: str | None = None, type: str | None = None
    ) -> None: ...


@dataclass(slots=True)
class _Trip:
    """A message that is on its way to one or more recipients."""

    sender: str
    push: Push
    size: int
    sent_ns: int
    stream_id: str
    attachment: str
    waiting: dict[str, None]
    """The ids of the recipients it is still on its way to, in order."""


@dataclass(slots=True)
class _Asked:
    """A request on its way, or before the room: the instant its first packet was sent, and its packets."""

    sent_ns: int
    packets: list[bytes] = field(default_factory=list)
    request: Request | None = None
    """The request itself where it has no packets, since its sender has no client."""


class Ends(Protocol):
    """The ends of a connection."""

    ended: Ended
    """Those at which it has ended: frames that arrive at a client's end then reach no program any more."""


@dataclass(slots=True)
class Line:
    """The contents of one link at the moment."""

    label: str
    """The name of its connection."""
    is_up: bool
    ends: Ends
    under_way: deque[tuple[int, bytes | Request]] = field(default_factory=deque)
    """Of each packet under way, up: the instant it was sent, in nanoseconds, and the packet, or the whole request."""
    partial: _Asked | None = None
    """The message of which some packets have ended their way, up."""
    announced: int = 0
    """Body packets that the message coming in at the moment lacks."""
    push_id: int | None = None
    """That message's id, down, if a participant sent it."""


class Recorder:
    """Keeps the transcript of one room.

    Args:
        now: Returns the instant, in nanoseconds since the start.
        notice: Called with each event that a fault can follow.

    Attributes:
        settled: Called at the end of each push's way to one recipient, with its id and whether it arrived.
    """

    def __init__(
        self,
        transcript: Records,
        now: Callable[[], int],
        notice: Notice,
    ) -> None:
        self.transcript = transcript
        self._now = now
        self._notice = notice
        self.settled: Callable[[int, bool], None] | None = None
        self._names = Names()
        self._enabled: set[str] = set()
        self._trips: dict[int, _Trip] = {}
        self._down: dict[str, Link[Traffic]] = {}
        """The link to each participant that has one, by id."""
        self._asked: dict[str, deque[_Asked]] = {}
        """Requests that have arrived from each participant that is here, by id, and were not handled yet."""
        self._partial: dict[str, _Asked] = {}
        """The packets that each participant, by id, has sent of a message that is not whole yet."""
        self._calls: dict[int, str] = {}
        """The id of each call, by that of the message which notified its recipient."""

    @property
    def names(self) -> dict[str, None]:
        """The name of each participant that is or was here, or wanted to be, in order of appearance."""
        return self._names.seen

    # --- participants -------------------------------------------------------------------------------------------------

    def appeared(self, name: str) -> None:
        """Note that a participant of that name wants to connect."""
        self._names.appear(name)
        self._notice("connect", sender=name)

    def joined(self, member: Member) -> None:
        """Note that a participant's connection is there, and choose its label."""
        label = self._names.join(member.id, member.name)
        self._asked[member.id] = deque()
        self._add("connected", label, detail={"role": member.role}, id=member.id)
        self._notice("join", sender=member.name)

    def left(self, member: Member) -> None:
        """Note that a participant's connection is gone, and with it the requests not yet handled."""
        for asked in self._asked.pop(member.id, ()):
            self._lose(member.id, asked)
        partial = self._partial.pop(member.id, None)
        if partial is not None:
            self._lose(member.id, partial)
        label = self._names.leave(member.id)
        self._enabled.discard(member.id)
        self._add("disconnected", label)
        link = self._down.get(member.id)
        if link is None or link.state in (LinkState.SILENT, LinkState.BROKEN):
            self._give_up(member.id)  # Else frames in flight still arrive, and the link's end comes last.
        self._notice("leave", sender=member.name)

    def _give_up(self, member_id: str) -> None:
        """Note that nothing more reaches a participant: messages on their way are lost."""
        self._down.pop(member_id, None)
        for push_id in [push_id for push_id, trip in self._trips.items() if member_id in trip.waiting]:
            self.arrived(push_id, member_id, is_lost=True)

    def refused(self, name: str, reason: str) -> None:
        """Note that a participant was not let in."""
        self._add("refused", name, outcome=reason)

    # --- requests and their outputs -----------------------------------------------------------------------------------

    def received(self, member: Member) -> int:
        """Note that the room begins to handle a request; return the instant it was sent, in nanoseconds."""
        asked = self._asked.get(member.id)
        return asked.popleft().sent_ns if asked else self._now()

    def handled(self, member: Member, sent_ns: int | None, request: Request, outputs: Iterable[Output]) -> None:
        """Note the room's outputs for a request that was sent at ``sent_ns``, or now if that is None."""
        outcome = ""
        trips: list[tuple[Output, Push]] = []
        for output in outputs:
            what = output.what
            if isinstance(what, Reply):
                if isinstance(what.content, Error) and output.to != (member,):
                    self._refused_call(member, request, output.to[0], what.content.text)
                elif isinstance(what.content, Error):
                    outcome = f"error {what.content.code}: {what.content.text}"
                self._notice("reply", to=member.name)
                continue
            if isinstance(what, Call):
                self._calls[what.push_id] = what.call_id
            # A caller that closes a call gets a close back, which is not recorded.
            is_echo = isinstance(request, CallChunk) and isinstance(what, AnswerChunk)
            push = None if is_echo else as_message(what)
            if push is not None and push.type not in RESERVED_TYPES:
                trips.append((output, push))
        sent_ns = self._now() if sent_ns is None else sent_ns
        if isinstance(request, (Send, Broadcast)):
            self._passed_on(member, sent_ns, request, trips, outcome)
        elif isinstance(request, (CallChunk, AnswerCall, AnswerChunk)):
            self._sent_on_call(member, sent_ns, request, trips, outcome)
        elif isinstance(request, SetAttributes) and not _is_introduction(request.attributes):
            self._add("attributes", self._names.label(member.id), outcome=outcome, detail=request.attributes)
            self._notice("attributes", sender=member.name)
        elif isinstance(request, (Enable, Disable)):
            self._moved(member, isinstance(request, Enable), outcome)

    def _passed_on(
        self,
        member: Member,
        sent_ns: int,
        request: Send | Broadcast,
        trips: Sequence[tuple[Output, Push]],
        outcome: str,
    ) -> None:
        stream_id = self._names.stream_of(request)
        if outcome:
            self._add_message(member.id, request, stream_id, outcome)
        elif isinstance(request, Broadcast) and not trips:  # It has come as far as the room, and has no recipients.
            self._add_message(member.id, request, stream_id, "delivered", self._now() - sent_ns)
        for output, push in trips:
            self._set_out(member, sent_ns, output, push, stream_id)
        type, _ = inside(request)
        event = type if type.startswith("stream.") else "message" if isinstance(request, Send) else "broadcast"
        to = self._names.plain(request.to) if isinstance(request, Send) else None
        self._notice(event, sender=member.name, to=to, type=type)

    def _set_out(self, member: Member, sent_ns: int, output: Output, push: Push, stream_id: str) -> None:
        waiting = dict.fromkeys([recipient.id for recipient in output.to])
        sender, attachment = self._names.label(member.id), self.transcript.attach(push.attachment)
        self._trips[output.id] = _Trip(sender, push, output.size, sent_ns, stream_id, attachment, waiting)

    def _sent_on_call(
        self,
        member: Member,
        sent_ns: int,
        request: CallChunk | AnswerCall | AnswerChunk,
        trips: Sequence[tuple[Output, Push]],
        outcome: str,
    ) -> None:
        for output, push in trips:
            self._set_out(member, sent_ns, output, push, self._names.stream_of(push))
            self._notice(push.type, sender=member.name, to=output.to[0].name, type=push.type)
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
            self._notice("stream.reject", sender=member.name, to=opener.name, type="stream.reject")

    def _moved(self, member: Member, is_enabling: bool, outcome: str) -> None:
        # Doing either again changes nothing, and so is not recorded.
        if not outcome and is_enabling == (member.id in self._enabled):
            return
        if not outcome and is_enabling:
            self._enabled.add(member.id)
        elif not outcome:
            self._enabled.discard(member.id)
        self._add("enabled" if is_enabling else "disabled", self._names.label(member.id), outcome=outcome)
        self._notice("enable" if is_enabling else "disable", sender=member.name)

    def withheld(self, member: Member, request: Send, outcome: str) -> None:
        """Note that the room kept an offered stream from its recipient."""
        self._add_message(member.id, request, self._names.stream_of(request), outcome)
        to = self._names.plain(request.to)
        self._notice(request.type, sender=member.name, to=to, type=request.type)

    def lost(self, member: Member, request: Request) -> None:
        """Note that a request was dropped, since its sender had left before it was handled."""
        self._lose(member.id, _Asked(0, request=request))

    def arrived(self, push_id: int, recipient_id: str, *, is_lost: bool = False) -> None:
        """Note that a message has come to the end of its way to one recipient."""
        trip = self._trips.get(push_id)
        if trip is None or recipient_id not in trip.waiting:
            return
        del trip.waiting[recipient_id]
        if not trip.waiting:
            del self._trips[push_id]
        now, push, stream_id = self._now(), trip.push, trip.stream_id
        outcome = "lost" if is_lost else "delivered"
        type, message = inside(push)
        if stream_id and push.type == "stream.reject" and not is_lost:
            outcome = f"rejected: {push.message.get('error', '')}"
        self.transcript.add(
            Record(
                now,
                _kind(type, stream_id),
                trip.sender,
                self._names.label(recipient_id),
                type,
                trip.size,
                None if is_lost else now - trip.sent_ns,
                outcome,
                stream_id,
                message,
                trip.attachment,
            )
        )
        if self.settled is not None:
            self.settled(push_id, not is_lost)

    def _add_message(
        self, sender_id: str, request: Send | Broadcast, stream_id: str, outcome: str, latency_ns: int | None = None
    ) -> None:
        """Note a message that no participant gets."""
        recipient = self._names.label(request.to) if isinstance(request, Send) else ""
        type, message = inside(request)
        self._add(
            _kind(type, stream_id),
            self._names.label(sender_id),
            recipient,
            type,
            size_bytes=_size(sender_id, request),
            latency_ns=latency_ns,
            outcome=outcome,
            stream_id=stream_id,
            detail=message,
            attachment=self.transcript.attach(request.attachment),
        )

    def struck(self, fault: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Note that a fault struck, began or ended."""
        self._add("fault", "", ", ".join(names), fault, outcome=outcome, detail=detail)

    # --- frames on links ----------------------------------------------------------------------------------------------

    def tap(self, line: Line, member_id: str, link: Link[Traffic], what: str, frames: Sequence[Frame[Traffic]]) -> None:
        """Note frames that were sent on a link, arrived or got lost.

        Args:
            member_id: The participant that the link belongs to; empty while none is seated.
        """
        now = self._now()
        if line.is_up and what == "sent":
            for content, _ in frames:
                if type(content) is bytes or not isinstance(content, (ControlFrame, CloseFrame, Output)):
                    line.under_way.append((now, content))
        elif line.is_up:
            self._left(line, member_id, now, what == "lost", frames)
        elif what == "sent":
            if member_id not in self._down and member_id:
                self._down[member_id] = link
            for content, _ in frames:
                if type(content) is bytes:
                    self.transcript.add_packet(now, line.label, "down", content)
        else:
            is_lost = what == "lost" or line.ends.ended in CLIENT_GONE
            for content, _ in frames:
                if type(content) is bytes:
                    self._pass(line, content, member_id, is_lost)
                elif isinstance(content, Output):
                    self.arrived(content.id, member_id, is_lost=is_lost)
                elif content is ControlFrame.END:
                    self._give_up(member_id)

    def _left(self, line: Line, member_id: str, now: int, is_lost: bool, frames: Sequence[Frame[Traffic]]) -> None:
        """Note frames that have come to the end of their way up."""
        for content, _ in frames:
            if type(content) is not bytes and isinstance(content, (ControlFrame, CloseFrame)):
                continue
            sent_ns, sent = line.under_way.popleft()
            if isinstance(sent, bytes):
                if not is_lost:
                    self.transcript.add_packet(now, line.label, "up", sent)
                asked = self._gather(line, member_id, sent_ns, sent)
                if asked is None:
                    continue
            else:  # A request of a participant without a client.
                asked = _Asked(sent_ns, request=sent)
            waiting = self._asked.get(member_id)
            if is_lost or waiting is None:
                self._lose(member_id, asked)
            else:
                waiting.append(asked)

    def _gather(self, line: Line, member_id: str, sent_ns: int, packet: bytes) -> _Asked | None:
        """Append a packet to those of its message before it; return the message if it is whole."""
        if not line.announced:
            line.announced = _START.unpack_from(packet)[2] if len(packet) >= _START.size else 0
            asked = _Asked(sent_ns, [packet])
            if not line.announced:
                return asked
            line.partial = self._partial[member_id] = asked
            return None
        line.announced -= 1
        if line.partial is not None:
            line.partial.packets.append(packet)
        if line.announced:
            return None
        whole, line.partial = line.partial, None
        # If its sender has left in the midst of it, it has a record already.
        return whole if self._partial.pop(member_id, None) is whole else None

    def _lose(self, member_id: str, asked: _Asked) -> None:
        """Note a request that the room never handled."""
        request = asked.request or _decode(asked.packets)
        sender = self._names.label(member_id)
        match request:
            case Send() | Broadcast():
                self._add_message(member_id, request, self._names.stream_of(request), "lost")
            case SetAttributes(attributes) if not _is_introduction(attributes):
                self._add("attributes", sender, outcome="lost", detail=attributes)
            case Enable():
                self._add("enabled", sender, outcome="lost")
            case Disable():
                self._add("disabled", sender, outcome="lost")

    def _pass(self, line: Line, packet: bytes, member_id: str, is_lost: bool) -> None:
        """Count a packet on its way down; the last one of a message ends its trip."""
        if not line.announced:
            message_id, index, count = _START.unpack_from(packet) if len(packet) >= _START.size else (0, 1, 0)
            if index:
                return  # Malformed on purpose.
            line.push_id = None if packet[_START.size :] == _REPLY else message_id
            line.announced = count
        else:
            line.announced -= 1
        if not line.announced and line.push_id is not None:
            self.arrived(line.push_id, member_id, is_lost=is_lost)
            line.push_id = None

    def _add(self, kind: str, sender: str, recipient: str = "", type: str = "", **rest: Any) -> None:
        self.transcript.add(Record(self._now(), kind, sender, recipient, type, **rest))


def _is_introduction(attributes: Mapping[str, Any]) -> bool:
    """Return whether only this package's own attribute is set, as each time that a client enables messaging."""
    return attributes.keys() == {ATTRIBUTE}


def _kind(type: str, stream_id: str) -> str:
    if stream_id and type != "stream.chunk":
        return "stream"
    return "confirming" if type.startswith(OWN_PREFIX) else "message"


def _size(sender_id: str, request: Send | Broadcast) -> int:
    """Return the bytes that a message would have had on its way to a recipient."""
    try:
        return len(encode_push(Push(sender_id, request.type, request.message))[1]) + len(request.attachment)
    except InvalidMessage:
        return len(request.attachment)


def _decode(packets: Sequence[bytes]) -> Request | None:
    """Return the request in packets of which the last may be missing, or None if too many are."""
    if not packets or len(packets[0]) < _START.size:
        return None
    message_id, _, _ = _START.unpack_from(packets[0])
    body = b"".join([packet[_BODY.size :] for packet in packets[1:]])
    try:
        return decode_request(WireMessage(message_id, packets[0][_START.size :].decode(), body))
    except (ProtocolError, ValueError):
        return None
