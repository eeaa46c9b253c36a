"""One side of a stream, that of a participant without a thread.

It implements the messages of ``meshsync.protocol.stream_messages`` a second time and imports none of it: each checks
the other. A side without a window behaves as official clients do: no flow control, and every end is a
``stream.close``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from meshsync.errors import UsageError
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.reasons import safe_text
from meshsync.runtime.lifecycle import move
from simulator.participants.peers import Peer

__all__ = ["WINDOW", "Stream", "StreamState", "size_of", "window_in"]

WINDOW = 8 * 1024 * 1024
"""Bytes that a side with flow control holds unread by default, as the client."""

_OVERHEAD = 256
"""Bytes added to the size of a chunk's data and header."""


class StreamState(Enum):
    """The life of a stream."""

    OFFERED = "offered"
    OPEN = "open"
    CLOSING = "to be closed when the written chunks have gone out"
    ENDED = "ended"


_MOVES = {
    StreamState.OFFERED: {StreamState.OPEN, StreamState.ENDED},
    StreamState.OPEN: {StreamState.CLOSING, StreamState.ENDED},
    StreamState.CLOSING: {StreamState.ENDED},
    StreamState.ENDED: set[StreamState](),
}


def size_of(header: Mapping[str, Any], data: bytes) -> int:
    """Return the size of a chunk in flow control, in bytes."""
    return len(data) + _OVERHEAD + len(encode_object(header, "header"))


def window_in(body: Mapping[str, Any]) -> int | None:
    """Return the window that the peer states in an offer or its acceptance, in bytes; None if it states none."""
    own = body.get("meshsync")
    window = own.get("window") if isinstance(own, Mapping) and own.get("version") == 1 else None
    return window if type(window) is int and window > 0 else None


class Stream:
    """A stream as one of its two sides has it. Sizes are bytes.

    Args:
        send: Sends a message to the peer: its type, body and attachment.
        ended: Called once, when this side knows that the stream has ended.
        window: Bytes that this side holds unread; None for a side without flow control.
    Raises:
        ValueError: If ``window`` is not above 0.
    """

    def __init__(
        self,
        send: Callable[[str, JsonObject, bytes], None],
        ended: Callable[[Stream], object],
        peer: Peer,
        stream_id: str,
        header: Mapping[str, Any],
        *,
        window: int | None,
        is_opener: bool,
    ) -> None:
        if window is not None and not window > 0:
            raise ValueError(f"window must be above 0 bytes, or None for no flow control; got {window}")
        self.peer = peer
        self.id = stream_id
        self.header = header
        self.window = window
        self.is_opener = is_opener
        self.is_agreed = False
        """Whether both sides know flow control and cancelling."""
        self.state = StreamState.OFFERED
        self._send = send
        self._ended = ended
        self._room = 0
        self._owed = 0
        self._unsent: deque[tuple[JsonObject, bytes, int]] = deque()

    # --- what participants do -----------------------------------------------------------------------------------------

    @property
    def may_write(self) -> bool:
        """Whether a chunk written now goes out at once."""
        return self.state is StreamState.OPEN and not self._unsent and self._has_room

    def write(self, data: bytes = b"", header: Mapping[str, Any] | None = None) -> None:
        """Send a chunk, as soon as the peer has room for it.

        Raises:
            UsageError: If the stream is not open; nothing is sent.
            InvalidMessage: If the header is no JSON object; nothing is sent.
        """
        if self.state is not StreamState.OPEN:
            raise UsageError(f"the stream to {self.peer.name!r} cannot be written to: it is {self.state.value}")
        body: JsonObject = {"stream_id": self.id, "header": dict(header or {})}
        self._unsent.append((body, bytes(data), size_of(body["header"], data)))
        self._flush()

    def close(self) -> None:
        """End it regularly, behind the written chunks, or withdraw an offer. Again, or at the end, it does nothing."""
        if self.state is StreamState.OPEN:
            self._move(StreamState.CLOSING)
            self._flush()
        elif self.state is StreamState.OFFERED:
            self._end("stream.close", {})

    def cancel(self, reason: str = "") -> None:
        """End it at once and drop unsent chunks. To a peer without flow control it looks closed."""
        if self.state is StreamState.ENDED:
            return
        if self.is_agreed:
            self._end("stream.meshsync.cancel", {"reason": safe_text(reason)})
        else:
            self._end("stream.close", {})

    # --- called by `Participant` --------------------------------------------------------------------------------------

    def offer(self) -> None:
        """Offer it to the peer."""
        self._send("stream.open", {"stream_id": self.id, "header": dict(self.header), **self._agreement()}, b"")

    def accept(self, window: int | None) -> None:
        """Accept it, given the peer's window in bytes."""
        self._open(window)
        self._send("stream.accept", {"stream_id": self.id, **(self._agreement() if self.is_agreed else {})}, b"")

    def accepted(self, window: int | None) -> None:
        """Open it, since the peer has accepted it with that window in bytes."""
        self._open(window)

    def took(self, size: int) -> None:
        """Count ``size`` bytes as read, and send the peer a credit at each half window."""
        self._owed += size
        if self.is_agreed and self.state is not StreamState.ENDED and self._owed * 2 >= (self.window or 0):
            owed, self._owed = self._owed, 0
            self._send("stream.meshsync.credit", {"stream_id": self.id, "bytes": owed}, b"")

    def credited(self, size: int) -> None:
        """Count ``size`` bytes as read by the peer, and send chunks that waited for that."""
        self._room += size
        self._flush()

    def over(self) -> None:
        """End it without notifying the peer. Again does nothing."""
        if self.state is not StreamState.ENDED:
            self._move(StreamState.ENDED)
            self._unsent.clear()
            self._ended(self)

    # --- the work -----------------------------------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self._room > 0 or not self.is_agreed

    def _agreement(self) -> JsonObject:
        return {} if self.window is None else {"meshsync": {"version": 1, "window": self.window}}

    def _open(self, window: int | None) -> None:
        self._move(StreamState.OPEN)
        self.is_agreed = window is not None and self.window is not None
        self._room = window or 0

    def _flush(self) -> None:
        while self._unsent and self._has_room:
            body, data, size = self._unsent.popleft()
            self._room -= size
            self._send("stream.chunk", body, data)
        if self.state is StreamState.CLOSING and not self._unsent:
            self._end("stream.close", {})

    def _end(self, type: str, more: JsonObject) -> None:
        self.over()
        self._send(type, {"stream_id": self.id, **more}, b"")

    def _move(self, state: StreamState) -> None:
        self.state = move(_MOVES, self.state, state, "a stream")

    def __repr__(self) -> str:
        way = "to" if self.is_opener else "from"
        return f"<Stream {way} {self.peer.name!r}: {self.state.value}>"
