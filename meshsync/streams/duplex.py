"""The calls of one client: duplex streams, as newer releases open and answer them (PROTOCOL.md, section 9).

The room's operations on a call are translated into messages of a stream, so that a stream is the same however it is
carried. A call that a peer opens is held until its first message names the sender and the header; then it is an offer
like any other. No function here waits, sends or calls back: `StreamCalls.receive` returns each operation's translation.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshsync.errors import MeshsyncError, ParticipantNotFound, RoomError, StreamRejected, StreamTimeout
from meshsync.protocol.bridging import message_to_chunk
from meshsync.protocol.content import Control, Error, ErrorCode
from meshsync.protocol.operations import (
    Accepted,
    AnswerChunk,
    Call,
    CallChunk,
    CallEnded,
    CallMessage,
    ChunkContent,
    RecipientGone,
)
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Open, Reject, StreamChunk, StreamMessage
from meshsync.signals import log_warning
from meshsync.streams.channels import CallerChannel, Channel, RecipientChannel, StreamConnection
from meshsync.streams.life import StreamKey

__all__ = ["ForStream", "Offered", "Returned", "StreamCalls", "refusal_of"]

HELD = 64
"""Calls that wait for their first message; beyond that the oldest is refused."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A peer offers a stream."""

    message: Open
    sender: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class ForStream:
    """A message for a stream that is here."""

    key: StreamKey
    message: StreamMessage
    channel: Channel
    """How it came."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A message to send back, since no stream matches the one received."""

    channel: Channel
    message: StreamMessage
    what: str
    """Names the message in errors."""


@dataclass(slots=True)
class _StreamCall:
    """A call that carries a stream, or offers one."""

    key: StreamKey
    channel: CallerChannel | RecipientChannel
    recipient_is_gone: bool = False
    """Whether the room reported that; the end follows, and is not a regular one."""

    def for_stream(self, message: StreamMessage) -> ForStream:
        return ForStream(self.key, message, self.channel)


class StreamCalls:
    """The calls under way. ``add`` and ``forget`` may be called on any task, ``receive`` on the reader."""

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection
        self._held: dict[str, Call] = {}
        self._calls: dict[str, _StreamCall] = {}
        """By the id of the call, which is that of its stream."""

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, key: StreamKey, channel: CallerChannel | RecipientChannel) -> None:
        """Note that a stream is carried by a call, or offered by one."""
        self._calls[key[1]] = _StreamCall(key, channel)

    def forget(self, key: StreamKey) -> None:
        """Note that a stream has ended, or is carried otherwise."""
        call = self._calls.get(key[1])
        if call is not None and call.key == key:
            self._calls.pop(key[1], None)

    def receive(self, operation: Call | CallChunk | AnswerChunk) -> Offered | ForStream | Returned | None:
        """Translate the room's operation on a call; return None if it concerns no stream."""
        match operation:
            case Call():
                return self._begin(operation)
            case CallChunk(call_id, content):
                held = self._held.pop(call_id, None)
                call = self._calls.get(call_id)
                if held is not None:
                    return self._first(held, content)
                if call is not None and isinstance(call.channel, RecipientChannel):
                    return _from_caller(call, content)
            case AnswerChunk(_, call_id, content):
                call = self._calls.get(call_id)
                if call is not None and isinstance(call.channel, CallerChannel):
                    return _from_recipient(call, content)
                if call is None and isinstance(content, Accepted):
                    # It was given up here meanwhile, and its acceptor would wait for ever.
                    channel = CallerChannel(self._connection, "", lambda error: None)
                    return Returned(channel, Close(call_id, is_complete=False), f"ending the call {call_id}")
        return None

    def _begin(self, call: Call) -> Returned | None:
        if call.tool != "stream" or call.arguments != Control("open"):
            return self._refuse(call, "a call of messaging begins with opening a stream")
        if call.call_id in self._held or call.call_id in self._calls:
            return self._refuse(call, "the id of the call is in use")
        self._held[call.call_id] = call
        if len(self._held) > HELD:
            return self._refuse(self._held.pop(next(iter(self._held))), "too many calls")
        return None

    def _first(self, call: Call, content: ChunkContent) -> Offered | Returned | None:
        if isinstance(content, Control):
            return None  # The caller has given up, and waits for no answer.
        if not isinstance(content, CallMessage) or not content.sender:
            return self._refuse(call, "a call begins with a message that says from whom it is")
        header, _ = message_to_chunk(content, is_first=True)
        return Offered(Open(call.call_id, header), content.sender, RecipientChannel(self._connection, call.push_id))

    def _refuse(self, call: Call, reason: str) -> Returned:
        channel = RecipientChannel(self._connection, call.push_id)
        return Returned(channel, Reject(call.call_id, reason), f"refusing a call of {call.caller}")


def _from_caller(call: _StreamCall, content: ChunkContent) -> ForStream | None:
    _, call_id = call.key
    match content:
        case CallMessage():
            return call.for_stream(_chunk(call_id, content))
        case Control("close", 1000):
            return call.for_stream(Close(call_id))
        case Control("close", _, message):
            return call.for_stream(Cancel(call_id, message))
    log_warning("skipped what is no message on stream %s", call_id)
    return None


def _from_recipient(call: _StreamCall, content: ChunkContent) -> ForStream | None:
    _, call_id = call.key
    match content:
        case Accepted():
            return call.for_stream(Accept(call_id))
        case CallMessage():
            return call.for_stream(_chunk(call_id, content))
        case RecipientGone():
            call.recipient_is_gone = True
            return None
        case Control("close", 1000) if not call.recipient_is_gone:
            return call.for_stream(Close(call_id))
        case Control("close", status, message):
            return call.for_stream(Cancel(call_id, message or ("left" if status == 1000 else "")))
        case CallEnded(reason, message):
            return call.for_stream(Cancel(call_id, message or reason))
        case Error(text):
            return call.for_stream(Cancel(call_id, text))
    log_warning("skipped what is no message on stream %s", call_id)
    return None


def _chunk(call_id: str, message: CallMessage) -> StreamChunk:
    header, data = message_to_chunk(message)
    return StreamChunk(call_id, header, bytes(data))


def refusal_of(error: MeshsyncError | None, *, alone: bool) -> MeshsyncError | None:
    """Return the reason why an offer by a call failed; None if it did not, or if that is not known yet.

    Args:
        error: The answer to the opening of the call: of the peer, or of the room for it, which gives a code.
        alone: Whether the stream is offered in no other way, so that every refusal of the call is the answer.
    """
    if error is None:
        return None  # The room also sends `Accepted`.
    if not isinstance(error, RoomError):
        return error
    if error.code is None:
        return StreamRejected(str(error))
    if not alone:
        return None  # A peer that knows no calls may yet answer the classic offer.
    if isinstance(error, ParticipantNotFound):
        return error
    if error.code == ErrorCode.TIMEOUT:
        return StreamTimeout(str(error))
    return StreamRejected(str(error))
