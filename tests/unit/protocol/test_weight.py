"""How much work JSON is to read, found without reading it."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol.codec import decode_request, encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Broadcast, CallChunk, CallMessage, Request, Send, SetAttributes
from meshsync.protocol.packets import WireMessage
from meshsync.protocol.weight import MAX_VALUES, check_weight

A3, B3 = dialect("A3"), dialect("B3")
MANY = MAX_VALUES // 2
"""Lists of which each has two brackets and a comma: so many are too many."""
TEXT = 'a, "b": [1] {c}\\ é' * 200_000
"""A text in which there is much that would be structure elsewhere."""


def carry(request: Request, name: str) -> Request:
    """Return a request as a room reads it."""
    type, body = encode_request(request, dialect(name))
    return decode_request(WireMessage(1, type, body))


def body_of(header: bytes, payload: bytes = b"") -> bytes:
    """Return an envelope."""
    return struct.pack(">Q", len(header)) + header + payload


@pytest.mark.parametrize("name", ["A3", "B3"])
@pytest.mark.parametrize("message", [{"text": TEXT}, {"a": list(range(MANY))}, {"a": [{}] * (MAX_VALUES // 4)}])
def test_what_a_program_sends_is_read(name: str, message: dict[str, Any]) -> None:
    """Megabytes of text, whatever characters it has, and 50,000 numbers, in either family."""
    request = Send("ben", "chat", message, b"[" * 200_000)

    assert carry(request, name) == request


def test_message_on_a_call_is_read() -> None:
    """Its text is JSON within JSON."""
    request = CallChunk("X", CallMessage("chat", {"text": TEXT}, b"[" * 200_000, to="ben"))

    assert carry(request, "B3") == request


@pytest.mark.parametrize(
    "request_",
    [
        Send("ben", "chat", {"a": [[]] * MANY}),
        Broadcast("chat", {"a": [[[[]]]] * (MANY // 2)}),
        Send("ben", "chat", {str(n): 1 for n in range(MANY)}),
        CallChunk("X", CallMessage("chat", {"a": [[]] * MANY}, to="ben")),
        SetAttributes({"a": [[]] * MANY}),
    ],
    ids=["lists", "nested lists", "members", "on a call", "attributes"],
)
def test_very_many_values_are_refused_unread(request_: Request) -> None:
    """In either family, and where the message is a text of JSON."""
    for name in ("B3",) if isinstance(request_, CallChunk) else ("A1", "A3", "B3"):
        with pytest.raises(ProtocolError, match="more than 100000 values") as caught:
            carry(request_, name)
        assert caught.value.code == 1002


def test_structure_written_as_escapes_counts() -> None:
    """A message that is a text of JSON may have its brackets as escapes."""
    message = b"\\u005b" * MAX_VALUES
    header = b'{"toolkit":"messaging","arguments":{"json":{"message_json":"' + message + b'","x":"' + b"[" * MAX_VALUES

    with pytest.raises(ProtocolError):
        check_weight(body_of(header + b'"}}}'), "a send")


def test_numbers_of_thousands_of_digits_count() -> None:
    """A few hundred are read, a thousand are not: to convert them takes a time that grows with their square."""
    number = b"9" * 4300

    check_weight(body_of(b'{"a":[' + b",".join([number] * 300) + b"]}"), "a send")
    with pytest.raises(ProtocolError):
        check_weight(body_of(b'{"a":[' + b",".join([number] * 900) + b"]}"), "a send")


def test_digits_in_a_text_do_not_count() -> None:
    """Whatever their number."""
    check_weight(body_of(json.dumps({"text": "9" * 4_000_000}).encode()), "a send")


@pytest.mark.parametrize(
    "body", [body_of(b"{}", bytes(200_000)), b"\xff" * 200_000, b"{" + b" " * 200_000, b'"' * 200_000]
)
def test_what_is_no_json_is_left_to_those_who_read_it(body: bytes) -> None:
    """Attachments do not count, nor does a length past the end or a text without an end make it fail."""
    check_weight(body, "a send")


def test_very_many_texts_are_refused_without_looking_for_each() -> None:
    """Each is a value."""
    with pytest.raises(ProtocolError):
        check_weight(body_of(b'{"a":[' + b",".join([b'""'] * MAX_VALUES * 2) + b"]}"), "a send")


BASE64 = b"A" * 400_000


def test_digits_of_an_attachment_do_not_count() -> None:
    """Base64 of some bytes is nothing but digits, and no number."""
    check_weight(
        body_of(b'{"toolkit":"messaging","arguments":{"json":{"attachment_base64":"' + b"1" * 900_000 + b'"}}}'),
        "a send",
    )


@pytest.mark.parametrize("place", ["before", "behind", "in an attachment's place", "behind an escaped quote"])
def test_structure_counts_wherever_an_attachment_is(place: str) -> None:
    """Its text is passed over and nothing else."""
    many = b"[" * MAX_VALUES + b"]" * MAX_VALUES
    inner = {
        "before": b'"x":' + many + b',"attachment_base64":"' + BASE64 + b'"',
        "behind": b'"attachment_base64":"' + BASE64 + b'","x":' + many,
        "in an attachment's place": b'"attachment_base64":' + many,
        "behind an escaped quote": b'"attachment_base64":"' + BASE64 + b'\\"","x":' + many,
    }[place]

    with pytest.raises(ProtocolError, match="more than 100000 values"):
        check_weight(body_of(b'{"arguments":{"json":{' + inner + b"}}}"), "a send")


def test_name_of_an_attachment_in_a_text_hides_nothing() -> None:
    """Where a quote ends a text before it, no decoder reads further than there."""
    header = b'{"a":"{"attachment_base64":"' + b"[" * 10 * MAX_VALUES + b'"}'

    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(header)
    assert caught.value.pos < 20
