"""A WebSocket server that does what a test tells it, on the independent implementation of ``websockets``.

It has no thread of its own beyond the one that accepts: a peer reads when asked to, so not reading is its natural
state. Buffers of the system are kept small, so that a writer feels that soon.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from types import TracebackType

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

LONG = 20.0
"""Seconds after which a scripted peer gives up waiting."""


class ScriptedPeer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(LONG)
        self.protocol = ServerProtocol(max_size=None)
        self.request: Request | None = None
        self._packets: list[bytes] = []
        self._pongs: list[bytes] = []
        self._close: tuple[int | None, str] | None = None
        self.is_ended = False

    def shake_hands(self) -> None:
        """Read the request and accept it."""
        while self.request is None:
            self._read()
        self.protocol.send_response(self.protocol.accept(self.request))
        self._write()

    def receive(self, count: int) -> list[bytes]:
        """Read until ``count`` packets have come; with 0, return those read on the way to something else."""
        while len(self._packets) < count:
            self._read()
        count = count or len(self._packets)
        packets, self._packets = self._packets[:count], self._packets[count:]
        return packets

    def send(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self.protocol.send_binary(packet)
        self._write()

    def send_fragments(self, pieces: Sequence[bytes]) -> None:
        """Send one packet in several frames, with a ping before each but the first."""
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            if number == 0:
                self.protocol.send_binary(piece, fin=is_last)
            else:
                self.protocol.send_ping(b"between")
                self.protocol.send_continuation(piece, fin=is_last)
        self._write()

    def close(self, code: int, reason: str) -> None:
        self.protocol.send_close(code, reason)
        self._write()

    def await_close(self) -> tuple[int | None, str]:
        while self._close is None:
            self._read()
        return self._close

    def await_end(self) -> None:
        while not self.is_ended:
            self._read(may_end=True)

    def drop(self) -> None:
        self.connection.close()

    def ping(self, payload: bytes) -> None:
        self.protocol.send_ping(payload)
        self._write()

    def await_pong(self) -> bytes:
        while not self._pongs:
            self._read()
        return self._pongs.pop(0)

    def send_raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _read(self, *, may_end: bool = False) -> None:
        try:
            data = self.connection.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.is_ended = True
            assert may_end, "the client went away"
            return
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.request = event
                continue
            assert isinstance(event, Frame)
            if event.opcode is Opcode.BINARY:
                assert event.fin
                self._packets.append(bytes(event.data))
            elif event.opcode is Opcode.PONG:
                self._pongs.append(bytes(event.data))
            elif event.opcode is Opcode.CLOSE:
                received = self.protocol.close_rcvd
                code = received.code if received else None
                self._close = (None, "") if code in (None, 1005) else (code, received.reason if received else "")
        self._write()

    def _write(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                try:
                    self.connection.sendall(data)
                except OSError:
                    return  # an answer to somebody who has gone


class ScriptedServer:
    """A listening socket on loopback."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.socket()
        # Inherited by the accepted sockets. Small, so that what nobody reads soon blocks its writer.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.settimeout(LONG)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://localhost:{self.port}/rooms/lab"
        self._accepted: list[socket.socket] = []

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for connection in self._accepted:
            connection.close()

    def accept_raw(self) -> socket.socket:
        """Return the next TCP connection, TLS established if this server has it."""
        connection, _ = self._listener.accept()
        connection.settimeout(LONG)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        self._accepted.append(connection)
        return connection

    def accept(self) -> Accepting:
        """Accept the next connection in a thread, since the client's handshake blocks meanwhile."""
        return Accepting(self)


class Accepting:
    """A connection that is being accepted."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._peer: ScriptedPeer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        peer = ScriptedPeer(self._server.accept_raw())
        peer.shake_hands()
        self._peer = peer

    def peer(self) -> ScriptedPeer:
        """Return the peer once the handshake is done."""
        self._thread.join(LONG)
        assert self._peer is not None, "no handshake"
        return self._peer
