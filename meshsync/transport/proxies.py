"""Which proxy the environment names for an address, read as curl reads it.

Not the business of this module: speaking to the proxy.

Source: curl's manual, ENVIRONMENT, and its ``lib/noproxy.c``. Beyond curl, an entry of ``no_proxy`` may name a
port, and a proxy is never asked for this machine, since it would connect to its own.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from meshsync.errors import ConnectFailed

__all__ = ["Proxy", "find_proxy"]

_DEFAULT_PORT = 1080
"""Source: curl's manual, --proxy."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked for a tunnel."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """The value of ``Proxy-Authorization``; empty for none."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every spelling of the password: none may appear in a text."""


def find_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy to use for an address, or None to connect directly.

    Args:
        scheme: ``ws`` or ``wss``.
    Raises:
        ConnectFailed: If the environment names a proxy that cannot be used. Connecting directly instead would show the
            token where the environment forbids it. The text names the variable and the kind, and no password.
    """
    variable, value = _chosen(scheme, environ)
    if not value or _is_here(host) or _is_exempt(host, port, _read(environ, "no_proxy")[1]):
        return None
    kind, separator, rest = value.partition("://")
    if not separator:
        kind, rest = "http", value
    if kind.lower() != "http":
        named = kind.lower() if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", kind) else "unknown"
        raise ConnectFailed(
            f"{variable} names a proxy of the kind {named}://, which meshsync does not speak: name one of the kind "
            f"http://, or exempt {host} in no_proxy"
        )
    # A password may hold any letter, an @ and a / among them.
    credentials, at, place = rest.rpartition("@")
    try:
        parts = urlsplit(f"//{place}")
        found, found_port = parts.hostname, parts.port
    except ValueError:
        found, found_port = None, None
    if not found or found_port == 0 or re.search(r"[\x00-\x20\x7f]", place):
        raise ConnectFailed(f"{variable} cannot be read as the address of a proxy: it has to read http://host:port")
    if not at:
        return Proxy(found, found_port or _DEFAULT_PORT)
    user, _, password = credentials.partition(":")
    plain = f"{unquote(user)}:{unquote(password)}"
    coded = base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode()
    secrets = tuple(filter(None, dict.fromkeys((plain, unquote(password), password, coded))))
    return Proxy(found, found_port or _DEFAULT_PORT, f"Basic {coded}", secrets)


def _chosen(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    for name in (f"{scheme}_proxy", "https_proxy" if scheme == "wss" else "http_proxy", "all_proxy"):
        variable, value = _read(environ, name)
        if value:
            return variable, value
    return "", ""


def _read(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable in small letters or else in capitals, and its value; an empty one counts as unset."""
    for variable in (name, name.upper()):
        # Whoever asks a CGI program sets its HTTP_PROXY, by a header called Proxy.
        if variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue
        value = environ.get(variable, "").strip()
        if value:
            return variable, value
    return "", ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_here(host: str) -> bool:
    name = host.lower().rstrip(".")
    address = _address(name)
    return address.is_loopback if address is not None else name == "localhost" or name.endswith(".localhost")


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Return whether ``no_proxy`` exempts an address: by a name or the end of one, an address, or a network."""
    name = host.lower().rstrip(".")
    return any(_matches(entry, name, port) for entry in re.split(r"[\s,]+", exempt.lower()) if entry)


def _matches(entry: str, name: str, port: int) -> bool:
    if entry == "*":
        return True
    # Unbracketed, an address with two or more colons is one of IPv6 without a port.
    found = re.fullmatch(r"\[([^\]]*)\](/\d+)?(?::(\d+))?|([^:]*)(?::(\d+))?", entry)
    if found:
        entry = f"{found[1]}{found[2] or ''}" if found[1] is not None else found[4]
        limit = found[3] or found[5]
        if limit and int(limit) != port:
            return False
    address = _address(name)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    domain = entry.strip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))
