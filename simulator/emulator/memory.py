"""What an emulator holds for its clients, in all rooms together, and which of them goes when that is too much."""

from __future__ import annotations

from typing import Protocol

from simulator.room.seat import Held

__all__ = ["Holder", "Memory"]

_SMALL = 64 * 1024
"""Bytes of a holder that is not worth disconnecting."""


class Holder(Protocol):
    """A connection, for which something is held."""

    @property
    def holds(self) -> int:
        """Bytes that are held for it, those that it shares with others included."""
        ...

    def evict(self, reason: str) -> None:
        """Disconnect it, and let go of what is held for it."""
        ...


class Memory:
    """The bytes that are held, as they are held: a message for a thousand participants counts once.

    Args:
        limit: Bytes above which the largest holder is disconnected; newcomers are refused from nine tenths on.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.queues: Held = Held()
        """What waits in the queues of all rooms."""
        self._own: dict[Holder, int] = {}
        self._total = 0
        self._is_making_room = False

    @property
    def used(self) -> int:
        """Bytes that are held."""
        return self.queues.size + self._total

    @property
    def is_scarce(self) -> bool:
        """Whether newcomers have to be refused."""
        return self.used * 10 >= self.limit * 9

    def note(self, holder: Holder, own: int) -> None:
        """Note what is held for a connection besides its queue, and make room if that is too much.

        Args:
            own: Bytes; 0 when the connection has ended.
        """
        self._total += own - self._own.get(holder, 0)
        self._own[holder] = own
        if not own:
            del self._own[holder]
        if self.used > self.limit and not self._is_making_room:
            self._is_making_room = True
            try:
                self._make_room()
            finally:
                self._is_making_room = False

    def _make_room(self) -> None:
        for holder in sorted(self._own, key=lambda one: -one.holds):
            if self.used <= self.limit or holder.holds < _SMALL:
                return
            holds = holder.holds
            text = f"the emulator's memory is full: of {self.used} bytes, {holds} are held for this participant"
            holder.evict(text)
