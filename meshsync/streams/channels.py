"""How a stream's words get to its other side: as messages, or on a call.

What classic and duplex streams make of each other's chunks is described in ``meshsync.protocol.bridging``. A call has
no flow control, and no acknowledgement of single chunks; but an irregular end is always told apart from a regular one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from meshsync.connection.deliveries import Delivery
from meshsync.errors import MeshsyncError
from meshsync.protocol.bridging import chunk_to_message
from meshsync.protocol.content import Control, Error
from meshsync.protocol.operations import AnswerCall, AnswerChunk, CallChunk, OpenCall, Request, Send
from meshsync.protocol.session import Session
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Chunk,
    Close,
    Credit,
    Open,
    Reject,
    StreamWord,
    encode_stream_word,
)
from meshsync.runtime.interfaces import Runtime

__all__ = ["ABNORMAL", "Caller", "Carrier", "Classic", "Recipient", "StreamConnection"]

ABNORMAL = 1011
"""The status with which a call ends irregularly; the regular one is 1000 (PROTOCOL.md, section 9)."""


class StreamConnection(Protocol):
    """What streams need of the connection that carries them; `Connection` says what each call promises."""

    @property
    def runtime(self) -> Runtime: ...
    @property
    def session(self) -> Session: ...
    @property
    def is_open(self) -> bool: ...
    def failure(self) -> MeshsyncError: ...
    def refuse_to_block(self, what: str) -> None: ...

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
    ) -> Delivery: ...
    def disregard(self, delivery: Delivery) -> None: ...

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None: ...
    def cancel_alarm(self, key: object) -> None: ...

    def post(self, job: Callable[[], None]) -> None: ...
    def spawn(self, target: Callable[[], None], name: str) -> None: ...


class Carrier(Protocol):
    """How one stream's words get to its other side."""

    @property
    def can_cancel(self) -> bool:
        """Whether an irregular end can be told without having been agreed upon."""
        ...

    def send(self, word: StreamWord, what: str, timeout: float | None) -> Delivery:
        """Send a word; raises what `Connection.request` does."""
        ...


class Classic:
    """Carries a stream's words as messages to one participant."""

    can_cancel = False

    def __init__(self, connection: StreamConnection, peer: str) -> None:
        self._connection = connection
        self._peer = peer

    def send(self, word: StreamWord, what: str, timeout: float | None) -> Delivery:
        type, body = encode_stream_word(word)
        data = word.data if isinstance(word, Chunk) else b""
        return self._connection.request(Send(self._peer, type, body, data), what, timeout)


class Caller:
    """Carries the words of the side that opened a call.

    Args:
        answered: Told, on the reader, what the other side or the room answered to the opening: None for consent.
    """

    can_cancel = True

    def __init__(
        self, connection: StreamConnection, peer: str, answered: Callable[[MeshsyncError | None], None]
    ) -> None:
        self._connection = connection
        self._peer = peer
        self._answered = answered
        self._opening: Delivery | None = None

    def send(self, word: StreamWord, what: str, timeout: float | None) -> Delivery:
        send = self._connection.request
        match word:
            case Open(call_id, header):
                opening = self._opening = send(OpenCall(call_id), what, timeout, self._answered)
                # It alone names the other side: the room holds the call until it comes.
                first = replace(chunk_to_message(header, is_first=True), to=self._peer)
                send(CallChunk(call_id, first), what, timeout)
                return opening
            case Chunk(call_id, header, data):
                return send(CallChunk(call_id, chunk_to_message(header, data)), what, timeout)
        if self._opening is not None:
            self._connection.disregard(self._opening)  # The room may never answer a call that its caller has ended.
        return send(CallChunk(word.stream_id, _ending(word)), what, timeout)


class Recipient:
    """Carries the words of the side that was called.

    Args:
        push_id: The message id of the call.
    """

    can_cancel = True

    def __init__(self, connection: StreamConnection, push_id: int) -> None:
        self._connection = connection
        self._push_id = push_id

    def send(self, word: StreamWord, what: str, timeout: float | None) -> Delivery:
        request: Request
        match word:
            case Accept():
                request = AnswerCall(self._push_id, Control("open"))
            case Reject(_, reason):
                request = AnswerCall(self._push_id, Error(reason))
            case Chunk(call_id, header, data):
                request = AnswerChunk(self._push_id, call_id, chunk_to_message(header, data))
            case _:
                request = AnswerChunk(self._push_id, word.stream_id, _ending(word))
        return self._connection.request(request, what, timeout)


def _ending(word: StreamWord) -> Control:
    match word:
        case Close(is_complete=is_complete):
            return Control("close") if is_complete else Control("close", ABNORMAL)
        case Cancel(_, reason):
            return Control("close", ABNORMAL, reason)
        case Open() | Accept() | Reject() | Chunk() | Credit():
            raise TypeError(f"{word!r} is not said at this end of a call")
