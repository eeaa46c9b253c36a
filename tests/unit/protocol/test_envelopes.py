"""Envelopes and JSON: strict in what a program may send, whole in what a room passes on, unharmed by what comes."""

from __future__ import annotations

import array
import json
import sys
import tracemalloc
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.envelopes import (
    MAX_DEPTH,
    MAX_WIRE_DEPTH,
    RESERVED,
    decode_envelope,
    decode_object,
    encode_envelope,
    encode_members,
    encode_object,
    read_member,
    size_in_memory,
)
from tests.support.profiles import examples

PROPERTY = examples(200)

TEXTS = st.text(max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12)
OBJECTS = st.dictionaries(TEXTS.filter(lambda name: name != RESERVED), VALUES, max_size=4)


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    ONE = 1


class Name(str):
    __slots__ = ()


class Metres(float):
    __slots__ = ()


@dataclass
class Point:
    x: int


# Stand-ins for NumPy's scalars, some of which descend from Python's own numbers and texts.
Int64 = type("int64", (), {"__module__": "numpy"})
Float64 = type("float64", (float,), {"__module__": "numpy"})
Str = type("str_", (str,), {"__module__": "numpy"})
Longdouble = type("longdouble", (float,), {"__module__": "numpy.core"})


def nested(levels: int, innermost: Any = None, *, in_lists: bool = False) -> dict[str, Any]:
    """Return an object with that many levels of nesting, itself included, around a value."""
    value = innermost
    for _ in range(levels - 1):
        value = [value] if in_lists else {"a": value}
    return {"a": value}


# --- what a program may send -----------------------------------------------------------------------------------------


@PROPERTY
@given(OBJECTS)
def test_object_survives(value: dict[str, Any]) -> None:
    """Whatever JSON can hold comes back equal, from bytes and from a view."""
    data = encode_object(value, "message")
    assert decode_object(data, "it") == value == decode_object(memoryview(data), "it")
    assert json.loads(data) == value


def test_object_is_compact_utf_8() -> None:
    """Objects are written without blanks, and text as it is."""
    assert encode_object({"t": "hé 世", "n": [1, None, True]}, "message") == '{"t":"hé 世","n":[1,null,true]}'.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        ({Name("key"): Name("value")}, {"key": "value"}),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        (Level.HIGH, 3),
        (Metres(1.5), 1.5),
        (True, True),
        (10**400, 10**400),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        ("\U0001f600\u2028\x00", "\U0001f600\u2028\x00"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kin_of_json_are_sent_as_json(value: Any, expected: Any) -> None:
    """Tuples, ordered dicts, and subclasses of text and numbers go as what they are kin to."""
    assert json.loads(encode_object({"v": value}, "message")) == {"v": expected}


def test_any_mapping_is_an_object() -> None:
    """The outermost object may be any mapping."""
    assert encode_object(MappingProxyType({"a": 1}), "message") == b'{"a":1}'


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"score": Int64()}, "message['score']: numpy.int64 is not JSON"),
        ({"score": Float64(1)}, "message['score']: numpy.float64 is not JSON"),
        ({"score": Str("a")}, "message['score']: numpy.str_ is not JSON"),
        ({"score": Longdouble(1)}, "message['score']: numpy.core.longdouble is not JSON"),
        ({"a": [1, {"b": b"x"}]}, "message['a'][1]['b']: bytes is not JSON"),
        ({"a": {1, 2}}, "message['a']: set is not JSON"),
        ({"a": frozenset()}, "message['a']: frozenset is not JSON"),
        ({"a": bytearray()}, "message['a']: bytearray is not JSON"),
        ({"a": 1j}, "message['a']: complex is not JSON"),
        ({"a": Decimal(1)}, "message['a']: decimal.Decimal is not JSON"),
        ({"a": range(3)}, "message['a']: range is not JSON"),
        ({"a": MappingProxyType({})}, "message['a']: mappingproxy is not JSON"),
        ({"a": Point(1)}, f"message['a']: {__name__}.Point is not JSON"),
        ({"a": Plain.ONE}, f"message['a']: {__name__}.Plain is not JSON"),
        ({"a": int}, "message['a']: type is not JSON"),
        ({"a": float("nan")}, "message['a']: nan is not JSON; send None or a text in its place"),
        ({"a": (0.5, float("inf"))}, "message['a'][1]: inf is not JSON; send None or a text in its place"),
        ({"a": -float("inf")}, "message['a']: -inf is not JSON; send None or a text in its place"),
        ({"a": Metres("nan")}, "message['a']: nan is not JSON; send None or a text in its place"),
        ({1: "x"}, "message: the key 1 is int; keys of JSON objects are str"),
        ({"a": {None: 1}}, "message['a']: the key None is NoneType; keys of JSON objects are str"),
        ({"a": [{True: 1}]}, "message['a'][0]: the key True is bool; keys of JSON objects are str"),
        ({"a": {(1, 2): 1}}, "message['a']: the key (1, 2) is tuple; keys of JSON objects are str"),
        ({"a": {Str("k"): 1}}, "message['a']: the key 'k' is numpy.str_; keys of JSON objects are str"),
        ({"a": ["ok", "\ud800"]}, "message['a'][1]: holds half of a surrogate pair, which is not Unicode text"),
        ({"a": {"\udfff": 1}}, "message['a']: holds half of a surrogate pair, which is not Unicode text"),
        ([1], "message: list is not a JSON object; give a dict"),
        (None, "message: NoneType is not a JSON object; give a dict"),
        ("text", "message: str is not a JSON object; give a dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # A text of it may hold its address.
)
def test_what_is_not_json_is_named_with_its_place(value: Any, complaint: str) -> None:
    """What JSON cannot carry is an error of the program that says what it is and where."""
    with pytest.raises(InvalidMessage) as caught:
        encode_object(value, "message")
    assert str(caught.value).startswith(complaint)


def test_integer_beyond_conversion_is_named_with_its_place() -> None:
    """An integer with more digits than Python converts is an error of the program, not a crash."""
    # Python converts 4300 digits unless told otherwise; 10**5000 has 5001.
    if not getattr(sys, "get_int_max_str_digits", int)():
        pytest.skip("this interpreter converts any integer")
    with pytest.raises(InvalidMessage, match=r"^message\['a'\]\[1\]: Exceeds the limit"):
        encode_object({"a": [1, 10**5000]}, "message")


@pytest.mark.parametrize("in_lists", [False, True], ids=["objects", "lists"])
@pytest.mark.parametrize("innermost", [1, 1.5, Colour.RED, "text", None], ids=repr)
def test_nesting_up_to_the_limit_is_sent(innermost: Any, in_lists: bool) -> None:
    """A value nested to exactly the limit is sent, whatever its innermost value."""
    # MAX_DEPTH = 100 levels, the outermost object among them; scalars are no level.
    value = nested(100, innermost, in_lists=in_lists)
    assert decode_object(encode_object(value, "message"), "it") == value
    assert MAX_DEPTH == 100


@pytest.mark.parametrize("in_lists", [False, True], ids=["objects", "lists"])
@pytest.mark.parametrize("innermost", [1, 1.5, [], {}], ids=repr)
def test_nesting_over_the_limit_is_refused(innermost: Any, in_lists: bool) -> None:
    """One level more than the limit is refused, also if it is empty."""
    # 100 levels and an empty list or object, or 101 levels around a scalar.
    levels = 100 if innermost in ([], {}) else 101
    with pytest.raises(InvalidMessage, match=r"^message\['a'\].{1,400}: nested deeper than 100 levels"):
        encode_object(nested(levels, innermost, in_lists=in_lists), "message")


def test_circle_is_refused() -> None:
    """A value within itself is refused like one that is nested too deeply."""
    circle: dict[str, Any] = {"list": []}
    circle["list"].append(circle)
    with pytest.raises(InvalidMessage, match="or within itself"):
        encode_object(circle, "message")


def test_value_used_twice_is_no_circle() -> None:
    """One list in two places is sent twice."""
    shared = [1]
    assert encode_object({"a": shared, "b": [shared, shared]}, "message") == b'{"a":[1],"b":[[1],[1]]}'


def test_place_is_told_in_few_words() -> None:
    """Neither long keys nor deep places make a long error."""
    # Each key is cut to 50 characters and a place to 300; what is wrong is said in less than 100.
    value: Any = {1}
    for _ in range(50):
        value = {"k" * 10_000: value}
    with pytest.raises(InvalidMessage, match="…: set is not JSON") as caught:
        encode_object(value, "message")
    assert len(str(caught.value)) < 400


def test_long_key_is_cut() -> None:
    """A key of any length is named by its beginning."""
    # 7 for the name, 52 for the bracketed key, 17 for the complaint, 19 for what to do.
    with pytest.raises(InvalidMessage, match=r"^message\['kk.*\]: set is not JSON; send a list of it$") as caught:
        encode_object({"k" * 10_000: {1}}, "message")
    assert len(str(caught.value)) == 7 + 52 + 17 + 19


def test_members_go_by_their_own_names() -> None:
    """The members of a header are blamed without the header, which the program does not know."""
    with pytest.raises(InvalidMessage, match=r"^message\['a'\]\[0\]: set is not JSON; send a list of it$"):
        encode_members({"type": "chat", "message": {"a": [set()]}})
    with pytest.raises(InvalidMessage, match=r"^type: holds half"):
        encode_members({"type": "\ud800", "message": {}})


def test_members_may_each_be_nested_to_the_limit() -> None:
    """A header's own level does not count against what the program sends."""
    # 1 level of the header + 100 of the message = 101.
    assert len(encode_members({"message": nested(100)})) > 500
    with pytest.raises(InvalidMessage, match="nested deeper than 100"):
        encode_members({"message": nested(101)})


# --- what a room passes on -------------------------------------------------------------------------------------------


def test_forwarded_half_of_a_surrogate_pair_goes_on_as_an_escape() -> None:
    """What a program in JavaScript cut short reaches its receiver as it was."""
    value = decode_object(b'{"t":"\\ud83d cut","\\udc00":"\xc3\xa9"}', "it")
    data = encode_object(value, "message", forwarded=True)
    assert data == b'{"t":"\\ud83d cut","\\udc00":"\\u00e9"}'
    assert decode_object(data, "it") == value


def test_forwarded_values_may_lie_deeper() -> None:
    """A room may put a few levels around what it was sent, and its readers take as many."""
    # 100 + 10 = 110 levels.
    value = nested(110)
    assert decode_object(encode_object(value, "it", forwarded=True), "it") == value
    assert decode_object(encode_members(value, forwarded=True), "it") == value
    assert MAX_WIRE_DEPTH == 110


def test_forwarded_values_are_otherwise_as_strict() -> None:
    """Scripted participants inside a room cannot send what is not JSON either."""
    for value in ({"a": float("nan")}, {"a": {1}}, {1: 2}, nested(111)):
        with pytest.raises(InvalidMessage):
            encode_object(value, "message", forwarded=True)


# --- what comes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON: more follows at character 7"),
        (b"{} {}", "not JSON: more follows"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":1e999}', "1e999 is too large"),
        (b'{"a":-1.5e+400}', "is too large"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8: invalid start byte at byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\n"}', "not JSON"),
        (b"\xa0{}", "not UTF-8"),
        ("\u00a0{}".encode(), "not JSON"),
        (b"[]", "list and not a JSON object"),
        (b"null", "NoneType and not a JSON object"),
        (b'"text"', "str and not a JSON object"),
        (b"1", "int and not a JSON object"),
        (b"[" * 100_000, "the body is n"),
        (b'{"a":' * 100_000, "the body is n"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_object_is_a_protocol_error(data: bytes, fault: str) -> None:
    """What is not an object of strict JSON in UTF-8 raises, with the close code for wrong content."""
    with pytest.raises(ProtocolError, match=fault) as caught:
        decode_object(data, "the body")
    assert caught.value.code == 1007
    assert len(str(caught.value)) < 200


def test_number_beyond_conversion_is_a_protocol_error() -> None:
    """An integer with too many digits cannot take the time of a reader."""
    # Python converts 4300 digits unless told otherwise.
    if not getattr(sys, "get_int_max_str_digits", int)():
        pytest.skip("this interpreter converts any integer")
    with pytest.raises(ProtocolError, match="not JSON"):
        decode_object(b'{"a":' + b"9" * 5000 + b"}", "it")


@pytest.mark.parametrize("data", [b' {"a":1}', b'\t\r\n{"a":1}\n ', b" " * 8 + b'{"a" : 1 }'])
def test_white_space_around_an_object_is_nothing(data: bytes) -> None:
    """All four blanks of JSON may come before and after."""
    assert decode_object(data, "it") == {"a": 1}


def test_numbers_keep_their_kind() -> None:
    """Numbers with a point or an exponent come as floats, others as integers."""
    value = decode_object(b'{"a":[1,1.0,1e2,-0.0,1e-999,123456789012345678901234567890]}', "it")["a"]
    assert list(map(repr, value)) == ["1", "1.0", "100.0", "-0.0", "0.0", "123456789012345678901234567890"]


@pytest.mark.parametrize("levels", [1, 2, 100, 110])
@pytest.mark.parametrize("in_lists", [False, True], ids=["objects", "lists"])
def test_nesting_of_what_comes_is_bounded(levels: int, in_lists: bool) -> None:
    """An object nested to the limit is read; one level more, or one empty container, is not."""
    # levels, levels + 1 and levels + an empty list.
    # More brackets than levels beside it, so that they have to be told apart.
    value = nested(levels, in_lists=in_lists) | ({"beside": [{}] * levels} if levels > 2 else {})
    assert decode_object(json.dumps(value).encode(), "it", levels) == value
    for deeper in (nested(levels + 1, in_lists=in_lists), nested(levels, [], in_lists=in_lists)):
        with pytest.raises(ProtocolError, match=f"deeper than {levels} levels"):
            decode_object(json.dumps(deeper).encode(), "it", levels)


def test_nesting_is_bounded_at_110_unless_told() -> None:
    """What comes may be nested ten levels deeper than what a program may send."""
    # 100 + 10 = 110.
    assert decode_object(json.dumps(nested(110)).encode(), "it") == nested(110)
    with pytest.raises(ProtocolError, match="deeper than 110"):
        decode_object(json.dumps(nested(111)).encode(), "it")


def test_brackets_in_texts_and_siblings_are_no_nesting() -> None:
    """Only levels count, not how many brackets there are."""
    value = {"text": "[{" * 500, "many": [[] for _ in range(500)], "more": [{"a": {}}] * 500}
    assert decode_object(encode_object(value, "it"), "it") == value


@PROPERTY
@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]":,0eE.-\\u\ud800 \n', max_size=40).map(lambda t: t.encode("utf-8", "replace"))
)
def test_garbage_is_an_object_or_a_protocol_error(data: bytes) -> None:
    """Arbitrary bytes and near-JSON raise nothing but ProtocolError, as object and as envelope."""
    for read in (decode_object, decode_envelope):
        try:
            read(data, "it")
        except ProtocolError as error:
            assert error.code == 1007


# --- envelopes -------------------------------------------------------------------------------------------------------


@PROPERTY
@given(OBJECTS, st.binary(max_size=100), st.sampled_from([bytes, bytearray, memoryview]))
def test_envelope_survives(header: dict[str, Any], payload: bytes, buffer: Any) -> None:
    """Header and payload come back, whatever kind of buffer the payload was."""
    body = encode_envelope(encode_object(header, "header"), buffer(payload))
    for form in (body, memoryview(body)):
        assert decode_envelope(form, "it") == (header, payload)


def test_envelope_is_written_as_documented() -> None:
    """The length of the header in 8 bytes, big-endian, then the header, then the payload."""
    assert encode_envelope(b'{"a":1}', b"\x00\x01") == b'\0\0\0\0\0\0\0\x07{"a":1}\x00\x01'
    assert encode_envelope(b"{}") == bytes.fromhex("0000000000000002") + b"{}"


def test_buffers_of_other_items_go_as_their_bytes() -> None:
    """An array of wider numbers is sent byte by byte."""
    # 2 numbers of 4 bytes each are 8 bytes.
    numbers = array.array("i", [1, 2])
    assert decode_envelope(encode_envelope(b"{}", memoryview(numbers)), "it")[1] == numbers.tobytes()


@pytest.mark.parametrize("payload", ["text", 5, [1], memoryview(b"abcd")[::2]], ids=lambda value: type(value).__name__)
def test_payload_that_is_no_buffer_is_refused(payload: Any) -> None:
    """An attachment has to be bytes; a text, a number or a view with gaps is an error of the program."""
    with pytest.raises(InvalidMessage, match=f"^attachment: {type(payload).__name__} is neither"):
        encode_envelope(b"{}", payload)


def test_payload_is_not_copied_when_read() -> None:
    """The payload is a view of the body."""
    body = encode_envelope(b"{}", b"payload")
    assert decode_envelope(body, "it")[1].obj is body


def test_trace_propagation_is_taken_out() -> None:
    """What official Python clients add to every header is no data; other members, known or not, are."""
    header = {"a": 1, "__meshagent__": {"v": 1, "otel": {"traceparent": "x"}}, "unknown": {"__meshagent__": 2}}
    body = encode_envelope(json.dumps(header).encode())
    assert decode_envelope(body, "it")[0] == {"a": 1, "unknown": {"__meshagent__": 2}}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "has 0 bytes, too few"),
        (bytes(7), "has 7 bytes, too few"),
        (bytes(8), "not JSON"),
        (bytes(7) + b"\x03{}", "runs past its end"),
        (b"\xff" * 8 + b"{}", "runs past its end"),
        (b" " * 8 + b"{}", "runs past its end"),
        (b'{"bare":"json"}', "runs past its end"),
        (bytes(7) + b"\x01{}", "not JSON"),
        (bytes(7) + b"\x02[]", "list and not a JSON object"),
        (bytes(7) + b"\x02\xff\xff", "not UTF-8"),
    ],
    ids=repr,
)
def test_what_is_no_envelope_is_a_protocol_error(body: bytes, fault: str) -> None:
    """Bodies that official readers since 0.45.0 refuse raise, with the close code for wrong content."""
    for form in (body, memoryview(body)):
        with pytest.raises(ProtocolError, match=f"it (is )?.*{fault}") as caught:
            decode_envelope(form, "it")
        assert caught.value.code == 1007


def test_header_nesting_is_bounded_as_asked() -> None:
    """An envelope's header has the bound that its reader gives."""
    # 3 levels against bounds of 3 and 2.
    body = encode_envelope(encode_object(nested(3), "it"))
    assert decode_envelope(body, "it", 3)[0] == nested(3)
    with pytest.raises(ProtocolError, match="deeper than 2 levels"):
        decode_envelope(body, "it", 2)


# --- members ---------------------------------------------------------------------------------------------------------


def test_member_of_the_right_kind_is_returned() -> None:
    """A member is returned as it is, falsy or not."""
    header = {"text": "", "object": {}, "number": 0, "list": []}
    assert [read_member(header, *key, "it") for key in (("text", str), ("object", dict))] == ["", {}]
    assert [read_member(header, *key, "it") for key in (("number", int), ("list", list))] == [0, []]


@pytest.mark.parametrize(("value", "kind"), [(None, str), (1, str), (True, int), (1.0, int), ([], dict), ({}, list)])
def test_member_of_a_wrong_kind_is_a_protocol_error(value: Any, kind: type) -> None:
    """A member has to be of exactly the kind asked for; a truth value is no number."""
    with pytest.raises(ProtocolError, match="it has a wrong type of 'member'"):
        read_member({"member": value}, "member", kind, "it")


def test_missing_member_is_a_protocol_error() -> None:
    """A member that is not there is named."""
    with pytest.raises(ProtocolError, match="it lacks 'member'"):
        read_member({}, "member", str, "it")


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["x" * 200_000, list(range(1000, 20_000)), [n / 7 for n in range(9000)], [{"a": n} for n in range(1000, 9000)]],
    ids=["text", "integers", "floats", "objects"],
)
def test_size_in_memory_is_about_right_for_large_values(value: object) -> None:
    """Within a factor of two of what is allocated in decoding, however much that is for one character of JSON."""
    header = encode_object({"value": value}, "header")
    body = encode_envelope(header, b"payload")
    tracemalloc.start()
    try:
        decoded = decode_envelope(body, "it")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoded[0] == {"value": value}
    assert 0.5 < size_in_memory(body, len(b"payload")) / taken < 2


def test_payload_counts_as_it_is() -> None:
    """Commas in it are no JSON, and a small message has a size of its own."""
    body = encode_envelope(encode_object({"n": 1}, "header"), b"," * 10_000)
    assert size_in_memory(body, 10_000) == len(body) + 512
