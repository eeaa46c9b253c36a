"""The bytes that one connection has sent and that are not acknowledged: a bound, and the wait for room in it."""

from __future__ import annotations

from meshsync.connection.budget import BUDGET
from meshsync.connection.deliveries import Delivery
from meshsync.connection.send_queue import SendQueue
from meshsync.protocol.operations import Broadcast, Request, Send
from meshsync.protocol.stream_messages import CONTROL_TYPES
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime

__all__ = ["SendRoom", "takes_room"]

_MESSAGES = (Send, Broadcast)
_SHORT = CONTROL_TYPES | {"meshsync.hello", "meshsync.proof", "meshsync.confirmed"}


def takes_room(request: Request) -> bool:
    """Return whether a request has to wait for room.

    Only what a program sends does, and is acknowledged: a credit, a rejection, the end of a stream or a confirmation is
    short, and what it ends or lets go on may be what makes room.
    """
    return isinstance(request, _MESSAGES) and request.type not in _SHORT


class SendRoom:
    """Bounds the bytes of unacknowledged deliveries; they get room first come, first served.

    A delivery larger than the limit gets room when there is no other.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.limit = BUDGET
        """Bytes. It can be changed at any time."""
        self._condition = runtime.condition()
        self._queue = SendQueue()
        self._sizes: dict[Delivery, int] = {}
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes sent and unacknowledged."""
        return self._held

    def __len__(self) -> int:
        """Return how many deliveries wait for room."""
        return len(self._queue)

    def enter(self, delivery: Delivery, size: int, deadline: Deadline) -> bool:
        """Wait for room for a delivery, and count it; return whether there was room in time."""
        with self._condition:
            if not self._queue.line and self._count(delivery, size):
                return True
        try:
            if not self._queue.wait_for_turn(delivery, deadline):
                return False
            with self._condition:
                return self._condition.wait_for(lambda: self._count(delivery, size), deadline.left())
        finally:
            try:
                self._queue.leave(delivery)
            except BaseException:  # Ctrl-C struck in there.
                self._queue.leave(delivery)
                raise

    def leave(self, delivery: Delivery) -> None:
        """Count a delivery no more: it is done, or was not sent. Another call does nothing."""
        if delivery not in self._sizes:
            return
        with self._condition:
            self._held -= self._sizes.pop(delivery, 0)
            if not self._sizes:
                self._held = 0  # Ctrl-C may have torn a count.
            self._condition.notify_all()

    def _count(self, delivery: Delivery, size: int) -> bool:
        """Count a delivery if there is room for it; return whether there is."""
        if self._sizes and self._held + size > self.limit:
            return False
        self._sizes[delivery] = size
        self._held += size
        return True
