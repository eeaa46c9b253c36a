"""Senders that wait for room in a transport's buffer; shared by the real transport and the simulated one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from meshsync.errors import SendTimeout
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Condition, Runtime

__all__ = ["BoundedBuffer", "WaitingSenders"]


class BoundedBuffer(Protocol):
    """Data accepted and not yet written."""

    bytes_buffered: int

    def has_room(self, size: int, *, is_reserved: bool = False) -> bool:
        """Return whether ``size`` more bytes may be accepted, from the reserve too if ``is_reserved``."""
        ...


class WaitingSenders:
    """Lets senders wait in order of arrival, so that a large batch does not starve behind small ones.

    Args:
        lock: The transport's; notified when there is room, and when the connection ends.
        check_open: Raises the connection's loss, if it ended.
    """

    __slots__ = ("_buffer", "_check_open", "_lock", "_runtime", "tickets")

    def __init__(
        self, runtime: Runtime, lock: Condition, buffer: BoundedBuffer, check_open: Callable[[], None]
    ) -> None:
        self._runtime = runtime
        self._lock = lock
        self._buffer = buffer
        self._check_open = check_open
        self.tickets: deque[object] = deque()
        """One for each waiting sender; while there is any, no data is accepted without `await_room`."""

    def use_reserve(self, size: int) -> None:
        """Check, lock held, that ``size`` bytes may be accepted now, ahead of all that wait.

        Raises:
            SendTimeout: If there is no room, not even in the reserve.
            ConnectionLost: If the connection has ended.
        """
        self._check_open()
        if not self._buffer.has_room(size, is_reserved=True):
            raise self._refusal(size, "in the reserve")

    def _refusal(self, size: int, where: str) -> SendTimeout:
        waiting = self._buffer.bytes_buffered
        return SendTimeout(f"no room for {size} bytes {where}: {waiting} bytes wait to be written", retryable=True)

    def await_room(self, size: int, timeout: float | None) -> None:
        """Wait, lock held, until ``size`` bytes may be accepted.

        Args:
            timeout: The longest wait, in seconds; None waits for ever, 0 polls.
        Raises:
            SendTimeout: If there was no room in time.
            ConnectionLost: If the connection has ended.
        """
        deadline = Deadline(self._runtime, timeout)
        ticket = object()
        try:
            # In here, since Ctrl-C may strike when it returns: a ticket left behind would bar all later senders.
            self.tickets.append(ticket)
            while True:
                self._check_open()
                if self.tickets[0] is ticket and self._buffer.has_room(size):
                    return
                left = deadline.left()
                if left == 0:
                    raise self._refusal(size, f"within {timeout or 0:.3g} s")
                self._lock.wait(left)
        finally:
            try:
                self.tickets.remove(ticket)
            finally:
                self._lock.notify_all()
