"""What is on its way from this side of a stream: how much may be written, and what the room has not acknowledged.

The deliveries belong to one connection. What the peer can still hold is in the stream's `Account`.
"""

from __future__ import annotations

from collections import deque

from meshsync.connection.deliveries import Delivery
from meshsync.errors import MeshsyncError, SendTimeout, StreamTimeout, UsageError
from meshsync.protocol.flow_control import Account
from meshsync.protocol.stream_messages import StreamChunk
from meshsync.runtime.deadlines import Deadline
from meshsync.streams.channels import Channel
from meshsync.streams.life import Phase, StreamHost, StreamLife

__all__ = ["UNACKNOWLEDGED", "UNACKNOWLEDGED_SIZE", "Outgoing"]

UNACKNOWLEDGED = 256
"""Chunks that may be on their way to the room unacknowledged."""
UNACKNOWLEDGED_SIZE = 8 * 1024 * 1024
"""Bytes likewise; one chunk is let through however large it is."""


class Outgoing:
    """The chunks of one stream that go to its peer.

    Its methods end nothing: they return or raise why a chunk failed, and the stream decides what comes of that.
    """

    __slots__ = ("_account", "_host", "_life", "_unacknowledged", "_unacknowledged_size")

    def __init__(self, life: StreamLife, account: Account, host: StreamHost) -> None:
        self._life = life
        self._account = account
        self._host = host
        self._unacknowledged: deque[tuple[Delivery, int]] = deque()
        self._unacknowledged_size = 0

    def check_writable(self) -> None:
        """Raise unless this program may write. Called with the stream's condition held.

        Raises:
            UsageError: If the stream is not accepted yet, or this program ended it.
            StreamCancelled: If the peer ended it; `StreamInterrupted` if it was cut off.
        """
        life = self._life
        if life.phase is Phase.OFFERED:
            raise UsageError(f"{life.identity!r} is not accepted yet: call accept() before writing back")
        if life.phase.is_over:
            raise life.refusal("written to")

    def reserve(self, size: int, deadline: Deadline) -> MeshsyncError | None:
        """Wait until a chunk may go out, and count it; or return why an earlier one failed, and count nothing.

        Args:
            size: As of `size_of`, in bytes.
        Raises:
            StreamTimeout: If it may not go out in time; also as ``check_writable``.
        """
        life, account = self._life, self._account
        while True:
            failure = self.settle()
            if failure is not None:
                return failure
            with life.condition:
                self.check_writable()
                oldest = self._unacknowledged[0][0] if self._is_full(size) else None
                if oldest is None and self._may_send():
                    account.send(size)
                    return None
            self._host.refuse_to_block("writing to a stream")
            left = deadline.left()
            if oldest is not None:
                _wait_for(oldest, left)
                continue
            with life.condition:
                # The end of the stream ends the wait.
                is_free = life.condition.wait_for(lambda: self._may_send() or life.phase.is_over, left)
            if not is_free:
                raise StreamTimeout(
                    f"{life.identity!r}: {life.identity.peer_name} has read nothing of it for {left or 0:.3g} s, and "
                    "holds what it can"
                )

    def send(self, channel: Channel, chunk: StreamChunk, size: int, deadline: Deadline) -> None:
        """Send a chunk for which ``reserve`` was called.

        Raises:
            StreamTimeout: If the connection had no room in time, or an `UsageError` if the chunk cannot be carried:
                nothing was sent, and the chunk counts no more.
            MeshsyncError: If the connection has ended.
        """
        try:
            delivery = channel.send(chunk, f"a chunk of {self._life.identity!r}", deadline.left())
        except SendTimeout as error:
            self.make_room(size)
            raise StreamTimeout(str(error)) from error
        except UsageError:
            self.make_room(size)
            raise
        with self._life.condition:
            self._unacknowledged.append((delivery, size))
            self._unacknowledged_size += size

    def settle(self) -> MeshsyncError | None:
        """Forget what was acknowledged, up to the first chunk that failed; return why it did."""
        waiting = self._unacknowledged
        with self._life.condition:
            while waiting and waiting[0][0].is_done:
                delivery, size = waiting.popleft()
                self._unacknowledged_size -= size
                if delivery.error is not None:
                    return delivery.error
        return None

    def drain(self, deadline: Deadline) -> MeshsyncError | None:
        """Wait until all is acknowledged; or return why a chunk failed, to be called again for what is behind it.

        Raises:
            StreamTimeout: If that takes too long.
        """
        while True:
            failure = self.settle()
            if failure is not None:
                return failure
            with self._life.condition:
                oldest = self._unacknowledged[0][0] if self._unacknowledged else None
            if oldest is None:
                return None
            _wait_for(oldest, deadline.left())

    def make_room(self, size: int) -> None:
        """Count what the peer has read, or a chunk of which nothing was sent after all, in bytes."""
        with self._life.condition:
            self._account.make_room(size)
            self._life.condition.notify_all()

    def _may_send(self) -> bool:
        return self._account.may_send and self._life.phase is not Phase.ACCEPTING

    def _is_full(self, size: int) -> bool:
        waiting = self._unacknowledged
        return bool(waiting) and (
            len(waiting) >= UNACKNOWLEDGED or self._unacknowledged_size + size > UNACKNOWLEDGED_SIZE
        )


def _wait_for(delivery: Delivery, timeout: float | None) -> None:
    try:
        delivery.wait(timeout)
    except SendTimeout as error:
        raise StreamTimeout(str(error)) from None
    except MeshsyncError:
        pass  # The next look at what is unacknowledged finds it.
