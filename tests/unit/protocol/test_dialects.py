"""Dialects: requests, replies, pushes and greetings, from their names to their bytes and back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.codec import (
    decode_push,
    decode_request,
    encode_apart,
    encode_push,
    encode_reply,
    encode_request,
)
from meshsync.protocol.content import Content, Control, Empty, Error, Json
from meshsync.protocol.dialects import DIALECTS, Dialect, dialect, family_of, streams_of
from meshsync.protocol.envelopes import RESERVED
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready, greeting_form
from meshsync.protocol.operations import (
    Broadcast,
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
    UnknownRequest,
)
from meshsync.protocol.packets import Reassembler, WireMessage, split
from tests.support.profiles import examples
from tests.support.statuses import encode_status

PROPERTY = examples(150)
NumpyText = type("str_", (str,), {"__module__": "numpy"})

A1, A2, A3, B1, B2, B3 = DIALECTS
FAMILY_A = (A1, A2, A3)

TEXTS = st.text(max_size=10)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)
OBJECTS = st.dictionaries(TEXTS.filter(lambda name: name != RESERVED), VALUES, max_size=4)
PACKET_SIZES = st.integers(1, 200)

REQUESTS = st.one_of(
    st.just(Enable()),
    st.just(Disable()),
    st.builds(Send, st.text(min_size=1), st.text(min_size=1), OBJECTS, st.binary()),
    st.builds(Broadcast, st.text(min_size=1), OBJECTS, st.binary()),
    st.builds(SetAttributes, OBJECTS),
    st.builds(UnknownRequest, st.sampled_from(["room.list", "storage.list", "", "é"])),
)
PUSHES = st.builds(Push, st.text(), st.text(), OBJECTS, st.binary())
CONTENTS = st.one_of(
    st.just(Empty()),
    st.builds(Error, st.text(), st.none() | st.integers()),
    st.builds(Json, OBJECTS),
    st.builds(Control, st.just("close"), st.integers(), st.text()),
)


def envelope(header: Any, payload: bytes = b"") -> bytes:
    """Return an envelope as official Python clients write it."""
    data = json.dumps(header).encode()
    return len(data).to_bytes(8, "big") + data + payload


def travel(type: str, body: bytes, message_id: int = 1, size: int = 1024) -> WireMessage:
    """Return a message that went through packets."""
    (message,) = Reassembler().feed(split(message_id, type, body, size))
    return message


def nested(levels: int) -> dict[str, Any]:
    """Return an object with that many levels of nesting, itself included."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


# --- which there are -------------------------------------------------------------------------------------------------


def test_dialects_are_as_documented() -> None:
    """The tables of PROTOCOL.md, sections 1 and 2.1: from which release, which we say we are, token, and streams."""
    assert (
        Dialect("A1", (0, 0, 2), "0.0.30", "query", is_bare=True, streams=("classic",)),
        Dialect("A2", (0, 0, 31), "0.8.4", "query", is_bare=False, streams=("classic",)),
        Dialect("A3", (0, 9, 0), "0.29.4", "query", is_bare=False, streams=("classic",)),
        Dialect("B1", (0, 30, 0), "0.35.6", "query", is_bare=False, streams=("classic",)),
        Dialect("B2", (0, 35, 7), "0.47.0", "header", is_bare=False, streams=()),
        Dialect("B3", (0, 47, 1), "0.56.0", "header", is_bare=False, streams=("duplex",), ends_at_dismissal=True),
    ) == DIALECTS


def test_version_that_is_said_is_one_of_the_dialect() -> None:
    """What a client says it is lies between its dialect's first release and the next one's."""
    for spoken, following in itertools.zip_longest(DIALECTS, DIALECTS[1:]):
        said = tuple(map(int, spoken.version.split(".")))
        assert spoken.first_release <= said
        assert following is None or said < following.first_release


@pytest.mark.parametrize(
    ("name", "found"), [("A1", A1), ("a2", A2), ("A3", A3), ("A", A3), ("a", A3), ("B", B3), ("b1", B1), ("B2", B2)]
)
def test_dialect_is_found_by_name(name: str, found: Dialect) -> None:
    """A name in any case finds its dialect, and a letter the newest of its family."""
    assert dialect(name) is found


@pytest.mark.parametrize("name", ["", "C", "A4", "B33", "0.29.4", " A"])
def test_unknown_dialect_is_refused(name: str) -> None:
    """A name that is none lists those there are."""
    with pytest.raises(ValueError, match="there are A1, A2, A3, B1, B2, B3"):
        dialect(name)


# --- requests --------------------------------------------------------------------------------------------------------

WRITTEN: list[tuple[Request, str, bytes]] = [
    (Enable(), "messaging.enable", bytes(7) + b"\x02{}"),
    (Disable(), "messaging.disable", bytes(7) + b"\x02{}"),
    (
        Send("p-7", "chat", {"text": "hé"}, b"\x01"),
        "messaging.send",
        # 15 + 25 + 26 = 66 = 0x42 bytes: type, message (é has two), recipient.
        bytes(7) + b"\x42" + '{"type":"chat","message":{"text":"hé"},"to_participant_id":"p-7"}'.encode() + b"\x01",
    ),
    (
        Broadcast("chat", {"k": [1, None]}),
        "messaging.broadcast",
        # 15 + 25 = 40 = 0x28 bytes: type, message.
        bytes(7) + b"\x28" + b'{"type":"chat","message":{"k":[1,null]}}',
    ),
    (SetAttributes({"mood": "calm"}), "set_attributes", bytes(7) + b"\x0f" + b'{"mood":"calm"}'),
    (UnknownRequest("storage.list"), "storage.list", bytes(7) + b"\x02{}"),
]


@pytest.mark.parametrize("spoken", FAMILY_A, ids=lambda d: d.name)
@pytest.mark.parametrize(("request_", "type", "body"), WRITTEN, ids=lambda value: type(value).__name__)
def test_request_of_family_a_is_written_as_documented(
    spoken: Dialect, request_: Request, type: str, body: bytes
) -> None:
    """Every request has the type and the members of PROTOCOL.md, section 6; A1 writes attributes bare."""
    if spoken is A1 and type == "set_attributes":
        body = body[8:]
    assert encode_request(request_, spoken) == (type, body)


@PROPERTY
@given(REQUESTS, st.sampled_from(DIALECTS), st.integers(0, 2**64 - 1), PACKET_SIZES)
def test_request_survives(request_: Request, spoken: Dialect, message_id: int, size: int) -> None:
    """A room reads what a client of any dialect wrote, through packets of any size."""
    type, body = encode_request(request_, spoken)
    assert decode_request(travel(type, body, message_id, size)) == request_


@pytest.mark.parametrize("body", [
    b'{"mood": "calm", "__meshagent__": {"v": 1}}',
    b'        {"mood": "calm"}',
    envelope({"mood": "calm", "__meshagent__": {"v": 1, "otel": {}}}),
    envelope({"mood": "calm"}, b"a payload without a meaning"),
])  # fmt: skip
def test_attributes_are_read_in_every_form(body: bytes) -> None:
    """Attributes come bare or in an envelope; what Python adds for itself is none."""
    assert decode_request(WireMessage(1, "set_attributes", body)) == SetAttributes({"mood": "calm"})
    assert decode_request(WireMessage(1, "set_attributes", memoryview(body))) == SetAttributes({"mood": "calm"})


def test_unknown_members_of_a_request_are_ignored() -> None:
    """Members that official clients add, or will, change nothing."""
    header = {"type": "t", "message": {}, "to_participant_id": "p", "__meshagent__": {"v": 1}, "novel": [1]}
    assert decode_request(WireMessage(1, "messaging.send", envelope(header))) == Send("p", "t", {})
    assert decode_request(WireMessage(1, "messaging.broadcast", envelope(header))) == Broadcast("t", {})
    assert decode_request(WireMessage(1, "messaging.enable", envelope(header))) == Enable()


@pytest.mark.parametrize("type", ["room.invoke_agent_tool", "storage.list", "", "messaging.Send", "__response__"])
def test_other_requests_are_told_by_their_type_alone(type: str) -> None:
    """A request of another service or release is reported whatever its body holds."""
    assert decode_request(WireMessage(3, type, b"\xff not an envelope")) == UnknownRequest(type)


SEND = {"type": "t", "message": {}, "to_participant_id": "p"}


@pytest.mark.parametrize(
    ("type", "header", "fault"),
    [
        *(("messaging.send", {k: v for k, v in SEND.items() if k != name}, f"lacks '{name}'") for name in SEND),
        *(("messaging.send", SEND | {name: 5}, f"has a wrong type of '{name}'") for name in SEND),
        *(("messaging.send", SEND | {name: None}, f"has a wrong type of '{name}'") for name in SEND),
        ("messaging.broadcast", {"type": "t"}, "messaging.broadcast lacks 'message'"),
        ("messaging.broadcast", {"message": {}}, "messaging.broadcast lacks 'type'"),
        ("messaging.broadcast", {"type": [], "message": {}}, "wrong type of 'type'"),
        ("messaging.broadcast", {"type": "t", "message": []}, "wrong type of 'message'"),
        ("messaging.enable", [], "not a JSON object"),
        ("messaging.disable", "text", "not a JSON object"),
        ("set_attributes", [], "not a JSON object"),
    ],
    ids=str,
)
def test_malformed_request_is_a_protocol_error(type: str, header: Any, fault: str) -> None:
    """A member that is missing or of a wrong type is named."""
    with pytest.raises(ProtocolError, match=fault):
        decode_request(WireMessage(1, type, envelope(header)))


@pytest.mark.parametrize("type", ["messaging.enable", "messaging.disable", "messaging.send", "set_attributes"])
@pytest.mark.parametrize("body", [b"", b"{", b" ", b"\0", bytes(7) + b"\x09{}", b"\xff" * 20], ids=repr)
def test_request_without_an_envelope_is_a_protocol_error(type: str, body: bytes) -> None:
    """A body that is cut short or is something else raises, also for requests that hold nothing."""
    with pytest.raises(ProtocolError):
        decode_request(WireMessage(1, type, body))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (Send("p", "t", {"score": {1}}), "message['score']: set is not JSON"),
        (Send("p", "t", [1]), "message: list is not a JSON object; give a dict"),  # type: ignore[arg-type]
        (Send("p", "", {}), "type: needs a text of at least one character, not ''"),
        (Send("p", 5, {}), "type: needs a text of at least one character, not 5"),  # type: ignore[arg-type]
        (Send("", "t", {}), "to: needs a text of at least one character, not ''"),
        (Send(None, "t", {}), "to: needs a text of at least one character, not None"),  # type: ignore[arg-type]
        (Send("p", "\ud800", {}), "type: holds half of a surrogate pair, which is not Unicode text"),
        (Send("\ud800", "t", {}), "to_participant_id: holds half of a surrogate pair, which is not Unicode text"),
        (Send("p", NumpyText("t"), {}), "type: numpy.str_ is not JSON"),
        (Send(NumpyText("p"), "t", {}), "to_participant_id: numpy.str_ is not JSON"),
        (Send("p", "t", {}, "text"), "attachment: str is neither bytes nor a contiguous buffer"),  # type: ignore[arg-type]
        (Broadcast("t", {"a": float("nan")}), "message['a']: nan is not JSON; send None or a text in its place"),
        (Broadcast("", {}), "type: needs a text of at least one character, not ''"),
        (Broadcast("t", {}, 5), "attachment: int is neither bytes nor a contiguous buffer"),  # type: ignore[arg-type]
        (SetAttributes({"a": b""}), "attributes['a']: bytes is not JSON"),
        (SetAttributes({1: 2}), "attributes: the key 1 is int; keys of JSON objects are str"),  # type: ignore[dict-item]
        (SetAttributes({"__meshagent__": 1}), "attributes['__meshagent__']: the protocol keeps this name for itself"),
    ],
    ids=str,
)
def test_request_that_cannot_be_carried_is_refused(request_: Request, complaint: str) -> None:
    """What JSON or the protocol cannot carry is named as the program knows it, in every dialect."""
    for spoken in DIALECTS:
        with pytest.raises(InvalidMessage) as caught:
            encode_request(request_, spoken)
        assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("spoken", [A3, B3], ids=lambda d: d.name)
def test_mutable_attachment_is_copied(spoken: Dialect) -> None:
    """A buffer that the program changes after the call leaves as it was."""
    attachment = bytearray(b"before")
    type, body = encode_request(Send("p", "t", {}, attachment), spoken)
    attachment[:] = b"after!"
    assert decode_request(WireMessage(1, type, body)) == Send("p", "t", {}, b"before")


@pytest.mark.parametrize("spoken", [A3, B3], ids=lambda d: d.name)
def test_kinds_of_streams_travel_with_enabling(spoken: Dialect) -> None:
    """A client may say which kinds of streams it understands; what else stands in that place says nothing."""
    request = Enable(("classic", "duplex"))
    type, body = encode_request(request, spoken)
    assert decode_request(WireMessage(1, type, body)) == request
    assert json.loads(body[8:])["meshsync"] == {"streams": ["classic", "duplex"]}
    for strange in (None, [], "classic", {"streams": "classic"}, {"streams": [1]}):
        assert decode_request(WireMessage(1, type, envelope(json.loads(body[8:]) | {"meshsync": strange}))) == Enable()


# --- what a peer knows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "family", "known"),
    [
        ("0.0.21", "A", ("classic",)),
        (None, "A", ("classic",)),  # Python before 0.3.0
        ("0.56.0", "A", ("classic",)),  # its token was made by a newer release
        ("0.30.0", "B", ("classic",)),
        ("0.35.6", "B", ("classic",)),
        ("0.35.7", "B", ()),
        ("0.36.3", "B", ()),  # TypeScript 0.39.9
        ("0.47.0", "B", ()),
        ("0.47.1", "B", ("duplex",)),
        ("0.56.0", "B", ("duplex",)),
        ("2.0.0", "B", ("duplex",)),
        (None, "B", ()),  # TypeScript 0.35.8
        ("0.29.4", "B", ()),  # TypeScript with a token made by an old server
        (None, "", ("classic",)),
        ("nonsense", "", ("classic",)),
        ("0.0.1", "", ("classic",)),
        ("0.29.4", "", ("classic",)),
        ("0.40.0", "", ()),
        ("0.56.0", "", ("duplex",)),
    ],
)
def test_known_streams_follow_from_version_and_speech(version: str | None, family: str, known: tuple[str, ...]) -> None:
    """How a client speaks is sure; its version tells the releases of one family apart."""
    assert streams_of(version, family) == known


def test_family_shows_in_the_type_of_a_request() -> None:
    """Each family has its own types, but for attributes."""
    requests: list[Request] = [Enable(), Disable(), Send("p", "t", {}), Broadcast("t", {})]
    assert {family_of(encode_request(request, A1)[0]) for request in requests} == {"A"}
    assert {family_of(encode_request(request, B1)[0]) for request in [*requests, OpenCall("x")]} == {"B"}
    assert family_of("set_attributes") == ""


@PROPERTY
@given(
    st.sampled_from(
        ["messaging.enable", "messaging.disable", "messaging.send", "messaging.broadcast", "set_attributes"]
    ),
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from([*SEND, "__meshagent__"]), VALUES).map(envelope)
    | VALUES.map(envelope)
    | VALUES.map(lambda value: json.dumps(value).encode()),
)
def test_garbage_is_a_request_or_a_protocol_error(type: str, body: bytes) -> None:
    """A room meets nothing but requests and ProtocolError, whatever a client sends."""
    try:
        request = decode_request(WireMessage(1, type, body))
    except ProtocolError:
        return
    assert isinstance(request, get_args(Request))


# --- replies and pushes ----------------------------------------------------------------------------------------------


def test_replies_are_written_as_documented() -> None:
    """A reply is the content's header in an envelope, under one type for every request."""
    assert encode_reply(Empty()) == ("__response__", bytes(7) + b"\x10" + b'{"type":"empty"}')
    type, body = encode_reply(Error("the participant was not found", 1003))
    assert body[8:] == b'{"type":"error","text":"the participant was not found","code":1003}'
    assert decode_push(travel(type, body, 9)) == Reply(9, Error("the participant was not found", 1003))


@PROPERTY
@given(CONTENTS, st.integers(0, 2**64 - 1), PACKET_SIZES)
def test_reply_survives(content: Content, request_id: int, size: int) -> None:
    """A client reads what a room answered, under the id of its request."""
    assert decode_push(travel(*encode_reply(content), request_id, size)) == Reply(request_id, content)


def test_push_is_written_as_documented() -> None:
    """A push has the members of PROTOCOL.md, section 6.4, and its attachment raw."""
    assert encode_push(Push("p-3", "chat", {"text": "hi"}, b"\x00\xff")) == (
        "messaging.send",
        # 29 + 14 + 24 = 67 = 0x43 bytes: sender, type, message.
        bytes(7) + b"\x43" + b'{"from_participant_id":"p-3","type":"chat","message":{"text":"hi"}}' + b"\x00\xff",
    )


@PROPERTY
@given(PUSHES, PACKET_SIZES)
def test_push_survives(push: Push, size: int) -> None:
    """A client reads what a room pushed; the attachment is bytes of its own."""
    arrived = decode_push(travel(*encode_push(push), 5, size))
    assert arrived == push
    assert isinstance(arrived, Push)
    assert type(arrived.attachment) is bytes


@PROPERTY
@given(OBJECTS, PACKET_SIZES)
def test_status_survives(members: dict[str, Any], size: int) -> None:
    """A client is handed the members of a status as they are."""
    assert decode_push(travel(*encode_status(Status(members)), 5, size)) == Status(members)


@pytest.mark.parametrize("type", ["", "room.tool_call.storage", "room.tool_call_response", "messaging.novel"])
def test_push_of_another_type_is_skipped(type: str) -> None:
    """A type that no messaging client needs is nothing, whatever its body holds."""
    assert decode_push(WireMessage(1, type, b"\xff")) is None


PUSH = {"from_participant_id": "p", "type": "t", "message": {}}
READY = {"room_name": "lab", "room_url": "u", "session_id": "s"}
CONNECTED = {"type": "init", "participantId": "p-7", "attributes": {}}


@pytest.mark.parametrize(
    ("type", "header", "fault"),
    [
        (type, changed, f"{type} {fault} '{name}'")
        for type, header in [("messaging.send", PUSH), ("room_ready", READY), ("connected", CONNECTED)]
        for name in header
        for changed, fault in [
            ({key: value for key, value in header.items() if key != name}, "lacks"),
            (header | {name: None}, "has a wrong type of"),
            (header | {name: 5}, "has a wrong type of"),
        ]
    ],
    ids=str,
)
def test_malformed_push_is_a_protocol_error(type: str, header: dict[str, Any], fault: str) -> None:
    """A required member that is missing or of a wrong type is named."""
    with pytest.raises(ProtocolError, match=fault):
        decode_push(WireMessage(1, type, envelope(header)))


def test_malformed_reply_is_a_protocol_error() -> None:
    """A reply has to hold content of a known type."""
    with pytest.raises(ProtocolError, match="unknown type"):
        decode_push(WireMessage(1, "__response__", envelope({"type": "novel"})))


@PROPERTY
@given(
    st.sampled_from(["messaging.send", "__response__", "room_ready", "connected", "room.status"]),
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from([*PUSH, *READY, *CONNECTED, "text", "code"]), VALUES).map(envelope)
    | VALUES.map(lambda value: b" " * 8 + json.dumps(value).encode()),
)
def test_garbage_is_a_push_or_a_protocol_error(type: str, body: bytes) -> None:
    """A client meets nothing but pushes and ProtocolError, whatever a room sends."""
    try:
        push = decode_push(WireMessage(1, type, body))
    except ProtocolError:
        return
    assert push is None or isinstance(push, RoomReady | Connected | Status | Reply | Push)


# --- what a room passes on -------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(), max_size=8)  # halves of surrogate pairs too
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=8,
)


@PROPERTY
@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=3), st.binary(max_size=3))
def test_whatever_a_room_takes_it_can_pass_on(type: str, message: dict[str, Any], attachment: bytes) -> None:
    """A message that is taken from any official client reaches its receiver equal; others are refused at once."""
    try:
        request = decode_request(
            WireMessage(
                1, "messaging.send", envelope({"type": type, "message": message, "to_participant_id": ""}, attachment)
            )
        )
    except ProtocolError:  # NaN and infinities, which official Python clients write.
        return
    assert isinstance(request, Send)
    push = Push("p-1", request.type, request.message, request.attachment)
    assert decode_push(travel(*encode_push(push))) == push == Push("p-1", type, message, attachment)


def test_message_nested_to_the_limit_is_passed_on() -> None:
    """What a program may send at most, a room takes, and its receiver too; one level more, the room refuses."""
    # 100 levels, and the header of request and push around them: 101. A level more is 102.
    request = decode_request(WireMessage(1, *encode_request(Send("p", "t", nested(100)), A3)))
    assert request == Send("p", "t", nested(100))
    assert decode_push(WireMessage(1, *encode_push(Push("p", "t", nested(100))))) == Push("p", "t", nested(100))
    for type in ("messaging.send", "messaging.broadcast"):
        with pytest.raises(ProtocolError, match="nested deeper than 101"):
            decode_request(WireMessage(1, type, envelope(SEND | {"message": nested(101)})))


def test_attributes_nested_to_the_limit_fit_into_a_roster() -> None:
    """Attributes as deep as a participant may have them reach a newcomer; one level more, the room refuses."""
    # 100 levels; around them header, message, list and participant: 104, of the 110 that a client takes.
    attributes = {"deep": nested(99)}
    assert decode_request(WireMessage(1, *encode_request(SetAttributes(attributes), A3))) == SetAttributes(attributes)
    roster = {"participants": [{"id": "p", "role": "user", "attributes": attributes}]}
    assert decode_push(WireMessage(1, *encode_push(Push("p", "messaging.enabled", roster)))) == Push(
        "p", "messaging.enabled", roster
    )
    for body in (envelope({"deep": nested(100)}), json.dumps({"deep": nested(100)}).encode()):
        with pytest.raises(ProtocolError, match="nested deeper than 100"):
            decode_request(WireMessage(1, "set_attributes", body))


def test_halves_of_surrogate_pairs_reach_everyone() -> None:
    """Texts cut short in JavaScript pass through pushes, replies, statuses and greetings alike."""
    cut = "\ud83d"
    assert decode_push(WireMessage(1, *encode_push(Push(cut, cut, {cut: cut})))) == Push(cut, cut, {cut: cut})
    assert decode_push(WireMessage(1, *encode_reply(Error(cut)))) == Reply(1, Error(cut))
    assert decode_push(WireMessage(1, *encode_status(Status({"status": cut})))) == Status({"status": cut})
    for form in GreetingForm:
        connected = Connected("p", {"name": cut})
        if form is not GreetingForm.BLANKS:
            assert decode_push(WireMessage(1, *encode_connected(connected, form))) == connected


@pytest.mark.parametrize("push", [Push("p", "t", {"a": {1}}), Push("p", "t", [1])], ids=str)  # type: ignore[arg-type]
def test_push_that_is_not_json_is_refused(push: Push) -> None:
    """A participant inside the room is told what it did wrong, like a client."""
    with pytest.raises(InvalidMessage, match=r"message.*: (set|list) is not"):
        encode_push(push)


# --- greeting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "form"),
    [
        ("0.0.2", GreetingForm.BARE),
        ("0.0.30", GreetingForm.BARE),
        ("0.0.30.post1", GreetingForm.BARE),
        ("0.0.31", GreetingForm.ENVELOPE),
        ("0.0.100", GreetingForm.ENVELOPE),
        ("0.3.0", GreetingForm.ENVELOPE),
        ("0.10.0", GreetingForm.ENVELOPE),
        ("0.30.0a1", GreetingForm.ENVELOPE),
        ("0.56.0+local", GreetingForm.ENVELOPE),
        ("1.0.0", GreetingForm.ENVELOPE),
        (None, GreetingForm.BLANKS),
        ("", GreetingForm.BLANKS),
        ("0.30", GreetingForm.BLANKS),
        ("v0.30.0", GreetingForm.BLANKS),
        ("latest", GreetingForm.BLANKS),
        ("-1.0.0", GreetingForm.BLANKS),
        ("٠.٣.٠", GreetingForm.BLANKS),
        ("9" * 5000 + ".0.0", GreetingForm.BLANKS),
        ("0.0." + "9" * 5000, GreetingForm.ENVELOPE),
    ],
)
def test_greeting_form_follows_the_release(version: str | None, form: GreetingForm) -> None:
    """Envelopes since 0.0.31, bare JSON before, and blanks for whoever does not say."""
    assert greeting_form(version) is form


def test_greeting_is_written_in_three_forms() -> None:
    """Bare JSON, an envelope, or eight blanks and JSON."""
    header = b'{"type":"init","participantId":"p-7","attributes":{}}'
    bodies = {form: encode_connected(Connected("p-7", {}), form)[1] for form in GreetingForm}
    assert bodies == {
        GreetingForm.BARE: header,
        GreetingForm.ENVELOPE: len(header).to_bytes(8, "big") + header,
        GreetingForm.BLANKS: b"        " + header,
    }


@PROPERTY
@given(
    st.builds(RoomReady, TEXTS, TEXTS, TEXTS),
    st.builds(Connected, TEXTS, OBJECTS),
    st.sampled_from(GreetingForm),
    PACKET_SIZES,
)
def test_greeting_survives(ready: RoomReady, connected: Connected, form: GreetingForm, size: int) -> None:
    """A client of ours reads the greeting in every form."""
    assert decode_push(travel(*encode_room_ready(ready, form), 1, size)) == ready
    assert decode_push(travel(*encode_connected(connected, form), 2, size)) == connected


def test_connected_of_another_kind_is_ignored() -> None:
    """Only the initial one of this type tells a client who it is."""
    assert decode_push(WireMessage(1, "connected", envelope({"type": "again"}))) is None


def test_greeting_with_trace_propagation_is_read() -> None:
    """What official senders add is taken out of either form."""
    for body in (envelope(READY | {"__meshagent__": {}}), json.dumps(READY | {"__meshagent__": {}}).encode()):
        assert decode_push(WireMessage(1, "room_ready", body)) == RoomReady("lab", "u", "s")


@pytest.mark.parametrize("name", ["A1", "A3", "B3"])
@pytest.mark.parametrize("size", [0, 65535, 65536, 100_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_request_in_pieces_is_the_same_request(name: str, size: int, kind: Callable[[bytes], Any]) -> None:
    """A large attachment is in pieces, of dialect A uncopied; together they are what they were."""
    data = bytes(range(256)) * (size // 256 + 1)
    for request in (Send("p-2", "t", {"a": 1}, kind(data[:size])), Broadcast("t", {}, kind(data[:size]))):
        type, body, more = encode_apart(request, dialect(name))
        assert (type, b"".join((body, *more))) == encode_request(request, dialect(name))
        # 65,536 and 100,000 bytes are two and three pieces of 49,152, and what closes the braces.
        assert len(more) == (0 if size < 65536 else 1 if name[0] == "A" else -(-size // 49152) + 1)
