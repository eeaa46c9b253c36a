"""Tool calls: what dialect B and duplex streams look like on the wire, both ways."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.codec import decode_push, decode_request, encode_push, encode_request
from meshsync.protocol.content import Binary, Control, Empty, Error, Json, Text
from meshsync.protocol.dialects import dialect
from meshsync.protocol.envelopes import RESERVED
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallEnded,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    RecipientGone,
    Request,
    Send,
    SetAttributes,
    UnknownRequest,
    given_id,
    is_answered,
)
from meshsync.protocol.packets import Reassembler, WireMessage, split
from tests.support.profiles import examples

B3 = dialect("B3")
OPEN, CLOSE = Control("open"), Control("close")

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
OBJECTS = st.dictionaries(
    st.text(max_size=6).filter(lambda name: name != RESERVED), SCALARS | st.lists(SCALARS, max_size=3), max_size=3
)
NAMES = st.text(min_size=1, max_size=8)
ATTACHMENTS = st.binary(max_size=20) | st.binary(min_size=3000, max_size=3002)
CONTENTS = st.one_of(
    st.just(OPEN),
    st.builds(Control, st.just("close"), st.integers(), st.text()),
    st.builds(Error, st.text(), st.none() | st.integers()),
    st.builds(Text, st.text()),
    st.builds(Binary, st.binary(), OBJECTS),
    st.just(Empty()),
)
FROM_THE_ROOM = st.one_of(
    st.builds(Accepted, st.text()), st.builds(RecipientGone, st.text()), st.builds(CallEnded, st.text(), st.text())
)
MESSAGES = st.builds(CallMessage, NAMES, OBJECTS, ATTACHMENTS)
REQUESTS = st.one_of(
    st.builds(OpenCall, NAMES),
    st.builds(CallChunk, NAMES, st.builds(CallMessage, NAMES, OBJECTS, ATTACHMENTS, st.text(max_size=3)) | CONTENTS),
    st.builds(AnswerCall, st.just(7), CONTENTS),
    st.builds(AnswerChunk, st.just(7), NAMES, MESSAGES | CONTENTS),
)
PUSHES = st.one_of(
    st.builds(Call, st.just(7), NAMES, st.text(), NAMES, st.just(OPEN) | st.builds(Json, OBJECTS)),
    st.builds(CallChunk, NAMES, MESSAGES | CONTENTS),
    st.builds(CallChunk, NAMES, st.builds(CallMessage, NAMES, OBJECTS, ATTACHMENTS, sender=NAMES)),
    st.builds(AnswerChunk, st.just(7), NAMES, MESSAGES | CONTENTS | FROM_THE_ROOM),
)


def envelope(header: Any, payload: bytes = b"") -> bytes:
    """Return an envelope as official Python clients write it."""
    data = json.dumps(header).encode()
    return len(data).to_bytes(8, "big") + data + payload


def header_of(body: bytes) -> Any:
    """Return the header of an envelope without a payload."""
    assert int.from_bytes(body[:8], "big") == len(body) - 8
    return json.loads(body[8:])


def travel(type: str, body: bytes) -> WireMessage:
    """Return a message that went through packets, under the id 7."""
    (message,) = Reassembler().feed(split(7, type, body))
    return message


def invocation(tool: str, arguments: Any, **more: Any) -> Any:
    """Return the header of a tool call of messaging."""
    return {
        "toolkit": "messaging",
        "tool": tool,
        "participant_id": None,
        "on_behalf_of_id": None,
        "arguments": {"type": "json", "json": arguments},
        **more,
    }


SENT = {"to_participant_id": "p-7", "type": "chat", "message_json": '{"t":"hé"}', "attachment_base64": "AAH+"}
BROADCAST = {"type": "chat", "message_json": "{}", "attachment_base64": None}
ANSWERED = {"kind": "message", "type": "ack", "message": {"n": 1}, "attachment_base64": None}


# --- what is written --------------------------------------------------------------------------------------------------

WRITTEN: list[tuple[Request, str, Any]] = [
    (Enable(), "room.invoke_tool", invocation("enable", {})),
    (
        Enable(("classic",)),
        "room.invoke_tool",
        invocation("enable", {}, meshsync={"streams": ["classic"]}),
    ),
    (Disable(), "room.invoke_tool", invocation("disable", {})),
    (Send("p-7", "chat", {"t": "hé"}, b"\x00\x01\xfe"), "room.invoke_tool", invocation("send", SENT)),
    (Broadcast("chat", {}), "room.invoke_tool", invocation("broadcast", BROADCAST)),
    (
        OpenCall("X"),
        "room.invoke_tool",
        invocation("stream", None) | {"arguments": {"type": "control", "method": "open"}, "tool_call_id": "X"},
    ),
    (
        CallChunk("X", CallMessage("chat", {"t": "hé"}, b"\x00\x01\xfe", to="p-7")),
        "room.tool_call_request_chunk",
        {"tool_call_id": "X", "chunk": {"type": "json", "json": SENT}},
    ),
    (
        CallChunk("X", CallMessage("chat", {})),
        "room.tool_call_request_chunk",
        {"tool_call_id": "X", "chunk": {"type": "json", "json": BROADCAST}},
    ),
    (
        CallChunk("X", CLOSE),
        "room.tool_call_request_chunk",
        {"tool_call_id": "X", "chunk": {"type": "control", "method": "close", "status_code": 1000}},
    ),
    (AnswerCall(7, OPEN), "room.tool_call_response", {"type": "control", "method": "open"}),
    (AnswerCall(7, Error("busy")), "room.tool_call_response", {"type": "error", "text": "busy"}),
    (
        AnswerChunk(7, "X", CallMessage("ack", {"n": 1})),
        "room.tool_call_response_chunk",
        {"tool_call_id": "X", "chunk": {"type": "json", "json": ANSWERED}},
    ),
    (SetAttributes({"mood": "calm"}), "set_attributes", {"mood": "calm"}),
]


@pytest.mark.parametrize(("request_", "type", "header"), WRITTEN, ids=str)
def test_request_is_written_as_documented(request_: Request, type: str, header: Any) -> None:
    """Members, their order and their values are those of PROTOCOL.md, sections 7 and 9."""
    written, body = encode_request(request_, B3)
    assert written == type
    assert json.dumps(header_of(body)) == json.dumps(header)


@examples(200)
@given(NAMES, NAMES, OBJECTS, ATTACHMENTS)
def test_message_to_one_is_written_as_one_to_all(to: str, type: str, message: Any, attachment: bytes) -> None:
    """Whatever its texts are, its bytes are those of a broadcast but for the tool and the recipient in front."""
    one, all = (encode_request(r(type, message, attachment), B3)[1][8:] for r in (partial(Send, to), Broadcast))
    recipient = json.dumps(to, ensure_ascii=False).encode()
    all = all.replace(b'"tool":"broadcast"', b'"tool":"send"', 1)
    assert one == all.replace(b'"json":{', b'"json":{"to_participant_id":' + recipient + b",", 1)


PUSHED: list[tuple[Call | CallChunk | AnswerChunk, str, Any]] = [
    (
        Call(7, "X", "p-3", "stream", OPEN),
        "room.tool_call.messaging",
        {
            "name": "stream",
            "caller_id": "p-3",
            "tool_call_id": "X",
            "arguments": {"type": "control", "method": "open"},
        },
    ),
    (
        CallChunk("X", CallMessage("ask", {}, sender="p-3")),
        "room.tool_call_request_chunk.messaging",
        {
            "tool_call_id": "X",
            "chunk": {
                "type": "json",
                "json": {
                    "type": "ask",
                    "from_participant_id": "p-3",
                    "message_json": "{}",
                    "attachment_base64": None,
                },
            },
        },
    ),
    (
        AnswerChunk(0, "X", Accepted("X")),
        "room.tool_call_response_chunk",
        {"tool_call_id": "X", "chunk": {"type": "json", "json": {"kind": "accepted", "stream_id": "X"}}},
    ),
    (
        AnswerChunk(0, "X", RecipientGone("p-7")),
        "room.tool_call_response_chunk",
        {
            "tool_call_id": "X",
            "chunk": {"type": "json", "json": {"kind": "client_disconnected", "participant_id": "p-7"}},
        },
    ),
    (
        AnswerChunk(0, "X", CallEnded("timeout", "too late")),
        "room.tool_call_response_chunk",
        {
            "tool_call_id": "X",
            "chunk": {"type": "json", "json": {"kind": "closed", "reason": "timeout", "message": "too late"}},
        },
    ),
]


@pytest.mark.parametrize(("push", "type", "header"), PUSHED, ids=str)
def test_push_is_written_as_documented(push: Call | CallChunk | AnswerChunk, type: str, header: Any) -> None:
    """What a room says on calls has the members of PROTOCOL.md, section 9."""
    written, body = encode_push(push)
    assert written == type
    assert json.dumps(header_of(body)) == json.dumps(header)


# --- what is read -----------------------------------------------------------------------------------------------------


@examples(300)
@given(REQUESTS)
def test_request_survives(request_: Request) -> None:
    """A room reads what a client wrote on a call; an answer is told by the id of its message."""
    assert decode_request(travel(*encode_request(request_, B3))) == request_


@examples(300)
@given(PUSHES)
def test_push_survives(push: Call | CallChunk | AnswerChunk) -> None:
    """A client reads what a room wrote on a call."""
    assert decode_push(travel(*encode_push(push))) == push


@pytest.mark.parametrize(
    ("changes", "attachment"),
    [
        ({}, b"\x00\x01\xfe"),
        ({"attachment_base64": None}, b""),
        ({"attachment_base64": ""}, b""),
        ({"novel": 1}, b"\x00\x01\xfe"),
    ],
)
def test_invocation_is_read_with_what_some_clients_leave_out_or_add(changes: Any, attachment: bytes) -> None:
    """TypeScript leaves out ids, Python adds trace propagation and once a caller's context."""
    arguments = SENT | changes
    expected = Send("p-7", "chat", {"t": "hé"}, attachment)
    bare = {"toolkit": "messaging", "tool": "send", "arguments": {"type": "json", "json": arguments}}
    full = invocation("send", arguments, tool_call_id="c-1", caller_context={}, __meshagent__={"v": 1})
    for header in (bare, full):
        assert decode_request(WireMessage(1, "room.invoke_tool", envelope(header))) == expected


def test_absent_attachment_is_none() -> None:
    """TypeScript leaves the member out where there is none."""
    arguments = {name: value for name, value in SENT.items() if name != "attachment_base64"}
    header = invocation("send", arguments)
    assert decode_request(WireMessage(1, "room.invoke_tool", envelope(header))) == Send("p-7", "chat", {"t": "hé"})


@pytest.mark.parametrize(
    ("header", "type"),
    [
        ({"toolkit": "storage", "tool": "list"}, "storage.list"),
        ({"toolkit": "messaging", "tool": "novel"}, "messaging.novel"),
        ({"toolkit": "messaging"}, "messaging.None"),
        ({"toolkit": 5, "tool": "send"}, "room.invoke_tool"),
        ({}, "room.invoke_tool"),
    ],
)
def test_other_tool_is_told_by_its_name(header: Any, type: str) -> None:
    """A tool of another service, or of a release to come, is unknown and no fault."""
    assert decode_request(WireMessage(3, "room.invoke_tool", envelope(header))) == UnknownRequest(type)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        *(
            (invocation("send", {k: v for k, v in SENT.items() if k != name}), f"messaging.send lacks '{name}'")
            for name in ("to_participant_id", "type", "message_json")
        ),
        *(
            (invocation("send", SENT | {name: 5}), f"messaging.send has a wrong type of '{name}'")
            for name in ("to_participant_id", "type", "message_json")
        ),
        (invocation("send", SENT | {"attachment_base64": 5}), "wrong type of 'attachment_base64'"),
        (invocation("send", SENT | {"attachment_base64": "AAA"}), "not base64"),
        (invocation("send", SENT | {"message_json": "[]"}), "the message of messaging.send is list"),
        (invocation("send", SENT | {"message_json": "{"}), "the message of messaging.send is not JSON"),
        (invocation("send", SENT | {"message_json": '{"a":NaN}'}), "NaN is not JSON"),
        (invocation("send", SENT | {"message_json": '{"a":' * 101 + "1" + "}" * 101}), "deeper than 100 levels"),
        (invocation("send", SENT | {"message_json": '{"a":' * 9000 + "1" + "}" * 9000}), "deep"),
        (invocation("send", []), "messaging.send lacks 'type'"),
        (invocation("broadcast", {}), "messaging.broadcast lacks 'type'"),
        (invocation("stream", {}), "messaging.stream lacks 'tool_call_id'"),
    ],
    ids=range(16),
)  # fmt: skip
def test_malformed_invocation_is_a_protocol_error(header: Any, fault: str) -> None:
    """A tool call of messaging that lacks what it needs is named."""
    with pytest.raises(ProtocolError, match=fault):
        decode_request(WireMessage(1, "room.invoke_tool", envelope(header)))


@pytest.mark.parametrize("inner", [
    {}, {"type": "ask"}, {"message_json": "{}"}, {"type": "", "message_json": "{}"}, {"type": 5, "message_json": "{}"},
    {"type": "ask", "message_json": 5}, {"type": "ask", "message_json": "", "attachment_base64": "AAE="},
    {"attachment_base64": base64.b64encode(bytes(3000)).decode()},
], ids=range(8))  # fmt: skip
def test_chunk_that_is_no_message_stays_what_it_is(inner: Any) -> None:
    """It is for the recipient to refuse, so nothing of it is lost on the way."""
    header = {"tool_call_id": "X", "chunk": {"type": "json", "json": inner}}
    chunk = decode_request(WireMessage(1, "room.tool_call_request_chunk", envelope(header)))
    assert chunk == CallChunk("X", Json(inner))
    assert isinstance(chunk, CallChunk)
    assert header_of(encode_push(chunk)[1]) == header


@pytest.mark.parametrize("inner", [
    {"kind": "novel"}, {"kind": "message"}, {"kind": "message", "type": "t", "message": []}, {"kind": "accepted"},
    {"kind": "message", "type": "", "message": {}}, {"kind": "client_disconnected", "participant_id": 5}, {},
], ids=range(7))  # fmt: skip
def test_answer_that_is_no_message_stays_what_it_is(inner: Any) -> None:
    """A caller ends with an error at what it does not know."""
    header = {"tool_call_id": "X", "chunk": {"type": "json", "json": inner}}
    body = envelope(header)
    assert decode_push(WireMessage(1, "room.tool_call_response_chunk", body)) == AnswerChunk(1, "X", Json(inner))


def test_end_of_a_call_is_read_without_reason_and_message() -> None:
    """Only the kind is sure."""
    body = envelope({"tool_call_id": "X", "chunk": {"type": "json", "json": {"kind": "closed"}}})
    assert decode_push(WireMessage(1, "room.tool_call_response_chunk", body)) == AnswerChunk(1, "X", CallEnded(""))


@pytest.mark.parametrize(
    ("type", "header", "fault"),
    [
        ("room.tool_call_request_chunk", {"chunk": {"type": "empty"}}, "lacks 'tool_call_id'"),
        ("room.tool_call_request_chunk", {"tool_call_id": 5, "chunk": {"type": "empty"}}, "wrong type"),
        ("room.tool_call_request_chunk", {"tool_call_id": "X"}, "lacks 'chunk'"),
        ("room.tool_call_request_chunk", {"tool_call_id": "X", "chunk": []}, "wrong type of 'chunk'"),
        ("room.tool_call_request_chunk", {"tool_call_id": "X", "chunk": {"type": "novel"}}, "unknown type"),
        ("room.tool_call_request_chunk", {"tool_call_id": "X", "chunk": {"type": "json"}}, "lacks 'json'"),
        ("room.tool_call_response_chunk", {"chunk": {"type": "empty"}}, "lacks 'tool_call_id'"),
        ("room.tool_call_response_chunk", {"tool_call_id": "X", "chunk": {"type": "novel"}}, "unknown type"),
        ("room.tool_call_response", {}, "unknown type"),
        ("room.tool_call_response", {"type": "error"}, "lacks 'text'"),
    ],
)
def test_malformed_chunk_is_a_protocol_error(type: str, header: Any, fault: str) -> None:
    """What belongs to no call, or is no content at all, is a fault of its sender."""
    with pytest.raises(ProtocolError, match=fault):
        decode_request(WireMessage(1, type, envelope(header)))


@pytest.mark.parametrize("name", ["name", "tool_call_id", "arguments"])
def test_call_without_what_it_needs_is_a_protocol_error(name: str) -> None:
    """A recipient cannot answer such a call."""
    header = PUSHED[0][2]
    body = envelope({key: value for key, value in header.items() if key != name})
    with pytest.raises(ProtocolError, match=f"lacks '{name}'"):
        decode_push(WireMessage(1, "room.tool_call.messaging", body))


def test_call_without_a_caller_is_read() -> None:
    """The first message names the caller, so the call need not."""
    header = PUSHED[0][2] | {"caller_id": None}
    assert decode_push(WireMessage(1, "room.tool_call.messaging", envelope(header))) == Call(1, "X", "", "stream", OPEN)


# --- what programs may say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (OpenCall(""), "call_id: needs a text of at least one character, not ''"),
        (CallChunk("X", CallMessage("", {})), "type: needs a text of at least one character, not ''"),
        (CallChunk("X", CallMessage("t", {"a": {1}})), "message['a']: set is not JSON"),
        (AnswerChunk(7, "X", CallMessage("t", {"a": {1}})), "message['a']: set is not JSON"),
        (CallChunk("X", CallMessage("t", {}, 5)), "attachment: int is neither bytes nor a contiguous buffer"),  # type: ignore[arg-type]
        (AnswerChunk(7, "X", CallMessage("t", {}, "")), "attachment: str is neither bytes nor a contiguous buffer"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_cannot_be_carried_is_refused(request_: Request, complaint: str) -> None:
    """What JSON or the protocol cannot carry is named as the program knows it."""
    with pytest.raises(InvalidMessage) as caught:
        encode_request(request_, B3)
    assert str(caught.value).startswith(complaint)


def test_session_learns_which_requests_are_answered_and_which_have_their_id() -> None:
    """Answers bear the id of their call; nothing that needs no reply is waited for."""
    requests: list[Request] = [AnswerCall(7, OPEN), AnswerChunk(8, "X", CLOSE), CallChunk("X", CLOSE), OpenCall("X")]
    assert [given_id(request) for request in requests] == [7, 8, None, None]
    assert [is_answered(request) for request in requests] == [False, False, False, True]
    assert [is_answered(request) for request in (Enable(), SetAttributes({}), UnknownRequest("x"))] == [
        True,
        False,
        True,
    ]


GARBAGE_TYPES = ["room.invoke_tool", "room.tool_call_request_chunk", "room.tool_call_response_chunk"]
MEMBERS = st.sampled_from([*SENT, "kind", "json", "chunk", "arguments", "tool", "toolkit", "tool_call_id"])
TREES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["messaging", "send", "stream", "json", "control", "{}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS | st.just("type"), inner, max_size=4),
    max_leaves=12,
)


@examples(300)
@given(st.sampled_from([*GARBAGE_TYPES, "room.tool_call_response", "room.tool_call.messaging"]), TREES)
def test_garbage_is_a_value_or_a_protocol_error(type: str, header: Any) -> None:
    """Neither side meets anything but values and ProtocolError, whatever the other one sends."""
    message = WireMessage(1, type, envelope(header))
    for decode in (decode_request, decode_push):
        try:
            decode(message)
        except ProtocolError:
            continue
