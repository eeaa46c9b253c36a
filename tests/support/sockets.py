"""Clients of the emulator that are not ours: `websockets` by the packet, and plain TCP by the byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

from meshsync.protocol.codec import decode_push, encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Connected, Enable, Request
from meshsync.protocol.packets import Reassembler, WireMessage, split
from simulator import Emulator

__all__ = ["PATIENCE", "Elsewhere", "PlainSocket", "RawClient", "connect", "frame"]

PATIENCE = 30.0
"""The longest wait for a due event, in seconds."""


def connect(url: str, **options: Any) -> Any:
    """Return a context manager that connects a client of `websockets`; past any proxy, whatever its release."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    return connect_websocket(url, sock=sock, **({"compression": None, "close_timeout": 1} | options))


class RawClient:
    """A WebSocket client that sends the packets it is given; a context manager."""

    def __init__(
        self, emulator: Emulator, name: str, *, enable: bool = True, room: str = "lab", speaks: str = "A3"
    ) -> None:
        self.dialect = dialect(speaks)
        url = f"{emulator.url}/rooms/{room}?v={self.dialect.version}&token={emulator.token(room, name)}"
        self._opening = connect(url, max_size=None)
        self._enable = enable
        self._messages: list[WireMessage] = []
        self._reassembler = Reassembler(1 << 30)
        self.id = ""

    def __enter__(self) -> RawClient:
        self.ws: ClientConnection = self._opening.__enter__()
        self.read()
        connected = self.read()
        assert isinstance(connected, Connected)
        self.id = connected.participant_id
        if self._enable:
            self.ask(Enable())
            self.read(), self.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def send(self, packets: Iterable[bytes]) -> None:
        """Send packets, one WebSocket message each."""
        for packet in packets:
            self.ws.send(packet)

    def ask(self, request: Request, id: int = 1) -> None:
        """Send a request."""
        self.send(split(id, *encode_request(request, self.dialect)))

    def take(self) -> WireMessage:
        """Return the next message, still encoded."""
        while not self._messages:
            packet = self.ws.recv(timeout=PATIENCE)
            assert isinstance(packet, bytes)
            self._messages += self._reassembler.feed([packet])
        return self._messages.pop(0)

    def read(self) -> object:
        """Return the next message."""
        return decode_push(self.take())

    def ending(self) -> tuple[int | None, str]:
        """Read until the connection has ended and return its close code and reason."""
        try:
            while True:
                self.ws.recv(timeout=PATIENCE)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, "")


class PlainSocket:
    """A WebSocket client that does nothing by itself: it answers no ping, and reads only when asked.

    Args:
        version: Of the WebSocket protocol.
        behind: Bytes that go out in one go with the handshake's request.
    """

    def __init__(
        self, emulator: Emulator, name: str, *, room: str = "lab", version: str = "13", behind: bytes = b""
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", emulator.port), timeout=PATIENCE)
        # Or a second packet waits until the first is acknowledged, for 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            f"GET /rooms/{room}?token={emulator.token(room, name)} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Version: {version}",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + behind)
        self.received = b""
        while b"connected" not in self.received and (data := self.socket.recv(65536)):
            self.received += data
            if not self.received.startswith(b"HTTP/1.1 101"):
                return
        self.received = self.received.partition(b"\r\n\r\n")[2]

    def __enter__(self) -> PlainSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def ask(self, request: Request) -> None:
        """Send a request."""
        for packet in split(1, *encode_request(request, dialect("A3"))):
            self.socket.sendall(frame(0x82, packet))

    def packets(self, size: int) -> list[bytes]:
        """Read ``size`` bytes of packets, the greeting included, and return them."""
        data, packets = self.received, []
        while sum(map(len, packets)) < size:
            data += self.socket.recv(1 << 20)
            while len(data) > 10:
                length = data[1]
                at = {126: 4, 127: 10}.get(length, 2)
                if at > 2:
                    length = int.from_bytes(data[2:at], "big")
                if len(data) < at + length:
                    break
                packets.append(data[at : at + length])
                data = data[at + length :]
        return packets

    def wait_until_cut(self) -> None:
        """Send nonsense, without reading or closing, until the connection is gone."""
        try:
            while True:
                self.socket.sendall(bytes(1000))
        except (BrokenPipeError, ConnectionResetError):
            return

    def rest(self) -> bytes:
        """Read until the connection has ended; return the last bytes that came."""
        tail = b""
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                return tail
            if not data:
                return tail
            tail = (tail + data)[-1000:]


class Elsewhere(Emulator):
    """Makes tokens for an emulator that runs in another process; it is not started."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._there = port

    @property
    def port(self) -> int:
        """The port there."""
        return self._there


def frame(first: int, payload: bytes, *, length: int | None = None) -> bytes:
    """Return a masked frame, right or wrong; the mask is zero."""
    size = len(payload) if length is None else length
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload
