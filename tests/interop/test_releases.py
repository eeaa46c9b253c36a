"""Every pairing of published SDK releases with each other and with meshsync, over the emulator.

The releases are unchanged and run in environments and processes of their own; see ``releases.py``. What the hosted
service does is not shown here: the room is ours.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulator import Emulator
from tests.interop.official_peer import attachment_of
from tests.interop.peers import MeshsyncPeer, OfficialPeer, Peer, PeerFailed
from tests.interop.releases import RELEASES, InterpreterMissing

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]  # the first test of a release may install it

PEERS = [*RELEASES, "meshsync"]
PAIRS = [pytest.param(*pair, id=f"{pair[0]} with {pair[1]}") for pair in itertools.product(PEERS, repeat=2)]

NON_ASCII = {"text": "grüße Ω 漢字 🙂 " * 170, "nested": {"ключ": ["é", None, True, 1.5, -7, {"": ""}]}}
"""5 KB of JSON beyond ASCII: in UTF-8 170 * 31 bytes and some, in ``\\u`` escapes about twice that."""

Meet = Callable[[str, str], tuple[Peer, Peer]]
Join = Callable[..., Peer]


class Pool:
    """Processes of official releases that wait for the next test; starting one takes seconds."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.idle: dict[str, list[OfficialPeer]] = {}

    def take(self, kind: str) -> Peer:
        """Return a peer of a release, or of meshsync, that is in no room; the test skips if that cannot run here."""
        if kind == "meshsync":
            return MeshsyncPeer()
        if self.idle.get(kind):
            return self.idle[kind].pop()
        try:
            return OfficialPeer(RELEASES[kind], self.environ)
        except InterpreterMissing as missing:
            pytest.skip(str(missing))

    def give_back(self, kind: str, peer: Peer) -> None:
        """Take a peer out of its room and keep it if it can be used again."""
        try:
            if isinstance(peer, OfficialPeer) and peer.is_running:
                peer.do("close")
                peer.forget()
                self.idle.setdefault(kind, []).append(peer)
            else:
                peer.end()
        except (AssertionError, PeerFailed):
            peer.end()
            raise

    def end(self) -> None:
        """End every process."""
        for peer in itertools.chain.from_iterable(self.idle.values()):
            peer.end()


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    """Serve rooms on a port of their own for all tests of this module."""
    with Emulator(port=0) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def pool(served: Emulator) -> Iterator[Pool]:
    """Keep the processes from test to test."""
    pool = Pool(dict(served.env))
    yield pool
    pool.end()


_rooms = itertools.count(1)


@pytest.fixture
def join(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> Iterator[Join]:
    """Return a function that connects a peer, by kind and name, to this test's own room."""
    for variable, value in pool.environ.items():
        monkeypatch.setenv(variable, value)
    room = f"lab-{next(_rooms)}"
    joined: list[tuple[str, Peer]] = []

    def join(kind: str, name: str, **arguments: Any) -> Peer:
        peer = pool.take(kind)
        if isinstance(peer, OfficialPeer):
            record_property("release", peer.description)
        joined.append((kind, peer))
        peer.do("connect", room=room, name=name, **arguments)
        return peer

    yield join
    for kind, peer in joined:
        pool.give_back(kind, peer)


@pytest.fixture
def meet(join: Join) -> Meet:
    """Return a function that lets ada and bob join and see each other."""

    def meet(first: str, second: str) -> tuple[Peer, Peer]:
        ada, bob = join(first, "ada"), join(second, "bob")
        ada.do("enable")
        bob.do("enable")
        ada.do("wait_for_peer", name="bob")
        bob.do("wait_for_peer", name="ada")
        return ada, bob

    return meet


def body(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a message said, without who said it."""
    return event["type"], event["message"], event["size"], event["sha256"]


def fingerprint(data: bytes) -> tuple[int, str]:
    """Return the size and the SHA-256 of an attachment."""
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_each_sees_the_other_come(first: str, second: str, join: Join) -> None:
    """The one who was there is in the newcomer's roster, and is told of the newcomer."""
    ada, bob = join(first, "ada", role="agent"), join(second, "bob")
    ada.do("enable")
    ada.expect("messaging_enabled")
    assert ada.do("roster")["participants"] == []

    bob.do("enable")
    there = bob.do("wait_for_peer", name="ada")["participant"]
    newcomer = ada.expect("participant_added")["participant"]

    assert (there["role"], there["attributes"]["name"]) == ("agent", "ada")
    assert (newcomer["role"], newcomer["attributes"]["name"]) == ("user", "bob")
    assert [other["name"] for other in bob.do("roster")["participants"]] == ["ada"]
    assert [other["name"] for other in ada.do("roster")["participants"]] == ["bob"]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_messages_go_both_ways_in_order(first: str, second: str, meet: Meet) -> None:
    """Ten messages each way arrive whole, in order, with the sender's id."""
    ada, bob = meet(first, second)
    for sender, receiver, name in ((ada, bob, "bob"), (bob, ada, "ada")):
        for number in range(10):
            sender.do("send", to=name, type="chat", message={"number": number})
        told = [receiver.expect("message") for _ in range(10)]
        (known,) = receiver.do("roster")["participants"]
        assert [event["message"] for event in told] == [{"number": number} for number in range(10)]
        assert {(event["type"], event["sender"], event["size"]) for event in told} == {("chat", known["id"], 0)}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_non_ascii_json_arrives_as_it_was(first: str, second: str, meet: Meet) -> None:
    """5 KB of JSON beyond ASCII, in more than one packet, are equal at the other end, either way."""
    ada, bob = meet(first, second)
    ada.do("send", to="bob", type="größe", message=NON_ASCII)
    bob.do("send", to="ada", type="größe", message=NON_ASCII)
    assert body(bob.expect("message")) == ("größe", NON_ASCII, *fingerprint(b""))
    assert body(ada.expect("message")) == ("größe", NON_ASCII, *fingerprint(b""))


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("size", [0, 1, 3000, 300_000])
def test_attachments_arrive_byte_for_byte(first: str, second: str, size: int, meet: Meet) -> None:
    """An attachment has the same fingerprint at the other end, either way."""
    ada, bob = meet(first, second)
    ada.do("send", to="bob", type="file", message={"from": "ada"}, size=size, seed=1)
    bob.do("send", to="ada", type="file", message={"from": "bob"}, size=size, seed=2)
    assert body(bob.expect("message")) == ("file", {"from": "ada"}, *fingerprint(attachment_of(size, 1)))
    assert body(ada.expect("message")) == ("file", {"from": "bob"}, *fingerprint(attachment_of(size, 2)))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_broadcast_reaches_everybody_else(first: str, second: str, meet: Meet, join: Join) -> None:
    """A broadcast with an attachment reaches both others, and the sender's next message is not its own."""
    ada, bob = meet(first, second)
    eve = join(second, "eve")
    eve.do("enable")
    ada.do("wait_for_peer", name="eve")
    ada.do("broadcast", type="news", message={"text": "hello"}, size=3000, seed=3)
    for receiver in (bob, eve):
        assert body(receiver.expect("message")) == ("news", {"text": "hello"}, *fingerprint(attachment_of(3000, 3)))
    bob.do("send", to="ada", type="chat", message={"text": "heard"})
    assert ada.expect("message")["message"] == {"text": "heard"}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_attributes_reach_the_other_side(first: str, second: str, meet: Meet) -> None:
    """A changed attribute is told with its JSON value, and what was there before stays."""
    ada, bob = meet(first, second)
    for changing, watching, name in ((ada, bob, "ada"), (bob, ada, "bob")):
        changing.do("set_attribute", name="mood", value={"calm": [1, 2.5, None, "ü"]})
        changed = watching.expect("participant_attributes_updated")["participant"]
        assert changed["attributes"] == {**changed["attributes"], "name": name, "mood": {"calm": [1, 2.5, None, "ü"]}}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_an_attribute_set_before_somebody_came_is_known_to_them(first: str, second: str, join: Join) -> None:
    """The roster a newcomer gets has the attributes as they are, not as they were."""
    ada, bob = join(first, "ada"), join(second, "bob")
    ada.do("set_attribute", name="mood", value="calm")
    ada.do("enable")
    bob.do("enable")
    assert bob.do("wait_for_peer", name="ada")["participant"]["attributes"]["mood"] == "calm"


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("way", ["disable", "close"])
def test_who_goes_is_removed(first: str, second: str, way: str, meet: Meet) -> None:
    """Disabling and leaving both take a participant out of the other's roster."""
    ada, bob = meet(first, second)
    bob.do(way)
    assert ada.expect("participant_removed")["participant"]["name"] == "bob"
    assert ada.do("roster")["participants"] == []


@pytest.mark.parametrize("watching", PEERS)
@pytest.mark.parametrize("crashing", RELEASES)
def test_who_crashes_is_removed(watching: str, crashing: str, meet: Meet) -> None:
    """A participant whose process is killed disappears from the other's roster."""
    ada, bob = meet(watching, crashing)
    assert isinstance(bob, OfficialPeer)
    bob.kill()
    assert ada.expect("participant_removed")["participant"]["name"] == "bob"


@pytest.mark.parametrize("kind", PEERS)
def test_a_send_to_nobody_fails_and_harms_nothing(kind: str, meet: Meet) -> None:
    """An unknown recipient is reported to the sender, and the next send arrives."""
    ada, bob = meet(kind, kind)
    with pytest.raises(PeerFailed, match="not found"):
        ada.do("send", to="00000000-0000-4000-8000-000000000000", type="chat", message={})
    ada.do("send", to="bob", type="chat", message={"text": "still here"})
    assert bob.expect("message")["message"] == {"text": "still here"}
