"""The requests that wait for the next connection, in the order in which their calls had their turn."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from itertools import count

from meshsync.connection.budget import BUDGET
from meshsync.connection.deliveries import Delivery

__all__ = ["Outbox"]


class Outbox:
    """The deliveries of one client that no connection has accepted, or whose connection wrote no byte of them.

    Needs a lock of its user's for all but ``next_place``.
    """

    def __init__(self) -> None:
        self.next_place: Callable[[], int] = count(1).__next__
        """Returns the place of one more delivery in the order of sending. Any task may call it."""
        self._held: list[Delivery] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, delivery: Delivery) -> bool:
        """Add a delivery if it fits `BUDGET`; return whether it does. The first always does, however large it is."""
        if self._held and self._bytes + delivery._size > BUDGET:
            return False
        self.put(delivery)
        return True

    def put(self, delivery: Delivery) -> None:
        """Add a delivery at its place; one that never had a turn takes the last."""
        if delivery._place is None:
            delivery._place = self.next_place()
        insort(self._held, delivery, key=_place)
        self._bytes += delivery._size

    def put_all(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries that a connection had accepted, beyond the budget too."""
        for delivery in deliveries:
            self.put(delivery)

    def take_first(self) -> Delivery:
        """Remove and return the delivery that is to be sent first."""
        first = self._held.pop(0)
        self._bytes -= first._size
        return first

    def discard(self, delivery: Delivery) -> bool:
        """Remove a delivery; return whether it was there."""
        if delivery not in self._held:
            return False
        self._held.remove(delivery)
        self._bytes -= delivery._size
        return True

    def clear(self) -> list[Delivery]:
        """Remove and return all, in order."""
        held, self._held, self._bytes = self._held, [], 0
        return held


def _place(delivery: Delivery) -> int:
    assert delivery._place is not None
    return delivery._place
