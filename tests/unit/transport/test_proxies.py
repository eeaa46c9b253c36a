"""Which proxy is used for an address: the environment read as curl reads it."""

from __future__ import annotations

import pytest

from meshsync.errors import ConnectFailed
from meshsync.transport.proxies import Proxy, find_proxy


def found(environ: dict[str, str], scheme: str = "wss", host: str = "rooms.test", port: int = 443) -> str | None:
    """Return host and port of the proxy for an address."""
    proxy = find_proxy(scheme, host, port, environ)
    return f"{proxy.host}:{proxy.port}" if proxy else None


@pytest.mark.parametrize(
    ("environ", "plain", "tls"),
    [
        ({}, None, None),
        ({"http_proxy": "http://p:1"}, "p:1", None),
        ({"https_proxy": "http://p:1"}, None, "p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, None, "p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "p:1", None),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"ALL_PROXY": "http://p:1"}, "p:1", "p:1"),
        ({"all_proxy": "http://p:1", "https_proxy": "http://q:2"}, "p:1", "q:2"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, None, "p:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:2"}, None, "q:2"),
        ({"wss_proxy": "http://p:1", "https_proxy": "http://q:2"}, None, "p:1"),
        ({"all_proxy": " p:1 "}, "p:1", "p:1"),
        ({"all_proxy": "HTTP://p:1/"}, "p:1", "p:1"),
        ({"all_proxy": "p"}, "p:1080", "p:1080"),
        ({"all_proxy": "[::1]:8080"}, "::1:8080", "::1:8080"),
        ({"all_proxy": "http://[fd00::1]"}, "fd00::1:1080", "fd00::1:1080"),
    ],
)
def test_variable_names_the_proxy(environ: dict[str, str], plain: str | None, tls: str | None) -> None:
    """The scheme's own variable beats the one for all, small letters beat capitals, and ``http://`` may be left out."""
    assert found(environ, "ws", port=80) == plain
    assert found(environ) == tls


@pytest.mark.parametrize(
    ("value", "authorization"),
    [
        ("http://me:pass%20word@p:1", "Basic bWU6cGFzcyB3b3Jk"),  # me:pass word
        ("me:a@b/c@p:1", "Basic bWU6YUBiL2M="),  # me:a@b/c
        ("me@p:1", "Basic bWU6"),  # me:
    ],
)
def test_credentials_go_to_the_proxy_alone(value: str, authorization: str) -> None:
    """A password may hold any letter, and is not shown."""
    proxy = find_proxy("ws", "rooms.test", 80, {"http_proxy": value})
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.authorization) == ("p", 1, authorization)
    assert repr(proxy) == repr(Proxy("p", 1))


@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5", "socks5h", "SOCKS5", "https", "quic"])
def test_proxy_of_another_kind_is_refused_by_name(kind: str) -> None:
    """It is neither taken for one of HTTP nor passed by."""
    with pytest.raises(ConnectFailed, match=rf"^ALL_PROXY names a proxy of the kind {kind.lower()}://") as caught:
        find_proxy("wss", "rooms.test", 443, {"ALL_PROXY": f"{kind}://me:s3cret@p:1"})
    assert "s3cret" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "value", ["http://", "http://me:s3cret@", "http://p:s3cret", "http://p:0", "http://p:99999", "http://[::1", "a b:1"]
)
def test_proxy_that_cannot_be_read_is_refused_and_not_passed_by(value: str) -> None:
    """The variable is named, and its value, which may hold a password, is not."""
    with pytest.raises(ConnectFailed, match=r"^https_proxy cannot be read") as caught:
        find_proxy("wss", "rooms.test", 443, {"https_proxy": value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("exempt", "host", "port", "is_exempt"),
    [
        ("rooms.test", "rooms.test", 443, True),
        ("ROOMS.test", "rooms.TEST.", 443, True),
        ("test", "rooms.test", 443, True),
        (".test", "rooms.test", 443, True),
        ("test.", "rooms.test", 443, True),
        (".rooms.test", "rooms.test", 443, True),
        ("a.rooms.test", "rooms.test", 443, False),
        ("ooms.test", "rooms.test", 443, False),
        (".est", "rooms.test", 443, False),
        ("other.test, rooms.test", "rooms.test", 443, True),
        ("other.test rooms.test", "rooms.test", 443, True),
        ("*", "rooms.test", 443, True),
        (" , ", "rooms.test", 443, False),
        (".", "rooms.test", 443, False),
        ("rooms.test:443", "rooms.test", 443, True),
        ("rooms.test:8443", "rooms.test", 443, False),
        ("test:443", "rooms.test", 443, True),
        ("rooms.test:https", "rooms.test", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("2.3", "10.1.2.3", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.9.9.9/8", "10.1.2.3", 443, True),
        ("10.0.0.0/16", "10.1.2.3", 443, False),
        ("10.0.0.0/8:443", "10.1.2.3", 443, True),
        ("10.0.0.0/8:80", "10.1.2.3", 443, False),
        ("10.0.0.0/99", "10.1.2.3", 443, False),
        ("10.0.0.0/8", "rooms.test", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("fd00:0::1", "FD00::1", 443, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("[fd00::1]:80", "fd00::1", 443, False),
        ("fe80::/10", "fd00::1", 443, False),
    ],
)
def test_exemptions(exempt: str, host: str, port: int, is_exempt: bool) -> None:
    """A name exempts what ends with it, an address itself, a network its addresses; a port limits each to that port."""
    environ = {"all_proxy": "p:1", "no_proxy": exempt}
    assert (found(environ, host=host, port=port) is None) is is_exempt
    assert (found({"ALL_PROXY": "p:1", "NO_PROXY": exempt}, host=host, port=port) is None) is is_exempt


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_never_asked_of_a_proxy(host: str) -> None:
    """Even one of a kind that cannot be used does not stand in the way."""
    assert found({"all_proxy": "socks5://p:1"}, host=host) is None


def test_exempt_host_does_not_need_a_proxy_that_can_be_used() -> None:
    """The error for a proxy of another kind says so."""
    assert found({"all_proxy": "socks5://p:1", "no_proxy": "rooms.test"}) is None
