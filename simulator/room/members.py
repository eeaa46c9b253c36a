"""Who is in a room, and what goes out to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshsync.protocol.codec import encode_push, encode_reply
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.dialects import ends_streams_of_leavers, family_of, streams_of
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk, Connected, Push, Reply, RoomReady
from meshsync.runtime.lifecycle import move

__all__ = ["EMPTY", "Member", "Output", "Presence", "Rights", "push", "reply"]

EMPTY = Empty()
_EMPTY_REPLY = encode_reply(EMPTY)


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
        """Never changed in place: another dictionary takes its place."""
        self.presence = Presence.CONNECTED
        self.streams = streams_of(version, "")
        """The kinds of streams that its client knows, as far as one can tell."""
        self._version = version
        self._family = ""
        self._has_declared = False
        self._description: JsonObject | None = None

    def __repr__(self) -> str:
        return f"<Member {self.name!r} {self.id}, {self.presence.value}>"

    def move(self, presence: Presence) -> None:
        """Change the presence.

        Raises:
            RuntimeError: If there is no way from the present one; nothing has changed.
        """
        self.presence = move(_MOVES, self.presence, presence, repr(self))

    def heard(self, type: str) -> None:
        """Take note of the type of a message that its client sent: how it speaks tells what it knows."""
        if not self._family:
            self._family = family_of(type)
            if self._family:
                self.streams = streams_of(self._version, self._family)

    def declare(self, streams: tuple[str, ...]) -> None:
        """Take note of the kinds of streams that its client says it knows, which official ones do not say."""
        self.streams = streams
        self._has_declared = True

    @property
    def waits_for_answers(self) -> bool:
        """Whether its client waits for ever for the answer to a classic stream whose other end is gone."""
        return bool(self._family) and not self._has_declared

    @property
    def waits_for_ends(self) -> bool:
        """Whether it also waits for ever at its end of one that was accepted."""
        return self.waits_for_answers and not ends_streams_of_leavers(self._version)

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
    what: RoomReady | Connected | Reply | Push | Call | CallChunk | AnswerChunk
    """The message as a value, for records of what happened."""
    id: int
    """A reply's is that of its request; the others are counted in the room and mean nothing to clients, but for a
    call's, which its recipient answers under."""
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
        InvalidMessage: If it cannot be written.
    """
    if not isinstance(what, Push):
        return Output(to, what, id, *encode_push(what))
    # An envelope without its payload, and the payload beside it: large attachments are not copied here.
    type, head = encode_push(Push(what.sender, what.type, what.message))
    return Output(to, what, id, type, head, what.attachment)
