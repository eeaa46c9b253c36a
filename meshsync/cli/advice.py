"""What a person can do about an error, by the step in which it came."""

from __future__ import annotations

from collections.abc import Callable

from meshsync.errors import AuthenticationFailed, ConnectTimeout, PermissionDenied, RoomNotFound

__all__ = ["advise"]

Condition = Callable[[Exception], bool]


def _says(*words: str) -> Condition:
    return lambda error: any(word in str(error) for word in words)


def _is(kind: type[Exception]) -> Condition:
    return lambda error: isinstance(error, kind)


def _always(error: Exception) -> bool:
    return True


_FIREWALL = "a firewall may drop what is sent there, or the program there hangs: check host and port in {origin}"

_ADVICE: tuple[tuple[str, Condition, str], ...] = (
    ("address", _says("no room"), "name a room, or set MESHAGENT_ROOM"),
    ("address", _always, "correct {origin}"),
    ("credential", _says("nothing to join with"), "set MESHAGENT_TOKEN or MESHAGENT_API_KEY, or use --emulator"),
    ("credential", _says("JSON Web Token"), "{origin} has to hold a participant token, three parts with dots between"),
    ("credential", _always, "correct {origin}"),
    ("certificates", _always, "correct MESHAGENT_EXTRA_CA_FILE, or unset it"),
    ("lookup", _is(ConnectTimeout), "the name server does not answer: check this machine's network"),
    ("lookup", _always, "check the host's name in {origin}, and this machine's network"),
    ("tcp", _says("refused"), "nothing listens there: start it ('meshsync emulator'), or correct the port in {origin}"),
    ("tcp", _is(ConnectTimeout), _FIREWALL),
    ("tcp", _always, "check host and port in {origin}, and this machine's network"),
    ("proxy", _always, "check the proxy's address, or exempt the host in no_proxy"),
    (
        "tls",
        _says("Hostname mismatch", "not valid for", "IP address mismatch", "doesn't match"),
        "the certificate is for another name: use that name in {origin}",
    ),
    ("tls", _says("expired"), "the certificate is out of date, or this machine's clock is wrong"),
    ("tls", _says("not trusted"), "set MESHAGENT_EXTRA_CA_FILE to a file with the certificate of its authority"),
    ("tls", _is(ConnectTimeout), _FIREWALL),
    ("tls", _always, "that port does not seem to speak TLS: use ws:// or http:// in {origin}, or another port"),
    ("http", _is(AuthenticationFailed), "the service does not accept the token of {origin}: is it of that service?"),
    ("http", _is(PermissionDenied), "the token of {origin} is not for this room, or the service admits no such client"),
    ("http", _is(RoomNotFound), "check the room's name, and that {origin} is the address of a room service"),
    ("http", _says("redirect"), "use the address that the service redirects to, in {origin}"),
    ("http", _is(ConnectTimeout), "the port is open and silent, so it may be no web server: check it in {origin}"),
    (
        "http",
        _says("not HTTP", "closed the connection", "cut the connection"),
        "another program may listen there, so check host and port in {origin}; if it speaks TLS, use wss:// or https://",
    ),
    ("http", _says("does not speak WebSocket"), "another program listens there: check host and port in {origin}"),
    ("http", _always, "ask who runs the service; the answer tells what it did not like"),
    (
        "greeting",
        _is(ConnectTimeout),
        "a WebSocket is there, and no room behind it: check the path in {origin}, or wait",
    ),
    ("greeting", _always, "the service may be starting or failing: try again, and look at its log"),
    ("enable", _says("token"), "get a token that grants messaging"),
    ("enable", _always, "the room is there and does not answer as one: look at its log"),
)
"""Step, what holds for the error, and what to do; the first row that fits counts."""


def advise(step: str, error: Exception, origin: str) -> str:
    """Return what to do about an error in a step.

    Args:
        origin: The option or variable that the address, or for a token's faults the token, comes from.
    """
    for name, holds, advice in _ADVICE:
        if name == step and holds(error):
            return advice.format(origin=origin or "the configuration")
    return ""
