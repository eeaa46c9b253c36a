"""The participants of a room, and the messages to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from meshsync.protocol.codec import encode_push, encode_reply
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.dialects import CLASSIC, DUPLEX, ends_streams_of_leavers, family_of, streams_of
from meshsync.protocol.envelopes import (
    MAX_WIRE_DEPTH,
    JsonObject,
    encode_decoded,
    encode_each,
    encode_envelope,
    encode_members,
    size_in_memory,
)
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk, Connected, Push, Reply, RoomReady
from meshsync.runtime.lifecycle import move
from meshsync.values import made_quickly

__all__ = ["EMPTY", "Member", "Output", "Presence", "Rights", "join_members", "push", "push_encoded", "reply"]

EMPTY = Empty()
_EMPTY_REPLY = encode_reply(EMPTY)

_ATTRIBUTES_DEPTH = MAX_WIRE_DEPTH - 4
"""Levels of JSON that attributes may have: a roster puts four around them."""

_KINDS_OF_STREAMS = frozenset((CLASSIC, DUPLEX))


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
        "_attributes",
        "_description",
        "_encoded",
        "_entry",
        "_has_declared",
        "_version",
        "attributes_size",
        "departure",
        "family",
        "held",
        "id",
        "name",
        "presence",
        "rights",
        "role",
        "seat",
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
        """Make a participant that has not enabled messaging.

        Raises:
            InvalidMessage: If an attribute cannot be written.
        """
        self.id: str = id
        self.session_id: str = session_id
        self.name: str = name
        self.role: str = role
        self.rights: Rights = rights
        self.attributes_size: int = 0
        """Bytes of the attributes as JSON, kept with each change: an update costs what it holds, not what is there."""
        self.held: int = 0
        """About how many bytes of memory the attributes take."""
        self._attributes: JsonObject = {}
        self._encoded: dict[str, bytes] = {}
        """Each attribute as JSON, in the order of the attributes."""
        self.presence: Presence = Presence.CONNECTED
        self.departure: str = ""
        """Why its connection ended, as far as its carrier knows; set before it leaves."""
        self.seat: Any = None
        """Its `simulator.room.seat.Seat`, while it has one."""
        self.streams: frozenset[str] = frozenset(streams_of(version, ""))
        """The kinds of streams that its client knows, as far as known."""
        self._version = version
        self.family: str = ""
        """That of its client's dialect; empty until it has asked for something that tells."""
        self._has_declared = False
        self._description: JsonObject | None = None
        """The roster entry; None once it is out of date."""
        self._entry: bytes | None = None
        """The same as JSON."""
        self.merge(attributes, self.encode(attributes))

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
        if not self.family:
            self.family = family_of(type)
            if self.family:
                self.streams = frozenset(streams_of(self._version, self.family))

    def declare(self, streams: tuple[str, ...]) -> None:
        """Set the kinds of streams that its client declares; official clients declare none. Others are ignored."""
        self.streams = _KINDS_OF_STREAMS.intersection(streams)
        self._has_declared = True

    @property
    def waits_for_answers(self) -> bool:
        """Whether its client waits for ever for the answer to a classic stream whose recipient is gone."""
        return bool(self.family) and not self._has_declared

    @property
    def waits_for_ends(self) -> bool:
        """Whether it also waits for ever for the end of an accepted one."""
        return self.waits_for_answers and not ends_streams_of_leavers(self._version)

    @property
    def resumes(self) -> bool:
        """Whether its client declares that it can resume streams. Source: PROTOCOL.md, section 13, the attribute."""
        own = self.attributes.get("meshsync")
        return isinstance(own, dict) and own.get("v") == 1 and bool(own.get("resume"))

    @property
    def attributes(self) -> JsonObject:
        """The attributes, not to be changed."""
        attributes: JsonObject = self.describe()["attributes"]
        return attributes

    def encode(self, attributes: JsonObject) -> dict[str, bytes]:
        """Return each of some attributes as JSON, such as ``"key":value``.

        Raises:
            InvalidMessage: If a roster cannot hold them.
        """
        return encode_each(attributes, "attributes", _ATTRIBUTES_DEPTH)

    def size_with(self, encoded: dict[str, bytes]) -> int:
        """Return the bytes that all attributes would have as JSON if those of an update were merged."""
        size, known = self.attributes_size, self._encoded
        count = len(known)
        for key, text in encoded.items():
            old = known.get(key)
            if old is None:
                count += 1
            else:
                size -= len(old)
            size += len(text)
        # Braces, and the commas between.
        before, now = max(len(known) - 1, 0), max(count - 1, 0)
        return size - before + now if known else size + 2 + now

    def merge(self, attributes: JsonObject, encoded: dict[str, bytes]) -> None:
        """Merge an update into the attributes.

        Args:
            encoded: The update, from `encode`.
        """
        self.attributes_size = self.size_with(encoded)
        known = self._encoded
        for key, text in encoded.items():
            self.held += _size_of(text) - _size_of(known.get(key, b""))
            known[key] = text
        self._attributes.update(attributes)
        self._description = self._entry = None

    def describe(self) -> JsonObject:
        """Return this participant's roster entry; not to be changed, as all recipients share it."""
        # Kept, since a thousand participants that join at once get half a million of them.
        description = self._description
        if description is None:
            description = {"id": self.id, "role": self.role, "attributes": dict(self._attributes)}
            self._description = description
        return description

    @property
    def entry(self) -> bytes:
        """This participant's roster entry as JSON: put together once per change, and not for each roster."""
        entry = self._entry
        if entry is None:
            about = encode_members({"id": self.id, "role": self.role}, forwarded=True)[:-1]
            entry = self._entry = about + b',"attributes":' + join_members(self._encoded) + b"}"
        return entry


def _size_of(text: bytes) -> int:
    """Return about how many bytes an attribute takes: as a value, as JSON, and as a part of its roster entry."""
    return size_in_memory(text, 0) + 2 * len(text) if text else 0


def join_members(encoded: dict[str, bytes]) -> bytes:
    """Return the JSON object whose members are given as JSON."""
    return b"{" + b",".join(encoded.values()) + b"}"


@made_quickly
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
    size: int
    """Bytes of the body."""
    payload: bytes | bytearray | memoryview = b""


def greet(member: Member, id: int, what: RoomReady | Connected, type: str, body: bytes) -> Output:
    """Return a part of the greeting."""
    return Output((member,), what, id, type, body, len(body))


def reply(member: Member, request_id: int, content: Content) -> Output:
    """Return the answer to a request."""
    type, body = _EMPTY_REPLY if content is EMPTY else encode_reply(content)
    return Output((member,), Reply(request_id, content), request_id, type, body, len(body))


def push(
    to: tuple[Member, ...], id: int, what: Push | Call | CallChunk | AnswerChunk, *, decoded: bool = False
) -> Output:
    """Return a push.

    Args:
        decoded: Whether its message comes from a decoder of ours, and so needs no check.
    Raises:
        InvalidMessage: If its body cannot be written.
    """
    if not isinstance(what, Push):
        type, body = encode_push(what)
        return Output(to, what, id, type, body, len(body))
    payload = what.attachment
    if decoded:
        head = encode_decoded({"from_participant_id": what.sender, "type": what.type, "message": what.message})
        return Output(to, what, id, "messaging.send", head, len(head) + len(payload), payload)
    # An envelope without its payload, and the payload beside it: large attachments are not copied here.
    type, head = encode_push(what, is_apart=True)
    return Output(to, what, id, type, head, len(head) + len(payload), payload)


def push_encoded(to: tuple[Member, ...], id: int, what: Push, message: bytes) -> Output:
    """Return a push without an attachment, whose message is given as JSON too.

    Raises:
        InvalidMessage: If its sender or type cannot be written.
    """
    begin = encode_members({"from_participant_id": what.sender, "type": what.type, "message": None}, forwarded=True)
    body = encode_envelope(begin.removesuffix(b"null}") + message + b"}")
    return Output(to, what, id, "messaging.send", body, len(body))
