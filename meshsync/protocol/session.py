"""One connection's conversation, from the client's side: packets in, events out; requests in, packets out.

Two tasks may use a session at once: one calls `Session.receive`, one at a time calls `Session.issue`. They share
nothing but the table of pending requests, on which each does single operations of a dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import events
from meshsync.protocol.codec import REPLY, decode_push, decode_reply, encode_apart, measure
from meshsync.protocol.content import Content, Empty, Error, ErrorCode
from meshsync.protocol.dialects import Dialect
from meshsync.protocol.operations import (
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    Connected,
    Disable,
    Enable,
    Push,
    Request,
    RoomReady,
    Send,
    Status,
    given_id,
    is_answered,
)
from meshsync.protocol.packets import LARGEST_PACKET, MAX_MESSAGE_SIZE, PACKET_SIZE, Reassembler, WireMessage, split
from meshsync.protocol.roster import Roster, RosterEntry

__all__ = ["ROOM_TYPES", "Encoded", "Participation", "Session", "SessionStats", "body_size"]


Encoded = tuple[str, bytes, Sequence[bytes | bytearray | memoryview]]
"""Type and body of a message: its beginning, and the pieces that follow."""


_BESIDE_DATA = 20 * 1024
"""Bytes that a message of a stream has beside its data at most, unless a chunk has a long header: those of several
chunks, and the envelope. Base64 makes the data 4/3 as long."""


def _data_limit(message_size: int) -> int:
    return max((message_size - _BESIDE_DATA) * 3 // 4, message_size // 4, 1)


def body_size(encoded: Encoded) -> int:
    """Return how many bytes the body has."""
    _, body, more = encoded
    return len(body) + sum(map(len, more)) if more else len(body)


class Participation(Enum):
    """This client's progress in taking part in messaging."""

    OUT = "out"
    ACKNOWLEDGED = "acknowledged"
    """The room agreed; the roster has not come yet."""
    LISTED = "listed"
    """The roster came; the room has not agreed yet."""
    IN = "in"


_P = Participation
_AGREED, _ROSTER, _REFUSED, _LEFT = "agreed", "roster", "refused", "left"
_MOVES: dict[tuple[Participation, str], Participation] = {
    # Reply and roster come in either order (PROTOCOL.md, section 6.1).
    (_P.OUT, _AGREED): _P.ACKNOWLEDGED,
    (_P.OUT, _ROSTER): _P.LISTED,
    (_P.OUT, _REFUSED): _P.OUT,
    (_P.OUT, _LEFT): _P.OUT,
    (_P.ACKNOWLEDGED, _AGREED): _P.ACKNOWLEDGED,
    (_P.ACKNOWLEDGED, _ROSTER): _P.IN,
    (_P.ACKNOWLEDGED, _REFUSED): _P.ACKNOWLEDGED,
    (_P.ACKNOWLEDGED, _LEFT): _P.OUT,
    (_P.LISTED, _AGREED): _P.IN,
    (_P.LISTED, _ROSTER): _P.LISTED,
    (_P.LISTED, _REFUSED): _P.OUT,
    (_P.LISTED, _LEFT): _P.OUT,
    # Asking again while in changes nothing, nor does being refused then.
    (_P.IN, _AGREED): _P.IN,
    (_P.IN, _ROSTER): _P.IN,
    (_P.IN, _REFUSED): _P.IN,
    (_P.IN, _LEFT): _P.OUT,
}


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Figures of a session, as they are now."""

    pending: int
    """Requests that the room has to answer."""


class Session:
    """A conversation between a client and its room.

    Args:
        dialect: The one to speak.
        packet_size: Body bytes in each packet sent; more if the room asks for it, as an emulator does in the list of
            participants, beside ``bridges``: ``"packet_size": 65536``.
        max_message_size: Bytes in the body of the largest message sent. A room may take less, which an emulator tells
            there too: ``"message_size": 4194304``.
    Raises:
        ValueError: If ``packet_size`` is less than 1.
    """

    def __init__(
        self, dialect: Dialect, *, packet_size: int = PACKET_SIZE, max_message_size: int = MAX_MESSAGE_SIZE
    ) -> None:
        self.dialect = dialect
        self.max_message_size = max_message_size
        self.participation: Participation = Participation.OUT
        self.roster: Roster = Roster()
        self.is_bridged: bool = False
        """Whether the room passes streams on in the form each recipient understands, however they are offered. It says
        so in the list of participants, to clients that declare theirs: ``"meshsync": {"bridges": true}``."""
        self.participant_id: str = ""
        """This client's own id; empty before the greeting."""
        if packet_size < 1:
            raise ValueError(f"a packet takes at least 1 body byte, not {packet_size}")
        self._packet_size = self._least_packet_size = packet_size
        self.data_limit: int = _data_limit(max_message_size)
        """Bytes of a stream's data that the room takes in one message, whatever is beside them."""
        # A room may allow larger messages than ours does; those it sends are bounded too.
        self._reassembler = Reassembler(4 * MAX_MESSAGE_SIZE)
        self._ids = count(1)
        self._pending: dict[int, type[Request]] = {}
        """The kind of each: the requests themselves, with their attachments, are not kept until the room answers."""
        self._room_ready: RoomReady | None = None
        self._connected: Connected | None = None

    def anew(self) -> Session:
        """Return a new session of the same settings, for another connection."""
        return Session(self.dialect, packet_size=self._least_packet_size, max_message_size=self.max_message_size)

    @property
    def is_ready(self) -> bool:
        """Whether the greeting is complete, so that requests may be sent."""
        return self._room_ready is not None and self._connected is not None

    def stats(self) -> SessionStats:
        """Return the figures of this moment."""
        return SessionStats(len(self._pending))

    def is_pending(self, kind: type[Request]) -> bool:
        """Return whether the room has not answered a request of that kind, whoever still waits for it."""
        return kind in list(self._pending.values())

    # --- requests -----------------------------------------------------------------------------------------------------

    def encode(self, request: Request) -> Encoded:
        """Return type and body of a request, the costly part of sending it. Any number of tasks may be here.

        Raises:
            InvalidMessage: If JSON cannot carry it, or it is larger than a room accepts.
        """
        encoded = encode_apart(request, self.dialect)
        self._check_size(body_size(encoded))
        return encoded

    def check(self, request: Send | Broadcast) -> None:
        """Raise what ``encode`` would raise, without a copy of the attachment.

        Raises:
            InvalidMessage: See `encode`.
        """
        self._check_size(measure(request, self.dialect))

    def _check_size(self, size: int) -> None:
        if size > self.max_message_size:
            raise InvalidMessage(
                f"the message has {size} bytes once encoded, and a room takes at most {self.max_message_size}: "
                "send it in parts"
            )

    def issue(self, request: Request, encoded: Encoded) -> tuple[int, list[bytes]]:
        """Give a request its id and return it with the packets to send, in the order of these calls."""
        if is_answered(request):
            request_id = next(self._ids)
            self._pending[request_id] = type(request)
        else:
            given = given_id(request)
            request_id = next(self._ids) if given is None else given
        name, body, more = encoded
        return request_id, split(request_id, name, body, self._packet_size, more)

    def withdraw(self, request_id: int) -> None:
        """Forget a request of which nothing was sent."""
        self._pending.pop(request_id, None)

    # --- what arrives -------------------------------------------------------------------------------------------------

    def receive(self, packets: Iterable[bytes | memoryview]) -> Iterator[events.Event]:
        """Decode packets and yield their events. Has to be drained before the next call.

        Raises:
            ProtocolError: If the packets themselves are wrong, or a message before the greeting is; the connection has
                to end. A later message of wrong content is skipped, since nothing behind it is in doubt.
        """
        for message in self._reassembler.feed(packets):
            try:
                yield from self._decode(message)
            except ProtocolError as error:
                if not self.is_ready:
                    raise
                yield from self._skip(message, error)

    def _skip(self, message: WireMessage, error: ProtocolError) -> Iterator[events.Event]:
        yield events.Skipped(str(error))
        if message.type == REPLY and message.id in self._pending:
            # It is answered all the same: no other reply will come, and a task waits.
            text = f"the room's answer cannot be understood: {error}"
            yield from self._reply(message.id, Error(text, ErrorCode.UNEXPECTED_RESPONSE))

    def _decode(self, message: WireMessage) -> Iterable[events.Event]:
        if message.type == REPLY:  # First, and without a value around it: there is one for each message sent.
            return self._reply(message.id, decode_reply(message.body))
        match decode_push(message):
            case Push(type=type) as push:
                if not self.is_ready:
                    return iter([events.Skipped(f"a message of type {type!r:.100} before the greeting")])
                return self._push(push)
            case Call() | CallChunk() | AnswerChunk() as call:
                if not self.is_ready:
                    return iter([events.Skipped("a call before the greeting")])
                return iter([call])
            case RoomReady() as room_ready:
                return self._greet(room_ready, self._connected)
            case Connected() as connected:
                return self._greet(self._room_ready, connected)
            case Status(members):
                return iter([events.StatusReported(members)])
        return iter([events.Skipped(f"a message of type {message.type!r:.100}, which this client does not know")])

    def _greet(self, room_ready: RoomReady | None, connected: Connected | None) -> Iterator[events.Event]:
        if self.is_ready:
            yield events.Skipped("a second greeting")
            return
        self._room_ready, self._connected = room_ready, connected
        if room_ready is not None and connected is not None:
            self.participant_id = connected.participant_id
            yield events.Ready(
                room_ready.room_name,
                room_ready.room_url,
                room_ready.session_id,
                connected.participant_id,
                connected.attributes,
            )

    def _reply(self, request_id: int, content: Content) -> Iterable[events.Event]:
        kind = self._pending.pop(request_id, None)
        if kind is None or kind is Enable or kind is Disable:
            return self._reply_to(kind, request_id, content)
        return (events.Answered(request_id, content),)

    def _reply_to(self, kind: type[Request] | None, request_id: int, content: Content) -> Iterator[events.Event]:
        if kind is None:
            if isinstance(content, Empty):
                return  # Careful rooms answer also requests that need none.
            yield events.Skipped(f"an answer to request {request_id}, which is not pending")
            return
        was_refused = isinstance(content, Error)
        # Before the answer is reported: a task that waits for it then finds the session as the answer leaves it.
        if kind is Enable:
            yield from self._move(_REFUSED if was_refused else _AGREED)
        elif kind is Disable and not was_refused:
            yield from self._move(_LEFT)
        yield events.Answered(request_id, content)

    def _push(self, push: Push) -> Iterable[events.Event]:
        handle = _ROOM_PUSHES.get(push.type)
        if handle is None:
            return (events.Received(push.sender, push.type, push.message, bytes(push.attachment), push.size),)
        return handle(self, push)

    def _roster_came(self, push: Push) -> Iterator[events.Event]:
        participants = push.message.get("participants")
        if not isinstance(participants, list):
            raise ProtocolError("messaging.enabled without a list of participants")
        members = [_member(entry) for entry in participants]
        own = push.message.get("meshsync")
        self.is_bridged = isinstance(own, dict) and own.get("bridges") is True
        asked, taken = (own.get("packet_size"), own.get("message_size")) if isinstance(own, dict) else (None, None)
        if type(asked) is int:
            self._packet_size = max(self._least_packet_size, min(asked, LARGEST_PACKET))
        if type(taken) is int:
            self.data_limit = _data_limit(min(taken, self.max_message_size))
        if not self._is_taking_part():
            yield events.Skipped("a list of participants that was not asked for")
            return
        was_in = self.participation is Participation.IN
        added = [m for m in members if m.id != self.participant_id and self.roster.add(m)]
        yield from self._move(_ROSTER)
        if was_in:
            for member in added:
                yield events.MemberAdded(member)

    def _member_came(self, push: Push) -> Iterator[events.Event]:
        member = _member(push.message)
        if member.id == self.participant_id or not self._is_taking_part():
            return
        if self.roster.add(member):
            yield from self._if_in(events.MemberAdded(member, push.size))
        else:
            yield from self._merge(member.id, member.attributes, push.size)

    def _member_left(self, push: Push) -> Iterator[events.Event]:
        member_id = push.message.get("id")
        if not isinstance(member_id, str):
            raise ProtocolError("participant.disabled without an id")
        member = self.roster.remove(member_id)
        if member is not None:
            yield from self._if_in(events.MemberRemoved(member))

    def _attributes_came(self, push: Push) -> Iterator[events.Event]:
        attributes = push.message.get("attributes")
        if not isinstance(attributes, dict):
            raise ProtocolError("participant.attributes without attributes")
        yield from self._merge(push.sender, attributes, push.size)

    def _merge(self, member_id: str, attributes: dict[str, object], size: int) -> Iterator[events.Event]:
        member = self.roster.merge(member_id, attributes)
        if member is not None:
            yield from self._if_in(events.MemberChanged(member, attributes, size))

    def _is_taking_part(self) -> bool:
        # A participant listed before this client asked, or after it left, would never be reported to leave.
        if self.participation is not Participation.OUT:
            return True
        return self.is_pending(Enable)

    def _if_in(self, event: events.Event) -> Iterator[events.Event]:
        # Until both halves of the answer to enable are there, changes only gather in the roster.
        if self.participation is Participation.IN:
            yield event

    def _move(self, what: str) -> Iterator[events.Event]:
        before, after = self.participation, _MOVES[self.participation, what]
        if after is before:
            return
        if after is Participation.OUT:
            yield from self.end()
            if before is Participation.IN:
                yield events.Disabled()
        self.participation = after
        if after is Participation.IN:
            yield events.Enabled(tuple(self.roster))
            for member in self.roster:
                yield events.MemberAdded(member)

    def end(self) -> Iterator[events.Event]:
        """Empty the roster: the connection ended, or messaging was left."""
        was_in = self.participation is Participation.IN
        self.participation = Participation.OUT
        for member in self.roster.clear():
            if was_in:
                yield events.MemberRemoved(member)


_ROOM_PUSHES = {
    "messaging.enabled": Session._roster_came,
    "participant.enabled": Session._member_came,
    "participant.disabled": Session._member_left,
    "participant.attributes": Session._attributes_came,
}
"""Types with which the room reports on participants. Programs never get them as messages."""
ROOM_TYPES = frozenset(_ROOM_PUSHES)
"""These types."""


def _member(entry: object) -> RosterEntry:
    if not isinstance(entry, dict):
        raise ProtocolError("a participant that is no JSON object")
    # TypeScript accepts a participant without attributes (PROTOCOL.md, section 6.4).
    member_id, role, attributes = entry.get("id"), entry.get("role"), entry.get("attributes") or {}
    if not isinstance(member_id, str) or not isinstance(role, str) or not isinstance(attributes, dict):
        raise ProtocolError("a participant without a proper id, role or attributes")
    return RosterEntry(member_id, role, attributes)
