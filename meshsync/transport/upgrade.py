"""One request to become a WebSocket, and its answer; websocket-client makes the key and checks what answers to it.

The library gets neither the token nor anything else of a server than what it has to check, since it keeps cookies for
the whole process and sends them with the handshakes of others, cuts a path at a semicolon, reads the body of a refusal
to its end before it tells the status, and writes headers to its log. Not the business of this module: which socket,
and what error a refusal becomes.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import websocket as websocket_client

from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.dialing import patience

__all__ = ["Ask", "NotWebSocket", "Refusal", "upgrade"]

_BODY_PATIENCE = 1.0
"""Seconds that the body of a refusal has to come: it only explains the status."""

_LONGEST_BODY = 4096
"""The most bytes read of it."""

_LONGEST_HEAD = 64 * 1024
"""The most bytes of an answer's status and headers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The request as it goes out, but for the headers of the handshake itself."""

    target: str
    """Path and query, as they stand in the request's first line."""
    host: str
    port: int
    headers: Sequence[str]


class Refusal(Exception):
    """An answer with another status than 101."""

    def __init__(self, status: int, message: str, body: bytes = b"", retry_after: float | None = None) -> None:
        super().__init__(status)
        self.retry_after = retry_after
        """Seconds after which the server wants to be asked again, if it says so."""
        self.status = status
        self.message = message
        """The words behind the status."""
        self.body = body
        """Its beginning; empty if it did not come soon."""


class NotWebSocket(Exception):
    """An answer that is none to this request."""


def upgrade(
    connection: socket.socket, ask: Ask, runtime: Runtime, deadline: Deadline, on_refusal: Callable[[Refusal], None]
) -> bytes:
    """Make a connection a WebSocket; return the bytes read past the answer.

    Args:
        on_refusal: Called with a refusal before its body is waited for.
    Raises:
        Refusal: If the server has another status than 101.
        NotWebSocket: If it answers something else.
        ConnectionResetError: If it closes the connection before it has answered.
        OSError: If the connection fails; `TimeoutError` if no answer came in time.
    """
    screen = _Screen(connection, ask, runtime, deadline, on_refusal)
    library: Any = websocket_client.WebSocket(enable_multithread=False)
    host = f"[{ask.host}]" if ":" in ask.host else ask.host
    try:
        # A bare address: it serves for the Host header. An Origin is for browsers to send.
        library.connect(f"ws://{host}:{ask.port}/", socket=screen, suppress_origin=True, redirect_limit=0)
    except Exception as error:
        # What failed first: the library makes errors of its own of some.
        problem = screen.failure or error
    else:
        return screen.rest
    if isinstance(problem, websocket_client.WebSocketException):
        raise NotWebSocket(str(problem))
    raise problem


class _Screen:
    """The socket as the library sees it: completes its request, and shows it what it has to check of the answer."""

    def __init__(
        self,
        connection: socket.socket,
        ask: Ask,
        runtime: Runtime,
        deadline: Deadline,
        on_refusal: Callable[[Refusal], None],
    ) -> None:
        self._connection = connection
        self._ask = ask
        self._runtime = runtime
        self._deadline = deadline
        self._on_refusal = on_refusal
        self._shown: bytes | None = None
        self.failure: Exception | None = None
        """The error in which sending or receiving ended."""
        self.rest = b""
        """The bytes read past the answer."""

    # --- what the library calls ---------------------------------------------------------------------------------------

    def send(self, data: bytes) -> int:
        """Send the request with our path and headers in place of the library's, and without its cookies."""
        lines = data.decode().split("\r\n")
        kept = [line for line in lines[1:] if line and not line.lower().startswith("cookie:")]
        request = "\r\n".join([f"GET {self._ask.target} HTTP/1.1", *kept, *self._ask.headers, "", ""])
        try:
            self._connection.settimeout(patience(self._deadline))
            self._connection.sendall(request.encode())
        except Exception as error:
            self.failure = error
            raise
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return the next bytes of the answer, of which only what the library checks is left."""
        if self._shown is None:
            try:
                self._shown = self._read_answer()
            except Exception as error:
                self.failure = error
                raise
        piece, self._shown = self._shown[:size], self._shown[size:]
        return piece

    def gettimeout(self) -> float | None:
        return self._connection.gettimeout()

    def settimeout(self, timeout: float | None) -> None:
        """Change nothing: the deadline decides."""

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _read_answer(self) -> bytes:
        received = b""
        while True:
            head, received = self._read_head(received)
            status, message, headers = _parse(head)
            if not 100 <= status <= 199 or status == 101:
                break
        if status != 101:
            after = _retry_after(headers.get("retry-after", ""), self._runtime.wall())
            self._on_refusal(Refusal(status, message, retry_after=after))
            raise Refusal(status, message, self._read_body(received, headers.get("content-length", "")), after)
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if headers.get(name):
                raise NotWebSocket(f"it chose a {name} that was not offered")
        self.rest = received
        checked = ("upgrade", "connection", "sec-websocket-accept")
        lines = [f"{name}: {headers[name]}" for name in checked if name in headers]
        return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()

    def _read_head(self, received: bytes) -> tuple[bytes, bytes]:
        """Return an answer up to its blank line, and what was read past that."""
        while True:
            if b"\n" in received and not received.startswith(b"HTTP/"):
                raise NotWebSocket("its answer is not HTTP")
            end = re.search(rb"\r?\n\r?\n", received)
            if end:
                return received[: end.start()], received[end.end() :]
            if len(received) > _LONGEST_HEAD:
                raise NotWebSocket("the headers of its answer have no end")
            self._connection.settimeout(patience(self._deadline))
            piece = self._connection.recv(16384)
            if not piece:
                raise ConnectionResetError("closed during the handshake")
            received += piece

    def _read_body(self, received: bytes, length: str) -> bytes:
        """Return the beginning of a refusal's body, as much as comes soon: it may be cut, slow or huge."""
        size = min(int(length), _LONGEST_BODY) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else 0
        soon = Deadline(self._runtime, self._deadline.cap(_BODY_PATIENCE))
        try:
            while True:
                if len(received) >= size:
                    break
                self._connection.settimeout(patience(soon))
                piece = self._connection.recv(size - len(received))
                if not piece:
                    break
                received += piece
        except OSError:
            pass
        return received[:size]


def _retry_after(value: str, now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110, section 10.2.3).

    Args:
        now: Seconds since the Unix epoch.
    """
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):  # No date; Python 3.10 raises the second.
        return None


def _parse(head: bytes) -> tuple[int, str, dict[str, str]]:
    """Return status, its words and the headers, their names in small letters, of an answer without its blank line."""
    first, *lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    found = re.fullmatch(r"HTTP/\d(?:\.\d)? (\d{3})(?: (.*))?", first.rstrip(), re.ASCII)
    if found is None:
        raise NotWebSocket("its answer has no status")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return int(found[1]), found[2] or "", headers
