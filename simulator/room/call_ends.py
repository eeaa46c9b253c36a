"""The two ends of a call, each in the words of the client that is there.

The end that opened it and the end that was offered it may know calls or classic streams, in any combination: where they
differ, this room is a bridge. What is said travels as the content of a call's chunk; see `meshsync.protocol.bridging`
for how the one kind of stream reads in the other. Not the business of this module: when what is said.

Source: PROTOCOL.md, sections 8 and 9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from meshsync.protocol.bridging import message_to_chunk
from meshsync.protocol.content import Control, Error
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import (
    Accepted,
    AnswerChunk,
    Buffer,
    Call,
    CallChunk,
    CallMessage,
    ChunkContent,
    Push,
    RecipientGone,
)
from simulator.room.members import Member, Output, reply

__all__ = [
    "CLOSE",
    "OPEN",
    "ClassicAcceptor",
    "ClassicOpener",
    "DuplexCaller",
    "DuplexRecipient",
    "Opener",
    "Post",
    "Recipient",
    "rejection",
]

OPEN = Control("open")
CLOSE = Control("close")

Post = Callable[[Member, Callable[[int], Push | Call | CallChunk | AnswerChunk]], Output]
"""Writes what is made of the message's id, for one member."""


class Opener(Protocol):
    """The end that opened the call."""

    member: Member

    def accepted(self) -> list[Output]:
        """Say that the other end accepted."""
        ...

    def refused(self, error: Error) -> list[Output]:
        """Say that nothing came of it."""
        ...

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass on what the other end said, its closing included."""
        ...

    def left(self, participant_id: str) -> list[Output]:
        """Say that the other end has gone, which a closing follows."""
        ...


class Recipient(Protocol):
    """The end that the call is offered to."""

    member: Member

    def offer(self, first: CallMessage) -> list[Output]:
        """Say that somebody opens a call; again means again."""
        ...

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass on what the opener said, its closing included."""
        ...


class DuplexCaller:
    """An opener that made a call: its request is answered as the recipient answers."""

    def __init__(self, post: Post, member: Member, request_id: int, call_id: str) -> None:
        self.member = member
        self._post = post
        self._request_id = request_id
        self._call_id = call_id

    def accepted(self) -> list[Output]:
        """Answer the request, and say so on the call, which the recipient does not."""
        return [reply(self.member, self._request_id, OPEN), self._chunk(Accepted(self._call_id))]

    def refused(self, error: Error) -> list[Output]:
        """Answer the request."""
        return [reply(self.member, self._request_id, error)]

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass it on as it is."""
        return [self._chunk(content)]

    def left(self, participant_id: str) -> list[Output]:
        """Say so in the word that there is for it."""
        return [self._chunk(RecipientGone(participant_id))]

    def _chunk(self, content: ChunkContent) -> Output:
        return self._post(self.member, lambda id: AnswerChunk(id, self._call_id, content))


class DuplexRecipient:
    """A recipient that is called."""

    def __init__(self, post: Post, member: Member, caller_id: str, call_id: str) -> None:
        self.member = member
        self.push_id = 0
        """The id of the message with the call, under which the recipient answers."""
        self._post = post
        self._caller_id = caller_id
        self._call_id = call_id

    def offer(self, first: CallMessage) -> list[Output]:
        """Call, and say who calls: a client refuses a first message without that."""
        call = self._post(self.member, lambda id: Call(id, self._call_id, self._caller_id, "stream", OPEN))
        self.push_id = call.id
        message = CallMessage(first.type, first.message, first.attachment, sender=self._caller_id)
        return [call, *self.said(message)]

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass it on as it is."""
        return [self._post(self.member, lambda id: CallChunk(self._call_id, content))]


class ClassicOpener:
    """An opener that sent ``stream.open``."""

    def __init__(self, post: Post, member: Member, other_id: str, stream_id: str) -> None:
        self.member = member
        self._post = post
        self._other_id = other_id
        self._stream_id = stream_id

    def accepted(self) -> list[Output]:
        """Accept in the other end's name."""
        return [_word(self._post, self.member, self._other_id, "accept", {"stream_id": self._stream_id})]

    def refused(self, error: Error) -> list[Output]:
        """Reject in the other end's name."""
        return [rejection(self._post, self.member, self._other_id, self._stream_id, error.text)]

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass on what a classic stream has a word for."""
        return _said(self._post, self.member, self._other_id, self._stream_id, content)

    def left(self, participant_id: str) -> list[Output]:
        """Say nothing: the roster does, and before 0.10.0, where that ends no stream, the closing does."""
        return []


class ClassicAcceptor:
    """A recipient that is sent ``stream.open``."""

    def __init__(self, post: Post, member: Member, caller_id: str, stream_id: str) -> None:
        self.member = member
        self._post = post
        self._caller_id = caller_id
        self._stream_id = stream_id

    def offer(self, first: CallMessage) -> list[Output]:
        """Open in the caller's name."""
        header, data = message_to_chunk(first, is_first=True)
        body = {"stream_id": self._stream_id, "header": header}
        return [_word(self._post, self.member, self._caller_id, "open", body, data)]

    def said(self, content: ChunkContent) -> list[Output]:
        """Pass on what a classic stream has a word for."""
        return _said(self._post, self.member, self._caller_id, self._stream_id, content)


def rejection(post: Post, member: Member, sender: str, stream_id: str, reason: str) -> Output:
    """Return the rejection of a classic stream in somebody's name."""
    return _word(post, member, sender, "reject", {"stream_id": stream_id, "error": reason})


def _said(post: Post, member: Member, sender: str, stream_id: str, content: ChunkContent) -> list[Output]:
    match content:
        case CallMessage():
            header, data = message_to_chunk(content)
            return [_word(post, member, sender, "chunk", {"stream_id": stream_id, "header": header}, data)]
        case Control("close"):
            # An irregular end reads the same: there is no word for it.
            return [_word(post, member, sender, "close", {"stream_id": stream_id})]
    return []


def _word(post: Post, member: Member, sender: str, word: str, body: JsonObject, data: Buffer = b"") -> Output:
    return post(member, lambda id: Push(sender, f"stream.{word}", body, data))
