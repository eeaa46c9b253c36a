"""The values that participants without a thread get: peers, messages, offers of streams, and chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from meshsync.protocol.envelopes import encode_object
from simulator.spellings import HintedMessage, HintedPeer, HintedQuestion

__all__ = ["Chunk", "Message", "Offer", "Peer", "Question", "Questioned", "copied"]


@dataclass(frozen=True, slots=True)
class Peer(HintedPeer):
    """Another participant."""

    id: str
    role: str
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The display name; empty if it has none."""
        return str(self.attributes.get("name", ""))


@dataclass(frozen=True, slots=True)
class Message(HintedMessage):
    """A message as a participant gets it."""

    sender: Peer
    type: str
    message: Mapping[str, Any]
    attachment: bytes = field(default=b"", repr=False)


class Questioned(Protocol):
    """What sends the answers of a participant."""

    def reply(self, message: Mapping[str, Any], attachment: bytes, type: str | None, /) -> None: ...
    def refuse(self, reason: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Question(HintedQuestion, Message):
    """A question of a client, to be answered once, at once or later."""

    _questioned: Questioned = field(kw_only=True, repr=False, compare=False)

    def reply(self, message: Mapping[str, Any], attachment: bytes = b"", *, type: str | None = None) -> None:
        """Answer it.

        Args:
            type: The answer's type; by default the one that the asker wants, else the question's.
        Raises:
            UsageError: If it was answered, or the participant has left.
            InvalidMessage: If the message is no JSON object.
        """
        self._questioned.reply(message, attachment, type)

    def refuse(self, reason: str) -> None:
        """Have the asker get `RequestRefused` with that text; raises as ``reply``."""
        self._questioned.refuse(reason)


@dataclass(frozen=True, slots=True)
class Offer:
    """A peer's offer of a stream."""

    sender: Peer
    stream_id: str
    header: Mapping[str, Any]
    window: int | None = None
    """Bytes that its opener holds unread; None if it knows no flow control."""
    _wire: object = field(default=None, repr=False, compare=False)
    """The simulator's: how the stream outlives losses, if its opener wants that."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream."""

    header: Mapping[str, Any]
    data: bytes = field(default=b"", repr=False)
    size: int = 0
    """Its size in flow control, in bytes."""


def copied(value: Mapping[str, Any], name: str) -> tuple[dict[str, Any], int]:
    """Return a copy of a JSON object, which the caller cannot change, and its size in bytes.

    Args:
        name: Its name in errors.
    Raises:
        InvalidMessage: If it is no JSON object.
    """
    encoded = encode_object(value, name)
    return json.loads(encoded), len(encoded)
