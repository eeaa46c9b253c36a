"""Bridging: a chunk's header and data stand for a message on a call, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol.bridging import TYPE_MEMBER, chunk_to_message, message_to_chunk
from meshsync.protocol.operations import CallMessage

OBJECTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=3)

TABLE: list[tuple[bool, dict[str, Any], str, dict[str, Any]]] = [
    (True, {"purpose": "demo"}, "stream.open", {"purpose": "demo"}),
    (False, {"i": 0}, "stream.chunk", {"i": 0}),
    (False, {}, "stream.chunk", {}),
    (True, {"a": 1, "meshsync.type": "ask"}, "ask", {"a": 1}),
    (False, {"a": 1, "meshsync.type": "part"}, "part", {"a": 1}),
    (True, {"meshsync.type": "stream.chunk"}, "stream.chunk", {}),
    (False, {"meshsync.type": "stream.open"}, "stream.open", {}),
    (False, {"meshsync.type": ""}, "stream.chunk", {"meshsync.type": ""}),
    (False, {"meshsync.type": 5}, "stream.chunk", {"meshsync.type": 5}),
]


@pytest.mark.parametrize(("is_first", "header", "type", "message"), TABLE)
def test_each_stands_for_the_other(is_first: bool, header: dict[str, Any], type: str, message: dict[str, Any]) -> None:
    """The table of the module's docstring, read from either side."""
    on_call = CallMessage(type, message, b"\x01")
    assert chunk_to_message(header, b"\x01", is_first=is_first) == on_call
    assert message_to_chunk(on_call, is_first=is_first) == (header, b"\x01")


@given(st.booleans(), OBJECTS, st.binary(max_size=3))
def test_chunk_survives_a_call(is_first: bool, header: dict[str, Any], data: bytes) -> None:
    """What a classic program writes, another one reads behind two bridges."""
    there = chunk_to_message(header, data, is_first=is_first)
    assert message_to_chunk(there, is_first=is_first) == (header, data)


@given(st.booleans(), st.text(min_size=1, max_size=6), OBJECTS, st.binary(max_size=3))
def test_message_survives_a_classic_stream(is_first: bool, type: str, message: dict[str, Any], data: bytes) -> None:
    """A message of a program on a newer release reaches another one unchanged behind two bridges."""
    there, bytes_there = message_to_chunk(CallMessage(type, message, data), is_first=is_first)
    assert chunk_to_message(there, bytes_there, is_first=is_first) == CallMessage(type, message, data)


def test_nothing_that_is_passed_on_is_changed() -> None:
    """A header and a message belong to whoever made them."""
    header = {"a": 1, TYPE_MEMBER: "t"}
    message = chunk_to_message(header)
    message_to_chunk(message)
    assert (header, message.message) == ({"a": 1, TYPE_MEMBER: "t"}, {"a": 1})
