"""Messages as they wait for the network: buffers of whole frames."""

from __future__ import annotations

import pytest

from meshsync.protocol import frames
from meshsync.protocol.operations import Push
from meshsync.protocol.packets import Reassembler
from simulator.emulator.framing import FramedParcel, join
from simulator.room.members import push
from simulator.room.seat import Account, Held

BUFFER = 256 * 1024
"""Bytes that a message is written in at most, frames' headers aside."""


def buffers_of(size: int) -> list[bytes]:
    """Return what is written of a message with so many bytes of attachment."""
    output = push((), 7, Push("p-1", "data", {"text": "hi"}, bytes(size)))
    return join([FramedParcel(output, Account(), Held())])


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 1), (60 * 1024, 1), (64 * 1024, 1), (200 * 1024, 1), (256 * 1024, 2), (1024 * 1024, 6), (3_000_000, 15)],
)
def test_large_message_is_written_some_packets_at_a_time(size: int, count: int) -> None:
    """Three of 64 KiB with their headers and the start packet fit into one buffer; each has whole frames."""
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
