"""The direction of a stream from its peer to this program: its chunks, the one call that may read them, and credit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from meshsync.connection.deliveries import Receipt
from meshsync.errors import MeshsyncError, ProtocolError, ReceiveTimeout, SendTimeout, StreamInterrupted, UsageError
from meshsync.protocol.flow_control import LEAST_WINDOW, size_of
from meshsync.protocol.stream_messages import Credit, StreamChunk
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import Phase
from meshsync.streams.stream import ClientStream

__all__ = ["Incoming"]

CREDIT_RETRY = 0.25
"""Seconds after which a reader that waits tries again to send a credit for which there was no room."""


class _Reading:
    """One call that reads."""

    __slots__ = ("chunk",)

    def __init__(self) -> None:
        self.chunk: MessageStreamChunk | None = None
        """The chunk that it is about to return."""


class Incoming:
    """The chunks of one stream that come from its peer. Unread chunks are the stream's, and outlive a connection."""

    __slots__ = ("_parts", "_reading", "_stream")

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._reading: _Reading | None = None
        """The call that is reading; None while none is."""
        self._parts: list[tuple[StreamChunk, int]] = []
        """Those that came of a chunk, with the bytes that each counts."""

    # --- calls of programs --------------------------------------------------------------------------------------------

    def read(self, timeout: Timeout) -> MessageStreamChunk | None:
        """Return the next chunk; see `MessageStreamReader.read`."""
        stream, reading = self._stream, _Reading()
        stream.home.check()
        limit = stream.host.limit(timeout, None)
        deadline = Deadline(stream.runtime, limit)
        try:
            with stream.life.condition:
                if self._reading is not None:
                    raise UsageError(f"{stream!r} is being read by another task: give the stream to one of them")
                self._reading = reading
            if stream.life.phase is Phase.OFFERED:
                stream.accept(deadline)
            while True:
                # For the chunks read before: a chunk is done with when the next is asked for.
                credit = self.credit_due()
                is_owed = credit > 0 and not self._give(credit)
                left = deadline.cap(CREDIT_RETRY) if is_owed else deadline.left()
                try:
                    return self._read(reading, left, limit)
                except ReceiveTimeout:
                    if not is_owed or deadline.is_over:
                        raise
        except BaseException:
            if reading.chunk is not None:  # Ctrl-C: no program has it.
                self.put_back([reading.chunk])
            raise
        finally:
            # Without a call: Ctrl-C strikes between calls, and one that it strikes must not keep others from reading.
            if self._reading is reading:
                self._reading = None

    def _read(self, reading: _Reading, wait: float | None, limit: float | None) -> MessageStreamChunk | None:
        """Return the next chunk, waiting at most ``wait`` seconds of the call's ``limit``."""
        stream, life, unread = self._stream, self._stream.life, self._stream.unread
        if not unread and not life.phase.is_over:
            stream.host.refuse_to_block("reading a stream")
            stream.wait(lambda: bool(unread) or life.phase.is_over, wait)
        with life.condition:
            end = life.end
            if end is not None and end.is_left:
                raise life.refusal("read")
            if unread:
                account = stream.account
                if stream.identity.is_opener and account.window == LEAST_WINDOW:
                    account.widen(stream.host.window())
                chunk, size = unread[0]
                # No call up to the end: Ctrl-C finds it unread, or read and counted.
                account.unread -= size
                account.owed += size
                del unread[0]
                reading.chunk = chunk
                stream.share.give_back(size)
                return chunk
            if end is not None:
                error = end.for_reader()
                if error is None:
                    return None
                raise error
        hint = f"{stream.identity.peer_name} has not closed it, so it is slow, or its program dropped the writer"
        raise ReceiveTimeout(f"{stream!r}: no chunk came within {limit or 0:.3g} s; {hint}")

    def put_back(self, chunks: Sequence[MessageStreamChunk]) -> None:
        """Have chunks read again that were read last. They count no more: the program has read them."""
        life = self._stream.life
        if not self._stream.home.is_here:
            return
        with life.condition:
            if life.end is None or not life.end.is_left:
                self._stream.unread.extendleft((chunk, 0) for chunk in reversed(chunks))

    # --- credit -------------------------------------------------------------------------------------------------------

    def credit_due(self) -> int:
        """Return the credit to send to the peer, in bytes, or 0 while it is not worth a message."""
        life = self._stream.life
        with life.condition:
            return self._stream.account.credit_due if life.phase is Phase.OPEN else 0

    def _give(self, credit: int) -> bool:
        """Send a credit if that needs no wait; return False if it is still owed."""
        stream = self._stream
        if stream.resumption is not None:
            with stream.life.condition:
                stream.resumption.core.grant(credit)
                stream.account.owed -= credit  # Second: Ctrl-C in between must not stall the writer.
                stream.resumption.collect()
            stream.resumption.pump()
            return True
        message, receipt = Credit(stream.identity.stream_id, credit), Receipt()
        try:
            stream.channel.send(message, f"a credit of {stream!r}", 0, receipt, is_reserved=True)
        except SendTimeout:
            return False  # It is tried again, or goes with the next one.
        except MeshsyncError:
            pass  # The connection has ended, and the next read raises.
        finally:
            # Only the task that reads changes it, so it is still owed.
            if receipt.is_sent:
                stream.account.owed -= credit
        return True

    # --- reports of the client's reader task --------------------------------------------------------------------------

    def arrived(self, *chunks: StreamChunk) -> None:
        """Hold chunks that came together until they are read; after the end, drop them.

        More bytes unread than the window, or, without flow control, than the client holds, fail the stream. An offer
        is rejected then.
        """
        stream = self._stream
        is_whole = False
        try:
            with stream.life.condition:
                if stream.life.phase.is_over:
                    return
                for chunk in chunks:
                    size = len(chunk.data) if self._parts else size_of(chunk.header, chunk.data)
                    stream.account.arrive(size)
                    self._hold(size)
                    self._parts.append((chunk, size))
                    if chunk.is_partial and stream.resumption is not None:
                        continue
                    stream.unread.append(_join(self._parts))
                    self._parts = []
                    is_whole = True
                if is_whole:
                    stream.life.condition.notify_all()
        except ProtocolError as error:
            stream.host.refused()
            if stream.life.phase is Phase.OFFERED:
                with suppress(UsageError):  # It was accepted just now.
                    stream.reject(f"too much was sent before it was accepted: {error}")
                    return
            stream.fail(StreamInterrupted(f"{stream!r} is given up: {error}"))

    def _hold(self, size: int) -> None:
        """Count a chunk in the client's budget, unless flow control bounds it. With the condition held."""
        stream = self._stream
        if stream.account.is_agreed:
            return
        # No peer that keeps to the protocol writes to a stream that is not accepted.
        if not stream.share.take(size, is_owed=stream.life.phase is not Phase.OFFERED):
            raise ProtocolError(
                f"the client holds {stream.host.budget.limit} bytes unread, its limit, "
                f"{stream.account.unread - size} of them of this stream, whose other side knows no flow control"
            )


def _join(parts: Sequence[tuple[StreamChunk, int]]) -> tuple[MessageStreamChunk, int]:
    """Return the chunk that came in parts, and the bytes that it counts."""
    chunk, size = parts[0]
    if len(parts) == 1:
        return MessageStreamChunk(chunk.header, chunk.data), size
    data = b"".join(part.data for part, _ in parts)
    return MessageStreamChunk(chunk.header, data), sum(size for _, size in parts)
