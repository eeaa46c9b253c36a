"""A non-blocking socket that tasks share in two roles, and that is closed under none of them.

- Two roles, the *writer* and the *reader*, each held by at most one task: only the writer may call the wire's ``send``,
  only the reader may wait for the socket and call the wire's ``receive``. A role is held by the identity of an object
  that its holder made.
- The socket is closed by the task that gives up the last role after the end, so never under a system call.

Not the business of this module: the data read and written, and the end of a connection.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from enum import Enum

from meshsync.errors import WouldDeadlock
from meshsync.protocol.heartbeat import Outflow
from meshsync.runtime.interfaces import Condition, Runtime
from meshsync.runtime.lifecycle import move
from meshsync.transport.acknowledgements import UNSENT_LIMIT, unacknowledged
from meshsync.transport.poller import Poller
from meshsync.transport.sockets import PlainWire, TlsWire, Wire

__all__ = ["SharedSocket", "SocketState"]


class SocketState(Enum):
    """The life of a socket."""

    OPEN = "open"
    SHUT_DOWN = "nothing goes either way; closed once no task has a role"
    CLOSED = "its descriptor is gone"


_MOVES = {
    SocketState.OPEN: {SocketState.SHUT_DOWN},
    SocketState.SHUT_DOWN: {SocketState.CLOSED},
    SocketState.CLOSED: set[SocketState](),
}
_OPEN = SocketState.OPEN  # Not looked up by name at each message: before 3.12 that is a call in Python.


class SharedSocket:
    """A connected socket, its wake-up, its two roles and their lock. Methods but `wait` are called with the lock held.

    Args:
        connection: The socket; only this object closes it from here on.
        received: Bytes already read behind the handshake.
    """

    __slots__ = (
        "connection",
        "is_polling",
        "is_rung",
        "lock",
        "poller",
        "reader",
        "receiver",
        "state",
        "wire",
        "writer",
    )

    def __init__(self, connection: socket.socket, runtime: Runtime, *, received: bytes = b"") -> None:
        connection.setblocking(False)
        with suppress(OSError):  # no TCP, or the connection has gone already, which the first read shows
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
        self.connection: socket.socket = connection
        self.lock: Condition = runtime.condition()
        self.wire: Wire = (
            TlsWire(connection, runtime.condition(), received)
            if isinstance(connection, ssl.SSLSocket)
            else PlainWire(connection, received)
        )
        self.poller: Poller = Poller(connection)
        self.state: SocketState = SocketState.OPEN
        self.reader: object = None
        """The holder of the reader's role; None if no task has it."""
        self.receiver: object = None
        """The task that got the reader's role last in order to receive."""
        self.writer: object = None
        """The holder of the writer's role; None if no task has it."""
        self.is_polling: bool = False
        """Whether the reader waits, or is about to: `ring` ends that wait. The reader sets it, with the lock held."""
        self.is_rung: bool = False
        """Whether the reader was rung for since the last `clear_rings`."""

    def wait(self, events: int, timeout: float | None) -> int:
        """As the reader, without the lock, wait for the socket or a ring; see `Poller.wait`."""
        ready = self.poller.wait(events, timeout)
        self.is_polling = False  # Needs no lock: an extra ring is harmless, and the next wait is prepared under it.
        return ready

    def ring(self) -> None:
        """Wake the reader."""
        if self.is_polling and not self.is_rung and self.state is not SocketState.CLOSED:
            self.is_rung = True
            self.poller.ring()

    def ring_again(self) -> None:
        """Wake the reader, also if an earlier `ring` was interrupted before it did."""
        self.is_rung = False
        self.ring()

    def clear_rings(self) -> None:
        """As the reader, forget the rings so far."""
        self.is_rung = False
        self.poller.clear_rings()

    def outflow(self, sent: int, ahead: int) -> Outflow:
        """As the reader, return what has become of ``sent`` bytes, with ``ahead`` more on their way before a ping."""
        waiting = unacknowledged(self.connection.fileno())
        if waiting is not None:
            return Outflow(sent + ahead, min(waiting, sent) + ahead, is_known=True)
        buffer = sent
        with suppress(OSError):  # shut down by another task, on some systems
            buffer = min(sent, self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
        return Outflow(sent + ahead, buffer + ahead)

    def interrupt_reading(self, me: object) -> None:
        """Let a handler of a signal have the reader's role of its own task, which waits in `wait`.

        Raises:
            RuntimeError: If another task has the role.
            WouldDeadlock: If its own does not wait: it is no handler of a signal, but a finalizer.
        """
        if self.receiver != me:
            raise RuntimeError("another task is in receive(): only one may be at a time")
        if not self.is_polling:
            raise WouldDeadlock("a finalizer that waits in the midst of reading would never end")
        self.poller.renew()

    def leave_reading(self) -> None:
        """Give up the reader's role."""
        self.is_polling = False
        self.reader = None
        if self.state is not _OPEN:
            self.close_if_unused()

    def leave_writing(self) -> None:
        """Give up the writer's role."""
        self.writer = None
        if self.state is not _OPEN:
            self.close_if_unused()

    def shut_down(self) -> None:
        """End both directions; the peer notices, and so does any call under way."""
        self.state = move(_MOVES, self.state, SocketState.SHUT_DOWN, "a socket")
        # Not the method of `ssl`, which would first unwrap it, unlocked.
        with suppress(OSError):  # the network has gone already
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
        self.ring()
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """Close it if it is shut down and no task has a role; again, if Ctrl-C struck the last one in here."""
        if self.state is SocketState.SHUT_DOWN and self.reader is None and self.writer is None:
            self.connection.close()
            self.poller.close()
            self.state = move(_MOVES, self.state, SocketState.CLOSED, "a socket")
