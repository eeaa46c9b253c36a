"""Ready-made participants without a thread that reject, ignore, read or write streams.

Two have a parameter for leaving during a stream. To disappear otherwise, a participant needs a fault plan:
``faults.on("stream.chunk", to="sink", nth=3).do(faults.reset("sink"))``, or ``half_open``, or ``pause``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from meshsync.runtime.lifecycle import move
from simulator.latency import Law, as_law
from simulator.participants.participant import Participant
from simulator.participants.peers import Chunk, Message, Offer, Peer
from simulator.participants.stream import WINDOW, Stream, StreamState

__all__ = ["Rejecting", "Silent", "Sink", "Streamer"]


class Rejecting(Participant):
    """Rejects every stream for the same reason."""

    def __init__(
        self, name: str, reason: str = "busy", role: str = "agent", *, returns_after: float | Law | None = None
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        self.reason = reason

    def on_stream(self, offer: Offer) -> None:
        """Reject it."""
        self.reject(offer, self.reason)


class Silent(Participant):
    """Answers nothing: the opener of a stream to it waits."""

    def on_stream(self, offer: Offer) -> None:
        """Neither accept nor reject it."""


class Sink(Participant):
    """Accepts every stream and message, and counts their bytes.

    What it has unread of streams that outlive losses when its connection is lost, it reads when it is back.

    Args:
        rate: Bytes per second that it reads from streams; None for all at once. Unread chunks wait in it.
        window: Bytes that it holds unread of each stream; None for no flow control, as programs on the official SDK.
        cancel_after: Bytes after which it reads no more, and ends each stream early; None for no limit.
        leave_after: Bytes after which it leaves the room; None for no limit.
    Raises:
        ValueError: If ``rate`` is not above 0.
    """

    def __init__(
        self,
        name: str,
        rate: float | None = None,
        role: str = "agent",
        *,
        window: int | None = WINDOW,
        cancel_after: int | None = None,
        leave_after: int | None = None,
        returns_after: float | Law | None = None,
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        if rate is not None and not rate > 0:
            raise ValueError(f"rate must be above 0 bytes per second, got {rate}")
        self.rate = rate
        self.window = window
        self.cancel_after = cancel_after
        self.leave_after = leave_after
        self.messages: int = 0
        self.bytes_taken: int = 0
        """Bytes of attachments, and of streams as far as they are read."""
        self.bytes_unread: int = 0
        """Bytes of streams that have arrived and are not read yet."""
        self.most_unread: int = 0
        """The maximum of ``bytes_unread``."""
        self._busy_until = 0.0
        self._unread: deque[tuple[Stream, Chunk]] = deque()

    def on_start(self) -> None:
        """Begin with what is unread of streams that have outlived a loss."""
        unread, self._unread = self._unread, deque()
        self.bytes_unread = 0
        self._busy_until = self.now
        for stream, chunk in unread:
            if stream.outlives_losses:
                self.on_arrival(stream, chunk)

    def on_message(self, message: Message) -> None:
        """Count it."""
        self.messages += 1
        self.bytes_taken += len(message.attachment)

    def on_stream(self, offer: Offer) -> None:
        """Accept it."""
        self.accept(offer, window=self.window)

    def on_arrival(self, stream: Stream, chunk: Chunk) -> None:
        """Read it, as fast as ``rate`` allows."""
        self.bytes_unread += len(chunk.data)
        self.most_unread = max(self.most_unread, self.bytes_unread)
        self._unread.append((stream, chunk))
        if self.rate is None:
            self._take()
            return
        self._busy_until = max(self._busy_until, self.now) + len(chunk.data) / self.rate
        self.after(self._busy_until - self.now, self._take)

    def _take(self) -> None:
        stream, chunk = self._unread.popleft()
        self.bytes_unread -= len(chunk.data)
        if not self._has_enough(self.cancel_after):  # Else chunks behind the limit are dropped.
            self.read(stream, chunk)

    def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
        """Count it, and cancel or leave at the limit."""
        self.bytes_taken += len(chunk.data)
        if self._has_enough(self.cancel_after):
            for one in self.streams:
                one.cancel(f"no more than {self.cancel_after} bytes are wanted")
        if self._has_enough(self.leave_after):
            self.leave()

    def leave(self) -> None:
        """Leave the room, and drop what is unread."""
        self._unread.clear()
        super().leave()

    def _has_enough(self, limit: int | None) -> bool:
        return limit is not None and self.bytes_taken >= limit


class StreamerState(Enum):
    """The life of a `Streamer`; each value is the outcome so far, unless `Streamer.outcome` has more detail."""

    NOT_OPENED = "not opened"
    WAITING = "waits for its recipient"
    OFFERED = "offered"
    OPEN = "open"
    BLOCKED = "open, and the reader has no room for the next chunk"
    ENDED = "ended"


_MOVES = {
    StreamerState.NOT_OPENED: {StreamerState.WAITING},
    StreamerState.WAITING: {StreamerState.WAITING, StreamerState.OFFERED},
    StreamerState.OFFERED: {StreamerState.OPEN, StreamerState.ENDED, StreamerState.WAITING},
    StreamerState.OPEN: {StreamerState.BLOCKED, StreamerState.ENDED, StreamerState.WAITING},
    StreamerState.BLOCKED: {StreamerState.OPEN, StreamerState.ENDED, StreamerState.WAITING},
    StreamerState.ENDED: {StreamerState.WAITING},
}
"""A streamer that comes back to the room begins anew, whatever the state of its stream, unless that has outlived the
loss."""

_CLOSED = "closed"
_UNDER_WAY = (StreamerState.OFFERED, StreamerState.OPEN, StreamerState.BLOCKED)


class Streamer(Participant):
    """Opens a stream to a peer, writes chunks to it and closes it.

    It goes on with a stream that outlives a loss, and begins anew when it comes back after any other end than closing.

    Args:
        to: The recipient's name; while no participant has it, the stream waits.
        chunks: The data of each chunk.
        interval: Between two chunks, in seconds or as a law. With flow control it waits for its reader besides.
        header: The stream's.
        window: Bytes that it holds unread of the peer's chunks, all of which it reads at once; None for no flow
            control, as programs on the official SDK: it writes whatever its reader does.
        leave_after: Chunks that it writes before it leaves the room, with the stream open; None if it does not leave.
    """

    def __init__(
        self,
        name: str,
        to: str,
        chunks: Iterable[bytes],
        interval: float | Law = 0.0,
        *,
        header: Mapping[str, Any] | None = None,
        role: str = "agent",
        window: int | None = WINDOW,
        leave_after: int | None = None,
        returns_after: float | Law | None = None,
    ) -> None:
        super().__init__(name, role, returns_after=returns_after)
        self.to = to
        self.chunks: tuple[bytes, ...] = tuple(chunks)
        self.interval: Law = as_law(interval)
        self.header: dict[str, Any] = dict(header or {})
        self.window = window
        self.leave_after = leave_after
        self._state = StreamerState.NOT_OPENED
        self.written: int = 0
        """Chunks written so far."""
        self._writing_to: Stream | None = None
        self._ending = ""

    @property
    def outcome(self) -> str:
        """The state of the stream, or how it ended: ``open``, ``closed``, ``rejected: …``."""
        match self._state:
            case StreamerState.WAITING:
                return f"waits for {self.to!r}"
            case StreamerState.BLOCKED:
                return StreamerState.OPEN.value
            case StreamerState.ENDED:
                return self._ending
        return str(self._state.value)

    def on_start(self) -> None:
        """Open the stream, if its recipient is there, or go on with the one that has outlived a loss."""
        stream = self._writing_to
        if stream is not None and stream.state is not StreamState.ENDED:
            if self._state is StreamerState.OPEN:
                self.after(self.interval, lambda: self._write(stream))
            return
        if stream is not None and stream.outlives_losses and self._ending == _CLOSED:
            return
        self._move(StreamerState.WAITING)
        peer = self.peer(self.to)
        if peer is not None:
            self._open(peer)

    def on_peer_joined(self, peer: Peer) -> None:
        """Open the stream, if this is its recipient."""
        if peer.name == self.to and self._state is StreamerState.WAITING:
            self._open(peer)

    def _open(self, peer: Peer) -> None:
        self._move(StreamerState.OFFERED)
        self.written = 0
        self._writing_to = self.open_stream(peer, self.header, window=self.window)

    def on_stream_answer(self, stream: Stream, error: str | None) -> None:
        """Begin to write, or end."""
        if stream is not self._writing_to:  # a subclass may have opened more
            return
        if error is not None:
            self._end_by(f"rejected: {error}")
        else:
            self._move(StreamerState.OPEN)
            self._write(stream)

    def on_credit(self, stream: Stream) -> None:
        """Go on, if it was blocked."""
        if self._state is StreamerState.BLOCKED and stream is self._writing_to and stream.may_write:
            self._move(StreamerState.OPEN)
            self._write(stream)

    def on_stream_end(self, stream: Stream, error: str | None) -> None:
        """Write no more."""
        if stream is not self._writing_to:
            return
        if self._state in _UNDER_WAY:
            self._end_by(error or "closed by the other side")
        elif error is not None and self._ending == _CLOSED:  # Its peer has not confirmed that.
            self._ending = error

    def on_end(self) -> None:
        """Write no more, until it is back with a stream that outlives losses."""
        is_over = self._writing_to is None or self._writing_to.state is StreamState.ENDED
        if self._state in _UNDER_WAY and is_over:
            self._end_by("the connection ended")

    def leave(self) -> None:
        """Leave the room, and begin anew when it comes back."""
        self._writing_to = None
        super().leave()

    def _write(self, stream: Stream) -> None:
        if self._state is not StreamerState.OPEN:
            return
        if self.written == self.leave_after:
            self._end_by("left")
            self.leave()
        elif self.written == len(self.chunks):
            self._end_by(_CLOSED)
            stream.close()
        elif not stream.may_write:
            self._move(StreamerState.BLOCKED)
        else:
            stream.write(self.chunks[self.written], {"index": self.written})
            self.written += 1
            self.after(self.interval, lambda: self._write(stream))

    def _end_by(self, ending: str) -> None:
        self._move(StreamerState.ENDED)
        self._ending = ending

    def _move(self, state: StreamerState) -> None:
        self._state = move(_MOVES, self._state, state, f"streamer {self.name!r}")
