"""A room's rules, sans-I/O: participants and their requests in, replies and pushes out, as data.

What the hosted service does is not public; where PROTOCOL.md leaves a choice, this room chooses:

- A broadcast is not echoed to its sender; sending to oneself works.
- A participant that has not enabled messaging cannot send (1006); a send to it fails (1003). Enabling again sends the
  roster again and notifies no other participant.
- Names need not be unique; whatever a participant names has a length (`simulator.room.limits`). Attributes are merged
  in order of arrival, a changed ``name`` included, up to 64 KiB in all.
- Message types that only the room sends are refused (1002), so that no participant can forge presence. So is what a
  third participant sends about a stream between two others.
- The ``api`` grant is enforced: without any right to messaging it cannot be enabled, without ``send`` or ``broadcast``
  that request is refused (all 1001), and without ``list`` a participant gets no roster entries.
- A send is acknowledged when the message is in the recipient's queue, behind the push itself where both go to one.
- A request to another service is answered with an error (1002), since old clients wait for ever. One that cannot be
  read is refused likewise, attributes included, and so is a message too large or too deeply nested for its recipient:
  a bad value costs its request, and only what breaks the framing ends a connection.
- Rosters list participants in the order in which they enabled messaging.
- Duplex streams, and streams between clients of different kinds: see `simulator.room.calls`.

Source: PROTOCOL.md, sections 6, 11 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshsync.errors import InvalidMessage
from meshsync.protocol.content import Error, ErrorCode
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    Connected,
    Disable,
    Enable,
    OpenCall,
    Push,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    UnknownRequest,
    UnreadableRequest,
    refused,
)
from meshsync.protocol.packets import MAX_MESSAGE_SIZE
from simulator.room.calls import ANSWER_LIMIT, NOT_FOUND, Calls, Expired, Later
from simulator.room.classic_streams import NOT_YOURS, ClassicStreams
from simulator.room.limits import MAX_NAME_SIZE, find_fault, is_longer
from simulator.room.members import (
    EMPTY,
    Member,
    Output,
    Presence,
    Rights,
    greet,
    join_members,
    push,
    push_encoded,
    reply,
)

__all__ = [
    "MAX_ATTRIBUTES_SIZE",
    "RESERVED_TYPES",
    "Member",
    "Output",
    "Presence",
    "Rights",
    "Room",
    "RoomStats",
    "reply",
]

MAX_ATTRIBUTES_SIZE = 64 * 1024
"""Bytes of one participant's attributes as JSON. Enabling messaging sends all participants' attributes."""

_SMALLEST_ATTRIBUTE = 5
"""Bytes of the smallest attribute as JSON, and the comma behind it: so many cannot fit, and need not be written."""

_ROSTER_HEAD = 16 * 1024
"""Bytes of a message that a roster leaves for what is not a participant: its recipient's id and its type."""

RESERVED_TYPES = frozenset(
    {"messaging.enabled", "participant.enabled", "participant.attributes", "participant.disabled"}
)
"""Message types that only the room sends (PROTOCOL.md, section 6.4); clients trust them."""


@dataclass(frozen=True, slots=True)
class RoomStats:
    """Counts of a room's records besides its participants; all 0 when they have left."""

    calls: int
    """Calls that have not ended."""
    call_entries: int
    """Entries of the tables by which calls are found."""
    classic_streams: int
    """Ends of classic streams between two classic clients."""


class Room:
    """The participants of one room and the outcome of their requests.

    Args:
        url: The room's address as sent to participants; not used here.
        ids: Returns a new id for each participant and session; never the same twice.
        later: Routes outputs after a delay in seconds; None for a room without time limits.
        answer_limit: Seconds in which a duplex stream, or one that this room translates, has to be answered.
        expired: Notified of each of those that is rejected for it.
        is_decoded: Whether all requests come from `decode_request`, so that what they hold needs no check.
        told: What clients are told that declare their streams, beside that streams are translated for them:
            ``packet_size``, the body bytes in the packets that it asks for, and ``message_size``, those of the largest
            message that it takes.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str = "",
        ids: Callable[[], str],
        later: Later | None = None,
        answer_limit: float = ANSWER_LIMIT,
        expired: Expired = lambda opener, stream_id, reason: None,
        is_decoded: bool = False,
        told: JsonObject | None = None,
    ) -> None:
        self.name = name
        self._own = {"bridges": True} | (told or {})
        """Told to clients that declare their streams, so that they need not find it out."""
        self._own_text = encode_object({"meshsync": self._own}, "meshsync")[1:]
        self._is_decoded = is_decoded
        self.url = url
        self._ids = ids
        self._members: dict[str, Member] = {}
        self._enabled: dict[str, Member] = {}
        """In the order of enabling, which is the order in which others were notified."""
        self._next_id = 1
        self._classic = ClassicStreams(self._post, self._enabled.get)
        self._calls = Calls(self._post, self._enabled.get, later, answer_limit, self._classic.has, expired)

    @property
    def members(self) -> tuple[Member, ...]:
        """All connected participants, in the order of joining."""
        return tuple(self._members.values())

    @property
    def enabled(self) -> tuple[Member, ...]:
        """All participants that enabled messaging, in the order of enabling."""
        return tuple(self._enabled.values())

    def stats(self) -> RoomStats:
        """Return how much this room remembers."""
        return RoomStats(len(self._calls), self._calls.entries, len(self._classic))

    def join(
        self,
        name: str,
        *,
        form: GreetingForm,
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
        ids: Callable[[], str] | None = None,
    ) -> tuple[Member, list[Output]]:
        """Add a participant and return it and its greeting.

        Args:
            form: How the greeting is to be written for that client.
            rights: All of them if None.
            version: The release of that client, as far as it can be known.
            ids: Returns the new ids for it, in place of the room's.
        Raises:
            InvalidMessage: If the name or role cannot be written, or is longer than a name may be; no participant was
                added.
        """
        for what, text in (("name", name), ("role", role)):
            if is_longer(text, MAX_NAME_SIZE):
                raise InvalidMessage(f"the participant's {what} has more than {MAX_NAME_SIZE} bytes")
        encode_object({"name": name, "role": role}, "token")
        new_id = ids or self._ids
        member = Member(new_id(), new_id(), name, role, rights or Rights(), {"name": name}, version)
        if member.id in self._members:
            raise RuntimeError(f"the id {member.id!r} was given twice")
        self._members[member.id] = member
        ready = RoomReady(self.name, self.url, member.session_id)
        connected = Connected(member.id, dict(member.attributes))
        return member, [
            greet(member, self._take_id(), ready, *encode_room_ready(ready, form)),
            greet(member, self._take_id(), connected, *encode_connected(connected, form)),
        ]

    def leave(self, member: Member) -> list[Output]:
        """Remove a participant whose connection has ended; return the messages that follow."""
        was_enabled = member.presence is Presence.ENABLED
        member.move(Presence.GONE)
        del self._members[member.id]
        return self._withdraw(member) if was_enabled else []

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request, in the order in which it has to go out."""
        fault = find_fault(request)
        if fault is not None:
            request = refused(request, fault)
        match request:
            case Send():
                return self._send(member, request_id, request)
            case Broadcast():
                return self._broadcast(member, request_id, request)
            case SetAttributes(attributes):
                return self._set_attributes(member, request_id, attributes)
            case Enable(streams):
                return self._enable(member, request_id, streams)
            case Disable():
                return self._disable(member, request_id)
            case OpenCall():
                return self._open_call(member, request_id, request)
            case CallChunk():
                return self._calls.apply_caller_chunk(member, request_id, request)
            case AnswerCall():
                return self._calls.answer(member, request)
            case AnswerChunk():
                return self._calls.apply_recipient_chunk(member, request)
            case UnknownRequest(type):
                return [_invalid(member, request_id, f"unknown request {type!r:.100}")]
            case UnreadableRequest():
                return self._refuse_unreadable(member, request_id, request)

    # --- for a `FaultyRoom` -------------------------------------------------------------------------------------------

    def find(self, id: str) -> Member | None:
        """Return the participant with that id, if it takes part in messaging."""
        return self._enabled.get(id)

    def push(self, to: Member, what: Push) -> Output:
        """Return a push that no request led to, with an id of this room."""
        return self._push((to,), what)

    def refuse_call(self, opener: Member, call_id: str, error: Error) -> list[Output]:
        """Refuse a call, as if its recipient had; one that is unknown or answered is left as it is."""
        return self._calls.refuse(opener, call_id, error)

    # --- taking part --------------------------------------------------------------------------------------------------

    def _enable(self, member: Member, request_id: int, streams: tuple[str, ...]) -> list[Output]:
        if member.rights.is_empty:
            text = "the token does not allow messaging"
            return [reply(member, request_id, Error(text, ErrorCode.PERMISSION_DENIED))]
        others = [other for other in self._enabled.values() if other is not member]
        outputs = [reply(member, request_id, EMPTY), *self._list(member, others, is_declaring=bool(streams))]
        if streams:
            member.declare(streams)
        if member.presence is Presence.CONNECTED:
            member.move(Presence.ENABLED)
            self._enabled[member.id] = member
            # Before any message from it: old clients never answer a stream of a participant that is not listed.
            outputs += self._announce(others, member, "participant.enabled", member.describe(), member.entry)
        return outputs

    def _list(self, member: Member, others: list[Member], *, is_declaring: bool) -> list[Output]:
        """Return the roster; those that make it larger than a message follow one by one, as if they came just now."""
        listed: list[Member] = []
        size = MAX_MESSAGE_SIZE - _ROSTER_HEAD
        rest = iter(others if member.rights.list else ())
        late: Member | None = None
        for other in rest:
            size -= len(other.entry) + 1
            if size < 0:
                late = other
                break
            listed.append(other)
        body: JsonObject = {"participants": [other.describe() for other in listed]}
        text = b'{"participants":[' + b",".join([other.entry for other in listed])
        if is_declaring:
            body["meshsync"] = self._own
        text += b"]," + self._own_text if is_declaring else b"]}"
        roster = push_encoded((member,), self._take_id(), Push(member.id, "messaging.enabled", body), text)
        outputs = [roster]
        for other in (late, *rest) if late is not None else ():
            outputs += self._announce((member,), other, "participant.enabled", other.describe(), other.entry)
        return outputs

    def _disable(self, member: Member, request_id: int) -> list[Output]:
        outputs = [reply(member, request_id, EMPTY)]
        if member.presence is Presence.ENABLED:
            member.move(Presence.CONNECTED)
            outputs += self._withdraw(member)
        return outputs

    def _withdraw(self, member: Member) -> list[Output]:
        del self._enabled[member.id]
        outputs = self._announce(self._enabled.values(), member, "participant.disabled", {"id": member.id}, None)
        # Behind it: a closing reads like a regular end to a client not yet notified of the leaving.
        return [*outputs, *self._calls.leave(member), *self._classic.leave(member)]

    def _refuse_unreadable(self, member: Member, request_id: int, request: UnreadableRequest) -> list[Output]:
        reason = f"{request.reason:.500}"
        if request.push_id is not None:
            # It bears an id of the room's, which may be that of another request of its sender: no reply can refuse it.
            return self._calls.fail(member, request.push_id, reason, is_answer=request.is_answer)
        refused = self._calls.refuse_held(member, request.call_id, Error(reason, ErrorCode.INVALID_REQUEST))
        return [_invalid(member, request_id, reason), *refused]

    def _set_attributes(self, member: Member, request_id: int, attributes: JsonObject) -> list[Output]:
        # No client waits for a reply, and each has already changed its own copy; one that looks learns of the refusal.
        if len(attributes) > MAX_ATTRIBUTES_SIZE // _SMALLEST_ATTRIBUTE:
            reason = f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES_SIZE} bytes are kept"
            return [_invalid(member, request_id, reason)]
        try:
            encoded = member.encode(attributes)
        except InvalidMessage as error:
            return [_invalid(member, request_id, f"{error!s:.500}")]
        size = member.size_with(encoded)
        if size > MAX_ATTRIBUTES_SIZE:
            reason = f"attributes of {size} bytes; at most {MAX_ATTRIBUTES_SIZE} are kept"
            return [_invalid(member, request_id, reason)]
        member.merge(attributes, encoded)
        if member.presence is not Presence.ENABLED or not attributes:
            return []
        others = [other for other in self._enabled.values() if other is not member]
        text = b'{"attributes":' + join_members(encoded) + b"}"
        return list(self._announce(others, member, "participant.attributes", {"attributes": attributes}, text))

    def _announce(
        self, to: Iterable[Member], about: Member, type: str, message: JsonObject, text: bytes | None
    ) -> Iterator[Output]:
        """Notify participants of one; ``text`` is the message as JSON, where that is there already."""
        notified = tuple(member for member in to if member.rights.list)
        if not notified:
            return
        push = Push(about.id, type, message)
        yield self._push(notified, push) if text is None else push_encoded(notified, self._take_id(), push, text)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _send(self, member: Member, request_id: int, request: Send) -> list[Output]:
        refusal = _refuse(member, member.rights.send, "send", request.type)
        recipient = self._enabled.get(request.to)
        if refusal is None and recipient is None:
            refusal = NOT_FOUND
        if refusal is not None or recipient is None:
            return [reply(member, request_id, refusal or NOT_FOUND)]
        if request.type.startswith("stream."):
            if self._is_foreign(member, request, recipient):
                return [reply(member, request_id, NOT_YOURS)]
            outputs = self._calls.translate(member, request_id, request, recipient)
            if outputs is not None:
                return outputs
            self._classic.note(member, request, recipient)
        return self._pass_on(member, request_id, request, (recipient,))

    def _open_call(self, member: Member, request_id: int, request: OpenCall) -> list[Output]:
        refusal = _refuse(member, member.rights.send, "send", None)
        return [reply(member, request_id, refusal)] if refusal else self._calls.open(member, request_id, request)

    def _broadcast(self, member: Member, request_id: int, request: Broadcast) -> list[Output]:
        refusal = _refuse(member, member.rights.broadcast, "broadcast", request.type)
        if refusal is not None:
            return [reply(member, request_id, refusal)]
        enabled = list(self._enabled.values())
        enabled.remove(member)  # It is among them, or was refused.
        others = tuple(enabled)
        if request.type.startswith("stream.") and any(self._is_foreign(member, request, other) for other in others):
            return [reply(member, request_id, NOT_YOURS)]
        return self._pass_on(member, request_id, request, others)

    def _is_foreign(self, member: Member, request: Send | Broadcast, to: Member) -> bool:
        verdicts = (self._classic.is_end(member, request, to), self._calls.is_end(member, request, to))
        return False in verdicts and True not in verdicts

    def _pass_on(
        self, member: Member, request_id: int, request: Send | Broadcast, to: tuple[Member, ...]
    ) -> list[Output]:
        try:
            # Also without recipients: whether a message is refused must not depend on them.
            output = self._push(to, Push(member.id, request.type, request.message, request.attachment))
        except InvalidMessage as error:
            return [_invalid(member, request_id, f"{error!s:.500}")]
        if output.size > MAX_MESSAGE_SIZE:
            # The sender's id may take more room than the recipient's did.
            text = f"the message has {output.size} bytes; the room passes on {MAX_MESSAGE_SIZE}"
            return [_invalid(member, request_id, text)]
        acknowledgement = reply(member, request_id, EMPTY)
        return [output, acknowledgement] if to else [acknowledgement]

    def _push(self, to: tuple[Member, ...], what: Push) -> Output:
        return push(to, self._take_id(), what, decoded=self._is_decoded)

    def _post(self, to: Member, make: Callable[[int], Push | Call | CallChunk | AnswerChunk]) -> Output:
        id = self._take_id()
        return push((to,), id, make(id))

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _invalid(member: Member, request_id: int, text: str) -> Output:
    return reply(member, request_id, Error(text, ErrorCode.INVALID_REQUEST))


def _refuse(member: Member, has_right: bool, what: str, type: Any) -> Error | None:
    if not has_right:
        return Error(f"the token does not allow to {what} messages", ErrorCode.PERMISSION_DENIED)
    if member.presence is not Presence.ENABLED:
        return Error(f"messaging is not enabled, so this participant cannot {what}", ErrorCode.INVALID_STATE)
    if type in RESERVED_TYPES:
        return Error(f"the type {type!r} is the room's own", ErrorCode.INVALID_REQUEST)
    return None
