"""The direction of a stream that outlives losses from this program to its peer.

Its chunks are held until the peer's client has taken them in, whichever connections that needs. So what a write has to
wait for is room at the peer, and in this client's budget.
"""

from __future__ import annotations

from meshsync.errors import StreamTimeout, UsageError
from meshsync.messages import Buffer
from meshsync.protocol.flow_control import Charge, size_of
from meshsync.protocol.operations import Send
from meshsync.protocol.resuming import Progress
from meshsync.protocol.stream_messages import StreamChunk, encode_stream_message
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase
from meshsync.streams.outgoing import TIMEOUT, Outgoing
from meshsync.streams.resuming import Resumption
from meshsync.streams.stream import ClientStream

__all__ = ["ResumableOutgoing"]

BUDGET_RETRY = 0.25
"""Seconds after which a writer that waits for the budget looks again; what others give back notifies no stream."""


class ResumableOutgoing(Outgoing):
    """The chunks of one stream that go to its peer, over one connection after another."""

    __slots__ = ("_resumption",)

    def __init__(self, stream: ClientStream, resumption: Resumption) -> None:
        super().__init__(stream)
        self._resumption = resumption

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Hold a chunk, and send it; see `MessageStreamWriter.write`."""
        stream, life, resumption = self._stream, self._stream.life, self._resumption
        message = self._message(chunk)
        # Its program may change a buffer before the chunk is sent for the last time.
        message = StreamChunk(message.stream_id, message.header, bytes(message.data))
        type, body = encode_stream_message(message)
        request = Send(resumption.core.peer_id, type, body, message.data)
        encoded = stream.host.encode(request)
        charge = Charge(size_of(message.header, message.data))
        deadline = self._deadline(timeout)
        while True:
            with life.condition:
                self._check_writable()
                if self._may_write() and resumption.has_room(charge.size):
                    before = resumption.core.position
                    try:
                        stream.account.send(charge)
                        resumption.write(
                            message, charge.size, encoded if request.to == resumption.core.peer_id else None
                        )
                    finally:
                        # Ctrl-C finds it held, and then it is sent, or not held.
                        if resumption.core.position == before:
                            stream.account.refund(charge)
                        else:
                            self.sent += 1
                    break
                is_full = self._may_write()
            stream.host.refuse_to_block("writing to a stream")
            left = deadline.left()
            if is_full:
                stream.wait(lambda: life.phase.is_over, BUDGET_RETRY if left is None else min(BUDGET_RETRY, left))
            else:
                stream.wait(lambda: self._may_write() or life.phase.is_over or bool(self._closing), left)
            if deadline.is_over and not (self._may_write() or life.phase.is_over):
                raise StreamTimeout(self._why_not(is_full=is_full))
        resumption.pump(deadline)

    def _may_write(self) -> bool:
        return self._may_send() and self._resumption.core.progress is Progress.OPEN

    def _why_not(self, *, is_full: bool) -> str:
        stream = self._stream
        if is_full:
            return f"{stream!r}: this client holds all the bytes that it may"
        if self._resumption.left() is not None:
            return f"{stream!r}: the connection to {stream.identity.peer_name} was lost, and is not back in time"
        return f"{stream!r}: {stream.identity.peer_name} has read nothing of it in time, and holds what it can"

    def flush(self, timeout: Timeout) -> None:
        """Wait until the room has acknowledged all; see `MessageStreamWriter.flush`."""
        stream, life = self._stream, self._stream.life
        stream.host.refuse_to_block("flushing a stream")
        deadline = self._deadline(timeout)
        with life.condition:
            self._check_writable()
        self._resumption.pump(deadline)
        if not stream.wait(lambda: self._resumption.is_sent or life.phase.is_over, deadline.left()):
            raise StreamTimeout(f"{stream!r}: the room has not acknowledged all of it in time")
        self._raise_failure()

    def close(self, timeout: Timeout) -> None:
        """End the stream regularly, and wait until its peer's client has all of it; see `MessageStreamWriter.close`."""
        stream, life, resumption = self._stream, self._stream.life, self._resumption
        stream.host.refuse_to_block("closing a stream")
        deadline, token = self._deadline(timeout), object()
        try:
            with life.condition:
                if life.end is not None and life.end.is_here:
                    return
                if life.phase is Phase.OFFERED:
                    raise UsageError(f"{stream!r} is not accepted yet: accept it, or reject it")
                self._closing.add(token)
            stream.wait(lambda: life.phase is not Phase.ACCEPTING, deadline.left())
            with life.condition:
                if resumption.core.progress is Progress.OPEN and not life.phase.is_over:
                    resumption.core.close()
                    resumption.collect()
            resumption.pump(deadline)
            if not stream.wait(lambda: life.phase.is_over, deadline.left()):
                peer = stream.identity.peer_name
                raise StreamTimeout(f"{stream!r}: {peer} has not confirmed in time that it has all of it")
        finally:
            self._closing.discard(token)
        if life.end is not None and life.end.kind is not EndKind.CLOSED_HERE:
            self._raise_failure()

    def _check_writable(self) -> None:
        super()._check_writable()
        if self._closing or self._resumption.core.progress is Progress.CLOSING:
            raise UsageError(f"{self._stream!r} cannot be written to: this program is closing it")

    def _deadline(self, timeout: Timeout) -> Deadline:
        # A loss may last so much longer.
        default = TIMEOUT + self._resumption.core.seconds
        return Deadline(self._stream.runtime, self._stream.host.limit(timeout, default))
