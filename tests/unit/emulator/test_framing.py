"""Tests of messages as frames, made once for all recipients."""

from __future__ import annotations

import pytest

from meshsync.protocol import frames
from meshsync.protocol.content import Empty
from meshsync.protocol.operations import Push, Reply
from meshsync.protocol.packets import Reassembler
from simulator.emulator.framing import FramedParcel, join
from simulator.room.members import Output, push
from simulator.room.seat import Account, Held, Parcel


def outputs(size: int, type: str) -> Output:
    """Return a message whose body has so many bytes, half of them its payload."""
    head = bytes(index % 251 for index in range(size - size // 2))
    return Output((), Reply(1, Empty()), 2**40 + 7, type, head, size, memoryview(bytes(size // 2)))


SIZES = [0, 1, 2, 113, 114, 115, 65523, 65524, 65535, 65536, 65537, 200_000]
"""Those at which a frame's length takes more bytes, or the message more packets, and their neighbours."""


@pytest.mark.parametrize("type", ["", "messaging.send", "é" * 54, "t" * 109, "t" * 110, "t" * 1000])
@pytest.mark.parametrize("size", SIZES)
def test_frames_have_the_packets_of_the_message(size: int, type: str) -> None:
    """A client reads from them what the room would have packed, whatever the sizes."""
    account, held = Account(), Held()
    output = outputs(size, type)
    parcel = FramedParcel(output, account, held)
    packets: list[bytes] = []
    decoder = frames.FrameDecoder(masked=False)
    for buffer in join([parcel]):
        decoder.feed(buffer, packets)
    assert packets == Parcel(output, account, held).packets()
    assert decoder.held == 0


def test_each_message_has_its_own_id_and_body() -> None:
    """Nothing of one message is left in the next of its type."""
    account, held = Account(), Held()
    parcels = [
        FramedParcel(Output((), Reply(1, Empty()), id, "t", bytes((id,)) * 3, 3), account, held) for id in (1, 2)
    ]
    packets: list[bytes] = []
    frames.FrameDecoder(masked=False).feed(b"".join(join(parcels)), packets)
    assert packets == [
        b"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1t",
        b"\0\0\0\0\0\0\0\1\0\0\0\1\1\1\1",
        b"\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1t",
        b"\0\0\0\0\0\0\0\2\0\0\0\1\2\2\2",
    ]


BUFFER = 272 * 1024
"""Bytes that a message is written in at most, frames' headers aside."""


def buffers_of(size: int) -> list[bytes]:
    """Return what is written of a message with so many bytes of attachment."""
    output = push((), 7, Push("p-1", "data", {"text": "hi"}, bytes(size)))
    return join([FramedParcel(output, Account(), Held())])


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 1), (60 * 1024, 1), (64 * 1024, 1), (200 * 1024, 1), (256 * 1024, 1), (1024 * 1024, 4), (3_000_000, 12)],
)
def test_large_message_is_written_some_packets_at_a_time(size: int, count: int) -> None:
    """Four of 64 KiB with their headers and the start packet fit into one buffer; each has whole frames."""
    buffers = buffers_of(size)
    assert len(buffers) == count
    assert all(len(buffer) < BUFFER + 100 for buffer in buffers)
    decoder, packets = frames.FrameDecoder(masked=False), list[bytes]()
    for buffer in buffers:
        decoder.feed(buffer, packets)
        assert not decoder.held
    (message,) = Reassembler().feed(packets)
    assert (message.id, message.type, bytes(message.body[-size:] if size else b"")) == (
        7,
        "messaging.send",
        bytes(size),
    )
