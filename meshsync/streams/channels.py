"""How a stream's messages get to its peer: as messages to a participant, or on a call; and the connection they use.

The translation between chunks of classic and duplex streams is described in ``meshsync.protocol.bridging``. A call has
no flow control, and no acknowledgement of single chunks; but an irregular end is always told apart from a regular one.

A channel belongs to one connection and ends with it; the stream that it carries need not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import MeshsyncError
from meshsync.protocol.bridging import chunk_to_message
from meshsync.protocol.content import Control, Error
from meshsync.protocol.operations import AnswerCall, AnswerChunk, CallChunk, OpenCall, Request, Send
from meshsync.protocol.session import Session
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Closed,
    Credit,
    Open,
    Reject,
    Resume,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    encode_stream_message,
)
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime

__all__ = ["ABNORMAL", "CallerChannel", "Channel", "MessageChannel", "RecipientChannel", "StreamConnection"]

ABNORMAL = 1011
"""The status with which a call ends irregularly; the regular one is 1000 (PROTOCOL.md, section 9)."""


class StreamConnection(Protocol):
    """The part of the carrying connection that streams use; `Connection` documents each call."""

    @property
    def runtime(self) -> Runtime: ...
    @property
    def session(self) -> Session: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def budget(self) -> ByteBudget: ...
    def failure(self) -> MeshsyncError: ...
    def refuse_to_block(self, what: str) -> None: ...

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery: ...
    def disregard(self, delivery: Delivery) -> None: ...

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None: ...
    def cancel_alarm(self, key: object) -> None: ...

    def spawn(self, target: Callable[[], None], name: str) -> None: ...


class Channel(Protocol):
    """How one stream's messages get to its peer."""

    @property
    def can_cancel(self) -> bool:
        """Whether an irregular end can be sent without agreement on it."""
        ...

    def send(
        self,
        message: StreamMessage,
        what: str,
        timeout: float | None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        """Send a message of the stream; raises as `Connection.request`.

        Args:
            what: Names the message in errors.
            timeout: The longest wait for room in the connection's buffer, in seconds.
            receipt: Marked if the message is sent, whatever exception strikes then.
            is_reserved: Whether it may go out ahead of waiting senders, from the reserve, or is refused at once.
        """
        ...


class MessageChannel:
    """Carries a classic stream: each message of the stream is a message to one participant."""

    can_cancel = False

    def __init__(self, connection: StreamConnection, peer: str) -> None:
        self._connection = connection
        self._peer = peer

    def send(
        self,
        message: StreamMessage,
        what: str,
        timeout: float | None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        type, body = encode_stream_message(message)
        data = message.data if isinstance(message, StreamChunk) else b""
        request = Send(self._peer, type, body, data)
        return self._connection.request(request, what, timeout, None, receipt, is_reserved=is_reserved)


class CallerChannel:
    """Carries a duplex stream for the caller.

    Args:
        answered: Called on the reader with the peer's or the room's answer to the opening: None for consent.
    """

    can_cancel = True

    def __init__(
        self, connection: StreamConnection, peer: str, answered: Callable[[MeshsyncError | None], None]
    ) -> None:
        self._connection = connection
        self._peer = peer
        self._answered = answered
        self._opening: Delivery | None = None

    def send(
        self,
        message: StreamMessage,
        what: str,
        timeout: float | None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        send = self._connection.request
        match message:
            case Open(call_id, header):
                deadline = Deadline(self._connection.runtime, timeout)
                opening = self._opening = send(OpenCall(call_id), what, timeout, self._answered)
                # It alone names the peer: the room holds the call until it comes.
                first = replace(chunk_to_message(header, is_first=True), to=self._peer)
                try:
                    send(CallChunk(call_id, first), what, deadline.left())
                except BaseException:  # The room will not answer, and closing would wait for that.
                    self._connection.disregard(opening)
                    raise
                return opening
            case StreamChunk(call_id, header, data):
                return send(CallChunk(call_id, chunk_to_message(header, data)), what, timeout, None, receipt)
        if self._opening is not None:
            self._connection.disregard(self._opening)  # The room may never answer a call that its caller has ended.
        ending = CallChunk(message.stream_id, _ending(message))
        return send(ending, what, timeout, None, receipt, is_reserved=is_reserved)


class RecipientChannel:
    """Carries a duplex stream for the recipient of the call.

    Args:
        push_id: The message id of the call.
    """

    can_cancel = True

    def __init__(self, connection: StreamConnection, push_id: int) -> None:
        self._connection = connection
        self._push_id = push_id

    def send(
        self,
        message: StreamMessage,
        what: str,
        timeout: float | None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        request: Request
        match message:
            case Accept():
                request = AnswerCall(self._push_id, Control("open"))
            case Reject(_, reason):
                request = AnswerCall(self._push_id, Error(reason))
            case StreamChunk(call_id, header, data):
                request = AnswerChunk(self._push_id, call_id, chunk_to_message(header, data))
            case _:
                request = AnswerChunk(self._push_id, message.stream_id, _ending(message))
        return self._connection.request(request, what, timeout, None, receipt, is_reserved=is_reserved)


def _ending(message: StreamMessage) -> Control:
    match message:
        case Close(is_complete=is_complete):
            return Control("close") if is_complete else Control("close", ABNORMAL)
        case Cancel(_, reason):
            return Control("close", ABNORMAL, reason)
        case Open() | Accept() | Reject() | StreamChunk() | StreamChunks() | Credit() | Resume() | Closed():
            raise TypeError(f"{message!r} cannot be sent from this side of a call")
