"""What one client gets from one peer: each number once, in order, and confirmed when it is placed. Sans-I/O, no clock.

A number is *placed* when nothing drops it any more; until there is room for it, it is held and not confirmed, so
that the sender waits. Numbers below the base that have not come are given up: they are skipped, counted, and dropped
if they come later. All that is remembered of the past is one number, since nothing is taken out of order.
"""

from __future__ import annotations

from collections import deque

from meshsync.confirming.bodies import WINDOW, Confirmed, Numbered
from meshsync.confirming.sender import WINDOW_SIZE
from meshsync.errors import ProtocolError
from meshsync.protocol.packets import MAX_MESSAGE_SIZE

__all__ = ["ConfirmedReceiver"]

_HELD = 2 * WINDOW
"""The most messages held: a window of the present route, and one of the route before, still coming when it began."""
_HELD_SIZE = 2 * (WINDOW_SIZE + MAX_MESSAGE_SIZE)
"""The most bytes held; each window's first message may be as large as a message can be."""


class ConfirmedReceiver:
    """The messages from one peer. Not safe to use from two tasks at once."""

    def __init__(self) -> None:
        self.arrived: int = 0
        """The highest number that came or was skipped."""
        self._held: deque[tuple[int, int]] = deque()
        """Number and size in bytes of what waits for room."""
        self._held_size = 0
        self._is_due = False
        self._is_asking = False
        self._asked: int | None = None
        """What `arrived` was when the sender was last asked to send again."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for room."""
        return not self._held

    @property
    def upto(self) -> int:
        """The number up to which all were placed or skipped."""
        return self._held[0][0] - 1 if self._held else self.arrived

    def take(self, message: Numbered, size: int) -> tuple[bool, int]:
        """Return whether a message that came is new and waits for room from now on, and how many were skipped.

        Args:
            size: In bytes.
        Raises:
            ProtocolError: If the peer sends more than it may; nothing has changed.
        """
        if len(self._held) >= _HELD or self._held_size + size > _HELD_SIZE:
            raise ProtocolError(f"{len(self._held)} confirmed messages wait for room, and the peer sends more")
        missed = max(0, message.base - 1 - self.arrived)
        self.arrived += missed
        if message.number <= self.arrived:
            self._is_due = True  # The sender does not know that it came.
            return False, missed
        if message.number > self.arrived + 1:
            self.ask()
            return False, missed
        self.arrived += 1
        self._held.append((message.number, size))
        self._held_size += size
        return True, missed

    def place(self) -> None:
        """Note that the first of those that wait is placed: it is confirmed."""
        _, size = self._held.popleft()
        self._held_size -= size
        self._is_due = True

    def restart(self) -> None:
        """Begin a route to the proven peer: it gets a report, unless there is nothing to report."""
        self._asked = None
        self._is_due = self._is_due or self.arrived > 0

    def ask(self) -> None:
        """Have the sender repeat what is above ``arrived``, since some of it was lost. Once for each loss."""
        if self._asked != self.arrived:
            self._asked = self.arrived
            self._is_due = self._is_asking = True

    def repeat(self, report: Confirmed) -> None:
        """Note that a report did not go out."""
        self._is_due = True
        self._is_asking |= report.is_asking

    def drain(self) -> Confirmed | None:
        """Return the report that is due, if one is."""
        if not self._is_due:
            return None
        is_asking, self._is_due, self._is_asking = self._is_asking, False, False
        return Confirmed(self.upto, self.arrived, is_asking)
