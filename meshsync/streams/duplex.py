"""The calls of one client: duplex streams, as newer releases open and answer them (PROTOCOL.md, section 9).

A call that others open is held until its first message says from whom and with what; then it is an offer like any
other. What comes on a call is turned into the words of a stream, so that its reader and writer know no difference.
"""

from __future__ import annotations

from collections.abc import Callable

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
from meshsync.protocol.stream_messages import Accept, Cancel, Chunk, Close, Open, Reject, StreamWord
from meshsync.signals import log_warning
from meshsync.streams.channels import Caller, Carrier, Recipient, StreamConnection
from meshsync.streams.stream import Stream

__all__ = ["Calls"]

HELD = 64
"""Calls that wait for their first message; beyond that the oldest is refused."""

Offer = Callable[[Open, str, Carrier], "Stream | None"]
Hear = Callable[[Stream, StreamWord], None]
Tell = Callable[[Carrier, StreamWord, str, float], None]


class Calls:
    """The calls under way. All methods but ``open`` and ``forget`` are called on the reader.

    Args:
        offer: Gives an offered stream to the program; returns it unless that rejected it.
        hear: Takes a word for a stream.
        tell: Says something without waiting.
    """

    def __init__(self, connection: StreamConnection, *, offer: Offer, hear: Hear, tell: Tell) -> None:
        self._connection = connection
        self._offer = offer
        self._hear = hear
        self._tell = tell
        self._held: dict[str, Call] = {}
        self._streams: dict[str, Stream] = {}
        self._callers: dict[str, Caller] = {}

    def open(self, stream: Stream, *, alone: bool) -> Caller:
        """Return the carrier of a stream that is to be opened by a call.

        Args:
            alone: Whether it is offered in no other way, so that every refusal of the call is the answer.
        """
        caller = Caller(self._connection, stream.peer.id, lambda error: _answered(stream, error, alone=alone))
        self._streams[stream.id] = stream
        self._callers[stream.id] = caller
        return caller

    def forget(self, stream: Stream) -> None:
        """Note that a stream has ended, or is carried otherwise."""
        self._callers.pop(stream.id, None)
        if self._streams.get(stream.id) is stream:
            del self._streams[stream.id]

    def take(self, word: Call | CallChunk | AnswerChunk) -> None:
        """Take what the room says of a call. Never waits."""
        match word:
            case Call():
                self._begin(word)
            case CallChunk(call_id, content):
                call = self._held.pop(call_id, None)
                stream = self._streams.get(call_id)
                if call is not None:
                    self._first(call, content)
                elif stream is not None and not stream.is_opener:
                    self._from_caller(stream, content)
            case AnswerChunk(_, call_id, content):
                stream = self._streams.get(call_id)
                if stream is not None and stream.is_opener:
                    self._from_recipient(stream, content)
                elif stream is None and isinstance(content, Accepted):
                    # It was given up here meanwhile, and its acceptor would wait for ever.
                    caller = Caller(self._connection, "", lambda error: None)
                    self._tell(caller, Close(call_id, is_complete=False), f"ending the call {call_id}", 0)

    def _begin(self, call: Call) -> None:
        if call.tool != "stream" or call.arguments != Control("open"):
            self._refuse(call, "a call of messaging begins with opening a stream")
        elif call.call_id in self._held or call.call_id in self._streams:
            self._refuse(call, "the id of the call is in use")
        else:
            self._held[call.call_id] = call
            if len(self._held) > HELD:
                self._refuse(self._held.pop(next(iter(self._held))), "too many calls")

    def _first(self, call: Call, content: ChunkContent) -> None:
        if isinstance(content, Control):
            return  # The caller has given up; nobody waits for an answer.
        if not isinstance(content, CallMessage) or not content.sender:
            self._refuse(call, "a call begins with a message that says from whom it is")
            return
        header, _ = message_to_chunk(content, is_first=True)
        stream = self._offer(Open(call.call_id, header), content.sender, Recipient(self._connection, call.push_id))
        if stream is not None:
            self._streams[call.call_id] = stream

    def _refuse(self, call: Call, why: str) -> None:
        carrier = Recipient(self._connection, call.push_id)
        self._tell(carrier, Reject(call.call_id, why), f"refusing a call of {call.caller}", 0)

    def _from_caller(self, stream: Stream, content: ChunkContent) -> None:
        match content:
            case CallMessage():
                self._hear(stream, _chunk(stream, content))
            case Control("close", 1000):
                self._hear(stream, Close(stream.id))
            case Control("close", _, message):
                self._hear(stream, Cancel(stream.id, message))
            case _:
                log_warning("skipped what is no message on %r", stream)

    def _from_recipient(self, stream: Stream, content: ChunkContent) -> None:
        match content:
            case Accepted():
                caller = self._callers.get(stream.id)
                if caller is not None and not stream.accepted(None, caller):
                    self._hear(stream, Accept(stream.id))
            case CallMessage():
                self._hear(stream, _chunk(stream, content))
            case RecipientGone():
                stream.peer_has_left = True  # The end follows, and then is not a regular one.
            case Control("close", 1000) if not stream.peer_has_left:
                self._hear(stream, Close(stream.id))
            case Control("close", status, message):
                self._hear(stream, Cancel(stream.id, message or ("left" if status == 1000 else "")))
            case CallEnded(reason, message):
                self._hear(stream, Cancel(stream.id, message or reason))
            case Error(text):
                self._hear(stream, Cancel(stream.id, text))
            case _:
                log_warning("skipped what is no message on %r", stream)


def _chunk(stream: Stream, message: CallMessage) -> Chunk:
    header, data = message_to_chunk(message)
    return Chunk(stream.id, header, bytes(data))


def _answered(stream: Stream, error: MeshsyncError | None, *, alone: bool) -> None:
    """Take the answer to the opening of a call: the other side's, or the room's for it, which has a code."""
    if error is None:
        return  # The room says `Accepted` besides.
    if not isinstance(error, RoomError):
        stream.refused(error)
    elif error.code is None:
        stream.refused(StreamRejected(str(error)))
    elif not alone:
        return  # The other side may know no calls, and yet answer what it was offered before.
    elif isinstance(error, ParticipantNotFound):
        stream.refused(error)
    elif error.code == ErrorCode.TIMEOUT:
        stream.refused(StreamTimeout(str(error)))
    else:
        stream.refused(StreamRejected(str(error)))
