"""From the end of a handshake that failed to the client's own error, in which no part of a secret appears."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Sequence

from meshsync.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectTimeout,
    PermissionDenied,
    RoomNotFound,
    RoomUnavailable,
)
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.redaction import redact
from meshsync.transport.upgrade import NotWebSocket, Refusal

__all__ = ["explain_no_task", "translate"]

_REASON_LENGTH = 200
"""The most characters of a refusal's body that go into an error's text."""

_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_COME_BACK_LATER = frozenset({408, 423, 425, 429})
"""Statuses below 500 that concern the moment, not the request. 423: the room is disabled (PROTOCOL.md, section
2.2)."""


def translate(error: Exception, address: str, secrets: Sequence[str]) -> ConnectFailed:
    """Return the client's error for the exception of a handshake.

    Args:
        address: Host and port, for people.
        secrets: Every spelling of what may not appear in the text.
    """
    if isinstance(error, ConnectFailed):
        return error
    if isinstance(error, Refusal):
        refused = _refused(error.status, _reason(error, secrets), address)
        refused.retry_after = error.retry_after
        return refused
    if isinstance(error, NotWebSocket):
        return ConnectFailed(f"{address} does not speak WebSocket: {redact(str(error), secrets)}")
    if isinstance(error, ssl.SSLError):
        return _tls_failed(error, address, secrets)
    if isinstance(error, TimeoutError):
        return ConnectTimeout(f"{address} did not answer in time")
    text = redact((error.strerror if isinstance(error, OSError) else None) or str(error), secrets)
    if isinstance(error, socket.gaierror):
        return RoomUnavailable(f"cannot find {address} or the proxy to it: {text}")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return RoomUnavailable(
            f"cannot open a socket to {address}: {text}; close files or connections, or raise the limit"
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        how = "closed the connection" if error.errno is None else f"cut the connection ({text})"
        cut = RoomUnavailable(f"{address} {how} during the handshake")
        cut._was_cut = True
        return cut
    if isinstance(error, OSError):
        hint = ""
        if error.errno == errno.ECONNREFUSED and re.match(r"(localhost|127\.|\[::1\])", address):
            hint = "; nothing listens there: python -m simulator serve opens rooms on this machine"
        return RoomUnavailable(f"cannot reach {address}: {text}", hint=hint)
    return ConnectFailed(f"cannot connect to {address}: {type(error).__name__}: {text}")


def explain_no_task(error: RuntimeError, runtime: Runtime) -> ConnectFailed:
    """Return the client's error for a runtime that could not start a task of a connection."""
    if runtime.is_exiting() or "shutdown" in str(error):
        return ConnectFailed("no connection can be opened while the interpreter shuts down")
    return RoomUnavailable("no connection can be opened: the system starts no more threads for this process")


def _refused(status: int, reason: str, address: str) -> ConnectFailed:
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


def _tls_failed(error: ssl.SSLError, address: str, secrets: Sequence[str]) -> ConnectFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        untrusted = ConnectFailed(
            f"the certificate of {address} is not trusted: {redact(error.verify_message, secrets)}. If its authority "
            "is your own, name a file with its certificate in ca_file (MESHAGENT_EXTRA_CA_FILE) or pass an ssl_context"
        )
        untrusted._is_final = True
        return untrusted
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return RoomUnavailable(f"{address} closed the connection during the TLS handshake")
    if "timed out" in str(error):
        return ConnectTimeout(f"{address} did not answer in time")
    return ConnectFailed(f"no TLS with {address}: {error.reason or 'handshake failed'}; is it wss://, or ws://?")


def _reason(refusal: Refusal, secrets: Sequence[str]) -> str:
    """Return a short piece of a refusal's body, or the words behind its status, on one line."""
    body = refusal.body.decode("utf-8", "replace")
    if body.lstrip().startswith("<"):
        body = ""  # a page for browsers, not a reason
    # Secrets are removed first: cutting one in two would let half of it through.
    text = " ".join(redact(body or refusal.message, secrets).split())
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= _REASON_LENGTH else text[:_REASON_LENGTH] + "…"
