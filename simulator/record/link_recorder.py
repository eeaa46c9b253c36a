"""Follows each message of a simulated room over the links, from its sender's connection to each recipient's.

Taps on the links report the frames that were sent, arrived and got lost there; the room's rules report the outputs of
each request. Between the two it needs no decoding: a push has an id that is the room's own, which its first packet
shows. Only requests that got lost before the room had them are decoded, so that their records name them.

Each message has one record for each recipient, written when it is decided whether it arrives; one without a recipient
if it got lost on the way to the room, or is a broadcast with no recipients; none while it is on its way.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from meshsync.errors import ProtocolError
from meshsync.protocol.codec import decode_request
from meshsync.protocol.frames import CloseFrame
from meshsync.protocol.operations import Push, Request
from meshsync.protocol.packets import WireMessage
from simulator.network.frames import ControlFrame, Frame
from simulator.network.links import Link, LinkState
from simulator.network.network import CLIENT_GONE, Ended
from simulator.network.traffic import Traffic
from simulator.record.confirmed_messages import inside, mark_of
from simulator.record.record import Record
from simulator.record.recorder import Notice, Recorder, kind_of, outcome_of
from simulator.record.records import Records
from simulator.room.rules import Member, Output

__all__ = ["Line", "LinkRecorder"]

_START = struct.Struct(">QII")
_TYPE_AT = _START.size
"""Where the type begins in a start packet. (Not looked up at each packet: in a C object that takes as long as a call.)
"""
_BODY = struct.Struct(">QI")
_INDEX_AT = 8
_ONE_FOLLOWS = struct.pack(">II", 0, 1)
"""Index, and count of body packets, in a start packet that announces one."""
_REPLY = b"__response__"
_NEITHER = Ended.NEITHER  # Not looked up by name at each packet: before 3.12 that is a call in Python.


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
    under_way: deque[int] = field(default_factory=deque)
    """The instant at which each packet under way was sent, up, in nanoseconds, or the request of one without a client.
    """
    partial: _Asked | None = None
    """The message of which some packets have ended their way, up."""
    announced: int = 0
    """Body packets that the message coming in at the moment lacks."""
    push_id: int | None = None
    """That message's id, down, if a participant sent it."""


class LinkRecorder(Recorder):
    """Keeps the transcript of one simulated room.

    Attributes:
        settled: Called at the end of each push's way to one recipient, with its id and whether it arrived.
    """

    def __init__(self, transcript: Records, now: Callable[[], int], notice: Notice) -> None:
        super().__init__(transcript, now, notice)
        self.settled: Callable[[int, bool], None] | None = None
        self._trips: dict[int, _Trip] = {}
        self._down: dict[str, Link[Traffic]] = {}
        """The link to each participant that has one, by id."""
        self._asked: dict[str, deque[_Asked]] = {}
        """Requests that have arrived from each participant that is here, by id, and were not handled yet."""
        self._partial: dict[str, _Asked] = {}
        """The packets that each participant, by id, has sent of a message that is not whole yet."""

    # --- what the room reports ----------------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """Note that a participant's connection is there, and choose its label."""
        self._asked[member.id] = deque()
        super().joined(member)

    def received(self, member: Member) -> int:
        """Note that the room begins to handle a request; return the instant it was sent, in nanoseconds."""
        asked = self._asked.get(member.id)
        return asked.popleft().sent_ns if asked else self._now()

    def _leave(self, member: Member, reason: str = "") -> None:
        """Note that a participant's connection is gone, and with it the requests not yet handled."""
        for asked in self._asked.pop(member.id, ()):
            self._lose(member.id, asked)
        partial = self._partial.pop(member.id, None)
        if partial is not None:
            self._lose(member.id, partial)
        super()._leave(member, reason)
        link = self._down.get(member.id)
        if link is None or link.state in (LinkState.SILENT, LinkState.BROKEN):
            self._give_up(member.id)  # Else frames in flight still arrive, and the link's end comes last.

    def _give_up(self, member_id: str) -> None:
        """Note that nothing more reaches a participant: messages on their way are lost."""
        self._down.pop(member_id, None)
        for push_id in [push_id for push_id, trip in self._trips.items() if member_id in trip.waiting]:
            self.arrived(push_id, member_id, is_lost=True)

    def _set_out(self, member: Member, sent_ns: int, output: Output, push: Push, stream_id: str) -> None:
        waiting = {recipient.id: None for recipient in output.to}
        under_way = self._trips.get(output.id)
        if under_way is not None:  # It is on its way to others, and was kept from these.
            under_way.waiting.update(waiting)
            return
        sender, attachment = self._names.label(member.id), self.transcript.attach(push.attachment)
        self._trips[output.id] = _Trip(sender, push, output.size, sent_ns, stream_id, attachment, waiting)

    def arrived(self, push_id: int, recipient_id: str, *, is_lost: bool = False) -> None:
        """Note that a message has come to the end of its way to one recipient."""
        trip = self._trips.get(push_id)
        if trip is None or recipient_id not in trip.waiting:
            return
        del trip.waiting[recipient_id]
        if not trip.waiting:
            del self._trips[push_id]
        now, push, stream_id = self._now(), trip.push, trip.stream_id
        type, message = inside(push)
        self._write(
            Record(
                now,
                kind_of(type, stream_id),
                trip.sender,
                self._names.label(recipient_id),
                type,
                trip.size,
                None if is_lost else now - trip.sent_ns,
                "lost" if is_lost else outcome_of(push, stream_id),
                stream_id,
                message,
                trip.attachment,
                mark=mark_of(push),
            )
        )
        if self.settled is not None:
            self.settled(push_id, not is_lost)

    # --- frames on links ----------------------------------------------------------------------------------------------

    def tap(self, line: Line, member_id: str, link: Link[Traffic], what: str, frames: Sequence[Frame[Traffic]]) -> None:
        """Note frames that were sent on a link, arrived or got lost.

        Args:
            member_id: The participant that the link belongs to; empty while none is seated.
        """
        self.tap_of(line)(line, member_id, link, what, frames)

    def tap_of(self, line: Line) -> Callable[[Line, str, Link[Traffic], str, Sequence[Frame[Traffic]]], None]:
        """Return what notes the frames of one link, as `tap` does."""
        return self._tap_up if line.is_up else self._tap_down

    def _tap_up(
        self, line: Line, member_id: str, link: Link[Traffic], what: str, frames: Sequence[Frame[Traffic]]
    ) -> None:
        clock = self._now
        if what == "sent":
            now, under_way = clock(), line.under_way
            for content, _ in frames:
                if type(content) is bytes or not isinstance(content, (ControlFrame, CloseFrame, Output)):
                    under_way.append(now)
            return
        is_lost, whole = what == "lost", None if line.announced else _whole(frames)
        if not is_lost:
            packets = whole or [content for content, _ in frames if type(content) is bytes]
            if packets:
                self.transcript.add_packets(clock(), line.label, "up", packets)
        if whole is None:
            self._left(line, member_id, is_lost, frames)
        else:
            sent_ns = line.under_way.popleft()
            del line.under_way[0]
            self._ask(member_id, _Asked(sent_ns, whole), is_lost)

    def _left(self, line: Line, member_id: str, is_lost: bool, frames: Sequence[Frame[Traffic]]) -> None:
        """Note frames that have come to the end of their way up one by one."""
        for content, _ in frames:
            if isinstance(content, bytes):
                asked = self._gather(line, member_id, line.under_way.popleft(), content)
                if asked is not None:
                    self._ask(member_id, asked, is_lost)
            elif not isinstance(content, (ControlFrame, CloseFrame, Output)):  # Of a participant without a client.
                self._ask(member_id, _Asked(line.under_way.popleft(), request=content), is_lost)

    def _ask(self, member_id: str, asked: _Asked, is_lost: bool) -> None:
        """Note a whole request at the end of its way up."""
        waiting = self._asked.get(member_id)
        if is_lost or waiting is None:
            self._lose(member_id, asked)
        else:
            waiting.append(asked)

    def _gather(self, line: Line, member_id: str, sent_ns: int, packet: bytes) -> _Asked | None:
        """Append a packet to those of its message before it; return the message if it is whole."""
        if not line.announced:
            line.announced = _START.unpack_from(packet)[2] if len(packet) >= _TYPE_AT else 0
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
        if request is not None:
            self._lose_request(member_id, request)

    def _tap_down(
        self, line: Line, member_id: str, link: Link[Traffic], what: str, frames: Sequence[Frame[Traffic]]
    ) -> None:
        whole = None if line.announced else _whole(frames)
        if what == "sent":
            if member_id not in self._down and member_id:
                self._down[member_id] = link
            packets = whole or [content for content, _ in frames if type(content) is bytes]
            if packets:
                clock = self._now
                self.transcript.add_packets(clock(), line.label, "down", packets)
            return
        ends = line.ends.ended
        is_lost = what == "lost" or (ends is not _NEITHER and ends in CLIENT_GONE)
        if whole is not None:
            start = whole[0]
            if start[_TYPE_AT:] != _REPLY:
                self.arrived(_START.unpack_from(start)[0], member_id, is_lost=is_lost)
            return
        for content, _ in frames:
            if type(content) is bytes:
                self._pass(line, content, member_id, is_lost)
            elif isinstance(content, Output):
                self.arrived(content.id, member_id, is_lost=is_lost)
            elif content is ControlFrame.END:
                self._give_up(member_id)

    def _pass(self, line: Line, packet: bytes, member_id: str, is_lost: bool) -> None:
        """Count a packet on its way down; the last one of a message ends its trip."""
        if line.announced:
            line.announced -= 1
        else:
            message_id, index, count = _START.unpack_from(packet) if len(packet) >= _TYPE_AT else (0, 1, 0)
            if index:
                return  # Malformed on purpose.
            line.push_id = None if packet[_TYPE_AT:] == _REPLY else message_id
            line.announced = count
        if not line.announced and line.push_id is not None:
            self.arrived(line.push_id, member_id, is_lost=is_lost)
            line.push_id = None


def _whole(frames: Sequence[Frame[Traffic]]) -> list[bytes] | None:
    """Return the packets of frames that are one whole message, if they are two, as most messages are."""
    if len(frames) != 2:
        return None
    (start, _), (body, _) = frames
    if type(start) is bytes and type(body) is bytes and start[_INDEX_AT:_TYPE_AT] == _ONE_FOLLOWS:
        return [start, body]
    return None


def _decode(packets: Sequence[bytes]) -> Request | None:
    """Return the request in packets of which the last may be missing, or None if too many are."""
    if not packets or len(packets[0]) < _TYPE_AT:
        return None
    message_id, _, _ = _START.unpack_from(packets[0])
    body = b"".join([packet[_BODY.size :] for packet in packets[1:]])
    try:
        return decode_request(WireMessage(message_id, packets[0][_TYPE_AT:].decode(), body))
    except (ProtocolError, ValueError):
        return None
