"""From a host and a port to a connected socket: the look-up, the race of the addresses, and the tunnel of a proxy.

Not the business of this module: TLS and what is said over the socket.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
from contextlib import suppress

from meshsync.errors import ConnectFailed, RoomUnavailable
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import OnStep
from meshsync.transport.proxies import Proxy

__all__ = ["Dialer", "open_tunnel", "patience"]

_HEAD_START = 0.25
"""Seconds that an address has before the next one is tried beside it. Source: RFC 8305, section 5."""

_LONGEST_WAIT = 1e6
"""The longest wait that a system call is asked for, in seconds: infinity is too long for it."""

_LONGEST_HEAD = 64 * 1024
"""The most bytes of a proxy's answer."""

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""Seconds, seconds and probes, where the system has them. Source: websocket-client's choice."""


class Dialer:
    """Connects to the first address of a host that answers."""

    def __init__(self, runtime: Runtime, on_step: OnStep) -> None:
        self._runtime = runtime
        self._on_step = on_step
        self._sockets: list[socket.socket] = []
        self._is_shut_down = False

    def connect(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """Return a connected socket, which blocks.

        Addresses that do not answer cost `_HEAD_START` each and not the whole limit.

        Raises:
            OSError: That of the first address, if none can be reached; `TimeoutError` if none answered in time;
                `socket.gaierror` if the host cannot be found.
        """
        waiting = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._on_step("lookup", ", ".join(str(address[0]) for *_, address in waiting))
        first_error: OSError | None = None
        with selectors.DefaultSelector() as selector:
            try:
                while True:
                    if waiting:
                        try:
                            found = waiting.pop(0)
                            selector.register(self._begin(*found), selectors.EVENT_WRITE, found[-1][0])
                        except OSError as error:
                            first_error = first_error or error
                            continue
                    elif not self._sockets:
                        raise first_error or OSError(f"no address of {host} was found")
                    left = deadline.left()
                    ready = selector.select(
                        min(_HEAD_START if waiting else _LONGEST_WAIT, _LONGEST_WAIT if left is None else left)
                    )
                    if self._is_shut_down:
                        raise TimeoutError("the attempt was given up")
                    if not ready and deadline.left() == 0:
                        raise TimeoutError("no address answered in time")
                    for key, _ in ready:
                        connection = key.fileobj
                        assert isinstance(connection, socket.socket)
                        error_number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        selector.unregister(connection)
                        self._sockets.remove(connection)
                        if error_number == 0:
                            connection.setblocking(True)
                            self._on_step("tcp", str(key.data))
                            return connection
                        connection.close()
                        first_error = first_error or OSError(error_number, os.strerror(error_number))
            finally:
                for connection in self._sockets:
                    connection.close()
                self._sockets.clear()

    def shut_down(self) -> None:
        """From another task, make `connect` fail soon."""
        self._is_shut_down = True
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _begin(
        self, family: int, kind: int, protocol: int, _: str, address: tuple[str, int] | tuple[str, int, int, int]
    ) -> socket.socket:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _keep_alive(connection)
            with suppress(BlockingIOError):
                connection.connect(address)
        except BaseException:
            connection.close()
            raise
        self._sockets.append(connection)
        return connection


def _keep_alive(connection: socket.socket) -> None:
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def open_tunnel(
    connection: socket.socket, proxy: Proxy, host: str, port: int, address: str, deadline: Deadline
) -> None:
    """Have a proxy connect to a host.

    Args:
        host: An address of IPv6 without its brackets.
        address: Host and port, for people.
    Raises:
        ConnectFailed: If the proxy refuses; `RoomUnavailable` where trying again may help.
        OSError: If the proxy cannot be spoken to; `TimeoutError` if it does not answer in time.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    connection.settimeout(patience(deadline))
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    status = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})\b", _read_head(connection, address, deadline))
    if status is None:
        raise ConnectFailed(f"the proxy to {address} does not answer as one: check its address")
    number = int(status[1])
    if not 200 <= number <= 299:
        kind = ConnectFailed if 400 <= number <= 499 else RoomUnavailable
        raise kind(f"the proxy to {address} refused the connection, status {number}")


def _read_head(connection: socket.socket, address: str, deadline: Deadline) -> bytes:
    head = bytearray()
    # Byte by byte: what follows the answer belongs to the room.
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        connection.settimeout(patience(deadline))
        byte = connection.recv(1)
        if not byte:
            raise RoomUnavailable(f"the proxy to {address} closed the connection")
        head += byte
        if len(head) > _LONGEST_HEAD:
            break
    return bytes(head)


def patience(deadline: Deadline) -> float | None:
    """Return the time-out of the next operation, in seconds."""
    left = deadline.left()
    if left == 0:
        raise TimeoutError("no answer in time")
    return None if left is None else min(left, _LONGEST_WAIT)
