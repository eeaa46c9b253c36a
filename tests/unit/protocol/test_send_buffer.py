"""The order and the bounds of what goes out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol.frames import FrameDecoder, encode
from meshsync.protocol.send_buffer import RESERVE, SendBuffer
from tests.support.interrupts import Interrupt

PONG, PING, BYE = b"\x8a\x01p", b"\x89\x01q", b"\x88\x00"


def put(buffer: SendBuffer, *packets: bytes) -> int:
    """Accept packets as one batch and return its size."""
    data = encode(packets, None)
    buffer.accept([(data, len(packets))], len(data))
    return len(data)


def drain(buffer: SendBuffer) -> bytes:
    """Write everything and return it."""
    out = b""
    while data := bytes(buffer.take()):
        buffer.advance(len(data))
        out += data
    return out


def test_packets_go_out_in_order() -> None:
    """Small batches are joined into one write."""
    buffer = SendBuffer()
    size = put(buffer, b"a") + put(buffer, b"b", b"c") + put(buffer, b"d")
    assert buffer.take() == encode([b"a", b"b", b"c", b"d"], None)
    assert (buffer.bytes_buffered, buffer.packets_started()) == (size, 0)
    assert drain(buffer) == encode([b"a", b"b", b"c", b"d"], None)
    assert (buffer.bytes_buffered, buffer.bytes_sent, buffer.packets_started()) == (0, size, 4)
    assert buffer.is_idle


def test_what_was_begun_is_offered_until_it_is_through() -> None:
    """After a part went, the rest comes next, before control frames and later packets."""
    buffer = SendBuffer()
    put(buffer, b"first", b"second")
    whole = bytes(buffer.take())
    assert buffer.bytes_on_way == len(whole)
    buffer.advance(3)
    buffer.put_pong(PONG)
    put(buffer, b"third")
    assert buffer.bytes_on_way == len(whole) - 3
    assert buffer.take() == whole[3:]
    assert buffer.packets_started() == 1
    buffer.advance(5)
    assert buffer.packets_started() == 2
    assert drain(buffer) == whole[8:] + PONG + encode([b"third"], None)


def test_a_repeated_take_gives_the_same_bytes() -> None:
    """What is offered does not change while nothing of it went, whatever is added."""
    buffer = SendBuffer()
    put(buffer, b"first")
    before = bytes(buffer.take())
    buffer.put_pong(PONG)
    put(buffer, b"second")
    buffer.put_bye(BYE)
    assert buffer.take() == before


def test_control_frames_overtake_packets() -> None:
    """A pong and a ping go before everything that was not begun."""
    buffer = SendBuffer()
    put(buffer, b"data")
    buffer.put_ping(PING)
    buffer.put_pong(PONG)
    assert drain(buffer) == PONG + PING + encode([b"data"], None)
    assert buffer.packets_started() == 1


def test_only_the_latest_pong_waits() -> None:
    """A thousand answers take the place of one."""
    buffer = SendBuffer()
    for number in range(1000):
        buffer.put_pong(b"\x8a\x02" + number.to_bytes(2, "big"))
    assert drain(buffer) == b"\x8a\x02\x03\xe7"


def test_the_goodbye_comes_last_and_nothing_after_it() -> None:
    """It waits for the packets; pongs asked for later are dropped; a second close frame is not sent."""
    buffer = SendBuffer()
    buffer.put_bye(BYE)
    put(buffer, b"data")
    buffer.put_bye(b"\x88\x02\x03\xe9")
    assert drain(buffer) == encode([b"data"], None) + BYE
    buffer.put_pong(PONG)
    assert drain(buffer) == b""


def test_the_goodbye_is_sent_when_its_last_byte_is() -> None:
    """Half a close frame is none."""
    buffer = SendBuffer()
    buffer.put_bye(BYE)
    seen = []
    for rest in (BYE, BYE[1:]):
        assert buffer.take() == rest
        buffer.advance(1)
        seen.append(buffer.bye_sent)
    assert seen == [False, True]


def test_dropped_packets_are_those_not_begun() -> None:
    """The one on its way is finished, the others are forgotten and not counted as started."""
    buffer = SendBuffer()
    put(buffer, bytes(70_000))
    put(buffer, b"never")
    buffer.put_bye(BYE)
    buffer.take()
    buffer.advance(10)
    buffer.drop_data()
    assert drain(buffer).endswith(b"\x00" + BYE)
    assert (buffer.packets_started(), buffer.bytes_buffered) == (1, 0)


def test_the_bound_is_in_bytes() -> None:
    """Up to the limit there is room; into an empty buffer anything goes."""
    buffer = SendBuffer(100)
    assert buffer.has_room(5000)
    size = put(buffer, bytes(60))
    assert buffer.has_room(100 - size)
    assert not buffer.has_room(101 - size)


@given(
    steps=st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([1, 2, 3]), st.just("pong")), max_size=60),
    portion=st.integers(1, 400),
)
def test_any_interleaving_is_a_sound_sequence_of_frames(steps: list[bytes | int | str], portion: int) -> None:
    """However writes are cut and control frames come in, a decoder finds the packets in order and no fault."""
    buffer = SendBuffer()
    decoder = FrameDecoder(masked=False)
    sent: list[bytes] = []
    received: list[bytes] = []
    for step in steps:
        if isinstance(step, bytes):
            put(buffer, step)
            sent.append(step)
        elif step == "pong":
            buffer.put_pong(PONG)
        else:
            data = bytes(buffer.take())[:portion]
            buffer.advance(len(data))
            decoder.feed(data, received)
            assert buffer.packets_started() >= len(received)
    decoder.feed(drain(buffer), received)
    assert received == sent
    assert buffer.packets_started() == len(sent)


def test_ctrl_c_leaves_it_as_before_or_behind_a_call() -> None:
    """Wherever it strikes while batches are accepted, joined and written, each goes out once and is counted once."""
    place, was_interrupted = 0, True
    while was_interrupted:
        place += 1
        buffer = SendBuffer()

        def use(buffer: SendBuffer = buffer) -> None:
            for n in range(3):
                put(buffer, b"%d" % n)
            buffer.advance(len(buffer.take()))

        was_interrupted = Interrupt(place).run(use)
        accepted, sent = buffer.packets_accepted, buffer.bytes_sent
        expected = encode([b"%d" % n for n in range(accepted)], None)
        assert sent in (0, len(expected)), f"interrupted at place {place}"
        assert expected[:sent] + drain(buffer) == expected, f"interrupted at place {place}"
        assert (buffer.bytes_buffered, buffer.packets_started(), buffer.is_idle) == (0, accepted, True)
    assert place > 20


def test_the_reserve_is_open_to_its_messages_alone() -> None:
    """A buffer of 100 bytes is full with one message of 3,000; beside it the reserve holds 64 KiB and no more."""
    buffer = SendBuffer(100)
    put(buffer, bytes(3000))
    assert not buffer.has_room(1)
    assert buffer.has_room(RESERVE, is_reserved=True)
    assert not buffer.has_room(RESERVE + 1, is_reserved=True)
    buffer.accept([(b"x" * 60_000, 1)], 60_000, is_reserved=True)
    assert buffer.has_room(RESERVE - 60_000, is_reserved=True)
    assert not buffer.has_room(RESERVE - 60_000 + 1, is_reserved=True)


def test_what_is_written_leaves_the_reserve() -> None:
    """It is free again when the bytes before it and its own have gone, not sooner."""
    buffer = SendBuffer(100)
    size = put(buffer, bytes(3000))
    buffer.accept([(b"x" * RESERVE, 1)], RESERVE, is_reserved=True)
    put(buffer, bytes(3000))
    buffer.take()
    buffer.advance(size)
    assert not buffer.has_room(1, is_reserved=True)
    buffer.take()
    buffer.advance(RESERVE)
    assert buffer.has_room(RESERVE, is_reserved=True)


def test_a_reserved_message_uses_the_buffer_first() -> None:
    """While there is room within the limit, the reserve stays whole."""
    buffer = SendBuffer(1000)
    put(buffer, b"begun")
    buffer.accept([(b"x" * 900, 1)], 900, is_reserved=True)
    assert buffer.has_room(RESERVE, is_reserved=True)
