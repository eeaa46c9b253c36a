"""The two ends of a call, each in the dialect of its client.

Each of the two ends, opener and recipient, may know calls or classic streams, in any combination: where they differ,
this room is a bridge. Between the ends, data travels as the content of a call's chunk; see
`meshsync.protocol.bridging` for how one kind of stream is written as the other. When something is sent is not this
module's business.

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
"""Writes a push for one member; the push is made from the message's id."""


class Opener(Protocol):
    """The end that opened the call."""

    member: Member

    def accepted(self) -> list[Output]:
        """Report that the recipient accepted."""
        ...

    def refused(self, error: Error) -> list[Output]:
        """Report that the call was refused, or ended before it was accepted."""
        ...

    def pass_on(self, content: ChunkContent) -> list[Output]:
        """Pass on a chunk of the recipient, its closing included."""
        ...

    def left(self, participant_id: str) -> list[Output]:
        """Report that the recipient has left; a closing follows."""
        ...


class Recipient(Protocol):
    """The end that the call is offered to."""

    member: Member

    def offer(self, first: CallMessage) -> list[Output]:
        """Offer the call. A second call offers it again."""
        ...

    def pass_on(self, content: ChunkContent) -> list[Output]:
        """Pass on a chunk of the opener, its closing included."""
        ...


class DuplexCaller:
    """An opener that made a call: its request is answered as the recipient answers."""

    def __init__(self, post: Post, member: Member, request_id: int, call_id: str) -> None:
        self.member = member
        self._post = post
        self._request_id = request_id
        self._call_id = call_id

    def accepted(self) -> list[Output]:
        """Answer the request, and send `Accepted` on the call, which the recipient does not send."""
        return [reply(self.member, self._request_id, OPEN), self._chunk(Accepted(self._call_id))]

    def refused(self, error: Error) -> list[Output]:
        """Answer the request."""
        return [reply(self.member, self._request_id, error)]

    def pass_on(self, content: ChunkContent) -> list[Output]:
        """Pass it on as it is."""
        return [self._chunk(content)]

    def left(self, participant_id: str) -> list[Output]:
        """Send `RecipientGone`."""
        return [self._chunk(RecipientGone(participant_id))]

    def _chunk(self, content: ChunkContent) -> Output:
        return self._post(self.member, lambda id: AnswerChunk(id, self._call_id, content))


class DuplexRecipient:
    """A recipient that is called."""

    def __init__(self, post: Post, member: Member, caller_id: str, call_id: str) -> None:
        self.member = member
        self.push_id: int = 0
        """The id of the push with the call; the recipient's answer names it."""
        self._post = post
        self._caller_id = caller_id
        self._call_id = call_id

    def offer(self, first: CallMessage) -> list[Output]:
        """Send the call, and the first message with its sender: a client refuses one without."""
        call = self._post(self.member, lambda id: Call(id, self._call_id, self._caller_id, "stream", OPEN))
        self.push_id = call.id
        message = CallMessage(first.type, first.message, first.attachment, sender=self._caller_id)
        return [call, *self.pass_on(message)]

    def pass_on(self, content: ChunkContent) -> list[Output]:
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
        """Accept in the recipient's name."""
        return [_push(self._post, self.member, self._other_id, "accept", {"stream_id": self._stream_id})]

    def refused(self, error: Error) -> list[Output]:
        """Reject in the recipient's name."""
        return [rejection(self._post, self.member, self._other_id, self._stream_id, error.text)]

    def pass_on(self, content: ChunkContent) -> list[Output]:
        """Pass on a message or a closing; classic streams have nothing else."""
        return _translate(self._post, self.member, self._other_id, self._stream_id, content)

    def left(self, participant_id: str) -> list[Output]:
        """Send nothing: the roster tells it, and before 0.10.0, where that ends no stream, the closing does."""
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
        return [_push(self._post, self.member, self._caller_id, "open", body, data)]

    def pass_on(self, content: ChunkContent) -> list[Output]:
        """Pass on a message or a closing; classic streams have nothing else."""
        return _translate(self._post, self.member, self._caller_id, self._stream_id, content)


def rejection(post: Post, member: Member, sender: str, stream_id: str, reason: str) -> Output:
    """Return the rejection of a classic stream in the name of ``sender``."""
    return _push(post, member, sender, "reject", {"stream_id": stream_id, "error": reason})


def _translate(post: Post, member: Member, sender: str, stream_id: str, content: ChunkContent) -> list[Output]:
    match content:
        case CallMessage():
            header, data = message_to_chunk(content)
            return [_push(post, member, sender, "chunk", {"stream_id": stream_id, "header": header}, data)]
        case Control("close"):
            # Classic streams have no other message for an irregular end.
            return [_push(post, member, sender, "close", {"stream_id": stream_id})]
    return []


def _push(post: Post, member: Member, sender: str, kind: str, body: JsonObject, data: Buffer = b"") -> Output:
    return post(member, lambda id: Push(sender, f"stream.{kind}", body, data))
