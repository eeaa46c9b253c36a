"""Frames against the independent implementation of ``websockets``, and against what RFC 6455 forbids."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Close, Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import Protocol, Side, State

from meshsync.errors import ProtocolError
from meshsync.protocol import frames
from meshsync.protocol.frames import (
    BATCH_BYTES,
    BATCH_PACKETS,
    CloseFrame,
    FrameDecoder,
    Opcode,
    apply_mask,
    batches,
    count_started,
    encode,
    encode_close,
    encode_control,
    mask_in_python,
)

SIZES = st.one_of(
    st.integers(0, 300), st.sampled_from([125, 126, 127, 1024, 1036, 65535, 65536, 65537]), st.integers(0, 4000)
)
KEY = b"\x01\x80\xff\x37"


def packet_of(size: int, seed: int) -> bytes:
    """Return ``size`` bytes that look like frames themselves here and there."""
    pattern = bytes([0x82, 0x7E, 0x04, 0x00, seed % 256, 0x80, 0x88, 0xFE])
    return (pattern * (size // 8 + 1))[:size]


PACKETS = st.lists(st.builds(packet_of, SIZES, st.integers(0, 255)), max_size=40)


@st.composite
def packets_with_runs(draw: st.DrawFn) -> list[bytes]:
    """Draw runs of equally long packets, as senders of streams make them."""
    packets: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        size, length = draw(SIZES), draw(st.integers(1, 60))
        packets += [packet_of(min(size, 2000), draw(st.integers(0, 255)))] * length
    return packets


def keys_for(packets: list[bytes]) -> bytes:
    """Return a key for each packet."""
    return bytes((7 * number + 1) % 256 for number in range(4 * len(packets)))


def decode(data: bytes, cuts: list[int], *, masked: bool = False, max_size: int = 16 << 20) -> list[bytes]:
    """Feed ``data`` cut at the given places and return the packets."""
    decoder = FrameDecoder(masked=masked, max_size=max_size, mask=mask_in_python)
    packets: list[bytes] = []
    for begin, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})):
        decoder.feed(data[begin:end], packets)
    return packets


def fault_of(data: bytes, *, masked: bool = False, max_size: int = 1000) -> ProtocolError:
    """Return the fault that decoding ``data`` raises."""
    with pytest.raises(ProtocolError) as caught:
        FrameDecoder(masked=masked, max_size=max_size).feed(data, [])
    return caught.value


# --- against the other implementation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False], ids=["client", "server"])
@given(packets=PACKETS)
@example(packets=[b""])
def test_what_we_encode_they_parse(masked: bool, packets: list[bytes]) -> None:
    """The other implementation, in the opposite role, reads exactly our packets."""
    theirs = Protocol(Side.SERVER if masked else Side.CLIENT, state=State.OPEN, max_size=None)
    theirs.receive_data(encode(packets, keys_for(packets) if masked else None, mask=mask_in_python))
    events = theirs.events_received()
    assert [bytes(frame.data) for frame in events if isinstance(frame, Frame)] == packets
    assert all(isinstance(frame, Frame) and frame.opcode is TheirOpcode.BINARY and frame.fin for frame in events)


@pytest.mark.parametrize("masked", [True, False], ids=["from_client", "from_server"])
@given(packets=st.one_of(PACKETS, packets_with_runs()), cuts=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_what_they_encode_we_parse_in_any_chunking(masked: bool, packets: list[bytes], cuts: list[int]) -> None:
    """However their frames are cut on the way, and whether or not they come in runs, the packets are theirs."""
    data = b"".join(Frame(TheirOpcode.BINARY, packet).serialize(mask=masked) for packet in packets)
    assert decode(data, cuts, masked=masked) == packets


@given(
    pieces=st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=5), max_size=6),
    cuts=st.lists(st.integers(0, 1 << 14), max_size=6),
)
def test_fragments_are_joined_around_control_frames(pieces: list[list[bytes]], cuts: list[int]) -> None:
    """A message in several frames, pings and pongs in between, is one packet."""
    data = b""
    for fragments in pieces:
        for number, fragment in enumerate(fragments):
            opcode = TheirOpcode.CONT if number else TheirOpcode.BINARY
            data += Frame(opcode, fragment, fin=number == len(fragments) - 1).serialize(mask=False)
            data += Frame(TheirOpcode.PING, b"p").serialize(mask=False)
            data += Frame(TheirOpcode.PONG, b"q").serialize(mask=False)
    assert decode(data, cuts) == [b"".join(fragments) for fragments in pieces]


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_garbage_is_judged_alike_in_any_chunking(data: bytes, cuts: list[int]) -> None:
    """Any bytes give the same packets and the same fault, however they are cut, and raise nothing else."""
    outcomes = []
    for places in (cuts, list(range(300))):
        decoder = FrameDecoder(masked=False, max_size=100)
        packets: list[bytes] = []
        fault = None
        try:
            for begin, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in places)})):
                decoder.feed(data[begin:end], packets)
        except ProtocolError as error:
            fault = (str(error), error.code)
        outcomes.append((packets, fault, decoder.close))
    assert outcomes[0] == outcomes[1]


@given(code=st.sampled_from([1000, 1001, 1011, 3000, 4999]), reason=st.text(max_size=200))
def test_our_goodbye_is_understood(code: int, reason: str) -> None:
    """They read our code, and our reason, cut between characters to what a control frame can carry."""
    theirs = Protocol(Side.SERVER, state=State.OPEN)
    theirs.receive_data(encode_close(code, reason, KEY))
    assert theirs.close_rcvd is not None
    assert theirs.close_rcvd.code == code
    sendable = reason.encode("utf-8", "replace").decode()
    assert sendable.startswith(theirs.close_rcvd.reason)
    if len(sendable.encode()) <= 123:
        assert theirs.close_rcvd.reason == sendable


@given(data=st.binary(max_size=3000), key=st.binary(min_size=4, max_size=4))
def test_the_masks_agree(data: bytes, key: bytes) -> None:
    """The mask by arithmetic, the fastest one, and the definition give the same; twice gives the data back."""
    masked = mask_in_python(data, key)
    assert masked == bytes(byte ^ key[place % 4] for place, byte in enumerate(data))
    assert masked == apply_mask(data, key)
    assert mask_in_python(masked, key) == data


def test_without_the_extra_the_mask_is_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``websockets`` has no mask in C, or is not installed, arithmetic takes its place."""
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert frames._fastest_mask() is mask_in_python


def test_a_large_payload_is_masked_alike() -> None:
    """Beyond the size up to which multipliers are kept, the result is the same."""
    data = packet_of(300_001, 5)
    assert mask_in_python(mask_in_python(data, KEY), KEY) == data
    assert mask_in_python(data, KEY)[-3:] == bytes(a ^ b for a, b in zip(data[-3:], b"\xff\x37\x01", strict=True))


# --- encoding ---------------------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_the_standard() -> None:
    """Two packets masked with two keys, one buffer. Source: RFC 6455, section 5.7, with the opcode of binary."""
    assert encode([b"Hello"], b"\x37\xfa\x21\x3d") == bytes.fromhex("82 85 37fa213d 7f9f4d5158")
    assert encode([b"Hello", b""], b"\x37\xfa\x21\x3dABCD") == bytes.fromhex("82 85 37fa213d 7f9f4d5158 82 80 41424344")
    assert encode([b"Hello"], None) == bytes.fromhex("82 05 48656c6c6f")
    assert encode_control(Opcode.PONG, b"Hello", b"\x37\xfa\x21\x3d") == bytes.fromhex("8a 85 37fa213d 7f9f4d5158")


@pytest.mark.parametrize(("size", "header"), [(125, "827d"), (126, "827e007e"), (65536, "827f0000000000010000")])
def test_lengths_are_written_in_their_shortest_form(size: int, header: str) -> None:
    """7 bits up to 125, 16 up to 65535, else 64."""
    assert encode([bytes(size)], None) == bytes.fromhex(header) + bytes(size)


def test_keys_must_be_as_many_as_packets() -> None:
    """A key too few or too many is refused: none may be used twice."""
    for size in (4, 12):
        with pytest.raises(ValueError, match="8 bytes of keys"):
            encode([b"a", b"b"], bytes(size))


def test_control_frames_carry_125_bytes_at_most() -> None:
    """One more is refused, and so is a code that must not be sent."""
    assert len(encode_control(Opcode.PING, bytes(125), None)) == 127
    with pytest.raises(ValueError, match="125"):
        encode_control(Opcode.PING, bytes(126), None)
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match=str(code)):
            encode_close(code, "", None)


def test_a_goodbye_may_be_empty() -> None:
    """Without a code there is no reason either."""
    assert encode_close(None, "ignored", None) == b"\x88\x00"


@given(packets=st.lists(st.builds(bytes, st.sampled_from([0, 10, 1024, 100_000, 300_000])), max_size=200))
def test_batches_keep_order_and_bounds(packets: list[bytes]) -> None:
    """Together the batches are the packets; each holds 1 to 64 of them and, if several, at most 256 KiB."""
    cut = [list(batch) for batch in batches(packets)]
    assert [packet for batch in cut for packet in batch] == packets
    assert all(1 <= len(batch) <= BATCH_PACKETS for batch in cut)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= BATCH_BYTES for batch in cut)


@given(packets=PACKETS, masked=st.booleans())
def test_frames_begun_before_a_byte_are_counted(packets: list[bytes], masked: bool) -> None:
    """At each frame's first byte the count is of those before it, one byte on it is one more."""
    keys = keys_for(packets) if masked else None
    at = 0
    for number, packet in enumerate(packets):
        data = encode(packets, keys)
        assert count_started(data, at) == number
        assert count_started(data, at + 1) == number + 1
        at += len(encode([packet], KEY if masked else None))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ("c200", 1002, "reserved bit"),
        ("a200", 1002, "reserved bit"),
        ("9200", 1002, "reserved bit"),
        ("8300", 1002, "reserved opcode 0x3"),
        ("8700", 1002, "reserved opcode 0x7"),
        ("8b00", 1002, "reserved opcode 0xb"),
        ("8f00", 1002, "reserved opcode 0xf"),
        ("8100", 1003, "binary only"),
        ("0100", 1003, "binary only"),
        ("828000000000", 1002, "masked frame from a server"),
        ("898000000000", 1002, "masked frame from a server"),
        ("897e007e", 1002, "more than 125"),
        ("887f", 1002, "more than 125"),
        ("0900", 1002, "fragmented control"),
        ("0800", 1002, "fragmented control"),
        ("827e007d", 1002, "shortest form"),
        ("827f000000000000ffff", 1002, "shortest form"),
        ("827f8000000000000000", 1002, "highest bit"),
        ("827fffffffffffffffff", 1002, "highest bit"),
        ("8000", 1002, "continuation of nothing"),
        ("0000", 1002, "continuation of nothing"),
        ("02008200", 1002, "inside a fragmented"),
        ("02000200", 1002, "inside a fragmented"),
        ("0200800080", 1002, "continuation of nothing"),
        ("827e03e9", 1009, "more than 1000"),
        ("827f0000000001000000", 1009, "more than 1000"),
        ("880100", 1002, "half a code"),
        ("880203ec", 1002, "1004"),
        ("880203ed", 1002, "1005"),
        ("880203ee", 1002, "1006"),
        ("880203f7", 1002, "1015"),
        ("880203e7", 1002, "999"),
        ("88020bb7", 1002, "2999"),
        ("88021388", 1002, "5000"),
        ("880403e8c328", 1007, "UTF-8"),
    ],
)
def test_a_breach_is_told_by_its_code(frame: str, code: int, says: str) -> None:
    """Each rule of RFC 6455 that a server can break raises, as soon as the bytes that show it are there."""
    data = bytes.fromhex(frame)
    if frame == "0200800080":
        data += b"\x00"
    fault = fault_of(data)
    assert fault.code == code
    assert says in str(fault)


def test_an_unmasked_frame_from_a_client_is_refused() -> None:
    """The server's role demands the mask."""
    assert "unmasked" in str(fault_of(b"\x82\x00", masked=True))


def test_a_breach_inside_a_run_is_seen() -> None:
    """50 equal frames, then one of the same length with a reserved bit: the 50 come, then the fault."""
    decoder = FrameDecoder(masked=False)
    packets: list[bytes] = []
    good = encode([b"x" * 200], None)
    with pytest.raises(ProtocolError):
        decoder.feed(good * 50 + b"\xc2" + good[1:] + good, packets)
    assert packets == [b"x" * 200] * 50


def test_a_masked_frame_inside_a_run_is_refused() -> None:
    """The mask bit of each frame of a run is looked at."""
    decoder = FrameDecoder(masked=False)
    packets: list[bytes] = []
    good = encode([b"x" * 50], None)
    with pytest.raises(ProtocolError, match="masked frame"):
        decoder.feed(good * 20 + bytes([good[0], good[1] | 0x80]) + good[2:] * 2, packets)
    assert len(packets) == 20


def test_fragments_together_obey_the_limit() -> None:
    """1,000 bytes in fragments are a packet, 1,001 a fault; control frames in between do not count."""
    fragment = b"\x02\x7e\x01\xf4" + bytes(500)
    decoder = FrameDecoder(masked=False, max_size=1000)
    packets: list[bytes] = []
    decoder.feed(fragment + b"\x89\x64" + bytes(100) + b"\x80\x7e\x01\xf4" + bytes(500), packets)
    assert packets == [bytes(1000)]
    assert fault_of(fragment + b"\x80\x7e\x01\xf5").code == 1009


def test_after_a_fault_every_feed_raises_again() -> None:
    """A decoder that met a fault never goes on as if nothing had been."""
    decoder = FrameDecoder(masked=False)
    for data in (b"\x81\x00", encode([b"fine"], None)):
        packets: list[bytes] = []
        with pytest.raises(ProtocolError) as caught:
            decoder.feed(data, packets)
        assert (caught.value.code, packets) == (1003, [])


# --- control frames ---------------------------------------------------------------------------------------------------


def test_only_the_latest_ping_is_kept() -> None:
    """Of several pings the last is to be answered, once."""
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"".join(encode_control(Opcode.PING, b"%d" % number, None) for number in range(9)), [])
    assert decoder.take_ping() == b"8"
    assert decoder.take_ping() is None


def test_an_empty_ping_is_a_ping() -> None:
    """No payload is not no ping."""
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"\x89\x00", [])
    assert decoder.take_ping() == b""


def test_bytes_behind_the_goodbye_are_ignored() -> None:
    """Packets before it come, packets and faults behind it don't, in the same feed or a later one."""
    decoder = FrameDecoder(masked=False)
    packets: list[bytes] = []
    goodbye = Frame(TheirOpcode.CLOSE, Close(1001, "bye").serialize()).serialize(mask=False)
    decoder.feed(encode([b"before"], None) + goodbye + encode([b"behind"], None) + b"\xff\xff", packets)
    decoder.feed(b"\xff\xff", packets)
    assert packets == [b"before"]
    assert decoder.close == CloseFrame(1001, "bye")


def test_a_goodbye_without_a_code_is_told_apart() -> None:
    """An empty close frame is allowed and has no code."""
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"\x88\x00", [])
    assert decoder.close == CloseFrame(None, "")


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_codes_that_may_be_sent_are_taken(code: int) -> None:
    """The ends of each range of RFC 6455, section 7.4, and of its registry."""
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"\x88\x02" + struct.pack("!H", code), [])
    assert decoder.close == CloseFrame(code, "")


# --- cost -------------------------------------------------------------------------------------------------------------


def test_a_large_packet_in_small_reads_is_joined_once() -> None:
    """4 MiB in reads of 512 bytes: until the last one, nothing is joined, so the cost is linear."""
    decoder = FrameDecoder(masked=False)
    packets: list[bytes] = []
    data = encode([bytes(4 << 20)], None)
    for begin in range(0, len(data), 512):
        assert packets == []
        decoder.feed(data[begin : begin + 512], packets)
    assert packets == [bytes(4 << 20)]


def test_a_flood_of_empty_fragments_holds_no_memory() -> None:
    """A message of 100,000 empty fragments is one empty packet; what is held does not grow with their number."""
    decoder = FrameDecoder(masked=False, max_size=10)
    packets: list[bytes] = []
    decoder.feed(b"\x02\x00" + b"\x00\x00" * 100_000 + b"\x80\x00", packets)
    assert packets == [b""]


@given(
    sizes=st.lists(st.integers(0, 300), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    is_fragmented=st.booleans(),
    masked=st.booleans(),
)
def test_a_packet_that_is_too_large_is_cut_where_that_is_asked_for(
    sizes: list[int], cuts: list[int], is_fragmented: bool, masked: bool
) -> None:
    """Of each packet the first 100 bytes are kept, in any chunking; what follows it is read as if nothing had been."""
    packets = [bytes((number + 7 * at) % 256 for at in range(size)) for number, size in enumerate(sizes)]
    data = b""
    for packet in packets:
        parts = [packet[:70], packet[70:150], packet[150:]] if is_fragmented else [packet]
        for number, part in enumerate(parts):
            opcode = TheirOpcode.CONT if number else TheirOpcode.BINARY
            data += Frame(opcode, part, fin=number == len(parts) - 1).serialize(mask=masked)
            data += Frame(TheirOpcode.PING, b"p").serialize(mask=masked)
    decoder, read = FrameDecoder(masked=masked, max_size=100, longest=300, mask=mask_in_python), list[bytes]()
    for begin, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})):
        decoder.feed(data[begin:end], read)
    assert read == [packet[:100] for packet in packets]


def test_a_frame_beyond_the_longest_is_a_fault() -> None:
    """One byte less is cut."""
    decoder, packets = FrameDecoder(masked=False, max_size=100, longest=300), list[bytes]()
    decoder.feed(encode([bytes(300)], None), packets)
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(encode([bytes(301)], None), packets)
    assert (packets, caught.value.code) == ([bytes(100)], 1009)


def test_what_is_cut_off_is_not_held() -> None:
    """Of 40 MiB in reads of 1 MiB, a decoder that cuts at 1 MiB never holds more than three."""
    decoder, packets, read = (
        FrameDecoder(masked=False, max_size=1 << 20, longest=1 << 30),
        list[bytes](),
        bytes(1 << 20),
    )
    decoder.feed(encode([bytes(40 << 20)], None)[:10], packets)
    tracemalloc.start()
    for _ in range(40):
        decoder.feed(read, packets)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ([len(packet) for packet in packets], peak < 6 << 20) == ([1 << 20], True), peak
    decoder.feed(encode([b"next"], None), packets)
    assert packets[1] == b"next"
