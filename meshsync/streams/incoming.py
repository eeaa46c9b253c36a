"""What has come on a stream and was not read yet, and the one task that may read it.

Belongs to the stream and not to a connection: what was received can be read after the connection's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from meshsync.errors import ReceiveTimeout, UsageError
from meshsync.protocol.flow_control import LEAST_WINDOW, Account, size_of
from meshsync.protocol.stream_messages import StreamChunk
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import Phase, StreamHost, StreamLife

__all__ = ["Incoming"]


class Incoming:
    """The chunks of one stream that come from its peer, and this side's credit for them."""

    __slots__ = ("_account", "_chunks", "_host", "_life", "reading")

    def __init__(self, life: StreamLife, account: Account, host: StreamHost) -> None:
        self._life = life
        self._account = account
        self._host = host
        self._chunks: deque[tuple[MessageStreamChunk, int]] = deque()
        """Each with what it still counts, in bytes."""
        self.reading: object = None
        """The token of the call that is reading; None while none is."""

    @property
    def held(self) -> int:
        """How many bytes of data wait to be read."""
        return sum(len(chunk.data) for chunk, _ in list(self._chunks))

    # --- what programs do ---------------------------------------------------------------------------------------------

    def begin(self, token: object) -> None:
        """Let the call with that token read, and no other; it is done when ``reading`` is None again.

        Raises:
            UsageError: If another call is reading.
        """
        with self._life.condition:
            if self.reading is not None:
                raise UsageError(
                    f"{self._life.identity!r} is being read by another task: give the stream to one of them"
                )
            self.reading = token

    def take_credit(self) -> int:
        """Return how much the peer is to be told it may send, in bytes, or 0 while that is not worth a message."""
        with self._life.condition:
            return self._account.take_credit() if self._life.phase is Phase.OPEN else 0

    def return_credit(self, size: int) -> None:
        """Take back a credit that could not be sent: it goes with the next one."""
        with self._life.condition:
            self._account.owe(size)

    def take(self, timeout: float | None) -> MessageStreamChunk | None:
        """Take the next chunk, waiting for it; None at the regular end. Raises as `MessageStreamReader.read`."""
        life, account, chunks = self._life, self._account, self._chunks
        if not chunks and not life.phase.is_over:
            self._host.refuse_to_block("reading a stream")
        with life.condition:
            if not chunks and not life.phase.is_over:
                life.condition.wait_for(lambda: bool(chunks) or life.phase.is_over, timeout)
            end = life.end
            if end is not None and end.is_left:
                raise life.refusal("read")
            if chunks:
                account.read(chunks[0][1])
                if life.identity.is_opener and account.window == LEAST_WINDOW:
                    account.widen(self._host.window())
                return chunks.popleft()[0]
            if end is not None:
                error = end.for_reader()
                if error is None:
                    return None
                raise error
        raise ReceiveTimeout(f"{life.identity!r}: no chunk came within {timeout or 0:.3g} s")

    def put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        """Have chunks read again that were read last. They count no more, being in the program's hands."""
        with self._life.condition:
            if self._life.end is None or not self._life.end.is_left:
                self._chunks.extendleft((chunk, 0) for chunk in reversed(chunks))

    # --- what the client's reader task does ---------------------------------------------------------------------------

    def arrive(self, chunk: StreamChunk) -> None:
        """Hold a chunk until it is read; after the end, drop it.

        Raises:
            ProtocolError: If more is unread than this side is ready to hold; the chunk is dropped.
        """
        size = size_of(chunk.header, chunk.data)
        with self._life.condition:
            if self._life.phase.is_over:
                return
            self._account.arrive(size)
            self._chunks.append((MessageStreamChunk(chunk.header, chunk.data), size))
            self._life.condition.notify_all()

    def clear(self) -> None:
        """Drop what was not read. Called with the stream's condition held."""
        self._chunks.clear()
