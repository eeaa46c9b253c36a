"""From an endpoint to a connected socket, or to one error with the reason.

websocket-client does the work: name look-up, proxies, TLS, the upgrade. This module gives it the request, and turns
its exceptions into the client's own errors, in which the token never appears. Not the business of this module:
anything after the handshake.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit, urlunsplit

import websocket as websocket_client

from meshsync.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectTimeout,
    PermissionDenied,
    RoomNotFound,
    RoomUnavailable,
    UsageError,
)
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import Endpoint

__all__ = ["Attempt", "Handshake", "Request", "check_endpoint", "prepare"]

_REASON_LENGTH = 200
"""The most characters of a refusal's body that go into an error's text."""

_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_COME_BACK_LATER = frozenset({408, 423, 425, 429})
"""Statuses below 500 that concern the moment, not the request. 423: the room is disabled (PROTOCOL.md, section
2.2)."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request of one handshake."""

    url: str = field(repr=False)
    """With the query that this attempt adds; it may hold the token."""
    headers: tuple[str, ...] = field(repr=False)
    address: str
    """Host and port, for people."""
    host: str
    secrets: tuple[str, ...] = field(repr=False)
    """Every spelling of the token: none may appear in a text."""

    def clean(self, text: str) -> str:
        """Return ``text`` without the secrets, should a server or library have repeated them."""
        for secret in self.secrets:
            text = text.replace(secret, "[token]")
        return text


def check_endpoint(endpoint: Endpoint) -> None:
    """Refuse an endpoint that can never connect.

    Raises:
        UsageError: Names the fault, without showing the URL's query.
    """
    problem = ""
    try:
        parts = urlsplit(endpoint.url)
        if parts.scheme not in ("ws", "wss"):
            problem = f"the URL of a room begins with ws:// or wss://, not {parts.scheme or 'nothing'}"
        elif not parts.hostname:
            problem = "the URL of the room names no host"
        elif parts.port == 0 or re.search(r"[\x00-\x20\x7f]", endpoint.url):
            problem = "the URL of the room has port 0, a blank or a control character"
    except ValueError as error:
        problem = f"the URL of the room cannot be read: {error}"
    if endpoint.token_in not in ("header", "query"):
        problem = f"token_in is 'header' or 'query', not {endpoint.token_in!r}"
    if endpoint.ssl_context is not None and endpoint.ca_file is not None:
        problem = "give ssl_context or ca_file, not both: load the file into the context"
    for name, value in endpoint.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\x00]", value):
            problem = f"the header {name!r} cannot be sent"
    if problem:
        raise UsageError(problem)


def prepare(endpoint: Endpoint, token: str) -> Request:
    """Return the request with this token; an empty one is not presented at all.

    Raises:
        AuthenticationFailed: If the token holds characters no token has, such as a line break.
    """
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise AuthenticationFailed("the token holds blanks, line breaks or letters beyond ASCII: it cannot be genuine")
    parts = urlsplit(endpoint.url)
    query = [("token", token)] if token and endpoint.token_in == "query" else []
    if endpoint.version:
        query.append(("v", endpoint.version))
    joined = "&".join(filter(None, (parts.query, urlencode(query))))
    headers = [f"{name}: {value}" for name, value in endpoint.headers.items()]
    if token and endpoint.token_in == "header":
        headers.append(f"Authorization: Bearer {token}")
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    return Request(
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, joined, "")),
        headers=tuple(headers),
        address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        host=host,
        secrets=tuple({token: None, quote(token, safe=""): None, quote_plus(token): None}) if token else (),
    )


class Handshake:
    """One attempt. `run` blocks and may outlive its use."""

    def __init__(self, endpoint: Endpoint, request: Request) -> None:
        self._endpoint = endpoint
        self._request = request
        self._library: Any = None

    def run(self, timeout: float | None) -> tuple[Any, bytes] | ConnectFailed:
        """Return the connected socket and the bytes read past the handshake, or the error.

        The failure is returned and not raised: so no foreign error, which may show the URL, hangs on it.

        Args:
            timeout: The longest wait of each single operation, in seconds; the attempt may last longer.
        """
        error: Exception
        try:
            return self._connect(timeout)
        except Exception as caught:
            error = caught
        return _translate(error, self._request, self._library)

    def shut_down(self) -> None:
        """From another task, make `run` fail soon if it has a socket already; closing that is left to it."""
        connection = getattr(self._library, "sock", None)
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _connect(self, timeout: float | None) -> tuple[Any, bytes] | ConnectFailed:
        request = self._request
        library: Any = websocket_client.WebSocket(sslopt=self._tls_options(), enable_multithread=False)
        self._library = library
        library.settimeout(timeout)
        # A redirect would carry the token to another place, so none is followed. An Origin is for browsers to send.
        library.connect(
            request.url,
            header=list(request.headers),
            suppress_origin=True,
            redirect_limit=0,
            **_proxy_options(request.host),
        )
        if library.getstatus() != 101:
            # Some releases of the library report a redirect that they don't follow as success.
            library.sock.close()
            return _refused(library.getstatus(), "", request)
        response = library.getheaders() or {}
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if response.get(name):
                library.sock.close()
                return ConnectFailed(f"{request.address} chose a {name} that was not offered")
        return library.sock, b"".join(library.frame_buffer.recv_buffer)

    def _tls_options(self) -> dict[str, Any]:
        if urlsplit(self._endpoint.url).scheme != "wss":
            return {}
        context = self._endpoint.ssl_context
        if context is None:
            context = ssl.create_default_context()
            if self._endpoint.ca_file is not None:
                _trust(context, self._endpoint.ca_file)
        return {"context": context}


class Attempt:
    """A handshake in a task of its own: look-ups and slow servers obey no time limit, so it can be left behind."""

    def __init__(self, handshake: Handshake, runtime: Runtime, timeout: float | None) -> None:
        self._handshake = handshake
        self._timeout = timeout
        self._lock = runtime.condition()
        self._outcome: tuple[Any, bytes] | ConnectFailed | None = None
        self._is_abandoned = False
        try:
            runtime.spawn(self._run, name="meshsync handshake")
        except RuntimeError:
            self._outcome = ConnectFailed("no connection can be opened while the interpreter shuts down")

    def result(self, timeout: float | None) -> tuple[Any, bytes] | ConnectFailed | None:
        """Wait for the socket and the bytes read past the handshake, or the error; None if ``timeout`` s passed."""
        with self._lock:
            self._lock.wait_for(lambda: self._outcome is not None, timeout)
            return self._outcome

    def abandon(self) -> None:
        """Drop the socket, now or when the handshake returns."""
        with self._lock:
            self._is_abandoned = True
            outcome = self._outcome
        if isinstance(outcome, tuple):
            outcome[0].close()
        elif outcome is None:
            self._handshake.shut_down()

    def _run(self) -> None:
        outcome = self._handshake.run(self._timeout)
        with self._lock:
            self._outcome = outcome
            is_abandoned = self._is_abandoned
            self._lock.notify_all()
        if is_abandoned and isinstance(outcome, tuple):
            outcome[0].close()


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    problem = None
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        problem = "it holds no certificates"
    except OSError as error:
        problem = error.strerror
    if problem:
        raise ConnectFailed(f"cannot load certificates from {os.fspath(ca_file)!r}: {problem}")


def _proxy_options(host: str) -> dict[str, Any]:
    """Return no options, so that the environment decides, except for this machine, which no proxy can mean."""
    name = host.lower()
    try:
        is_here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_here = name == "localhost" or name.endswith(".localhost")
    # The list of exceptions is only looked at beside a proxy, hence one that is never used.
    return {"http_proxy_host": name, "http_proxy_port": 1, "http_no_proxy": [host]} if is_here else {}


# --- errors at the edge -----------------------------------------------------------------------------------------------


def _translate(error: Exception, request: Request, library: Any) -> ConnectFailed:
    """Return the client's error for the exception of a handshake, free of secrets."""
    if isinstance(error, ConnectFailed):
        return error
    address = request.address
    status = library.getstatus() if library is not None else None
    if isinstance(error, websocket_client.WebSocketBadStatusException):
        return _refused(error.status_code, _reason(error, request), request)
    if status in _REDIRECTS:
        return _refused(int(status), "", request)
    if isinstance(error, ssl.SSLError):
        return _tls_failed(error, request)
    if isinstance(error, (TimeoutError, websocket_client.WebSocketTimeoutException)):
        return ConnectTimeout(f"{address} did not answer in time")
    if isinstance(error, websocket_client.WebSocketAddressException):
        return RoomUnavailable(f"cannot find {address} or the proxy to it: {_text(error, request)}")
    if isinstance(error, websocket_client.WebSocketProxyException):
        text = _text(error, request)
        kind = ConnectFailed if "status: 4" in text else RoomUnavailable
        return kind(f"the proxy to {address} refused: {text}")
    if isinstance(error, websocket_client.WebSocketConnectionClosedException):
        return RoomUnavailable(f"{address} closed the connection during the handshake")
    if isinstance(error, OSError):
        return RoomUnavailable(f"cannot reach {address}: {_text(error, request)}")
    if isinstance(error, websocket_client.WebSocketException):
        return ConnectFailed(f"{address} does not speak WebSocket: {_text(error, request)}")
    return ConnectFailed(f"cannot connect to {address}: {type(error).__name__}: {_text(error, request)}")


def _refused(status: int, reason: str, request: Request) -> ConnectFailed:
    address = request.address
    because = f": {reason}" if reason else ""
    if status == 401:
        return AuthenticationFailed(f"{address} rejected the token (401){because}", http_status=status)
    if status == 403:
        return PermissionDenied(f"{address} does not admit this token to the room (403){because}", http_status=status)
    if status == 404:
        return RoomNotFound(f"{address} knows no such room (404){because}", http_status=status)
    if status == 423:
        return RoomUnavailable(f"the room at {address} is disabled (423){because}", http_status=status)
    if status in _COME_BACK_LATER or 500 <= status <= 599:
        return RoomUnavailable(f"{address} cannot serve the room now ({status}){because}", http_status=status)
    if status in _REDIRECTS:
        return ConnectFailed(
            f"{address} answered with a redirect ({status}), which is not followed, since the token would go "
            "elsewhere: connect to the final address",
            http_status=status,
        )
    return ConnectFailed(f"{address} refused the connection ({status}){because}", http_status=status)


def _tls_failed(error: ssl.SSLError, request: Request) -> ConnectFailed:
    address = request.address
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectFailed(
            f"the certificate of {address} is not trusted: {request.clean(error.verify_message)}. If its authority is "
            "your own, name a file with its certificate in ca_file (MESHAGENT_EXTRA_CA_FILE) or pass an ssl_context"
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return RoomUnavailable(f"{address} closed the connection during the TLS handshake")
    if "timed out" in str(error):
        return ConnectTimeout(f"{address} did not answer in time")
    return ConnectFailed(f"no TLS with {address}: {error.reason or 'handshake failed'}; is it wss://, or ws://?")


def _reason(error: Any, request: Request) -> str:
    """Return a short piece of a refusal's body, or its status text, on one line."""
    body = (error.resp_body or b"").decode("utf-8", "replace")
    if body.lstrip().startswith("<"):
        body = ""  # a page for browsers, not a reason
    # Secrets are removed first: cutting one in two would let half of it through.
    text = " ".join(request.clean(body or error.status_message or "").split())
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= _REASON_LENGTH else text[:_REASON_LENGTH] + "…"


def _text(error: Exception, request: Request) -> str:
    return request.clean((error.strerror if isinstance(error, OSError) else None) or str(error))
