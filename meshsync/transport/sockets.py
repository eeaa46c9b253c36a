"""A connected socket as two calls that never wait: to receive and to send.

Plain TCP and TLS differ in the work around a system call, the subject of this module. Not its business:
waiting, and which task may read or write when.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from meshsync.runtime.interfaces import Condition

__all__ = ["READ", "WRITE", "PlainWire", "Socket", "TlsWire", "Wire"]

READ = 1
"""A wire waits until the socket can be read."""
WRITE = 2
"""A wire waits until the socket can be written."""

_READ_SIZE = 256 * 1024
"""The most bytes of one `receive`. Source: measured, larger reads gain nothing."""
_FIRST_READ_SIZE = 16 * 1024
"""The most bytes of the first `receive`, and the least later."""


class Socket(Protocol):
    """A non-blocking socket as a wire needs it."""

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes | memoryview, /) -> int: ...


class Wire(Protocol):
    """A socket whose calls never wait. One task may receive while another sends."""

    read_wants: int
    """The event to await before the next `receive`: READ or WRITE."""
    write_wants: int
    """The event to await before the next `send`: READ or WRITE."""
    has_more: bool
    """Whether `receive` must be called again before waiting."""

    def receive(self) -> bytes | None:
        """Return the bytes that came, ``b""`` at the end, None if there are none; raise `OSError` if broken."""
        ...

    def send(self, data: bytes | memoryview, result: list[int]) -> int:
        """Send the bytes that the system accepts and return how many; fewer than all means wait.

        Args:
            result: Gets the number too, which Ctrl-C takes from the caller if it strikes on the way back. As long as
                it is empty, that number is not known.
        Raises:
            OSError: If the connection is broken; the number sent is then of no interest.
        """
        ...


class PlainWire:
    """TCP without TLS: one system call each."""

    __slots__ = ("_received", "_size", "_socket", "has_more", "read_wants", "write_wants")

    def __init__(self, socket: Socket, received: bytes = b"") -> None:
        """Begin with bytes that were received already."""
        self._socket = socket
        self._received = received
        self._size = _FIRST_READ_SIZE
        self.read_wants: int = READ
        self.write_wants: int = WRITE
        self.has_more: bool = bool(received)

    def receive(self) -> bytes | None:
        if self.has_more:
            received, self._received, self.has_more = self._received, b"", False
            return received
        size = self._size
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            return None
        # The system fills a buffer of that size anew for each call, so a small one serves short replies faster.
        if len(data) == size:
            self._size = min(4 * size, _READ_SIZE)
        elif size > _FIRST_READ_SIZE and len(data) < size >> 4:
            self._size = size >> 1
        return data

    def send(self, data: bytes | memoryview, result: list[int]) -> int:
        try:
            # One call, in C: a signal that comes during the system call is handled when the number is in its place.
            result.extend(map(self._socket.send, (data,)))
        except BlockingIOError:
            result.append(0)
        return result[0]


class TlsWire:
    """TLS: every call under one lock, since OpenSSL allows one at a time on a connection.

    Bytes hide in the TLS layer, where no system call for waiting sees them, so `receive` reads until TLS wants more
    from the network. A handshake message inside the connection can make reading wait for writing and the reverse.
    """

    __slots__ = ("_is_at_end", "_lock", "_received", "_socket", "has_more", "read_wants", "write_wants")

    def __init__(self, socket: Socket, lock: Condition, received: bytes = b"") -> None:
        """Begin with bytes that were received already; ``lock`` is this wire's own."""
        self._socket = socket
        self._received = received
        self._lock = lock
        self._is_at_end = False
        self.read_wants: int = READ
        self.write_wants: int = WRITE
        # The reads of the handshake may have left something in the TLS layer.
        self.has_more: bool = True

    def receive(self) -> bytes | None:
        chunks = [self._received] if self._received else []
        self._received = b""
        total = 0
        with self._lock:
            self.has_more = False
            while True:
                if self._is_at_end:
                    break
                if total >= _READ_SIZE:
                    self.has_more = True
                    break
                try:
                    chunk = self._socket.recv(_READ_SIZE)
                except ssl.SSLWantReadError:
                    self.read_wants = READ
                    break
                except ssl.SSLWantWriteError:
                    self.read_wants = WRITE
                    break
                except OSError:
                    if not chunks:
                        raise
                    # Data before the fault is good; the next call meets the fault again.
                    self.has_more = True
                    break
                if chunk:
                    chunks.append(chunk)
                    total += len(chunk)
                else:
                    self._is_at_end = True
                    self.has_more = bool(chunks)
        if chunks:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return b"" if self._is_at_end else None

    def send(self, data: bytes | memoryview, result: list[int]) -> int:
        sent = 0
        rest = memoryview(data)
        with self._lock:
            while rest:
                try:
                    size = self._socket.send(rest)
                except ssl.SSLWantWriteError:
                    self.write_wants = WRITE
                    break
                except ssl.SSLWantReadError:
                    self.write_wants = READ
                    break
                sent += size
                rest = rest[size:]
        result.append(sent)
        return sent
