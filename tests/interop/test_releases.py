"""Every step of a program that talks to a room, for pairs of published SDK releases and meshsync, over the emulator.

The releases are unchanged and run in environments and processes of their own; see ``releases.py``, and ``matrix.py``
for the pairs. What the hosted service does is not shown here: the room is ours.
"""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Emulator
from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.company import Enter, Meet
from tests.interop.matrix import OURS, step
from tests.interop.peers import OfficialPeer, Peer, PeerFailed
from tests.interop.releases import Streams, find

pytestmark = [pytest.mark.releases, pytest.mark.timeout(180)]  # the first test of a release may install it

NON_ASCII = {"text": "grüße Ω 漢字 🙂 " * 170, "nested": {"ключ": ["é", None, True, 1.5, -7, {"": ""}]}}
"""5 KB of JSON beyond ASCII: in UTF-8 170 * 31 bytes and some, in ``\\u`` escapes about twice that."""

NOTHING = fingerprint(b"")


def body(event: dict[str, Any]) -> dict[str, Any]:
    """Return what a message said, without who said it."""
    return {key: event[key] for key in ("type", "message", "size", "sha256")}


# --- being there ------------------------------------------------------------------------------------------------------


@step("presence")
def test_each_sees_the_other_come(first: str, second: str, enter: Enter) -> None:
    """The one who was there is in the newcomer's roster, and is told of the newcomer."""
    ada, bob = enter(first, "ada", role="agent"), enter(second, "bob")
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


@step("attributes")
def test_attributes_reach_the_other_side(first: str, second: str, meet: Meet) -> None:
    """A changed attribute is told with its JSON value, and what was there before stays."""
    ada, bob = meet(first, second)
    for changing, watching, name in ((ada, bob, "ada"), (bob, ada, "bob")):
        changing.do("set_attribute", name="mood", value={"calm": [1, 2.5, None, "ü"]})
        changed = watching.expect("participant_attributes_updated")["participant"]
        assert changed["attributes"] == {**changed["attributes"], "name": name, "mood": {"calm": [1, 2.5, None, "ü"]}}


@step("attributes")
def test_an_attribute_set_before_somebody_came_is_known_to_them(first: str, second: str, enter: Enter) -> None:
    """The roster a newcomer gets has the attributes as they are, not as they were."""
    ada, bob = enter(first, "ada"), enter(second, "bob")
    ada.do("set_attribute", name="mood", value="calm")
    ada.do("enable")
    ada.expect("messaging_enabled")
    bob.do("enable")
    assert bob.do("wait_for_peer", name="ada")["participant"]["attributes"]["mood"] == "calm"


@step("disable")
def test_who_disables_messaging_is_removed_and_can_come_back(first: str, second: str, meet: Meet) -> None:
    """Disabling takes a participant out of the other's roster, enabling puts it back in."""
    ada, bob = meet(first, second)
    bob.do("disable")
    assert ada.expect("participant_removed")["participant"]["name"] == "bob"
    assert ada.do("roster")["participants"] == []
    bob.do("enable")
    assert ada.do("wait_for_peer", name="bob")["participant"]["name"] == "bob"


@step("leave")
def test_who_leaves_is_removed(first: str, second: str, meet: Meet) -> None:
    """Leaving takes a participant out of the other's roster."""
    ada, bob = meet(first, second)
    bob.do("close")
    assert ada.expect("participant_removed")["participant"]["name"] == "bob"
    assert ada.do("roster")["participants"] == []


@step("crash")
def test_who_crashes_is_removed(first: str, second: str, meet: Meet, served: Emulator) -> None:
    """A participant whose process or connection is cut off disappears from the other's roster."""
    ada, bob = meet(first, second)
    if first == second and isinstance(bob, OfficialPeer):
        bob.kill()
    else:  # once with each release is enough: a new process takes seconds
        cut_off(bob, second, served)
    assert ada.expect("participant_removed")["participant"]["name"] == "bob"


def cut_off(bob: Peer, kind: str, served: Emulator) -> None:
    """Cut Bob's connection, and let him come back if that is what his release does: until then it cannot leave."""
    served.drop("bob")
    if kind not in OURS and find(kind).reconnects:
        bob.expect("reconnected", timeout=30)


# --- messages ---------------------------------------------------------------------------------------------------------


@step("messages")
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


@step("non-ASCII")
def test_non_ascii_json_arrives_as_it_was(first: str, second: str, meet: Meet) -> None:
    """5 KB of JSON beyond ASCII, in more than one packet, are equal at the other end, either way."""
    ada, bob = meet(first, second)
    ada.do("send", to="bob", type="größe", message=NON_ASCII)
    bob.do("send", to="ada", type="größe", message=NON_ASCII)
    assert body(bob.expect("message")) == {"type": "größe", "message": NON_ASCII, **NOTHING}
    assert body(ada.expect("message")) == {"type": "größe", "message": NON_ASCII, **NOTHING}


@step("attachment")
@pytest.mark.parametrize("size", [0, 1, 3000, 300_000])
def test_attachments_arrive_byte_for_byte(first: str, second: str, size: int, meet: Meet) -> None:
    """An attachment has the same fingerprint at the other end, either way."""
    ada, bob = meet(first, second)
    ada.do("send", to="bob", type="file", message={"from": "ada"}, size=size, seed=1)
    bob.do("send", to="ada", type="file", message={"from": "bob"}, size=size, seed=2)
    for receiver, sender, seed in ((bob, "ada", 1), (ada, "bob", 2)):
        expected = {"type": "file", "message": {"from": sender}, **fingerprint(attachment_of(size, seed))}
        assert body(receiver.expect("message")) == expected


@step("broadcast")
def test_a_broadcast_reaches_everybody_else(first: str, second: str, meet: Meet, enter: Enter) -> None:
    """A broadcast with an attachment reaches both others, and the sender's next message is not its own."""
    ada, bob = meet(first, second)
    eve = enter(second, "eve")
    eve.do("enable")
    ada.do("wait_for_peer", name="eve")
    ada.do("broadcast", type="news", message={"text": "hello"}, size=3000, seed=3)
    for receiver in (bob, eve):
        expected = {"type": "news", "message": {"text": "hello"}, **fingerprint(attachment_of(3000, 3))}
        assert body(receiver.expect("message")) == expected
    bob.do("send", to="ada", type="chat", message={"text": "heard"})
    assert ada.expect("message")["message"] == {"text": "heard"}


@step("nobody")
def test_a_send_to_nobody_fails_and_harms_nothing(first: str, second: str, meet: Meet) -> None:
    """An unknown recipient is reported to the sender, and the next send arrives."""
    ada, bob = meet(first, second)
    with pytest.raises(PeerFailed, match="not found"):
        ada.do("send", to="00000000-0000-4000-8000-000000000000", type="chat", message={})
    ada.do("send", to="bob", type="chat", message={"text": "still here"})
    assert bob.expect("message")["message"] == {"text": "still here"}


# --- streams ----------------------------------------------------------------------------------------------------------


def open_streams(first: str, second: str) -> bool:
    """Return whether the first can open streams."""
    return first in OURS or find(first).streams is not Streams.NONE


def share_streams(first: str, second: str) -> bool:
    """Return whether the first can open streams to the second."""
    return open_streams(first, second) and open_streams(second, first)


def answer_on_streams(first: str, second: str) -> bool:
    """Return whether the second can write on a stream that the first opened."""
    return share_streams(first, second) and all(
        kind in OURS or find(kind).streams is not Streams.ONE_WAY for kind in (first, second)
    )


def open_stream(opener: Peer, acceptor: Peer, header: dict[str, Any], to: str = "bob") -> tuple[str, str]:
    """Return the names of a stream at both its ends, once it is open."""
    here = opener.do("open_stream", to=to, header=header)["stream"]
    offered = acceptor.expect("stream_offered")
    (known,) = acceptor.do("roster")["participants"]
    assert (offered["header"], offered["sender"]) == (header, known["id"])
    return here, offered["stream"]


def check_chunks(writer: Peer, at_writer: str, reader: Peer, at_reader: str) -> None:
    """Write chunks of several sizes and compare what is read, in order."""
    sizes = (3000, 0, 1, 300_000)
    for number, size in enumerate(sizes):
        writer.do("write", stream=at_writer, header={"nummer": number, "ü": None}, size=size, seed=number)
    for number, size in enumerate(sizes):
        chunk = reader.expect("chunk", stream=at_reader)
        assert chunk["header"] == {"nummer": number, "ü": None}
        assert fingerprint(attachment_of(size, number)).items() <= chunk.items()


@step("stream", among=share_streams)
def test_a_stream_arrives_whole(first: str, second: str, meet: Meet) -> None:
    """The acceptor gets the opener's header, every chunk by its fingerprint, in order, and the end."""
    ada, bob = meet(first, second)
    here, there = open_stream(ada, bob, {"kind": "größe"})
    check_chunks(ada, here, bob, there)
    ada.do("close_stream", stream=here)
    bob.expect("stream_ended", stream=there)


@step("stream", among=share_streams)
def test_streams_side_by_side_are_kept_apart(first: str, second: str, meet: Meet) -> None:
    """Chunks of two open streams in turn arrive each on its own, and the end of one leaves the other open."""
    ada, bob = meet(first, second)
    ends = [open_stream(ada, bob, {"number": number}) for number in range(2)]
    for round in range(3):
        for number, (here, _) in enumerate(ends):
            ada.do("write", stream=here, header={"stream": number, "round": round})
    ada.do("close_stream", stream=ends[0][0])
    bob.expect("stream_ended", stream=ends[0][1])
    ada.do("write", stream=ends[1][0], header={"stream": 1, "round": 3})
    for number, (_, there) in enumerate(ends):
        chunks = [bob.expect("chunk", stream=there)["header"] for _ in range(3 + number)]
        assert chunks == [{"stream": number, "round": round} for round in range(3 + number)]


@step("answer", among=answer_on_streams)
def test_the_acceptor_can_write_on_the_stream_and_close_it(first: str, second: str, meet: Meet) -> None:
    """What the acceptor writes arrives whole at the opener, and its close ends the opener's reading."""
    ada, bob = meet(first, second)
    here, there = open_stream(ada, bob, {})
    check_chunks(bob, there, ada, here)
    bob.do("close_stream", stream=there)
    ada.expect("stream_ended", stream=here)


@step("refusal", among=share_streams)
def test_a_program_can_refuse_a_stream(first: str, second: str, meet: Meet) -> None:
    """The opener is told why, and the next stream is accepted."""
    ada, bob = meet(first, second)
    bob.do("refuse_streams", reason="besetzt, später")
    with pytest.raises(PeerFailed, match="besetzt, später"):
        ada.do("open_stream", to="bob", header={})
    bob.do("refuse_streams", reason=None)
    open_stream(ada, bob, {})


@step("refusal", among=lambda first, second: open_streams(first, second) and not open_streams(second, first))
def test_a_release_without_streams_refuses_them(first: str, second: str, meet: Meet) -> None:
    """The opener hears no, rather than nothing, and its next message arrives."""
    ada, bob = meet(first, second)
    with pytest.raises(PeerFailed):
        ada.do("open_stream", to="bob", header={})
    ada.do("send", to="bob", type="chat", message={"text": "still here"})
    assert bob.expect("message", type="chat")["message"] == {"text": "still here"}


@step("stream cut", among=share_streams)
def test_a_stream_ends_when_its_reader_crashes(first: str, second: str, meet: Meet, served: Emulator) -> None:
    """An opener whose reader has gone cannot go on writing as if it were there."""
    ada, bob = meet(first, second)
    here, _ = open_stream(ada, bob, {})
    cut_off(bob, second, served)
    ada.expect("participant_removed")
    with pytest.raises(PeerFailed):
        for _ in range(3):
            ada.do("write", stream=here, header={})


@step("stream cut", among=share_streams)
def test_a_stream_ends_when_its_opener_crashes(first: str, second: str, meet: Meet, served: Emulator) -> None:
    """A reader whose opener has gone is not left waiting, after what was written."""
    ada, bob = meet(second, first)
    here, there = open_stream(bob, ada, {}, to="ada")
    bob.do("write", stream=here, header={"last": True})
    ada.expect("chunk", stream=there)
    cut_off(bob, first, served)
    ada.expect("stream_ended", stream=there)
