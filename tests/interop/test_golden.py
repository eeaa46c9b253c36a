"""Recorded conversations of real clients: what they sent we read, and what we write reads the same.

Each conversation is one SDK release talking to itself through a test server.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from meshsync.protocol.codec import (
    decode_push,
    decode_request,
    encode_push,
    encode_reply,
    encode_request,
)
from meshsync.protocol.content import decode_content, encode_content
from meshsync.protocol.dialects import DIALECTS, dialect, family_of
from meshsync.protocol.envelopes import decode_envelope, decode_object
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready, greeting_form
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    ChunkContent,
    Connected,
    Disable,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    Status,
)
from meshsync.protocol.packets import Reassembler, WireMessage, split
from tests.support.statuses import encode_status

A = {"0.0.21": "A1", "0.0.38": "A2", "0.29.4": "A3"}
B = {"0.35.6": "B1", "0.56.0": "B3", "ts-0.39.9": "B2"}


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
    def message(self) -> WireMessage:
        """The message as it travelled, put together without our help."""
        return WireMessage(self.message_id, self.type, b"".join(packet[12:] for packet in self.packets[1:]))

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
        assert [message.type for message in reassembler.feed(split(0, "next", b"", 1))] == ["next"]


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
    """Return the request that the file says a message is, read by means of its own."""
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
        case "room.invoke_tool":
            return invoked(header)
        case "room.tool_call_request_chunk":
            return CallChunk(header["tool_call_id"], said_by_caller(header["chunk"]))
        case "room.tool_call_response":
            return AnswerCall(message.message_id, decode_content(header))
        case "room.tool_call_response_chunk":
            return AnswerChunk(message.message_id, header["tool_call_id"], said_by_recipient(header["chunk"]))
    raise AssertionError(message.type)


def invoked(header: dict[str, Any]) -> Request:
    """Return the request that a recorded tool call is."""
    assert header["toolkit"] == "messaging"
    body = header["arguments"].get("json", {})
    match header["tool"]:
        case "enable":
            return Enable()
        case "disable":
            return Disable()
        case "stream":
            return OpenCall(header["tool_call_id"])
    message, attachment = json.loads(body["message_json"]), base64.b64decode(body.get("attachment_base64") or "")
    if header["tool"] == "broadcast":
        return Broadcast(body["type"], message, attachment)
    assert header["tool"] == "send"
    return Send(body["to_participant_id"], body["type"], message, attachment)


def said_by_caller(chunk: dict[str, Any]) -> ChunkContent:
    """Return what a recorded chunk holds."""
    if chunk["type"] != "json":
        return decode_content(chunk)
    body = chunk["json"]
    ends = body.get("to_participant_id", ""), body.get("from_participant_id", "")
    attachment = base64.b64decode(body["attachment_base64"] or "")
    return CallMessage(body["type"], json.loads(body["message_json"]), attachment, *ends)


def said_by_recipient(chunk: dict[str, Any]) -> ChunkContent:
    """Return what a recorded chunk of an answer holds."""
    if chunk["type"] != "json":
        return decode_content(chunk)
    body = chunk["json"]
    if body["kind"] == "accepted":
        return Accepted(body["stream_id"])
    return CallMessage(body["type"], body["message"], base64.b64decode(body["attachment_base64"] or ""))


@pytest.mark.parametrize("release", [*A, *B])
def test_requests_decode_to_what_the_file_says(release: str) -> None:
    """What real clients sent is read as what they meant."""
    sent = recorded(release, "client")
    assert [decode_request(message.message) for message in sent] == [request_of(message) for message in sent]


@pytest.mark.parametrize("release", [*A, *B])
def test_family_shows_in_how_a_release_spoke(release: str) -> None:
    """The types of its requests tell which family of dialects a client speaks."""
    families = {family_of(message.type) for message in recorded(release, "client")}
    assert families - {""} == {"A" if release in A else "B"}


@pytest.mark.parametrize("release", [*A, *B])
def test_every_kind_of_request_was_recorded(release: str) -> None:
    """The conversations hold each request that messaging knows, with and without attachments; one has a call."""
    requests = [decode_request(message.message) for message in recorded(release, "client")]
    calls = {OpenCall, CallChunk, AnswerCall, AnswerChunk} if release == "0.56.0" else set[type]()
    assert {type(request) for request in requests} == {Enable, Disable, Send, Broadcast, SetAttributes} | calls
    assert {len(request.attachment) for request in requests if isinstance(request, Send)} >= {0, 1500}


@pytest.mark.parametrize("release", [*A, *B])
def test_our_requests_decode_equal(release: str) -> None:
    """What we write for a recorded request is read as the same request, in every dialect we speak."""
    for message in recorded(release, "client"):
        for spoken in DIALECTS:
            type, body = encode_request(request_of(message), spoken)
            assert type == message.type or spoken.name != (A | B)[release]
            assert decode_request(WireMessage(message.message_id, type, body)) == request_of(message), message.label


def as_python_writes(type: str, body: bytes, theirs: dict[str, Any]) -> bytes:
    """Return a body of ours with nothing changed but what is Python's habit: blanks, escapes, and traces.

    ``tool_call_id``, which ours leave out of all but calls, is theirs.
    """
    header = json.loads(body[8:])
    texts = [header.get("arguments", {}).get("json"), header.get("chunk", {}).get("json")]
    for inner in filter(None, texts):
        if "message_json" in inner:
            inner["message_json"] = json.dumps(json.loads(inner["message_json"]))
    if type == "room.invoke_tool":
        header.setdefault("tool_call_id", theirs["tool_call_id"])
    data = json.dumps(header | {"__meshagent__": {"v": 1, "otel": {}}}).encode()
    return len(data).to_bytes(8, "big") + data


@pytest.mark.parametrize("release", ["0.35.6", "0.56.0"])
def test_our_packets_of_dialect_b_are_pythons_byte_by_byte(release: str) -> None:
    """But for blanks, escapes and traces of its own, what Python wrote is what we write: members and order too."""
    compared = set()
    for message in recorded(release, "client"):
        type, body = encode_request(request_of(message), dialect(B[release]))
        ours = as_python_writes(type, body, message.header)
        if b'"attachment_base64": ""' in message.message.body:  # Ours has one way of saying that there is none.
            ours = ours.replace(b'"attachment_base64": null', b'"attachment_base64": ""')
            ours = (len(ours) - 8).to_bytes(8, "big") + ours[8:]
        assert split(message.message_id, type, ours) == list(message.packets), message.label
        compared.add(type)
    assert "room.invoke_tool" in compared


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


Pushed = RoomReady | Connected | Status | Reply | Push | Call | CallChunk | AnswerChunk


def push_of(message: Recorded) -> Pushed:
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
        case "room.tool_call.messaging":
            arguments = decode_content(header["arguments"])
            return Call(message.message_id, header["tool_call_id"], header["caller_id"], header["name"], arguments)
        case "room.tool_call_request_chunk.messaging":
            return CallChunk(header["tool_call_id"], said_by_caller(header["chunk"]))
        case "room.tool_call_response_chunk":
            return AnswerChunk(message.message_id, header["tool_call_id"], said_by_recipient(header["chunk"]))
    raise AssertionError(message.type)


def encoded(push: Pushed, form: GreetingForm) -> tuple[str, bytes]:
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
        case _:
            return encode_push(push)


@pytest.mark.parametrize("release", [*A, *B])
def test_pushes_decode_to_what_the_file_says(release: str) -> None:
    """What real clients took from a room, ours takes and understands."""
    taken = recorded(release, "server")
    assert [decode_push(message.message) for message in taken] == [push_of(message) for message in taken]


def without_blanks(header: bytes | dict[str, Any]) -> dict[str, Any]:
    """Return a header with the JSON in it as that is written without blanks."""
    members = json.loads(header) if isinstance(header, bytes) else json.loads(json.dumps(header))
    inner = members.get("chunk", {}).get("json", {})
    if "message_json" in inner:
        inner["message_json"] = json.dumps(json.loads(inner["message_json"]), separators=(",", ":"))
    return dict(members)


@pytest.mark.parametrize("form", GreetingForm)
@pytest.mark.parametrize("release", [*A, *B])
def test_our_pushes_decode_equal(release: str, form: GreetingForm) -> None:
    """What our room writes for a recorded push, reply or greeting is read as the same, with the same header."""
    for message in recorded(release, "server"):
        push = push_of(message)
        type, body = encoded(push, form)
        assert type == message.type
        assert decode_push(WireMessage(message.message_id, type, body)) == push, message.label
        assert without_blanks(body[body.index(b"{") : len(body) - message.payload_len]) == without_blanks(
            message.header
        )


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
