"""The participants of a room, and the messages to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshsync.protocol.codec import encode_push, encode_reply
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.dialects import CLASSIC, DUPLEX, ends_streams_of_leavers, family_of, streams_of
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk, Connected, Push, Reply, RoomReady
from meshsync.runtime.lifecycle import move

__all__ = ["EMPTY", "Member", "Output", "Presence", "Rights", "push", "reply"]

EMPTY = Empty()
_EMPTY_REPLY = encode_reply(EMPTY)


class Presence(Enum):
    """The life of a participant in a room."""

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
    """Get the roster and its changes."""

    @property
    def is_empty(self) -> bool:
        """Whether the token allows no messaging at all."""
        return not (self.send or self.broadcast or self.list)


class Member:
    """One participant, from joining to leaving."""

    __slots__ = (
        "_description",
        "_family",
        "_has_declared",
        "_version",
        "attributes",
        "id",
        "name",
        "presence",
        "rights",
        "role",
        "session_id",
        "streams",
    )

    def __init__(
        self,
        id: str,
        session_id: str,
        name: str,
        role: str,
        rights: Rights,
        attributes: JsonObject,
        version: str | None = None,
    ) -> None:
        self.id = id
        self.session_id = session_id
        self.name = name
        self.role = role
        self.rights = rights
        self.attributes = attributes
        """Never changed in place, only replaced."""
        self.presence = Presence.CONNECTED
        self.streams = streams_of(version, "")
        """The kinds of streams that its client knows, as far as known."""
        self._version = version
        self._family = ""
        self._has_declared = False
        self._description: JsonObject | None = None

    def __repr__(self) -> str:
        return f"<Member {self.name!r} {self.id}, {self.presence.value}>"

    def move(self, presence: Presence) -> None:
        """Change the presence.

        Raises:
            RuntimeError: If the table has no such move from the present one; nothing has changed.
        """
        self.presence = move(_MOVES, self.presence, presence, repr(self))

    def note_request(self, type: str) -> None:
        """Derive from the type of its client's first request which streams the client knows."""
        if not self._family:
            self._family = family_of(type)
            if self._family:
                self.streams = streams_of(self._version, self._family)

    def declare(self, streams: tuple[str, ...]) -> None:
        """Set the kinds of streams that its client declares, of those that are known; official ones declare none."""
        self.streams = tuple(kind for kind in (CLASSIC, DUPLEX) if kind in streams)
        self._has_declared = True

    @property
    def waits_for_answers(self) -> bool:
        """Whether its client waits for ever for the answer to a classic stream whose recipient is gone."""
        return bool(self._family) and not self._has_declared

    @property
    def waits_for_ends(self) -> bool:
        """Whether it also waits for ever for the end of an accepted one."""
        return self.waits_for_answers and not ends_streams_of_leavers(self._version)

    @property
    def resumes(self) -> bool:
        """Whether its client declares that it can resume streams. Source: PROTOCOL.md, section 13, the attribute."""
        own = self.attributes.get("meshsync")
        return isinstance(own, dict) and own.get("v") == 1 and bool(own.get("resume"))

    def describe(self) -> JsonObject:
        """Return this participant's roster entry; not to be changed, as all recipients share it."""
        # Kept, since a thousand participants that join at once get half a million of them.
        description = self._description
        if description is None or description["attributes"] is not self.attributes:
            description = {"id": self.id, "role": self.role, "attributes": self.attributes}
            self._description = description
        return description


@dataclass(frozen=True, slots=True)
class Output:
    """One message to one or more participants, encoded but not yet cut into packets."""

    to: tuple[Member, ...]
    what: RoomReady | Connected | Reply | Push | Call | CallChunk | AnswerChunk
    """The message as a value, for records of what happened."""
    id: int
    """A reply has its request's id. The room counts the others; they mean nothing to clients, but for a call's, which
    the recipient's answer names."""
    type: str
    head: bytes
    """The body up to the payload."""
    payload: bytes | bytearray | memoryview = b""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.head) + len(self.payload)


def reply(member: Member, request_id: int, content: Content) -> Output:
    """Return the answer to a request."""
    type, body = _EMPTY_REPLY if content is EMPTY else encode_reply(content)
    return Output((member,), Reply(request_id, content), request_id, type, body)


def push(to: tuple[Member, ...], id: int, what: Push | Call | CallChunk | AnswerChunk) -> Output:
    """Return a push.

    Raises:
        InvalidMessage: If its body cannot be written.
    """
    if not isinstance(what, Push):
        return Output(to, what, id, *encode_push(what))
    # An envelope without its payload, and the payload beside it: large attachments are not copied here.
    type, head = encode_push(Push(what.sender, what.type, what.message))
    return Output(to, what, id, type, head, what.attachment)
