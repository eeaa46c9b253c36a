"""From an endpoint to a connected socket, or to one error with the reason.

This module leads one attempt: the request, the proxy, the socket, TLS, the upgrade. Not the business of this module:
anything after the handshake.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

from meshsync.errors import AuthenticationFailed, ConnectFailed, UsageError
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.dialing import Dialer, open_tunnel, patience
from meshsync.transport.interfaces import Endpoint, OnStep
from meshsync.transport.proxies import find_proxy
from meshsync.transport.refusals import explain_no_task, translate
from meshsync.transport.upgrade import Ask, Refusal, upgrade

__all__ = ["Attempt", "Handshake", "Request", "check_endpoint", "prepare"]

_ASCII = "".join(map(chr, range(0x21, 0x7F)))

_SECRET_LENGTH = 6
"""The least length of a value in an address's query that is taken for a secret, since a token may stand there."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request of one handshake."""

    scheme: str
    """``ws`` or ``wss``."""
    ask: Ask = field(repr=False)
    """It may hold the token, in its query or a header."""
    address: str
    """Host and port, for people."""
    secrets: tuple[str, ...] = field(repr=False)
    """Every spelling of the token and of other secrets in the address: none may appear in a text."""


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
    except ValueError:  # Its text may quote a password.
        problem = "the URL of the room cannot be read"
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
    # Not by `urlunsplit`, and nowhere read again: a name may hold what other readers of addresses cut off.
    # Letters beyond ASCII are the only ones that HTTP has no place for.
    target = quote((parts.path or "/") + (f"?{joined}" if joined else ""), safe=_ASCII)
    given = [
        token,
        parts.password or "",
        *(value for _, value in parse_qsl(parts.query) if len(value) >= _SECRET_LENGTH),
    ]
    return Request(
        scheme=parts.scheme,
        ask=Ask(target, host, port, tuple(headers)),
        address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        secrets=tuple(
            dict.fromkeys(
                spelling for text in given if text for spelling in (text, quote(text, safe=""), quote_plus(text))
            )
        ),
    )


class Handshake:
    """One attempt. `run` blocks and may outlive its use."""

    def __init__(self, endpoint: Endpoint, request: Request, runtime: Runtime, on_step: OnStep) -> None:
        self._endpoint = endpoint
        self._request = request
        self._runtime = runtime
        self._on_step = on_step
        self._dialer = Dialer(runtime, on_step)
        self._socket: socket.socket | None = None
        self.refusal: ConnectFailed | None = None
        """The refusal whose body is still waited for."""

    def run(self, timeout: float | None) -> tuple[socket.socket, bytes] | ConnectFailed:
        """Return the connected socket and the bytes read past the handshake, or the error.

        The failure is returned and not raised: so no foreign error, which may show the URL, hangs on it.

        Args:
            timeout: The longest wait in seconds; a look-up of a name obeys none.
        """
        error: Exception
        secrets = list(self._request.secrets)
        try:
            return self._connect(Deadline(self._runtime, timeout), secrets)
        except Exception as caught:
            error = caught
        return translate(error, self._request.address, secrets)

    def shut_down(self) -> None:
        """From another task, make `run` fail soon if it has a socket already; closing that is left to it."""
        self._dialer.shut_down()
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _connect(self, deadline: Deadline, secrets: list[str]) -> tuple[socket.socket, bytes]:
        request = self._request
        ask = request.ask
        context = self._tls_context()
        proxy = find_proxy(request.scheme, ask.host, ask.port, os.environ)
        if proxy is not None:
            secrets.extend(proxy.secrets)
        host, port = (proxy.host, proxy.port) if proxy is not None else (ask.host, ask.port)
        connection = self._socket = self._dialer.connect(host, port, deadline)
        try:
            if proxy is not None:
                open_tunnel(connection, proxy, ask.host, ask.port, request.address, deadline)
                self._on_step("proxy", f"{proxy.host}:{proxy.port}")
            if context is not None:
                connection = self._socket = secured = context.wrap_socket(
                    connection, server_hostname=ask.host, do_handshake_on_connect=False
                )
                connection.settimeout(patience(deadline))
                secured.do_handshake()
                self._on_step("tls", str(secured.version()))
            received = upgrade(connection, ask, self._runtime, deadline, self._note_refusal)
            self._on_step("http", "101 Switching Protocols")
            return connection, received
        except BaseException:
            connection.close()
            raise

    def _note_refusal(self, refusal: Refusal) -> None:
        self.refusal = translate(refusal, self._request.address, self._request.secrets)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._request.scheme != "wss":
            return None
        context = self._endpoint.ssl_context
        if context is None:
            context = ssl.create_default_context()
            if self._endpoint.ca_file is not None:
                _trust(context, self._endpoint.ca_file)
        return context


class Attempt:
    """A handshake in a task of its own: look-ups and slow servers obey no time limit, so it can be left behind."""

    def __init__(self, handshake: Handshake, runtime: Runtime, timeout: float | None) -> None:
        self._handshake = handshake
        self._runtime = runtime
        self._timeout = timeout
        self._lock = runtime.condition()
        self._outcome: tuple[socket.socket, bytes] | ConnectFailed | None = None
        self._is_abandoned = False

    def start(self) -> None:
        """Begin. Not done where it is made: if Ctrl-C strikes in here, the caller has it already and can abandon it."""
        try:
            self._runtime.spawn(self._run, name="meshsync handshake")
        except RuntimeError as error:
            self._outcome = explain_no_task(error, self._runtime)

    def result(self, timeout: float | None) -> tuple[socket.socket, bytes] | ConnectFailed | None:
        """Wait for the socket and the bytes read past the handshake, or the error; None if ``timeout`` s passed.

        A refusal counts from its status on, whatever becomes of its body.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._outcome is not None, timeout)
            return self._outcome if self._outcome is not None else self._handshake.refusal

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
