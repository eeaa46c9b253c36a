"""Content: every kind that any release knows, both ways, and nothing malformed."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import ProtocolError
from meshsync.protocol.content import (
    Binary,
    Content,
    Control,
    Empty,
    Error,
    ErrorCode,
    File,
    Json,
    LinkContent,
    Raw,
    Text,
    decode_content,
    encode_content,
)
from tests.support.profiles import examples

PROPERTY = examples(200)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)

CONTENTS = st.one_of(
    st.just(Empty()),
    st.builds(Json, OBJECTS),
    st.builds(Text, st.text()),
    st.builds(Error, st.text(), st.none() | st.integers()),
    st.builds(File, st.text(), st.text(), st.binary()),
    st.builds(LinkContent, st.text(), st.text()),
    st.builds(Raw, st.lists(VALUES, max_size=4)),
    st.just(Control("open")),
    st.builds(Control, st.just("close"), st.integers(), st.text()),
    st.builds(Binary, st.binary(), OBJECTS),
)

# PROTOCOL.md, section 5.2, row by row: content, header, payload.
TABLE: list[tuple[Content, dict[str, Any], bytes]] = [
    (Empty(), {"type": "empty"}, b""),
    (Json({"a": 1}), {"type": "json", "json": {"a": 1}}, b""),
    (Text("hi"), {"type": "text", "text": "hi"}, b""),
    (Error("no"), {"type": "error", "text": "no"}, b""),
    (Error("gone", 1003), {"type": "error", "text": "gone", "code": 1003}, b""),
    (Error("", 0), {"type": "error", "text": "", "code": 0}, b""),
    (File("a.txt", "text/plain", b"data"), {"type": "file", "name": "a.txt", "mime_type": "text/plain"}, b"data"),
    (LinkContent("home", "https://a.test"), {"type": "link", "name": "home", "url": "https://a.test"}, b""),
    (Raw([1, {"b": 2}]), {"type": "raw", "outputs": [1, {"b": 2}]}, b""),
    (Control("open"), {"type": "control", "method": "open"}, b""),
    (Control("close"), {"type": "control", "method": "close", "status_code": 1000}, b""),
    (
        Control("close", 1007, "bad"),
        {"type": "control", "method": "close", "status_code": 1007, "message": "bad"},
        b"",
    ),
    (Binary(b"\x00", {"h": 1}), {"type": "binary", "headers": {"h": 1}}, b"\x00"),
    (Binary(b""), {"type": "binary", "headers": {}}, b""),
]


@pytest.mark.parametrize(("content", "header", "payload"), TABLE, ids=lambda value: repr(value)[:40])
def test_content_is_written_and_read_as_documented(content: Content, header: dict[str, Any], payload: bytes) -> None:
    """Every kind has the header and the payload of the table, in both directions."""
    assert encode_content(content) == (header, payload)
    assert decode_content(header, memoryview(payload)) == content


def test_table_has_every_kind() -> None:
    """No kind of content is left out of the table above."""
    assert {type(row[0]) for row in TABLE} == set(get_args(Content))


@PROPERTY
@given(CONTENTS)
def test_content_survives(content: Content) -> None:
    """Whatever is written is read back equal."""
    header, payload = encode_content(content)
    assert decode_content(header, payload) == content


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ({"type": "empty", "usage": None}, Empty()),
        ({"type": "json", "json": {}, "usage": {"tokens": 1}}, Json({})),
        ({"type": "error", "text": "no", "code": None}, Error("no")),
        ({"type": "error", "text": "no", "code": "1003"}, Error("no")),
        ({"type": "error", "text": "no", "code": True}, Error("no")),
        ({"type": "control", "method": "close"}, Control("close", 1000, "")),
        ({"type": "control", "method": "close", "status_code": None, "message": None}, Control("close", 1000, "")),
        ({"type": "text", "text": "", "member of a release to come": [1]}, Text("")),
    ],
    ids=str,
)
def test_older_and_newer_headers_are_read(header: dict[str, Any], content: Content) -> None:
    """Usage, absent or odd codes, defaults and unknown members are no faults."""
    assert decode_content(header) == content


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ({}, "unknown type: None"),
        ({"type": None}, "unknown type: None"),
        ({"type": "novel"}, "unknown type: 'novel'"),
        ({"type": ["empty"]}, r"unknown type: \['empty'\]"),
        ({"type": {"empty": 1}}, "unknown type"),
        ({"type": True}, "unknown type: True"),
        ({"type": "json"}, "'json' lacks 'json'"),
        ({"type": "json", "json": []}, "'json' has a wrong type of 'json'"),
        ({"type": "text"}, "'text' lacks 'text'"),
        ({"type": "text", "text": None}, "'text' has a wrong type of 'text'"),
        ({"type": "error", "code": 1003}, "'error' lacks 'text'"),
        ({"type": "error", "text": 5}, "'error' has a wrong type of 'text'"),
        ({"type": "file", "name": "a"}, "'file' lacks 'mime_type'"),
        ({"type": "file", "mime_type": "a"}, "'file' lacks 'name'"),
        ({"type": "link", "name": "a"}, "'link' lacks 'url'"),
        ({"type": "link", "url": "a"}, "'link' lacks 'name'"),
        ({"type": "raw"}, "'raw' lacks 'outputs'"),
        ({"type": "raw", "outputs": {}}, "'raw' has a wrong type of 'outputs'"),
        ({"type": "control"}, "'control' lacks 'method'"),
        ({"type": "control", "method": "close", "status_code": "1000"}, "wrong type of 'status_code'"),
        ({"type": "control", "method": "close", "status_code": True}, "wrong type of 'status_code'"),
        ({"type": "control", "method": "close", "message": 1}, "wrong type of 'message'"),
        ({"type": "binary"}, "'binary' lacks 'headers'"),
        ({"type": "binary", "headers": []}, "'binary' has a wrong type of 'headers'"),
    ],
    ids=str,
)
def test_malformed_content_is_a_protocol_error(header: dict[str, Any], fault: str) -> None:
    """A kind that is unknown, and a member that is missing or of a wrong type, are named."""
    with pytest.raises(ProtocolError, match=fault):
        decode_content(header)


def test_unknown_type_is_told_in_few_words() -> None:
    """However long a type is, the error is short."""
    # 100 characters of the type, and less than 50 of our own.
    with pytest.raises(ProtocolError) as caught:
        decode_content({"type": "x" * 1_000_000})
    assert len(str(caught.value)) < 150


def test_data_is_the_receivers_own() -> None:
    """Data of a file is bytes, not a view of what was received."""
    content = decode_content({"type": "binary", "headers": {}}, memoryview(bytearray(b"data")))
    assert isinstance(content, Binary)
    assert type(content.data) is bytes


MEMBERS = ("json", "text", "code", "name", "mime_type", "url", "outputs", "method", "status_code", "message", "headers")
KINDS = [row[1]["type"] for row in TABLE]


@PROPERTY
@given(st.sampled_from(KINDS) | VALUES, st.dictionaries(st.sampled_from(MEMBERS), VALUES), st.binary(max_size=4))
def test_arbitrary_headers_are_content_or_a_protocol_error(kind: Any, members: dict[str, Any], payload: bytes) -> None:
    """Members of any type under the right names raise nothing but ProtocolError."""
    try:
        content = decode_content({**members, "type": kind}, payload)
    except ProtocolError:
        return
    assert isinstance(content, get_args(Content))


def test_error_codes_are_as_documented() -> None:
    """The numbers are those of PROTOCOL.md, section 5.3."""
    assert {code.name: code.value for code in ErrorCode} == {
        "PERMISSION_DENIED": 1001,
        "INVALID_REQUEST": 1002,
        "NOT_FOUND": 1003,
        "ALREADY_EXISTS": 1004,
        "CONFLICT": 1005,
        "INVALID_STATE": 1006,
        "DEPENDENCY_MISSING": 1007,
        "OPERATION_FAILED": 1008,
        "TIMEOUT": 1009,
        "UNEXPECTED_RESPONSE": 1100,
    }
