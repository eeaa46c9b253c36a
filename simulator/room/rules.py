"""A room's rules, sans-I/O: participants and their requests in, replies and pushes out, as data.

What the hosted service does is not public; where PROTOCOL.md leaves a choice, this room chooses:

- A broadcast is not echoed to its sender; sending to oneself works.
- Who has not enabled messaging neither sends (1006) nor receives: to a sender it is not there (1003). Enabling again
  sends the roster again and tells nobody else.
- Names need not be unique. Attributes are merged as they come, a changed ``name`` included, up to 64 KiB in all.
- Types by which a room speaks of participants are refused (1002), so that nobody can forge presence.
- The ``api`` grant is enforced: without any right to messaging it cannot be enabled, without ``send`` or ``broadcast``
  that request is refused (all 1001), and without ``list`` a participant is told of nobody.
- A send is acknowledged when the message is in the recipient's queue, behind the push itself where both go to one.
- A request of another service is answered with an error (1002), since old clients wait for ever. A message that would
  be too large or too deep for its recipient is refused likewise.
- Participants are named in the order in which they enabled messaging.

Source: PROTOCOL.md, sections 6, 11 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.content import Content, Empty, Error, ErrorCode
from meshsync.protocol.dialects import (
    Broadcast,
    Connected,
    Disable,
    Enable,
    GreetingForm,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    UnknownRequest,
    encode_connected,
    encode_push,
    encode_reply,
    encode_room_ready,
)
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.protocol.packets import MAX_MESSAGE_SIZE

__all__ = ["MAX_ATTRIBUTES_SIZE", "RESERVED_TYPES", "Member", "Output", "Presence", "Rights", "Room", "reply"]

MAX_ATTRIBUTES_SIZE = 64 * 1024
"""Bytes of a roster with one participant and its attributes. Everybody who enables messaging is sent everybody's."""

RESERVED_TYPES = frozenset(
    {"messaging.enabled", "participant.enabled", "participant.attributes", "participant.disabled"}
)
"""Message types with which the room itself speaks (PROTOCOL.md, section 6.4); clients believe them."""

_NOT_FOUND = Error("the participant was not found", ErrorCode.NOT_FOUND)
"""Some clients go by the code, others by this very text. Source: PROTOCOL.md, section 5.3."""

_EMPTY = Empty()
_EMPTY_REPLY = encode_reply(_EMPTY)


class Presence(Enum):
    """How far a participant takes part."""

    CONNECTED = "connected, messaging not enabled"
    ENABLED = "takes part in messaging"
    GONE = "has left"


_MOVES = {
    Presence.CONNECTED: {Presence.ENABLED, Presence.GONE},
    Presence.ENABLED: {Presence.CONNECTED, Presence.GONE},
    Presence.GONE: set[Presence](),
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What a participant's token allows in messaging."""

    send: bool = True
    broadcast: bool = True
    list: bool = True
    """Be told who else takes part."""

    @property
    def is_empty(self) -> bool:
        """Whether messaging is closed altogether."""
        return not (self.send or self.broadcast or self.list)


class Member:
    """One participant, from joining to leaving."""

    __slots__ = ("_description", "attributes", "id", "name", "presence", "rights", "role", "session_id")

    def __init__(self, id: str, session_id: str, name: str, role: str, rights: Rights, attributes: JsonObject) -> None:
        self.id = id
        self.session_id = session_id
        self.name = name
        self.role = role
        self.rights = rights
        self.attributes = attributes
        """Never changed in place: another dictionary takes its place."""
        self.presence = Presence.CONNECTED
        self._description: JsonObject | None = None

    def __repr__(self) -> str:
        return f"<Member {self.name!r} {self.id}, {self.presence.value}>"

    def move(self, presence: Presence) -> None:
        """Change the presence.

        Raises:
            RuntimeError: If there is no way from the present one; nothing has changed.
        """
        if presence not in _MOVES[self.presence]:
            raise RuntimeError(f"{self!r} cannot become: {presence.value}")
        self.presence = presence

    def describe(self) -> JsonObject:
        """Return what others are told of this participant; not to be changed, as all who are told share it."""
        # Kept, since among a thousand who come at once half a million descriptions are under way.
        description = self._description
        if description is None or description["attributes"] is not self.attributes:
            description = {"id": self.id, "role": self.role, "attributes": self.attributes}
            self._description = description
        return description


@dataclass(frozen=True, slots=True)
class Output:
    """One message to one or more participants, encoded but not yet cut into packets."""

    to: tuple[Member, ...]
    what: RoomReady | Connected | Reply | Push
    """The message as a value, for records of what happened."""
    id: int
    """A reply's is that of its request; the others are counted in the room and mean nothing to clients."""
    type: str
    head: bytes
    """The body up to the payload."""
    payload: bytes | bytearray | memoryview = b""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.head) + len(self.payload)


class Room:
    """The participants of one room and what becomes of their requests.

    Args:
        url: What participants are told as the room's address; without meaning here.
        ids: Returns a new id for each participant and session; never the same twice.
        acknowledge: When a send is acknowledged: ``"routed"``, when it is in the recipient's queue, is all there is.
    """

    def __init__(self, name: str, *, url: str = "", ids: Callable[[], str], acknowledge: str = "routed") -> None:
        if acknowledge != "routed":
            raise ValueError(f"acknowledge: there is 'routed', not {acknowledge!r}")
        self.name = name
        self.url = url
        self._ids = ids
        self._members: dict[str, Member] = {}
        self._enabled: dict[str, Member] = {}
        """In the order of enabling, which is the order in which others got to know them."""
        self._next_id = 1

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who is connected, in the order of joining."""
        return tuple(self._members.values())

    @property
    def enabled(self) -> tuple[Member, ...]:
        """Everybody who takes part in messaging, in the order of enabling."""
        return tuple(self._enabled.values())

    def join(
        self, name: str, *, form: GreetingForm, role: str = "user", rights: Rights | None = None
    ) -> tuple[Member, list[Output]]:
        """Let somebody in and return the greeting.

        Args:
            form: How the greeting is to be written for that client.
            rights: All of them if None.
        Raises:
            InvalidMessage: If the name or role cannot be written; nobody has joined.
        """
        encode_object({"name": name, "role": role}, "token")
        member = Member(self._ids(), self._ids(), name, role, rights or Rights(), {"name": name})
        if member.id in self._members:
            raise RuntimeError(f"the id {member.id!r} was given twice")
        self._members[member.id] = member
        ready = RoomReady(self.name, self.url, member.session_id)
        connected = Connected(member.id, dict(member.attributes))
        return member, [
            Output((member,), ready, self._take_id(), *encode_room_ready(ready, form)),
            Output((member,), connected, self._take_id(), *encode_connected(connected, form)),
        ]

    def leave(self, member: Member) -> list[Output]:
        """Take note that a participant's connection has ended."""
        was_enabled = member.presence is Presence.ENABLED
        member.move(Presence.GONE)
        del self._members[member.id]
        return list(self._withdraw(member)) if was_enabled else []

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        """Return what follows from a request, in the order in which it has to go out.

        Raises:
            ProtocolError: If the participant may not stay; nothing has changed.
        """
        match request:
            case Send():
                return self._send(member, request_id, request)
            case Broadcast():
                return self._broadcast(member, request_id, request)
            case SetAttributes(attributes):
                return list(self._set_attributes(member, attributes))
            case Enable():
                return self._enable(member, request_id)
            case Disable():
                return self._disable(member, request_id)
            case UnknownRequest(type):
                return [reply(member, request_id, Error(f"unknown request {type!r:.100}", ErrorCode.INVALID_REQUEST))]

    # --- taking part --------------------------------------------------------------------------------------------------

    def _enable(self, member: Member, request_id: int) -> list[Output]:
        if member.rights.is_empty:
            text = "the token does not allow messaging"
            return [reply(member, request_id, Error(text, ErrorCode.PERMISSION_DENIED))]
        others = [other for other in self._enabled.values() if other is not member]
        roster = [other.describe() for other in others] if member.rights.list else []
        push = self._push((member,), Push(member.id, "messaging.enabled", {"participants": roster}))
        if push.size > MAX_MESSAGE_SIZE:
            text = "the room has too many participants to list"
            return [reply(member, request_id, Error(text, ErrorCode.OPERATION_FAILED))]
        outputs = [reply(member, request_id, _EMPTY), push]
        if member.presence is Presence.CONNECTED:
            member.move(Presence.ENABLED)
            self._enabled[member.id] = member
            # At once, and so before anything else from it: old clients never answer a stream of somebody unlisted.
            outputs += self._announce(others, member, "participant.enabled", member.describe())
        return outputs

    def _disable(self, member: Member, request_id: int) -> list[Output]:
        outputs = [reply(member, request_id, _EMPTY)]
        if member.presence is Presence.ENABLED:
            member.move(Presence.CONNECTED)
            outputs += self._withdraw(member)
        return outputs

    def _withdraw(self, member: Member) -> Iterator[Output]:
        del self._enabled[member.id]
        return self._announce(self._enabled.values(), member, "participant.disabled", {"id": member.id})

    def _set_attributes(self, member: Member, attributes: JsonObject) -> Iterator[Output]:
        # There is no reply that could refuse, and the client has already changed its own copy.
        merged = member.attributes | attributes
        described = [{"id": member.id, "role": member.role, "attributes": merged}]
        try:
            # As in a roster, which has the most levels around them: what is kept must go out to everybody.
            _, body = encode_push(Push(member.id, "messaging.enabled", {"participants": described}))
        except InvalidMessage as error:
            raise ProtocolError(str(error), code=1007) from None
        if len(body) > MAX_ATTRIBUTES_SIZE:
            raise ProtocolError(f"attributes of {len(body)} bytes; at most {MAX_ATTRIBUTES_SIZE} are kept", code=1009)
        member.attributes = merged
        if member.presence is not Presence.ENABLED or not attributes:
            return iter(())
        others = [other for other in self._enabled.values() if other is not member]
        return self._announce(others, member, "participant.attributes", {"attributes": attributes})

    def _announce(self, to: Iterable[Member], about: Member, type: str, message: JsonObject) -> Iterator[Output]:
        told = tuple(member for member in to if member.rights.list)
        if told:
            yield self._push(told, Push(about.id, type, message))

    # --- messages -----------------------------------------------------------------------------------------------------

    def _send(self, member: Member, request_id: int, request: Send) -> list[Output]:
        refusal = _refuse(member, member.rights.send, "send", request.type)
        recipient = self._enabled.get(request.to)
        if refusal is None and recipient is None:
            refusal = _NOT_FOUND
        if refusal is not None or recipient is None:
            return [reply(member, request_id, refusal or _NOT_FOUND)]
        return self._pass_on(member, request_id, request, (recipient,))

    def _broadcast(self, member: Member, request_id: int, request: Broadcast) -> list[Output]:
        refusal = _refuse(member, member.rights.broadcast, "broadcast", request.type)
        if refusal is not None:
            return [reply(member, request_id, refusal)]
        others = tuple(other for other in self._enabled.values() if other is not member)
        return self._pass_on(member, request_id, request, others)

    def _pass_on(
        self, member: Member, request_id: int, request: Send | Broadcast, to: tuple[Member, ...]
    ) -> list[Output]:
        push = Push(member.id, request.type, request.message, request.attachment)
        try:
            # Also when nobody is there to get it: what is refused must not depend on that.
            output = self._push(to, push)
        except InvalidMessage as error:
            return [reply(member, request_id, Error(f"{error!s:.500}", ErrorCode.INVALID_REQUEST))]
        if output.size > MAX_MESSAGE_SIZE:
            # The sender's id may take more room than the recipient's did.
            text = f"the message has {output.size} bytes; the room passes on {MAX_MESSAGE_SIZE}"
            return [reply(member, request_id, Error(text, ErrorCode.INVALID_REQUEST))]
        acknowledgement = reply(member, request_id, _EMPTY)
        return [output, acknowledgement] if to else [acknowledgement]

    def _push(self, to: tuple[Member, ...], push: Push) -> Output:
        # An envelope without its payload, and the payload beside it: large attachments are not copied here.
        type, head = encode_push(Push(push.sender, push.type, push.message))
        return Output(to, push, self._take_id(), type, head, push.attachment)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _refuse(member: Member, has_right: bool, what: str, type: Any) -> Error | None:
    if not has_right:
        return Error(f"the token does not allow to {what} messages", ErrorCode.PERMISSION_DENIED)
    if member.presence is not Presence.ENABLED:
        return Error(f"messaging is not enabled, so this participant cannot {what}", ErrorCode.INVALID_STATE)
    if type in RESERVED_TYPES:
        return Error(f"the type {type!r} is the room's own", ErrorCode.INVALID_REQUEST)
    return None


def reply(member: Member, request_id: int, content: Content) -> Output:
    """Return the answer to a request."""
    type, body = _EMPTY_REPLY if content is _EMPTY else encode_reply(content)
    return Output((member,), Reply(request_id, content), request_id, type, body)
