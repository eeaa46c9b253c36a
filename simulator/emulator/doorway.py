"""Who may knock: the addresses that an emulator may be called by, and the pages that may call it.

Any page that a browser shows can open a WebSocket to this machine, and the development secret is public. The browser
tells the page's origin, and the page cannot change that. A page whose host's name is led to this machine (DNS
rebinding) is of the same origin as the emulator, but it calls the emulator by that name.

Source: RFC 6455, section 10.2; RFC 6454, section 7 (the origin's form, and ``null``).
"""

from __future__ import annotations

import ipaddress
import platform
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from meshsync.errors import UsageError

__all__ = ["Doorway", "is_loopback"]

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@:\[\]]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)
_HOST = re.compile(r"([^\s/?#@:\[\]]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Doorway:
    """The hosts and origins that are let through; ``*`` stands for all.

    Raises:
        UsageError: If an origin or a host is not written as a browser writes it.
    """

    is_guarded: bool = True
    """Whether only those of this machine, and those named here, are let through. Else all are, but for what is named:
    naming origins shuts out other origins, and naming hosts other hosts."""
    origins: Collection[str] = ()
    """As ``https://example.org:8443``, or ``null``: pages in files, and those that a sandbox holds."""
    hosts: Collection[str] = ()
    """Names or addresses without a port."""
    listening: str | None = None
    """The name or address that the emulator was told to listen on: one of this machine's."""

    def __post_init__(self) -> None:
        for name, values in (("allow_origins", self.origins), ("allow_hosts", self.hosts)):
            if isinstance(values, str):
                raise UsageError(f"{name}: several texts are needed, as [{values!r:.100}]")
        for origin in self.origins:
            if origin not in ("*", "null") and _ORIGIN.fullmatch(origin) is None:
                raise UsageError(
                    f"allow_origins: an origin is as https://example.org:8443, without a path, not {origin!r:.100}"
                )
        for host in self.hosts:
            if host != "*" and _plain_host(host) is None:
                raise UsageError(f"allow_hosts: a host is a name or an address, not {host!r:.100}")

    def refusal(self, origins: Sequence[str], hosts: Sequence[str], address: str | None) -> tuple[str, str] | None:
        """Return why a request is refused, as ``origin`` or ``host`` and a text; None if it is not.

        Args:
            origins: The values of its ``Origin`` headers; programs that are no browsers send none.
            hosts: The values of its ``Host`` headers.
            address: The address of this machine at which it came in.
        """
        if self.is_guarded or self.hosts:
            for host in hosts:
                if not self._knows_host(host, address):
                    return "host", f"the Host {host!r:.100} is not this machine; --allow-host lets it in"
        if self.is_guarded or self.origins:
            for origin in origins:
                if not self._knows_origin(origin, address):
                    return "origin", f"a page of {origin!r:.100} may not connect; --allow-origin lets it in"
        return None

    def _knows_host(self, value: str, address: str | None) -> bool:
        host = _plain_host(value)
        if "*" in self.hosts:
            return True
        return host is not None and (self._is_here(host, address) or host in map(_plain_host, self.hosts))

    def _knows_origin(self, value: str, address: str | None) -> bool:
        if "*" in self.origins or value.lower() in (origin.lower() for origin in self.origins):
            return True
        match = _ORIGIN.fullmatch(value)
        host = None if match is None else _plain_host(match.group(2))
        return host is not None and self._is_here(host, address)

    def _is_here(self, host: str, address: str | None) -> bool:
        here = {platform.node().lower(), self.listening and _plain_host(self.listening)}
        return host in here or _is_local(host) or _same_address(host, address)


def is_loopback(host: str) -> bool:
    """Return whether a host, as a name or an address, can be reached from this machine alone."""
    plain = _plain_host(f"[{host}]" if ":" in host else host)
    return plain is not None and _is_local(plain)


def _plain_host(value: str) -> str | None:
    """Return the host of ``host:port`` as one of its spellings; None if it is none."""
    if value.count(":") > 1 and not value.startswith("["):
        value = f"[{value}]"  # An address of IPv6 as people write it.
    match = _HOST.fullmatch(value)
    return None if match is None else match.group(1).strip("[]").lower().removesuffix(".")


def _is_local(host: str) -> bool:
    """Return whether a host is the loopback: browsers do not ask for such names (RFC 6761, section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address is not None and (mapped or address).is_loopback


def _same_address(host: str, address: str | None) -> bool:
    given = _address(host)
    return given is not None and address is not None and given == _address(address.partition("%")[0])


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
