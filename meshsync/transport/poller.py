"""Waiting for a socket, or for a wake-up from another task."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from math import ceil
from typing import Any

from meshsync.transport.sockets import READ, WRITE

__all__ = ["Poller"]


class Poller:
    """Waits for the socket, or for a wake-up from another task."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._wakeups, self._waker = socket.socketpair()
        self._wakeups.setblocking(False)
        self._waker.setblocking(False)
        self.renew()

    def renew(self) -> None:
        """Prepare to wait anew, also in the midst of `wait`: in a handler of a signal that struck there."""
        self._events = READ
        self._descriptor = self._connection.fileno()
        # ``select`` alone, as on Windows, refuses descriptors above 1023 elsewhere.
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(self._wakeups, select.POLLIN)
            self._poll.register(self._connection, select.POLLIN)

    def wait(self, events: int, timeout: float | None) -> int:
        """Return which of READ and WRITE the socket is ready for, both if it is broken.

        Returns:
            0 after ``timeout`` seconds, or a ring.
        """
        if self._poll is None:
            return self._select(events, timeout)
        if events != self._events:
            mask = (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0)
            self._poll.modify(self._connection, mask)
            self._events = events
        ready = 0
        # Rounded up, lest the last millisecond be spent in a busy loop; a day (86,400 s) fits the system's integer.
        for descriptor, event in self._poll.poll(None if timeout is None else ceil(min(timeout, 86400.0) * 1000)):
            if descriptor == self._descriptor:
                if event == select.POLLIN:
                    ready = READ
                elif event & ~(select.POLLIN | select.POLLOUT):
                    ready = READ | WRITE
                else:
                    ready |= (READ if event & select.POLLIN else 0) | (WRITE if event & select.POLLOUT else 0)
        return ready

    def _select(self, events: int, timeout: float | None) -> int:
        reads: list[Any] = [self._wakeups, self._connection] if events & READ else [self._wakeups]
        writes: list[Any] = [self._connection] if events & WRITE else []
        readable, writable, broken = select.select(reads, writes, [self._connection], timeout)
        if broken:
            return READ | WRITE
        return (READ if self._connection in readable else 0) | (WRITE if writable else 0)

    def ring(self) -> None:
        """Make `wait` return."""
        with suppress(OSError):  # full of earlier rings, which suffice
            self._waker.send(b"\0")

    def clear_rings(self) -> None:
        """Forget the rings so far."""
        with suppress(OSError):
            self._wakeups.recv(64)

    def close(self) -> None:
        self._wakeups.close()
        self._waker.close()
