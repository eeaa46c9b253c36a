"""Whose turn it is to send."""

from __future__ import annotations

from collections import deque

from meshsync.connection.deliveries import Delivery

__all__ = ["Turns"]


class Turns:
    """Lets one delivery at a time be sent, first come, first served: whoever is first in line has the turn.

    A lock would not do: whoever sends may wait for room in the connection's buffer, and the others' own time limits run
    meanwhile. Each waits at its own condition, so that passing the turn on wakes one task and not all.

    It needs no lock of its own: all that counts are single operations of a deque, so Ctrl-C finds each done or not
    done. ``take`` belongs inside a ``try`` whose ``finally`` calls ``leave``, and calls it again if Ctrl-C strikes in
    there, which it can even before the first statement: otherwise the turn would be with nobody for good.
    """

    def __init__(self) -> None:
        self._line: deque[Delivery] = deque()

    def take(self, delivery: Delivery, timeout: float | None) -> bool:
        """Wait for the turn, at most ``timeout`` seconds; return whether it came."""
        line = self._line
        line.append(delivery)
        if line[0] is delivery:
            return True
        with delivery.condition:
            return delivery.condition.wait_for(lambda: line[0] is delivery, timeout)

    def leave(self, delivery: Delivery) -> None:
        """Pass the turn on to who has waited longest, or stop waiting for it. Again does nothing, or what is left."""
        line = self._line
        if delivery in line:
            line.remove(delivery)
        if not line:
            return
        try:
            successor = line[0]
        except IndexError:
            return  # Whoever it was has left meanwhile, and woke the next.
        with successor.condition:
            successor.condition.notify_all()
