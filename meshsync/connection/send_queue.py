"""The order in which tasks send."""

from __future__ import annotations

from collections import deque

from meshsync.connection.deliveries import Delivery
from meshsync.runtime.deadlines import Deadline

__all__ = ["SendQueue"]


class SendQueue:
    """Lets one delivery at a time be sent, first come, first served: the first in the queue has the turn.

    A lock would not do: its holder may wait for room in the connection's buffer, and the others' own time limits run
    meanwhile. Each task waits at its own condition, so that passing the turn on wakes one and not all.

    It needs no lock of its own: each change is a single operation of a deque, so Ctrl-C finds it done or not
    done. ``wait_for_turn`` belongs inside a ``try`` whose ``finally`` calls ``leave``, and calls it again if Ctrl-C
    strikes in there, which it can even before the first statement: otherwise no other task would get the turn.
    """

    def __init__(self) -> None:
        self.line: deque[Delivery] = deque()
        """Those in the queue; others may look."""

    def __len__(self) -> int:
        return len(self.line)

    def wait_for_turn(self, delivery: Delivery, deadline: Deadline) -> bool:
        """Join the queue, and wait for the turn until the deadline; return whether it came."""
        queue = self.line
        queue.append(delivery)
        if queue[0] is delivery:
            return True
        with delivery._condition:
            return delivery._condition.wait_for(lambda: queue[0] is delivery, deadline.left())

    def leave(self, delivery: Delivery) -> None:
        """Pass the turn on to the next, or stop waiting for it. Another call does the rest, or nothing."""
        queue = self.line
        try:
            if queue[0] is delivery:
                queue.popleft()  # It has the turn, so no other task does that.
            elif delivery in queue:
                queue.remove(delivery)
            if not queue:
                return
            successor = queue[0]
        except IndexError:
            return  # The last one has left; another task, perhaps, and it woke the next.
        with successor._condition:
            successor._condition.notify_all()
