"""A TCP proxy that treats its connections badly, as networks do: for tests on real sockets and real time.

It listens on this machine and passes bytes to one address. One thread serves all connections; each direction of each
holds the bytes that are not yet due. What the proxy does not read stays in the system's buffers, so that its clients
feel the back-pressure of a real network.

A *treatment* applies to connections that are here and to those to come, until it is changed.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal

__all__ = ["Direction", "TcpProxy", "Treatment"]

Direction = Literal["both", "up", "down"]
"""Up is from the proxy's clients to the address behind it."""

_HELD = 256 * 1024
"""The most bytes that a direction holds; beyond that the proxy does not read."""

_PIECE = 64 * 1024
"""The most bytes of one read."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: closing sends a RST, and what was not sent is lost. Source: socket(7)."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How one direction of a connection is treated."""

    delay: float = 0.0
    """Seconds between reading bytes and passing them on."""
    bandwidth: float | None = None
    """Bytes per second; None for as many as the sockets take."""
    dribble: tuple[int, float] | None = None
    """The most bytes passed on at a time, and the seconds from one piece to the next."""
    is_stalled: bool = False
    """Whether nothing is read or passed on."""
    is_silent: bool = False
    """Whether all that is read is dropped, as of a connection that is open at one end alone."""


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.held: deque[tuple[float, bytes]] = deque()
        """Pieces, each with the instant from which it may be passed on."""
        self.size = 0
        self.next_piece = 0.0
        """When the next one may be passed on, for bandwidth and dribbling."""
        self.has_ended = False
        """Whether the source sent its end."""
        self.is_shut = False
        """Whether the target was told so."""

    def wants_to_read(self, treatment: Treatment) -> bool:
        return not self.has_ended and not treatment.is_stalled and self.size < _HELD

    def due(self, treatment: Treatment) -> float | None:
        """Return the instant from which there is something to pass on; None while there is nothing."""
        if treatment.is_stalled:
            return None
        if self.held:
            return max(self.held[0][0], self.next_piece)
        return self.next_piece if self.has_ended and not self.is_shut and not treatment.is_silent else None

    def read(self, treatment: Treatment, now: float) -> int:
        """Read a piece; return its size, 0 if there is none.

        Raises:
            OSError: If the connection failed.
        """
        try:
            data = self.source.recv(_PIECE)
        except BlockingIOError:
            return 0
        self.has_ended = not data
        if data and not treatment.is_silent:
            self.held.append((now + treatment.delay, data))
            self.size += len(data)
        return len(data)

    def write(self, treatment: Treatment, now: float) -> int:
        """Pass on what is due; return its size.

        Raises:
            OSError: If the connection failed.
        """
        if not self.held:
            self.is_shut = True
            with suppress(OSError):
                self.target.shutdown(socket.SHUT_WR)
            return 0
        due, data = self.held[0]
        piece = data
        if treatment.dribble is not None:
            piece = data[: treatment.dribble[0]]
        elif treatment.bandwidth is not None:
            piece = data[: max(1, round(treatment.bandwidth / 100))]
        try:
            size = self.target.send(piece)
        except BlockingIOError:
            return 0
        self.size -= size
        if size == len(data):
            self.held.popleft()
        else:
            self.held[0] = (due, data[size:])
        if treatment.dribble is not None:
            self.next_piece = now + treatment.dribble[1]
        elif treatment.bandwidth is not None:
            self.next_piece = now + size / treatment.bandwidth
        return size


class TcpProxy:
    """Passes connections to an address on; a context manager.

    Args:
        port: That of the address to pass them on to.
        host: Its host.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._treatments = {"up": Treatment(), "down": Treatment()}
        self._refuses = False
        self._pairs: list[dict[str, _Way]] = []
        self._commands: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._is_closed = False
        self.accepted = 0
        """Connections so far."""
        self._passed = {"up": 0, "down": 0}
        self._pieces = {"up": 0, "down": 0}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        """The port on which it listens."""
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="TCP proxy", daemon=True)

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close)
        self._thread.join()

    # --- treatments ---------------------------------------------------------------------------------------------------

    def treat(self, direction: Direction = "both", **changes: Any) -> None:
        """Change the treatment of a direction: fields of `Treatment`."""

        def change() -> None:
            for way in ("up", "down") if direction == "both" else (direction,):
                self._treatments[way] = replace(self._treatments[way], **changes)

        self._do(change)

    def stall(self, direction: Direction = "both") -> None:
        """Pass nothing on and read nothing, until `clear`; nothing is lost."""
        self.treat(direction, is_stalled=True)

    def half_open(self, direction: Direction = "both") -> None:
        """Drop all that is sent on the connections that are here, and do not notify their ends; see `clear`."""
        self.treat(direction, is_silent=True)

    def dribble(self, size: int, interval: float, direction: Direction = "both") -> None:
        """Pass on ``size`` bytes at a time, one piece each ``interval`` seconds."""
        self.treat(direction, dribble=(size, interval))

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Pass on later what is read from now on."""
        self.treat(direction, delay=seconds)

    def limit(self, bandwidth: float, direction: Direction = "both") -> None:
        """Pass on so many bytes per second."""
        self.treat(direction, bandwidth=bandwidth)

    def refuse(self) -> None:
        """Reset every new connection at once, until `clear`."""

        def refuse() -> None:
            self._refuses = True

        self._do(refuse)

    def clear(self) -> None:
        """End all treatments. Connections from which bytes were dropped are reset: what follows would fit nothing."""

        def clear() -> None:
            if any(treatment.is_silent for treatment in self._treatments.values()):
                self._reset()
            self._treatments = {"up": Treatment(), "down": Treatment()}
            self._refuses = False

        self._do(clear)

    def reset(self) -> None:
        """Reset every connection, at both ends; what was not passed on is lost."""
        self._do(self._reset)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pairs)

    @property
    def passed(self) -> dict[str, int]:
        """Bytes passed on so far in each direction, all that have arrived included."""
        self._do(lambda: None)  # Its thread counts behind the system call.
        return dict(self._passed)

    @property
    def pieces(self) -> dict[str, int]:
        """Writes so far in each direction."""
        self._do(lambda: None)
        return dict(self._pieces)

    # --- its thread ---------------------------------------------------------------------------------------------------

    def _do(self, command: Callable[[], None]) -> None:
        """Have its thread carry out a command, and wait for that."""
        done = threading.Event()
        self._commands.append((command, done))
        # Full, or closed already: the thread was awake, and has taken the command that closes it.
        with suppress(OSError):
            self._bell.send(b"!")
        while not done.wait(0.5):
            if not self._thread.is_alive():
                raise RuntimeError("the proxy is not running")

    def _serve(self) -> None:
        while not self._is_closed:
            now = time.monotonic()
            with selectors.DefaultSelector() as selector:
                selector.register(self._ear, selectors.EVENT_READ)
                selector.register(self._listener, selectors.EVENT_READ)
                ready = dict(self._wait(selector, now))
            if self._ear in ready:
                self._ear.recv(1024)
            while self._commands:
                command, done = self._commands.popleft()
                command()
                done.set()
            if self._listener in ready and not self._is_closed:
                self._accept()
            for pair in list(self._pairs):
                self._carry(pair, ready)

    def _wait(self, selector: selectors.BaseSelector, now: float) -> list[tuple[Any, int]]:
        """Wait for something to do; return the sockets that are ready and for what."""
        interests: dict[socket.socket, int] = {}
        wake: float | None = None
        for pair in self._pairs:
            for name, way in pair.items():
                treatment = self._treatments[name]
                if way.wants_to_read(treatment):
                    interests[way.source] = interests.get(way.source, 0) | selectors.EVENT_READ
                due = way.due(treatment)
                if due is not None and due <= now:
                    interests[way.target] = interests.get(way.target, 0) | selectors.EVENT_WRITE
                elif due is not None:
                    wake = due if wake is None else min(wake, due)
        for one, events in interests.items():
            selector.register(one, events)
        found = selector.select(None if wake is None else max(0.0, wake - now))
        return [(key.fileobj, events) for key, events in found]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refuses:
            _reset(client)
            return
        try:
            server = socket.create_connection(self._address, timeout=10)
        except OSError:
            _reset(client)
            return
        for one in (client, server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append({"up": _Way(client, server), "down": _Way(server, client)})
        self.accepted += 1

    def _carry(self, pair: dict[str, _Way], ready: dict[Any, int]) -> None:
        """Read and write what is ready; end the connection where it has ended."""
        now = time.monotonic()
        try:
            for name, way in pair.items():
                treatment = self._treatments[name]
                if way.wants_to_read(treatment) and ready.get(way.source, 0) & selectors.EVENT_READ:
                    way.read(treatment, now)
                due = way.due(treatment)
                if due is not None and due <= now:
                    size = way.write(treatment, now)
                    self._passed[name] += size
                    self._pieces[name] += size > 0
        except OSError:
            self._end(pair, _reset)
            return
        if all(way.is_shut for way in pair.values()):
            self._end(pair, socket.socket.close)

    def _end(self, pair: dict[str, _Way], how: Callable[[socket.socket], None]) -> None:
        if pair in self._pairs:
            self._pairs.remove(pair)
            for way in pair.values():
                how(way.source)

    def _reset(self) -> None:
        for pair in list(self._pairs):
            self._end(pair, _reset)

    def _close(self) -> None:
        self._is_closed = True
        self._reset()
        for one in (self._listener, self._ear, self._bell):
            one.close()


def _reset(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    one.close()
