"""Attachments as base64 within JSON: exact, strict, and one pass each way."""

from __future__ import annotations

import array
import base64
import binascii
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import attachments
from meshsync.protocol.attachments import MEMBER, encode_attached, open_attached, read_attachment, read_base64
from tests.support.effort import peak_of
from tests.support.profiles import examples

PROPERTY = examples(200)
PATH = ("a", "b")
HEADER = b'{"a":{"b":{"null":"null","attachment_base64":null}}}'
MEGABYTE = bytes(range(256)) * 4096


def envelope(text: str | bytes) -> bytes:
    """Return an envelope of any text."""
    data = text if isinstance(text, bytes) else text.encode()
    return len(data).to_bytes(8, "big") + data


def reread(body: bytes) -> tuple[Any, bytes]:
    """Return the header with the attachment taken out, and the attachment."""
    header, inner = open_attached(memoryview(body), "it", PATH)
    attachment = read_attachment(inner, "it")
    inner.pop(MEMBER, None)
    return header, attachment


@PROPERTY
@given(st.binary(max_size=400) | st.integers(0, 200_000).map(lambda size: bytes(range(251)) * (size // 251 + 1)))
def test_attachment_is_what_json_and_base64_say(attachment: bytes) -> None:
    """What is written is what the standard library would write, and what is read is the same again."""
    body = encode_attached(HEADER, attachment)
    text = base64.b64encode(attachment).decode() if attachment else None
    assert body == envelope(json.dumps({"a": {"b": {"null": "null", MEMBER: text}}}, separators=(",", ":")))
    assert reread(body) == ({"a": {"b": {"null": "null"}}}, attachment)


@pytest.mark.parametrize("attachment", [
    bytearray(b"\x01\x02\x03\x04"), memoryview(b"\x01\x02\x03\x04"), array.array("H", [0x0201, 0x0403]),
])  # fmt: skip
def test_any_buffer_is_written_as_its_bytes(attachment: Any) -> None:
    """Buffers of other items count as the bytes that they are."""
    assert reread(encode_attached(HEADER, attachment))[1] == bytes(attachment)


def test_buffer_with_gaps_is_refused() -> None:
    """What does not lie in one piece is no buffer for us."""
    with pytest.raises(InvalidMessage, match="attachment: memoryview is neither bytes nor a contiguous buffer"):
        encode_attached(HEADER, memoryview(b"abcdef")[::2])


def test_writing_a_megabyte_allocates_the_body_alone() -> None:
    """4/3 of a MiB is 1,398,104 bytes of base64; one more copy of either would show."""
    body = encode_attached(HEADER, MEGABYTE)
    assert len(body) > 1_398_104
    # 64 KiB of base64 at a time on the way, and little else.
    assert peak_of(lambda: encode_attached(HEADER, MEGABYTE)) < len(body) + 128 * 1024


def test_reading_a_megabyte_allocates_the_attachment_alone() -> None:
    """The JSON around it is read without it: 1,048,576 bytes and the little that a header takes."""
    body = encode_attached(HEADER, MEGABYTE)
    # The decoder of base64 asks for 3/4 of the text and a few bytes, and gives back what it did not need.
    assert peak_of(lambda: reread(body)) < len(MEGABYTE) + 32 * 1024


LONG = base64.b64encode(bytes(range(256)) * 12).decode()  # 4096 characters: beyond what is read as JSON alone
DATA = bytes(range(256)) * 12


@pytest.mark.parametrize(
    ("text", "attachment"),
    [
        ('{"a": {"b": {"attachment_base64": null}}}', b""),
        ('{"a": {"b": {"attachment_base64": ""}}}', b""),
        ('{"a": {"b": {}}}', b""),
        ('{"a": {}}', b""),
        ('{"a": 5}', b""),
        ('{"a": {"b": {"attachment_base64": "AAE="}}}', b"\0\1"),
        (f'{{"a" : {{ "b":\n{{\t"attachment_base64" :  "{LONG}" , "x": 1}}}}}}', DATA),
        (f'{{"a": {{"b": {{"x": "{{,\\"attachment_base64\\":\\"", "attachment_base64": "{LONG}"}}}}}}', DATA),
        # At another place: nothing here, and nothing lost there.
        (f'{{"a": {{"c": {{"attachment_base64": "{LONG}"}}, "b": {{}}}}}}', b""),
        (f'{{"a": {{"c": {{"attachment_base64": "{LONG}"}}, "b": {{"attachment_base64": "AAE="}}}}}}', b"\0\1"),
        # Escaped, as some writers do with plus and slash.
        (f'{{"a": {{"b": {{"attachment_base64": "{LONG.replace("/", chr(92) + "/")}"}}}}}}', DATA),
        (f'{{"a": {{"b": {{"attachment_base64": "{LONG.replace("+", chr(92) + "u002b")}"}}}}}}', DATA),
        (f'{{"a": {{"b": {{"attachment\\u005fbase64": "{LONG}"}}}}}}', DATA),
        # Twice: as JSON has it here, the last one counts.
        (f'{{"a": {{"b": {{"attachment_base64": "{LONG}", "attachment_base64": "AAE="}}}}}}', b"\0\1"),
    ],
    ids=range(14),
)  # fmt: skip
def test_attachment_is_found_however_json_writes_it(text: str, attachment: bytes) -> None:
    """Short cuts never read what the plain way would not."""
    header, found = reread(envelope(text))
    assert found == attachment
    expected = json.loads(text)
    if isinstance(expected["a"], dict) and "b" in expected["a"]:
        expected["a"]["b"].pop(MEMBER, None)
    assert header == expected


@pytest.mark.parametrize(
    "text",
    [
        "AAE", "AAE==", "A", "=", "AA=A", "AAE=AAE=", "AA\nE=", " AAE=", "AAE-", "AA_E", "ÄAE=", "AAE=====", "A!A==AAA",
        "AAAA!A==", LONG + "!", LONG + "AAA", LONG[:-4] + "!!!!", LONG.replace("A", " ", 4),
    ],
)  # fmt: skip
def test_what_is_no_base64_is_a_protocol_error(text: str) -> None:
    """Nothing is passed over: neither blanks nor letters of other alphabets, nor padding that does not fit."""
    with pytest.raises(ProtocolError, match="it has an attachment that is not base64"):
        reread(envelope(json.dumps({"a": {"b": {MEMBER: text}}}, ensure_ascii=False)))


@PROPERTY
@given(st.text(alphabet="AZ09+/=! \n", max_size=16))
def test_base64_is_judged_as_the_strict_decoder_does(text: str) -> None:
    """The cheap check agrees with the standard library's, in texts and in buffers."""
    try:
        expected = base64.b64decode(text, validate=True)
        # Before Python 3.11 that one lets pass padding of a whole quantum's length or more.
        is_right = base64.b64encode(expected)[-2:].count(b"=") == text[-2:].count("=") and len(text) % 4 == 0
    except ValueError:
        is_right = False
    for value in (text, memoryview(text.encode())):
        if is_right:
            assert read_base64(value, "it") == expected
        else:
            with pytest.raises(ProtocolError):
                read_base64(value, "it")


@pytest.mark.parametrize("value", [0, 5, True, [], {}])
def test_attachment_of_another_type_is_a_protocol_error(value: Any) -> None:
    """Base64 is a text."""
    with pytest.raises(ProtocolError, match="wrong type of 'attachment_base64'"):
        reread(envelope(json.dumps({"a": {"b": {MEMBER: value}}})))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0" * 7, bytes(8) + b"{}", envelope("{}")[:-1], envelope("[]"), envelope(b"\xff"), b"\xff" * 3000,
        envelope('{"a": {"b": {"attachment_base64": "' + LONG), envelope('{"attachment_base64": "' + LONG + '"'),
        envelope('{"a,"attachment_base64": "' + LONG + '"}'), envelope('x{"attachment_base64": "' + LONG + '"}'),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_envelope_is_a_protocol_error(body: bytes) -> None:
    """Cutting an attachment out makes nothing valid that was not."""
    with pytest.raises(ProtocolError):
        open_attached(body, "it", PATH)


# --- with the extra and without ---------------------------------------------------------------------------------------

LETTERS = "AZaz09+/"
ODD = st.text(alphabet=LETTERS + "=-_ \n!\x00Ä", max_size=24)
NEARLY = st.builds(
    lambda text, at, cut, odd: text[:at] + odd + text[at + cut :],
    st.binary(max_size=120).map(lambda data: base64.b64encode(data).decode()),
    st.integers(0, 160),
    st.integers(0, 3),
    ODD,
)
"""Base64 of which a piece is missing or something else."""
TAILS = st.builds(lambda size, tail: "QUJD" * size + tail, st.integers(0, 70), st.text(LETTERS + "=", max_size=8))
"""Lengths at which a decoder by the block goes over to single letters, with any end, also bits beyond the last byte."""


@examples(1000)
@given(ODD | NEARLY | TAILS)
def test_the_extra_reads_what_the_library_reads(text: str) -> None:
    """Whatever the text is, in texts and in buffers: the same bytes, or none."""
    pytest.importorskip("pybase64")
    for value in (text, memoryview(text.encode())):
        assert attachments._fastest()[1](value) == attachments._decode_in_library(value)


@PROPERTY
@given(st.binary(max_size=400))
def test_the_extra_writes_what_the_library_writes(data: bytes) -> None:
    """And from any buffer."""
    pytest.importorskip("pybase64")
    for value in (data, bytearray(data), memoryview(data)[len(data) // 3 :]):
        assert attachments._fastest()[0](value) == binascii.b2a_base64(value, newline=False)


def test_without_the_extra_the_library_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``pybase64`` is not installed."""
    monkeypatch.setitem(sys.modules, "pybase64", None)
    assert attachments._fastest() == (attachments._encode_in_library, attachments._decode_in_library)


def test_what_the_library_lets_pass_is_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """``QUJD=`` is whole without its padding: the library reads it, pybase64 does not, and an envelope has neither."""
    assert binascii.a2b_base64("QUJD=") == b"ABC"
    for decode in (attachments._fastest()[1], attachments._decode_in_library):
        monkeypatch.setattr(attachments, "_decode", decode)
        with pytest.raises(ProtocolError):
            read_base64("QUJD=", "it")
