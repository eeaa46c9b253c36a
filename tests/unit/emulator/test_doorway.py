"""Who may knock: hosts and origins."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from meshsync.errors import UsageError
from simulator.emulator.doorway import Doorway, is_loopback

HERE = [
    "localhost",
    "LOCALHOST",
    "app.localhost",
    "127.0.0.1",
    "127.8.8.8",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "localhost.",
]
ELSEWHERE = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]", "0x7f.1"]


@pytest.mark.parametrize("port", ["", ":6374"])
@pytest.mark.parametrize("host", [*HERE, platform.node()])
def test_this_machine_is_let_in_by_any_of_its_names(host: str, port: str) -> None:
    """As the host that is called, and as the origin of a page, whatever the port."""
    assert Doorway().refusal([f"http://{host}{port}"], [host + port], None) is None


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_machines_are_refused(host: str) -> None:
    """Names that merely begin like ours are others; what is refused is shown."""
    assert Doorway().refusal([], [host], "127.0.0.1") == (
        "host",
        f"the Host {host!r} is not this machine; --allow-host lets it in",
    )
    refusal = Doorway().refusal([f"https://{host}"], ["localhost"], "127.0.0.1")
    assert refusal is not None
    assert refusal[0] == "origin"


@pytest.mark.parametrize(
    "origin",
    ["null", "", "localhost", "http://", "http://localhost/x", "http://localhost@evil.example", "http://localhost:x"],
)
def test_what_is_no_origin_of_a_host_is_refused(origin: str) -> None:
    """A sandboxed page of anybody has the origin null."""
    assert Doorway().refusal([origin], ["localhost"], None) is not None


def test_every_header_has_to_pass() -> None:
    """Two of a kind are one too many if the second is strange."""
    assert Doorway().refusal(["http://localhost", "http://evil.example"], ["localhost"], None) is not None
    assert Doorway().refusal([], ["localhost", "evil.example"], None) is not None


def test_programs_without_an_origin_are_let_in() -> None:
    """Official SDKs send none, and a request of HTTP/1.0 has no host."""
    assert Doorway().refusal([], [], None) is None


def test_address_at_which_a_request_came_in_is_this_machine() -> None:
    """And so is the name that the emulator was told to listen on."""
    assert Doorway().refusal([], ["10.0.0.1:6374"], "10.0.0.1") is None
    assert Doorway(listening="box.lan").refusal(["http://box.lan"], ["box.lan:6374"], "10.0.0.1") is None


def test_named_ones_are_let_in_too() -> None:
    """Exactly the origins that are named, hosts without regard to case and port, and * for all."""
    doorway = Doorway(origins=["https://app.example:8443", "null"], hosts=["Meshsync"])
    assert doorway.refusal(["https://APP.example:8443"], ["meshsync:6374"], None) is None
    assert doorway.refusal(["null"], ["localhost"], None) is None
    assert doorway.refusal(["https://app.example"], ["localhost"], None) is not None
    assert doorway.refusal([], ["app.example"], None) is not None
    assert Doorway(origins=["*"], hosts=["*"]).refusal(["https://any.example"], ["any.example"], None) is None


def test_own_secret_lets_in_all_but_what_naming_shuts_out() -> None:
    """Tokens guard that door; who names origins or hosts means only those, and this machine."""
    assert Doorway(is_guarded=False).refusal(["https://any.example"], ["any.example"], None) is None
    doorway = Doorway(is_guarded=False, origins=["https://app.example"])
    assert doorway.refusal(["https://app.example"], ["any.example"], None) is None
    assert doorway.refusal(["http://localhost:3000"], [], None) is None
    assert doorway.refusal(["https://any.example"], [], None) is not None


@pytest.mark.parametrize(
    "given",
    [{"origins": "https://app.example"}, {"origins": ["app.example"]}, {"origins": ["http://a/b"]}, {"hosts": ["a/b"]}],
)
def test_what_is_no_origin_or_host_is_refused_at_once(given: dict[str, Any]) -> None:
    """It would never match."""
    with pytest.raises(UsageError, match=r"origin|host"):
        Doorway(**given)


def test_loopback_is_told_from_what_others_can_reach() -> None:
    """Names that are not the loopback's for certain count as reachable."""
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "10.0.0.1", platform.node() + ".lan")))
