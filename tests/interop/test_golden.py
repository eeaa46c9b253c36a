"""Recorded conversations of real clients: what they sent we read, and what we write reads the same.

Each conversation is one SDK release talking to itself through a test server. Releases from 0.30.0 on speak dialect B,
whose requests are not decoded yet; their packets, envelopes, greetings, replies and pushes are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from meshsync.protocol.content import decode_content, encode_content
from meshsync.protocol.dialects import (
    DIALECTS,
    Broadcast,
    Connected,
    Disable,
    Enable,
    GreetingForm,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    Status,
    UnknownRequest,
    decode_push,
    decode_request,
    dialect,
    encode_connected,
    encode_push,
    encode_reply,
    encode_request,
    encode_room_ready,
    encode_status,
    greeting_form,
)
from meshsync.protocol.envelopes import decode_envelope, decode_object
from meshsync.protocol.packets import Message, Reassembler, split

A = {"0.0.21": "A1", "0.0.38": "A2", "0.29.4": "A3"}
B = ("0.35.6", "0.56.0", "ts-0.39.9")

NOT_DECODED_YET = {
    "0.35.6": {"room.invoke_tool"},
    "0.56.0": {
        "room.invoke_tool",
        "room.tool_call_request_chunk",
        "room.tool_call_response",
        "room.tool_call_response_chunk",
    },
    "ts-0.39.9": {"room.invoke_tool"},
}
"""Requests of dialect B."""

NOT_FOR_MESSAGING = {
    "room.tool_call.messaging",
    "room.tool_call_request_chunk.messaging",
    "room.tool_call_response_chunk",
}
"""What a room sends in duplex streams alone."""


@dataclass(frozen=True)
class Recorded:
    """One message of a conversation."""

    label: str
    peer: str
    dir: str
    message_id: int
    type: str
    header: dict[str, Any]
    payload_len: int
    packets: tuple[bytes, ...]

    @property
    def message(self) -> Message:
        """The message as it travelled, put together without our help."""
        return Message(self.message_id, self.type, b"".join(packet[12:] for packet in self.packets[1:]))

    @property
    def payload(self) -> bytes:
        """The last bytes of the body, as many as the file says."""
        body = bytes(self.message.body)
        return body[len(body) - self.payload_len :]


@cache
def conversation(release: str) -> dict[str, Any]:
    """Return one file."""
    text = (Path(__file__).parents[1] / "golden" / f"{release}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def recorded(release: str, direction: str = "") -> list[Recorded]:
    """Return the messages of one file, in order; ``direction`` is who sent them, ``client`` or ``server``."""
    messages = []
    for entry in conversation(release)["messages"]:
        packets = tuple(map(bytes.fromhex, entry["packets_hex"]))
        members = {key: value for key, value in entry.items() if key != "packets_hex"}
        messages.append(Recorded(**members, packets=packets))
    return [message for message in messages if message.dir.startswith(direction)]


def test_every_conversation_is_tested() -> None:
    """Each recorded file is named in this module."""
    files = (Path(__file__).parents[1] / "golden").glob("*.json")
    assert {path.stem for path in files} == {*A, *B}
    assert all(len(recorded(release)) > 30 for release in (*A, *B))


# --- packets and envelopes, every dialect ----------------------------------------------------------------------------


@pytest.mark.parametrize("release", [*A, *B])
def test_packets_make_the_recorded_messages(release: str) -> None:
    """Each connection's packets, fed in order, make the messages that the file lists."""
    messages = recorded(release)
    for way in {(message.peer, message.dir) for message in messages}:
        on_this_way = [message for message in messages if (message.peer, message.dir) == way]
        reassembler = Reassembler()
        packets = (packet for message in on_this_way for packet in message.packets)
        assert list(reassembler.feed(packets)) == [message.message for message in on_this_way]
        assert reassembler.is_between_messages


@pytest.mark.parametrize("release", [*A, *B])
def test_bodies_split_into_the_recorded_packets(release: str) -> None:
    """We cut a body into the very packets that official senders do."""
    for message in recorded(release):
        assert split(message.message_id, message.type, message.message.body) == list(message.packets), message.label


@pytest.mark.parametrize("release", [*A, *B])
def test_bodies_hold_what_the_file_says(release: str) -> None:
    """Every body is an envelope of the recorded header and payload, or its JSON, bare."""
    for message in recorded(release):
        body = message.message.body
        if bytes(body[:1]) == b"{":
            assert release == "0.0.21", message.label
            assert (decode_object(body, "it"), message.payload_len) == (message.header, 0), message.label
        else:
            assert decode_envelope(body, "it") == (message.header, message.payload), message.label


# --- requests --------------------------------------------------------------------------------------------------------


def request_of(message: Recorded) -> Request:
    """Return the request that the file says a message is."""
    header = message.header
    match message.type:
        case "messaging.enable":
            return Enable()
        case "messaging.disable":
            return Disable()
        case "messaging.send":
            return Send(header["to_participant_id"], header["type"], header["message"], message.payload)
        case "messaging.broadcast":
            return Broadcast(header["type"], header["message"], message.payload)
        case "set_attributes":
            return SetAttributes(header)
        case other:
            return UnknownRequest(other)


@pytest.mark.parametrize("release", [*A, *B])
def test_requests_decode_to_what_the_file_says(release: str) -> None:
    """What real clients sent is read as what they meant; dialect B's requests are unknown as yet."""
    sent = recorded(release, "client")
    assert [decode_request(message.message) for message in sent] == [request_of(message) for message in sent]
    unknown = {message.type for message in sent if isinstance(decode_request(message.message), UnknownRequest)}
    assert unknown == NOT_DECODED_YET.get(release, set())


@pytest.mark.parametrize("release", A)
def test_every_kind_of_request_was_recorded(release: str) -> None:
    """The conversations of family A hold each request that messaging knows, with and without attachments."""
    requests = [decode_request(message.message) for message in recorded(release, "client")]
    assert {type(request) for request in requests} == {Enable, Disable, Send, Broadcast, SetAttributes}
    assert {len(request.attachment) for request in requests if isinstance(request, Send)} >= {0, 1500}


@pytest.mark.parametrize("release", [*A, *B])
def test_our_requests_decode_equal(release: str) -> None:
    """What we write for a recorded request is read as the same request, in every dialect we speak."""
    for message in recorded(release, "client"):
        for spoken in DIALECTS:
            type, body = encode_request(request_of(message), spoken)
            assert type == message.type
            assert decode_request(Message(0, type, body)) == request_of(message), message.label


def test_our_requests_are_theirs_byte_by_byte_where_json_leaves_no_choice() -> None:
    """An empty header, and JSON as TypeScript writes it, leave no room for a difference."""
    for release, type in (
        ("0.0.21", "messaging.enable"),
        ("0.0.21", "messaging.disable"),
        ("ts-0.39.9", "set_attributes"),
    ):
        theirs = [message for message in recorded(release, "client") if message.type == type]
        assert theirs
        for message in theirs:
            ours = split(message.message_id, *encode_request(request_of(message), dialect("A3")))
            assert ours == list(message.packets), message.label


@pytest.mark.parametrize(("release", "name"), A.items())
def test_our_attributes_have_the_form_of_the_release(release: str, name: str) -> None:
    """Attributes are bare where the release wrote them bare, and in an envelope where it did not."""
    (theirs,) = (message for message in recorded(release, "client") if message.type == "set_attributes")
    _, body = encode_request(request_of(theirs), dialect(name))
    assert (body[:1] == b"{") == (bytes(theirs.message.body[:1]) == b"{") == (release == "0.0.21")


# --- what rooms send -------------------------------------------------------------------------------------------------


def push_of(message: Recorded) -> RoomReady | Connected | Status | Reply | Push | None:
    """Return what the file says that a room sent."""
    header = message.header
    match message.type:
        case "messaging.send":
            return Push(header["from_participant_id"], header["type"], header["message"], message.payload)
        case "__response__":
            return Reply(message.message_id, decode_content(header, message.payload))
        case "room_ready":
            return RoomReady(header["room_name"], header["room_url"], header["session_id"])
        case "connected":
            return Connected(header["participantId"], header["attributes"])
        case "room.status":
            return Status(header)
    assert message.type in NOT_FOR_MESSAGING
    return None


def encoded(push: RoomReady | Connected | Status | Reply | Push, form: GreetingForm) -> tuple[str, bytes]:
    """Return what our room writes for it."""
    match push:
        case RoomReady():
            return encode_room_ready(push, form)
        case Connected():
            return encode_connected(push, form)
        case Status():
            return encode_status(push)
        case Reply():
            return encode_reply(push.content)
        case Push():
            return encode_push(push)


@pytest.mark.parametrize("release", [*A, *B])
def test_pushes_decode_to_what_the_file_says(release: str) -> None:
    """What real clients took from a room, ours takes and understands."""
    taken = recorded(release, "server")
    assert [decode_push(message.message) for message in taken] == [push_of(message) for message in taken]


@pytest.mark.parametrize("form", GreetingForm)
@pytest.mark.parametrize("release", [*A, *B])
def test_our_pushes_decode_equal(release: str, form: GreetingForm) -> None:
    """What our room writes for a recorded push, reply or greeting is read as the same, with the same header."""
    for message in recorded(release, "server"):
        push = push_of(message)
        if push is not None:
            type, body = encoded(push, form)
            assert type == message.type
            assert decode_push(Message(message.message_id, type, body)) == push, message.label
            assert json.loads(body[body.index(b"{") : len(body) - message.payload_len]) == message.header


@pytest.mark.parametrize("release", [*A, *B])
def test_contents_of_replies_are_written_as_recorded(release: str) -> None:
    """Each recorded reply's header is the one that we write for its content."""
    replies = [message for message in recorded(release, "server") if message.type == "__response__"]
    for message in replies:
        assert encode_content(decode_content(message.header)) == (message.header, b""), message.label
    assert {message.header["type"] for message in replies} >= {"empty"}


@pytest.mark.parametrize("release", [*A, *B])
def test_pushes_are_what_the_receiving_program_reported(release: str) -> None:
    """Our reading of the packets to a client agrees with what the real client told its program, bytes included."""
    reported = [
        (event["type"], event["message"], event["sender"], event["sha"])
        for event in conversation(release)["reported"]["b"]
        if event["event"] == "message"
    ]
    pushes = [decode_push(message.message) for message in recorded(release, "server") if message.peer == "b"]
    read = [
        (push.type, push.message, push.sender, hashlib.sha256(push.attachment).hexdigest()[:16])
        for push in pushes
        if isinstance(push, Push) and not push.type.startswith(("messaging.", "participant.", "stream."))
    ]
    assert read == reported
    assert len(read) == 5


@pytest.mark.parametrize("release", [*A, *B])
def test_greeting_suits_the_recorded_client(release: str) -> None:
    """The version that a client shows, if any, leads to the greeting that it took."""
    took = {"raw": GreetingForm.BARE, "packed": GreetingForm.ENVELOPE}[conversation(release)["greeting"]]
    for handshake in conversation(release)["handshakes"]:
        version = handshake["query"].get("v") or handshake["claims"].get("version")
        # Clients that show none get the form that suits both.
        assert greeting_form(version) is (took if version else GreetingForm.BLANKS)
