"""The direction of a stream from this program to its peer: bytes that may be written, and unacknowledged chunks.

The deliveries belong to one connection. The bytes that the peer can still hold are in the stream's `Account`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import InvalidMessage, MeshsyncError, SendTimeout, StreamTimeout, UsageError
from meshsync.messages import Buffer, as_buffer
from meshsync.protocol.flow_control import Charge, size_of
from meshsync.protocol.stream_messages import Close, StreamChunk
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase, StreamEnd
from meshsync.streams.stream import ClientStream, Ending

__all__ = ["UNACKNOWLEDGED", "UNACKNOWLEDGED_SIZE", "Outgoing"]

UNACKNOWLEDGED = 256
"""Chunks that may be on their way to the room unacknowledged."""
UNACKNOWLEDGED_SIZE = 8 * 1024 * 1024
"""Bytes likewise; one chunk is sent however large it is."""

TIMEOUT = 30.0
"""Seconds, by default."""


class _Chunk:
    """A chunk that is being sent, or is unacknowledged, with what it holds of both limits."""

    __slots__ = ("charge", "delivery", "is_noted", "is_waiting", "receipt")

    def __init__(self, size: int) -> None:
        self.charge = Charge(size)
        self.receipt = Receipt()
        self.delivery: Delivery | None = None
        """None while it is being sent."""
        self.is_waiting = False
        """Whether it counts as unacknowledged."""
        self.is_noted = False
        """Whether it is counted as sent."""


class Outgoing:
    """The chunks of one stream that go to its peer, over one connection.

    A chunk counts from the moment in which it may go out, not from that in which it is gone: ``close`` waits for those
    that other tasks are sending, and lets no more begin. So a chunk is sent before the end, or refused.

    Ctrl-C strikes between calls. What has to happen together is here without a call in between, and what a call has
    counted is taken back in its ``finally``, which can be done twice.
    """

    __slots__ = ("_closing", "_stream", "_unacknowledged", "_unacknowledged_size", "sent")

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._unacknowledged: deque[_Chunk] = deque()
        self._unacknowledged_size = 0
        self._closing: set[object] = set()
        """A token of each call that is closing; meanwhile no chunk may go out."""
        self.sent: int = 0
        """How many chunks were sent; a wrapper that Ctrl-C strikes knows by this whether its last one was."""

    # --- calls of programs --------------------------------------------------------------------------------------------

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Send a chunk; see `MessageStreamWriter.write`."""
        stream = self._stream
        message = self._message(chunk)
        counted = _Chunk(size_of(message.header, message.data))
        deadline = self._deadline(timeout)
        try:
            self._reserve(counted, deadline)
            if self._send(message, counted, deadline):
                return
        finally:
            try:
                self._settle_one(counted)
            except BaseException:  # Ctrl-C struck in there.
                self._settle_one(counted)
                raise
        raise stream.life.refusal("written to")

    def _message(self, chunk: MessageStreamChunk | Buffer) -> StreamChunk:
        """Return the message for a chunk, or for bytes alone; refuse what is neither."""
        self._stream.home.check()
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        header, data = chunk.header, as_buffer(chunk.data, "chunk")
        if type(header) is not dict and not isinstance(header, Mapping):
            raise InvalidMessage(f"header: {type(header).__qualname__} is not a JSON object; give a dict")
        return StreamChunk(self._stream.identity.stream_id, dict(header), data)

    def _send(self, message: StreamChunk, counted: _Chunk, deadline: Deadline) -> bool:
        """Send a chunk that may go out; return False if that ended the stream."""
        stream = self._stream
        try:
            counted.delivery = stream.channel.send(message, f"a chunk of {stream!r}", deadline.left(), counted.receipt)
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from error
        except UsageError:
            raise
        except MeshsyncError as error:
            stream.fail(error)
            return False
        return True

    def _settle_one(self, chunk: _Chunk) -> None:
        """Count a chunk no more if it was not sent, or no task knows when it is acknowledged. Again does nothing."""
        life = self._stream.life
        with life.condition:
            if chunk.delivery is None:
                if not chunk.receipt.is_sent:
                    self._stream.account.refund(chunk.charge)
                if chunk.is_waiting:
                    self._forget(chunk)
            if not chunk.is_noted and (chunk.receipt.is_sent or chunk.delivery is not None):
                self.sent += 1
                chunk.is_noted = True
            life.condition.notify_all()

    def flush(self, timeout: Timeout) -> None:
        """Wait until nothing is unacknowledged; see `MessageStreamWriter.flush`."""
        self._stream.host.refuse_to_block("flushing a stream")
        deadline = self._deadline(timeout)
        with self._stream.life.condition:
            self._check_writable()
        self._drain(deadline)
        self._raise_failure()

    def close(self, timeout: Timeout) -> None:
        """End the stream regularly; see `MessageStreamWriter.close`."""
        stream, life = self._stream, self._stream.life
        stream.host.refuse_to_block("closing a stream")
        deadline, token = self._deadline(timeout), object()
        try:
            with life.condition:
                if life.end is not None and life.end.is_here:
                    return
                if life.phase is Phase.OFFERED:
                    raise UsageError(f"{stream!r} is not accepted yet: accept it, or reject it")
                self._closing.add(token)
                life.condition.notify_all()
            self._drain(deadline)
            self._end(deadline)
        finally:
            self._closing.discard(token)

    def _end(self, deadline: Deadline) -> None:
        """End the stream behind the last chunk, and wait until the room has noted it."""
        stream, life = self._stream, self._stream.life
        ending = Ending(StreamEnd(EndKind.CLOSED_HERE), "", Close(stream.identity.stream_id))
        try:
            with life.condition:
                if life.phase.is_over:
                    self._raise_failure()
                    return
                stream.finish(ending)
            stream.report(ending)
            try:
                stream.send_last(ending, f"closing {stream!r}", deadline.left()).wait(deadline.left())
            except SendTimeout as error:
                raise StreamTimeout(str(error)) from error
            except MeshsyncError as error:
                raise stream.interruption(error) from error
        finally:
            # Without room in time, from the reserve: it cannot be closed again, and its peer would wait for ever.
            stream.conclude(ending)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _reserve(self, chunk: _Chunk, deadline: Deadline) -> None:
        """Wait until a chunk may go out, and count it."""
        stream, life = self._stream, self._stream.life
        size = chunk.charge.size
        while True:
            self._settle()
            with life.condition:
                self._check_writable()
                if self._closing:
                    raise UsageError(f"{stream!r} cannot be written to: this program is closing it")
                oldest = self._unacknowledged[0] if self._is_full(size) else None
                if oldest is None and self._may_send():
                    self._unacknowledged_size += size
                    chunk.is_waiting = True
                    self._unacknowledged.append(chunk)
                    stream.account.send(chunk.charge)
                    return
            stream.host.refuse_to_block("writing to a stream")
            left = deadline.left()
            if oldest is not None:
                self._await(oldest, left)
                continue
            with life.condition:
                # The end of the stream ends the wait, and so does its closing.
                is_free = life.condition.wait_for(
                    lambda: self._may_send() or life.phase.is_over or bool(self._closing), left
                )
            if not is_free:
                peer = stream.identity.peer_name
                raise StreamTimeout(
                    f"{stream!r}: {peer} has read nothing of it for {left or 0:.3g} s, and holds what it can"
                )

    def _may_send(self) -> bool:
        return self._stream.account.may_send and self._stream.life.phase is not Phase.ACCEPTING

    def _is_full(self, size: int) -> bool:
        waiting = self._unacknowledged
        return bool(waiting) and (
            len(waiting) >= UNACKNOWLEDGED or self._unacknowledged_size + size > UNACKNOWLEDGED_SIZE
        )

    def _forget(self, chunk: _Chunk) -> None:
        """Count a chunk as unacknowledged no more. With the condition held; Ctrl-C finds it done or not done."""
        waiting = self._unacknowledged
        at = waiting.index(chunk) if chunk in waiting else None
        self._unacknowledged_size -= chunk.charge.size
        chunk.is_waiting = False
        if at is not None:
            del waiting[at]

    def _settle(self) -> None:
        """Forget acknowledged chunks; an error fails the stream first."""
        waiting, life = self._unacknowledged, self._stream.life
        while True:
            error = None
            with life.condition:
                while True:
                    delivery = waiting[0].delivery if waiting else None
                    if delivery is None or not delivery.is_done:
                        break
                    error = delivery.error
                    if error is not None:
                        break
                    self._forget(waiting[0])
                failed = waiting[0] if error is not None else None
            if failed is None or error is None:
                return
            self._stream.fail(error)
            with life.condition:
                if failed.is_waiting:
                    self._forget(failed)

    def _drain(self, deadline: Deadline) -> None:
        """Wait until nothing is unacknowledged."""
        while True:
            self._settle()
            with self._stream.life.condition:
                oldest = self._unacknowledged[0] if self._unacknowledged else None
            if oldest is None:
                return
            self._await(oldest, deadline.left())

    def _await(self, chunk: _Chunk, timeout: float | None) -> None:
        """Wait until a chunk is sent, or else until it is acknowledged, at most ``timeout`` seconds."""
        condition = self._stream.life.condition
        try:
            if chunk.delivery is not None:
                chunk.delivery.wait(timeout)
                return
            with condition:
                if condition.wait_for(lambda: chunk.delivery is not None or not chunk.is_waiting, timeout):
                    return
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from None
        except MeshsyncError:
            return  # The next `_settle` finds it.
        raise StreamTimeout(f"{self._stream!r}: a chunk of another task was not sent within {timeout or 0:.3g} s")

    def _check_writable(self) -> None:
        # With the condition held.
        life = self._stream.life
        if life.phase is Phase.OFFERED:
            raise UsageError(f"{self._stream!r} is not accepted yet: call accept() before writing back")
        if life.phase.is_over:
            raise life.refusal("written to")

    def _raise_failure(self) -> None:
        """Raise, after an irregular end, the writer's error."""
        end = self._stream.life.end
        failure = None if end is None else end.for_writer()
        if failure is not None:
            raise failure

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._stream.runtime, self._stream.host.limit(timeout, TIMEOUT))

    # --- reports of the client's reader task --------------------------------------------------------------------------

    def credited(self, size: int) -> None:
        """Count bytes that the peer has read."""
        if not size:
            return  # It confirms what it has taken in, and waiting tasks would wake in vain.
        with self._stream.life.condition:
            self._stream.account.make_room(size)
            self._stream.life.condition.notify_all()
