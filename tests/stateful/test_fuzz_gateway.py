"""Whatever one client sends, the worst that happens is its own end: packets, envelopes, requests, frames."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from meshsync.errors import ProtocolError
from meshsync.protocol.content import Control, Empty, Error, Json
from meshsync.protocol.envelopes import RESERVED
from meshsync.protocol.frames import encode_close
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    CallMessage,
    Disable,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    Send,
    SetAttributes,
    UnknownRequest,
)
from simulator import Emulator
from simulator.room.seat import SeatState
from tests.fuzz.inputs import REQUEST_TYPES
from tests.support.profiles import examples
from tests.support.seats import Hall, packets_of, read
from tests.support.sockets import RawClient, frame

TYPES = [*REQUEST_TYPES, "__response__", ""]
IDS = st.sampled_from(["p-0", "p-2", "p-4", "p-9"])
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# Texts may be taken from the code, the one name that no client may use among them.
OBJECTS = st.dictionaries(st.text().filter(lambda name: name != RESERVED), JSON_VALUES, max_size=4)
CONTENTS = st.one_of(
    st.builds(CallMessage, st.text(min_size=1), OBJECTS, st.binary(max_size=3000), IDS | st.just("")),
    st.sampled_from([Control("close"), Empty()]),
    st.builds(Json, OBJECTS),
)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.just(Enable()),
    st.just(Disable()),
    st.builds(Send, IDS, st.text(min_size=1), OBJECTS, st.binary(max_size=3000)),
    st.builds(Broadcast, st.text(min_size=1), OBJECTS, st.binary(max_size=3000)),
    st.builds(SetAttributes, OBJECTS),
    st.builds(UnknownRequest, st.text(max_size=20).filter(lambda type: type not in TYPES)),
)
ON_CALLS: st.SearchStrategy[Request] = st.one_of(
    st.builds(OpenCall, st.sampled_from("XY")),
    st.builds(CallChunk, st.sampled_from("XY"), CONTENTS),
    st.builds(AnswerCall, st.integers(0, 9), st.just(Control("open")) | st.builds(Error, st.text())),
    st.builds(AnswerChunk, st.integers(0, 9), st.sampled_from("XY"), CONTENTS),
)
NUMBERS = st.integers(0, 3) | st.integers(0, 2**32 - 1)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw a body: an envelope, more or less."""
    names = ["to_participant_id", "type", "message", "participants", "__meshagent__"]
    names += ["toolkit", "tool", "arguments", "tool_call_id", "chunk", "json", "message_json", "attachment_base64"]
    keys = st.sampled_from(names) | st.text(max_size=5)
    header = draw(st.dictionaries(keys, JSON_VALUES | OBJECTS | IDS, max_size=5))
    text = draw(st.just(json.dumps(header).encode()) | st.binary(max_size=40))
    length = draw(st.just(len(text)) | st.integers(0, 2**64 - 1))
    return draw(st.just(struct.pack(">Q", length) + text + draw(st.binary(max_size=9))) | st.just(text))


@st.composite
def packets(draw: st.DrawFn) -> list[bytes]:
    """Draw packets: of a request, of a message with any body, or of nothing sensible; then perhaps spoil them."""
    id = draw(st.integers(0, 3) | st.integers(0, 2**64 - 1))
    kind = draw(st.sampled_from(["request", "body", "packets", "bytes"]))
    if kind == "request":
        drawn = packets_of(draw(REQUESTS | ON_CALLS), id)
    elif kind == "body":
        type = draw(st.sampled_from(TYPES)).encode()
        drawn = [struct.pack(">QII", id, 0, 1) + type, struct.pack(">QI", id, 1) + draw(bodies())]
    elif kind == "packets":
        ids = st.integers(0, 2)
        pieces = st.tuples(ids, NUMBERS, st.binary(max_size=30)).map(lambda p: struct.pack(">QI", p[0], p[1]) + p[2])
        drawn = draw(st.lists(pieces, max_size=6))
    else:
        drawn = draw(st.lists(st.binary(max_size=40), max_size=4))
    match draw(st.sampled_from(["whole", "whole", "swapped", "repeated", "cut", "flipped"])):
        case "swapped":
            drawn = drawn[::-1]
        case "repeated":
            drawn = drawn + drawn[:1]
        case "cut" if drawn:
            drawn = [*drawn[:-1], drawn[-1][: draw(st.integers(0, len(drawn[-1])))]]
        case "flipped" if drawn and drawn[-1]:
            at = draw(st.integers(0, len(drawn[-1]) - 1))
            spoiled = bytearray(drawn[-1])
            spoiled[at] ^= 1 << draw(st.integers(0, 7))
            drawn = [*drawn[:-1], bytes(spoiled)]
    return drawn


def converse(hall: Hall) -> None:
    """Let Ben write to Eve and compare what they read."""
    read(hall["ben"]), read(hall["eve"])
    hall["ben"].feed(packets_of(Send("p-4", "chat", {"text": "hi"}, b"\x01"), 77))
    assert read(hall["ben"]) == [Reply(77, Empty())]
    assert read(hall["eve"]) == [Push("p-2", "chat", {"text": "hi"}, b"\x01")]


@examples(300)
@given(st.lists(packets(), max_size=6))
def test_any_packets_cost_at_most_their_senders_seat(batches: list[list[bytes]]) -> None:
    """Nothing but a ProtocolError comes of it, which can be given as a reason, and the others go on talking."""
    hall = Hall("mal", "ben", "eve")
    mal = hall["mal"]

    for batch in batches:
        mal.feed(batch)

    assert (mal.state is SeatState.LOST) == (mal.fault is not None)
    if mal.fault is not None:
        assert type(mal.fault) is ProtocolError
        assert len(encode_close(mal.fault.code, str(mal.fault), None)) > 4
    read(mal)
    converse(hall)


@examples(300)
@given(st.lists(REQUESTS, max_size=8))
def test_any_requests_are_answered_and_nobody_loses_a_seat(requests: list[Request]) -> None:
    """Each but attributes gets one reply under its id, in order; what is right in form never ends a connection."""
    hall = Hall("mal", "ben", "eve")
    mal = hall["mal"]

    for id, request in enumerate(requests):
        mal.feed(packets_of(request, id))

    assert mal.fault is None
    replies = [item.request_id for item in read(mal) if isinstance(item, Reply)]
    assert replies == [id for id, request in enumerate(requests) if not isinstance(request, SetAttributes)]
    converse(hall)


# --- on a wire --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def witnesses() -> Iterator[tuple[Emulator, RawClient, RawClient]]:
    """Return an emulator and two participants of its room."""
    with Emulator() as emulator, RawClient(emulator, "ben") as ben, RawClient(emulator, "eve") as eve:
        yield emulator, ben, eve


FRAMES = st.one_of(
    packets().map(lambda drawn: b"".join(frame(0x82, packet) for packet in drawn)),
    st.builds(frame, st.integers(0, 255), st.binary(max_size=200)),
    st.builds(frame, st.integers(0, 255), st.binary(max_size=20), length=st.integers(0, 2**64 - 1)),
    st.binary(max_size=60),
)


@examples(60, suppress=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(FRAMES, max_size=4))
def test_any_bytes_cost_at_most_their_senders_connection(
    witnesses: tuple[Emulator, RawClient, RawClient], data: list[bytes]
) -> None:
    """Whatever comes behind the handshake, the others in the room go on talking."""
    emulator, ben, eve = witnesses
    with RawClient(emulator, "mal") as mal:
        with suppress(OSError):
            mal.ws.socket.sendall(b"".join(data))
            mal.ws.socket.shutdown(socket.SHUT_RDWR)  # Goodbye might be taken for the rest of a frame.
    ben.ask(Send(eve.id, "mark", {}), 77)
    while not isinstance(heard := eve.read(), Push) or heard.sender != ben.id:
        pass
    assert heard == Push(ben.id, "mark", {})
    while not isinstance(answer := ben.read(), Reply):
        pass
    assert answer == Reply(77, Empty())
