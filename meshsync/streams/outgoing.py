"""The direction of a stream from this program to its peer: bytes that may be written, and unacknowledged chunks.

The deliveries belong to one connection. The bytes that the peer can still hold are in the stream's `Account`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from meshsync.connection.deliveries import Delivery
from meshsync.errors import InvalidMessage, MeshsyncError, SendTimeout, StreamTimeout, UsageError
from meshsync.messages import Buffer, as_buffer
from meshsync.protocol.flow_control import size_of
from meshsync.protocol.stream_messages import Close, StreamChunk
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase, StreamEnd
from meshsync.streams.stream import ClientStream

__all__ = ["UNACKNOWLEDGED", "UNACKNOWLEDGED_SIZE", "Outgoing"]

UNACKNOWLEDGED = 256
"""Chunks that may be on their way to the room unacknowledged."""
UNACKNOWLEDGED_SIZE = 8 * 1024 * 1024
"""Bytes likewise; one chunk is sent however large it is."""

TIMEOUT = 30.0
"""Seconds, by default."""


class Outgoing:
    """The chunks of one stream that go to its peer, over one connection."""

    __slots__ = ("_stream", "_unacknowledged", "_unacknowledged_size")

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._unacknowledged: deque[tuple[Delivery, int]] = deque()
        """Each with the bytes that it counts."""
        self._unacknowledged_size = 0

    # --- calls of programs --------------------------------------------------------------------------------------------

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Send a chunk; see `MessageStreamWriter.write`."""
        stream = self._stream
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        header, data = chunk.header, as_buffer(chunk.data, "chunk")
        if not isinstance(header, Mapping):
            raise InvalidMessage(f"header: {type(header).__qualname__} is not a JSON object; give a dict")
        size = size_of(header, data)
        deadline = self._deadline(timeout)
        self._reserve(size, deadline)
        message = StreamChunk(stream.identity.stream_id, dict(header), data)
        try:
            delivery = stream.channel.send(message, f"a chunk of {stream!r}", deadline.left())
        except SendTimeout as error:
            self.credited(size)
            raise StreamTimeout(str(error)) from error
        except UsageError:
            self.credited(size)
            raise
        except MeshsyncError as error:
            stream.fail(error)
        else:
            with stream.life.condition:
                self._unacknowledged.append((delivery, size))
                self._unacknowledged_size += size
            return
        raise stream.life.refusal("written to")

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
        deadline = self._deadline(timeout)
        with life.condition:
            if life.end is not None and life.end.is_here:
                return
            if life.phase is Phase.OFFERED:
                raise UsageError(f"{stream!r} is not accepted yet: accept it, or reject it")
        self._drain(deadline)
        with life.condition:
            if life.phase.is_over:
                self._raise_failure()
                return
            stream.finish(StreamEnd(EndKind.CLOSED_HERE))
        stream.host.ended(life, "")
        message, what = Close(stream.identity.stream_id), f"closing {stream!r}"
        try:
            try:
                closing = stream.channel.send(message, what, deadline.left())
            except SendTimeout:
                # It has ended here, and cannot be closed again: its peer would wait for ever.
                stream.host.send_unawaited(stream.channel, message, what)
                raise
            closing.wait(deadline.left())
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from error
        except MeshsyncError as error:
            raise stream.interruption(error) from error

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _reserve(self, size: int, deadline: Deadline) -> None:
        """Wait until a chunk may go out, and count it."""
        stream, life, account = self._stream, self._stream.life, self._stream.account
        while True:
            self._settle()
            with life.condition:
                self._check_writable()
                oldest = self._unacknowledged[0][0] if self._is_full(size) else None
                if oldest is None and self._may_send():
                    account.send(size)
                    return
            stream.host.refuse_to_block("writing to a stream")
            left = deadline.left()
            if oldest is not None:
                _wait_for(oldest, left)
                continue
            with life.condition:
                # The end of the stream ends the wait.
                is_free = life.condition.wait_for(lambda: self._may_send() or life.phase.is_over, left)
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

    def _settle(self) -> None:
        """Forget acknowledged chunks; the first error fails the stream."""
        waiting = self._unacknowledged
        failed = None
        with self._stream.life.condition:
            while waiting and waiting[0][0].is_done and failed is None:
                delivery, size = waiting.popleft()
                self._unacknowledged_size -= size
                failed = delivery.error
        if failed is not None:
            self._stream.fail(failed)

    def _drain(self, deadline: Deadline) -> None:
        """Wait until nothing is unacknowledged."""
        while True:
            self._settle()
            with self._stream.life.condition:
                oldest = self._unacknowledged[0][0] if self._unacknowledged else None
            if oldest is None:
                return
            _wait_for(oldest, deadline.left())

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
        """Count bytes that the peer has read, or those of a chunk that was not sent after all."""
        with self._stream.life.condition:
            self._stream.account.make_room(size)
            self._stream.life.condition.notify_all()


def _wait_for(delivery: Delivery, timeout: float | None) -> None:
    try:
        delivery.wait(timeout)
    except SendTimeout as error:
        raise StreamTimeout(str(error)) from None
    except MeshsyncError:
        pass  # The next `_settle` finds it.
