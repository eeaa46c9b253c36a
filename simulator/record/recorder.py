"""Writes the transcript of one room: follows each message from its sender's connection to each recipient's.

It is told by taps on the links what was sent, arrived and got lost there, and by the room's rules what each request led
to. Between the two it needs no decoding: a push has an id that is the room's own, which its first packet shows.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshsync.protocol.content import Error
from meshsync.protocol.dialects import Broadcast, Disable, Enable, Push, Reply, Request, Send, SetAttributes
from simulator.network.links import Control, Frame, Link, LinkState
from simulator.record.transcript import Record, Transcript
from simulator.room.rules import RESERVED_TYPES, Member, Output

__all__ = ["Recorder"]

_START = struct.Struct(">QII")
_REPLY = b"__response__"


@dataclass(slots=True)
class _Trip:
    """A message that is on its way to one or more recipients."""

    sender: str
    push: Push
    size: int
    sent_ns: int
    waiting: dict[str, None]
    """The ids of those it is still on its way to, in order."""


@dataclass(slots=True)
class _Passage:
    """What one link carries."""

    sent: deque[int] = field(default_factory=deque)
    """When each packet under way was sent, up."""
    announced: int = 0
    """Body packets that the message arriving at the moment lacks, down."""
    push_id: int | None = None
    """That message's id, if it is a participant's."""


class Recorder:
    """Keeps the transcript of one room.

    Args:
        now: Returns the instant in nanoseconds.
        notice: Told of each event that a fault can follow: its name, whose doing, for whom, the message's type.
    """

    def __init__(
        self,
        transcript: Transcript,
        now: Callable[[], int],
        notice: Callable[[str, str | None, str | None, str | None], None],
    ) -> None:
        self.transcript = transcript
        self._now = now
        self._notice = notice
        self.names: dict[str, None] = {}
        """The name of everybody who is or was here, in the order of joining."""
        self._names: dict[str, str] = {}
        """What each participant is called here, by id; kept for those who have left, whose messages still travel."""
        self._present: dict[str, str] = {}
        """Whose id it is that goes by a name at the moment."""
        self._trips: dict[int, _Trip] = {}
        self._passages: dict[str, _Passage] = {}
        self._down: dict[str, Link] = {}
        """The link to each participant that has one, by id."""
        self._streams: dict[str, str] = {}
        self.cause_ns: int | None = None
        """When what the room handles at the moment was sent; None for now."""

    # --- people -------------------------------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """Note that somebody's connection is there, and choose what to call them."""
        self.names[member.name] = None
        label, count = member.name, 1
        while label in self._present:
            count += 1
            label = f"{member.name}#{count}"
        self._names[member.id] = label
        self._present[label] = member.id
        self._add("connected", label, detail={"role": member.role})
        self._notice("join", member.name, None, None)

    def left(self, member: Member) -> None:
        """Note that somebody's connection is gone."""
        label = self.name_of(member.id)
        self._present.pop(label, None)
        self._add("disconnected", label)
        link = self._down.get(member.id)
        if link is None or link.state in (LinkState.SILENT, LinkState.BROKEN):
            self._give_up(member.id)  # Else what is in flight still arrives, and the link's end comes last.
        self._notice("leave", member.name, None, None)

    def _give_up(self, member_id: str) -> None:
        """Note that nothing more reaches somebody: what was on its way is lost."""
        self._down.pop(member_id, None)
        for push_id in [push_id for push_id, trip in self._trips.items() if member_id in trip.waiting]:
            self.arrived(push_id, member_id, "lost")

    def refused(self, name: str, reason: str) -> None:
        """Note that somebody was not let in."""
        self._add("refused", name, outcome=reason)

    def name_of(self, member_id: str) -> str:
        """Return what a participant is called, or the id of nobody known."""
        return self._names.get(member_id, member_id)

    # --- what requests lead to ----------------------------------------------------------------------------------------

    def handled(self, member: Member, request: Request, outputs: Iterable[Output]) -> None:
        """Note a request and what the room makes of it."""
        sender = self.name_of(member.id)
        error = None
        trips: list[Output] = []
        for output in outputs:
            if isinstance(output.what, Reply) and isinstance(output.what.content, Error):
                error = output.what.content
            elif isinstance(output.what, Push) and output.what.type not in RESERVED_TYPES:
                trips.append(output)
        outcome = "" if error is None else f"error {error.code}: {error.text}"
        match request:
            case Send() | Broadcast() as message:
                type = message.type
                recipient = self.name_of(message.to) if isinstance(message, Send) else ""
                if error is not None:
                    self._refuse(sender, recipient, message, outcome)
                for output in trips:
                    self._start(sender, output, message)
                event = "message" if isinstance(message, Send) else "broadcast"
                self._notice(type if type.startswith("stream.") else event, member.name, recipient or None, type)
            case Enable():
                self._add("enabled", sender, outcome=outcome)
                self._notice("enable", member.name, None, None)
            case Disable():
                self._add("disabled", sender, outcome=outcome)
                self._notice("disable", member.name, None, None)
            case SetAttributes(attributes):
                self._add("attributes", sender, detail=attributes)
                self._notice("attributes", member.name, None, None)

    def _refuse(self, sender: str, recipient: str, message: Send | Broadcast, outcome: str) -> None:
        size = len(message.attachment)
        detail = message.message
        self._add("message", sender, recipient, message.type, size_bytes=size, outcome=outcome, detail=detail)

    def _start(self, sender: str, output: Output, message: Send | Broadcast) -> None:
        assert isinstance(output.what, Push)
        sent_ns = self._now() if self.cause_ns is None else self.cause_ns
        waiting = dict.fromkeys(member.id for member in output.to)
        self._trips[output.id] = _Trip(sender, output.what, output.size, sent_ns, waiting)

    def arrived(self, push_id: int, recipient_id: str, outcome: str = "delivered") -> None:
        """Note that a message has come to the end of its way to one recipient."""
        trip = self._trips.get(push_id)
        if trip is None or recipient_id not in trip.waiting:
            return
        del trip.waiting[recipient_id]
        if not trip.waiting:
            del self._trips[push_id]
        now, push = self._now(), trip.push
        stream_id = ""
        if push.type.startswith("stream."):
            stream_id = self._stream(push.message.get("stream_id"))
        self._add(
            "stream" if stream_id and push.type != "stream.chunk" else "message",
            trip.sender,
            self.name_of(recipient_id),
            push.type,
            size_bytes=trip.size,
            latency_ns=now - trip.sent_ns if outcome == "delivered" else None,
            outcome=outcome if push.type != "stream.reject" else f"rejected: {push.message.get('error', '')}",
            stream_id=stream_id,
            detail=push.message,
        )

    def _stream(self, stream_id: Any) -> str:
        # By number and not by what peers call it: the order of opening is what a reader wants to see.
        return self._streams.setdefault(str(stream_id), f"stream {len(self._streams) + 1}")

    def struck(self, word: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Note that a fault struck, began or ended."""
        self._add("fault", "", ", ".join(names), word, outcome=outcome, detail=detail)

    # --- what links carry ---------------------------------------------------------------------------------------------

    def tap(self, link: Link, member_id: str, direction: str, what: str, frames: Sequence[Frame]) -> None:
        """Take what a link tells of its frames."""
        passage = self._passages.setdefault(link.name, _Passage())
        packets = [content for content, _ in frames if isinstance(content, bytes)]
        now = self._now()
        if direction == "up":
            if what == "sent":
                passage.sent.extend([now] * len(packets))
                return
            for packet in packets:
                self.cause_ns = passage.sent.popleft()
                if what == "arrived":
                    self._log(now, link, direction, packet)
            return
        self._down[member_id] = link
        for packet in packets:
            if what == "sent":
                self._log(now, link, direction, packet)
            else:
                self._pass(passage, packet, member_id, "delivered" if what == "arrived" else "lost")
        if what != "sent" and any(content is Control.END for content, _ in frames):
            self._give_up(member_id)

    def _log(self, now: int, link: Link, direction: str, packet: bytes) -> None:
        self.transcript.add_packet(now, link.name.rpartition("/")[0], direction, packet)

    def _pass(self, passage: _Passage, packet: bytes, member_id: str, outcome: str) -> None:
        """Count a packet on its way down; the last one of a message ends its trip."""
        if not passage.announced:
            message_id, index, count = _START.unpack_from(packet) if len(packet) >= _START.size else (0, 1, 0)
            if index:
                return  # Malformed on purpose.
            passage.push_id = None if packet[_START.size :] == _REPLY else message_id
            passage.announced = count
        else:
            passage.announced -= 1
        if not passage.announced and passage.push_id is not None:
            self.arrived(passage.push_id, member_id, outcome)
            passage.push_id = None

    def _add(self, kind: str, sender: str, recipient: str = "", type: str = "", **rest: Any) -> None:
        self.transcript.add(Record(self._now(), kind, sender, recipient, type, **rest))
