"""Packets: what goes out is what official senders write, and nothing else comes in."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.errors import ProtocolError
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, PACKET_SIZE, Reassembler, WireMessage, split
from tests.support.effort import peak_of
from tests.support.profiles import examples

PROPERTY = examples(300)

IDS = st.integers(0, 2**64 - 1)
TYPES = st.text(max_size=30)


def start(message_id: int, count: int, type: str | bytes = b"t") -> bytes:
    """Return a start packet, right or wrong."""
    return struct.pack(">QII", message_id, 0, count) + (type.encode() if isinstance(type, str) else type)


def piece(message_id: int, index: int, data: bytes = b"x") -> bytes:
    """Return a body packet, right or wrong."""
    return struct.pack(">QI", message_id, index) + data


def feed(packets: Iterable[bytes | memoryview], max_size: int = MAX_MESSAGE_SIZE) -> list[WireMessage]:
    """Return the messages that a new reassembler makes of packets."""
    return list(Reassembler(max_size).feed(packets))


# --- split -----------------------------------------------------------------------------------------------------------


def test_message_is_split_as_documented() -> None:
    """The example of PROTOCOL.md, section 4.1, comes out byte by byte."""
    body = (2).to_bytes(8, "big") + b"{}"
    assert [packet.hex() for packet in split(1, "messaging.enable", body)] == [
        "000000000000000100000000000000016d6573736167696e672e656e61626c65",
        "00000000000000010000000100000000000000027b7d",
    ]


def test_empty_body_is_a_start_packet_alone() -> None:
    """A message without a body announces no packets and has none."""
    assert split(7, "t", b"") == [start(7, 0)]


@pytest.mark.parametrize(("length", "count"), [(1, 1), (1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3)])
def test_body_is_cut_every_1024_bytes(length: int, count: int) -> None:
    """A body of n bytes gives ceil(n / 1024) packets, all but the last of them full."""
    # ceil(1024 / 1024) = 1, ceil(1025 / 1024) = 2, and the start packet besides.
    packets = split(1, "t", bytes(length))
    assert packets[0] == start(1, count)
    assert [len(packet) - 12 for packet in packets[1:]] == [1024] * (count - 1) + [length - 1024 * (count - 1)]
    assert PACKET_SIZE == 1024


@pytest.mark.parametrize("size", [0, -1])
def test_packet_size_below_one_is_refused(size: int) -> None:
    """Packets that hold nothing cannot carry a body."""
    with pytest.raises(ValueError, match="at least 1"):
        split(1, "t", b"body", size)


@pytest.mark.parametrize("message_id", [0, 1, 2**64 - 1])
def test_extreme_ids_survive(message_id: int) -> None:
    """Ids are unsigned, have 64 bits, and begin with 0 where TypeScript speaks."""
    assert [message.id for message in feed(split(message_id, "t", b"body"))] == [message_id]


@PROPERTY
@given(IDS, TYPES, st.binary(max_size=300), st.integers(1, 310), st.booleans(), st.booleans())
def test_message_survives_any_packet_size(
    message_id: int, type: str, body: bytes, size: int, as_view: bool, fed_as_views: bool
) -> None:
    """What is split is put together again, whatever the size of packets and the kind of buffer."""
    packets: Iterable[bytes | memoryview] = split(message_id, type, memoryview(body) if as_view else body, size)
    assert feed(map(memoryview, packets) if fed_as_views else packets) == [WireMessage(message_id, type, body)]


@PROPERTY
@given(IDS, st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.integers(1, 130))
def test_pieces_make_the_packets_of_the_whole(message_id: int, pieces: list[bytes], size: int) -> None:
    """Where a body is cut into pieces shows in no packet, be pieces empty, longer than packets or shorter."""
    begin, *more = pieces
    views = [memoryview(bytearray(piece)) for piece in more]
    assert split(message_id, "t", begin, size, views) == split(message_id, "t", b"".join(pieces), size)


# --- reassembly ------------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(st.tuples(IDS, TYPES, st.binary(max_size=40)), max_size=6), st.data())
def test_messages_arrive_however_packets_are_grouped(
    messages: list[tuple[int, str, bytes]], data: st.DataObject
) -> None:
    """Packets may be fed one by one, all at once, or in any groups between."""
    packets = [packet for message in messages for packet in split(*message, 7)]
    reassembler, arrived = Reassembler(), []
    while packets:
        taken = data.draw(st.integers(1, len(packets)))
        arrived += [(m.id, m.type, bytes(m.body)) for m in reassembler.feed(packets[:taken])]
        del packets[:taken]
    assert arrived == messages


PAIRS = [
    split(7, "chat", b"{}"),
    split(7, "chat", b"x" * 20),
    split(7, "", b"{}"),
    split(7, "é" * 600, b"{}"),
    [split(7, "chat", b"{}")[0], split(8, "chat", b"{}")[1]],
    [split(7, "chat", b"{}")[1], split(7, "chat", b"{}")[0]],
    [split(7, "chat", b"{}")[0], b"short"],
    [b"short", split(7, "chat", b"{}")[1]],
    [split(7, "chat", b"{}")[0] + b"\xff", split(7, "chat", b"{}")[1]],
    split(7, "chat", b"x" * 30, 15)[:2],
    [*split(7, "chat", b""), *split(8, "chat", b"")],
]


@pytest.mark.parametrize("packets", PAIRS, ids=range(len(PAIRS)))
def test_two_packets_at_once_are_read_as_one_after_the_other(packets: list[bytes]) -> None:
    """The short way of a message that comes whole gives the same messages and faults as the long one."""

    def read(reassembler: Reassembler, groups: Iterable[list[bytes]]) -> list[object]:
        came: list[object] = []
        try:
            for group in groups:
                came += [(message.id, message.type, bytes(message.body)) for message in reassembler.feed(group)]
        except ProtocolError as error:
            came.append((str(error), error.code))
        return came

    for limit in (16, 1024):
        assert read(Reassembler(limit), [packets]) == read(Reassembler(limit), [[packet] for packet in packets])


def test_packets_of_any_size_make_a_message() -> None:
    """Only count and order of packets matter; their sizes may differ and may be zero."""
    packets = [
        start(9, 5),
        piece(9, 1, b""),
        piece(9, 2, b"ab"),
        piece(9, 3, bytes(5000)),
        piece(9, 4, b""),
        piece(9, 5),
    ]
    assert feed(packets) == [WireMessage(9, "t", b"ab" + bytes(5000) + b"x")]


def test_empty_packets_alone_make_an_empty_body() -> None:
    """A message may announce packets and fill none of them."""
    assert feed([start(9, 2), piece(9, 1, b""), piece(9, 2, b"")]) == [WireMessage(9, "t", b"")]


def test_bodies_are_independent_of_later_messages() -> None:
    """A body that has been handed out stays as it was while more messages arrive."""
    reassembler = Reassembler()
    (first,) = reassembler.feed(split(1, "t", b"first body", 3))
    list(reassembler.feed(split(2, "t", b"second", 3)))
    assert bytes(first.body) == b"first body"


FAULTS = {
    "body packet between messages": [piece(1, 1, b"long enough for a start packet")],
    "short body packet between messages": [piece(1, 1, b"")],
    "start packet inside a message": [start(1, 2), piece(1, 1), start(2, 1), piece(2, 1)],
    "start packet again": [start(1, 2), start(1, 2)],
    "foreign id": [start(1, 2), piece(2, 1)],
    "foreign id later": [start(1, 3), piece(1, 1), piece(2, 2)],
    "interleaved messages": [start(1, 2), start(2, 2), piece(1, 1), piece(2, 1), piece(1, 2), piece(2, 2)],
    "packet left out": [start(1, 3), piece(1, 1), piece(1, 3)],
    "packet repeated": [start(1, 3), piece(1, 1), piece(1, 1)],
    "packets swapped": [start(1, 2), piece(1, 2), piece(1, 1)],
    "first index 2": [start(1, 2), piece(1, 2)],
    "fewer announced than sent": [start(1, 1), piece(1, 1), piece(1, 2)],
    "none announced, one sent": [start(1, 0), piece(1, 1)],
    "more announced than sent": [start(1, 3), piece(1, 1), piece(1, 2), start(2, 0)],
    "empty packet": [b""],
    "start packet of 15 bytes": [start(1, 1, b"")[:15]],
    "body packet of 11 bytes": [start(1, 1), piece(1, 1)[:11]],
    "empty packet inside a message": [start(1, 1), b""],
    "type that is not UTF-8": [start(1, 1, b"\xff")],
    "type with half a surrogate pair": [start(1, 1, b"\xed\xa0\x80")],
}


@pytest.mark.parametrize("packets", FAULTS.values(), ids=FAULTS)
def test_fault_is_a_protocol_error(packets: list[bytes]) -> None:
    """Each fault of PROTOCOL.md, section 4.2, raises, in bytes and in views, after the messages before it."""
    for form in (bytes, memoryview):
        messages = Reassembler().feed([*map(form, split(5, "before", b"intact", 4)), *map(form, packets)])
        assert next(messages) == WireMessage(5, "before", b"intact")
        with pytest.raises(ProtocolError):
            list(messages)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("foreign id", "message 2 came inside message 1"),
        ("start packet again", "a start packet came in place of body packet 1 of message 1"),
        ("packet left out", "body packet 3 came in place of body packet 2 of message 1"),
        ("body packet between messages", "body packet 1 of message 1 came where a message has to start"),
    ],
)
def test_fault_is_named(name: str, text: str) -> None:
    """The error says what came and what should have come."""
    with pytest.raises(ProtocolError, match=text):
        feed(FAULTS[name])


def test_body_up_to_the_limit_is_taken() -> None:
    """A body of exactly the limit arrives, in one packet or several."""
    # 10 = 10 and 4 + 4 + 2 = 10 bytes, the limit.
    assert [bytes(m.body) for size in (10, 4) for m in feed(split(1, "t", bytes(10), size), max_size=10)] == [
        bytes(10)
    ] * 2


@pytest.mark.parametrize("size", [11, 4, 1])
def test_body_over_the_limit_is_refused(size: int) -> None:
    """A body one byte over the limit raises with the close code for what is too big."""
    # 11 = 11, 4 + 4 + 3 = 11 and 11 * 1 = 11 bytes, one more than 10.
    with pytest.raises(ProtocolError, match="more than 10 bytes") as caught:
        feed(split(1, "t", bytes(11), size), max_size=10)
    assert caught.value.code == 1009


def test_limit_is_for_each_message_anew() -> None:
    """Messages that keep the limit each may exceed it together."""
    # 3 messages of 8 bytes are 24, and the limit is 10.
    packets = [packet for message_id in range(3) for packet in split(message_id, "t", bytes(8), 5)]
    assert len(feed(packets, max_size=10)) == 3


def test_message_is_limited_to_4_mib() -> None:
    """The limit is 4 MiB unless another is asked for."""
    # 4 * 1024 * 1024 = 4,194,304.
    assert MAX_MESSAGE_SIZE == 4_194_304 == Reassembler().max_size


@pytest.mark.parametrize(("length", "is_taken"), [(0, True), (1024, True), (1025, False)])
def test_type_is_limited_to_1024_bytes(length: int, is_taken: bool) -> None:
    """A type of up to 1024 bytes arrives; a longer one raises instead of taking memory without a bound."""
    packets = [start(1, 0, b"a" * length)]
    if is_taken:
        assert feed(packets) == [WireMessage(1, "a" * length, b"")]
    else:
        with pytest.raises(ProtocolError, match="more than 1024 bytes"):
            feed(packets)


def test_tiny_packets_take_no_more_memory_than_their_content() -> None:
    """A peer that cuts its body into single bytes cannot make its room keep an object for each."""

    # 20,000 views take 20,000 * 184 = 3.7 MB; their bytes are 20 KB, and growing a buffer may double that for a moment.
    def receive() -> None:
        reassembler = Reassembler()
        list(reassembler.feed([start(1, 20_001)]))
        list(reassembler.feed(piece(1, index) for index in range(1, 20_001)))

    assert peak_of(receive) < 200_000


@PROPERTY
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_a_protocol_error_and_nothing_else(packets: list[bytes]) -> None:
    """Packets of arbitrary bytes make messages or raise ProtocolError."""
    try:
        messages = feed(packets)
    except ProtocolError:
        return
    assert all(isinstance(message, WireMessage) for message in messages)


@PROPERTY
@given(
    st.lists(
        st.one_of(
            st.builds(start, st.integers(0, 2), st.integers(0, 3), TYPES),
            st.builds(piece, st.integers(0, 2), st.integers(0, 3), st.binary(max_size=4)),
        ),
        max_size=12,
    )
)
def test_only_well_formed_sequences_are_taken(packets: list[bytes]) -> None:
    """Whatever is taken splits, piece by piece, into the very packets that came."""
    reassembler = Reassembler()
    try:
        messages = list(reassembler.feed(packets))
    except ProtocolError:
        return
    starts = _starts(packets)
    complete = packets if len(messages) == len(starts) else packets[: starts[-1]]
    bodies = b"".join(packet[12:] for packet in complete if packet[8:12] != bytes(4))
    assert b"".join(bytes(message.body) for message in messages) == bodies
    assert [m.id for m in messages] == [int.from_bytes(complete[at][:8], "big") for at in _starts(complete)]


def _starts(packets: list[bytes]) -> list[int]:
    return [at for at, packet in enumerate(packets) if packet[8:12] == bytes(4)]
