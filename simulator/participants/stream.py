"""One side of a stream, that of a participant without a thread.

It implements the messages of ``meshsync.protocol.stream_messages`` a second time and imports none of it: each checks
the other. A side without a window behaves as official clients do: no flow control, and every end is a
``stream.close``. Where a stream outlives losses, another `StreamWire` sends its messages: ``lasting``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Protocol

from meshsync.errors import UsageError
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.reasons import safe_text
from meshsync.runtime.lifecycle import move
from simulator.participants.peers import Peer

__all__ = ["WINDOW", "Stream", "StreamState", "StreamWire", "size_of", "window_in"]

WINDOW = 8 * 1024 * 1024
"""Bytes that a side with flow control holds unread by default, as the client."""

_OVERHEAD = 256
"""Bytes added to the size of a chunk's data and header."""


class StreamState(Enum):
    """The life of a stream."""

    OFFERED = "offered"
    OPEN = "open"
    CLOSING = "to be closed when the written chunks have gone out"
    """Or are there: where it outlives losses, its peer confirms that it has all of it."""
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


class StreamWire(Protocol):
    """How the messages of one stream go to its peer."""

    outlives_losses: bool
    """Whether the stream goes on after a loss of either connection."""

    def offer(self, header: Mapping[str, Any], window: int | None) -> None:
        """Send the offer."""

    def accept(self, window: int | None) -> None:
        """Send the consent; None without flow control."""

    def chunk(self, header: JsonObject, data: bytes, size: int) -> None:
        """Send a chunk, for which the peer has room."""

    def credit(self, size: int) -> None:
        """Send a credit of so many bytes."""

    def close(self) -> bool:
        """Send the regular end, or withdraw the offer; return whether this side's stream is over by that."""

    def cancel(self, reason: str) -> None:
        """Send the irregular end."""


class _PlainWire:
    """Each message goes out at once, and what is lost is lost."""

    outlives_losses = False

    def __init__(self, send: Callable[[str, JsonObject, bytes], None], stream_id: str) -> None:
        self._send = send
        self._stream_id = stream_id

    def offer(self, header: Mapping[str, Any], window: int | None) -> None:
        self._tell("stream.open", {"header": dict(header), **_agreement(window)})

    def accept(self, window: int | None) -> None:
        self._tell("stream.accept", _agreement(window))

    def chunk(self, header: JsonObject, data: bytes, size: int) -> None:
        self._tell("stream.chunk", {"header": header}, data)

    def credit(self, size: int) -> None:
        self._tell("stream.meshsync.credit", {"bytes": size})

    def close(self) -> bool:
        self._tell("stream.close", {})
        return True

    def cancel(self, reason: str) -> None:
        self._tell("stream.meshsync.cancel", {"reason": reason})

    def _tell(self, type: str, more: JsonObject, data: bytes = b"") -> None:
        self._send(type, {"stream_id": self._stream_id, **more}, data)


def _agreement(window: int | None) -> JsonObject:
    return {} if window is None else {"meshsync": {"version": 1, "window": window}}


class Stream:
    """A stream as one of its two sides has it. Sizes are bytes.

    Args:
        send: Sends a message to the peer: its type, body and attachment.
        ended: Called once, when this side knows that the stream has ended.
        window: Bytes that this side holds unread; None for a side without flow control.
        wire: Sends the messages instead, so that the stream outlives losses; None if it does not.
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
        wire: StreamWire | None = None,
    ) -> None:
        if window is not None and not window > 0:
            raise ValueError(f"window must be above 0 bytes, or None for no flow control; got {window}")
        self.peer = peer
        """The peer as it is now, or was last."""
        self.id = stream_id
        self.header = header
        self.window = window
        self.is_opener = is_opener
        self.is_agreed: bool = False
        """Whether both sides know flow control and cancelling."""
        self.state: StreamState = StreamState.OFFERED
        self._send = send
        self._ended = ended
        self._room = 0
        self._owed = 0
        self._unsent: deque[tuple[JsonObject, bytes, int]] = deque()
        self._wire: StreamWire = _PlainWire(send, stream_id) if wire is None else wire

    # --- what participants do -----------------------------------------------------------------------------------------

    @property
    def outlives_losses(self) -> bool:
        """Whether it goes on after a loss of either connection; of an offer, whether it will if the peer agrees."""
        return self._wire.outlives_losses

    @property
    def may_write(self) -> bool:
        """Whether a chunk written now goes out at once, or is the first to go when the stream is resumed."""
        return self.state is StreamState.OPEN and not self._unsent and self._has_room

    def write(self, data: bytes = b"", header: Mapping[str, Any] | None = None) -> None:
        """Send a chunk, as soon as the peer has room for it.

        Raises:
            UsageError: If the stream is not open; nothing is sent.
            InvalidMessage: If the header is no JSON object; nothing is sent.
        """
        if self.state is not StreamState.OPEN:
            raise UsageError(f"the stream to {self.peer.name!r} cannot be written to: it is {self.state.value}")
        own = dict(header or {})
        self._unsent.append((own, bytes(data), size_of(own, data)))
        self._flush()

    def close(self) -> None:
        """End it regularly, behind the written chunks, or withdraw an offer. Again, or at the end, it does nothing."""
        if self.state is StreamState.OPEN:
            self._move(StreamState.CLOSING)
            self._flush()
        elif self.state is StreamState.OFFERED:
            self.over()
            self._wire.close()

    def cancel(self, reason: str = "") -> None:
        """End it at once and drop unsent chunks. To a peer without flow control it looks closed."""
        if self.state is StreamState.ENDED:
            return
        self.over()
        if self.is_agreed:
            self._wire.cancel(safe_text(reason))
        else:
            self._wire.close()

    # --- called by `ParticipantStreams` -------------------------------------------------------------------------------

    def offer(self) -> None:
        """Offer it to the peer."""
        self._wire.offer(self.header, self.window)

    def accept(self, window: int | None) -> None:
        """Accept it, given the peer's window in bytes."""
        self._open(window)
        self._wire.accept(self.window if self.is_agreed else None)

    def accepted(self, window: int | None) -> None:
        """Open it, since the peer has accepted it with that window in bytes."""
        self._open(window)

    def end_with_connections(self) -> None:
        """Note that it does not outlive losses, since its peer does not agree."""
        self._wire = _PlainWire(self._send, self.id)

    def took(self, size: int) -> None:
        """Count ``size`` bytes as read, and send the peer a credit at each half window."""
        self._owed += size
        if self.is_agreed and self.state is not StreamState.ENDED and self._owed * 2 >= (self.window or 0):
            owed, self._owed = self._owed, 0
            self._wire.credit(owed)

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

    def _open(self, window: int | None) -> None:
        self._move(StreamState.OPEN)
        self.is_agreed = window is not None and self.window is not None
        self._room = window or 0

    def _flush(self) -> None:
        while self._unsent and self._has_room:
            header, data, size = self._unsent.popleft()
            self._room -= size
            self._wire.chunk(header, data, size)
        if self.state is StreamState.CLOSING and not self._unsent and self._wire.close():
            self.over()

    def _move(self, state: StreamState) -> None:
        self.state = move(_MOVES, self.state, state, "a stream")

    def __repr__(self) -> str:
        way = "to" if self.is_opener else "from"
        return f"<Stream {way} {self.peer.name!r}: {self.state.value}>"
