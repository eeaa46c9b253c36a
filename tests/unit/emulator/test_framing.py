"""Tests of messages as frames, made once for all recipients."""

from __future__ import annotations

import pytest

from meshsync.protocol import frames
from meshsync.protocol.content import Empty
from meshsync.protocol.operations import Reply
from simulator.emulator.framing import FramedParcel, join
from simulator.room.members import Output
from simulator.room.seat import Account, Held, Parcel


def outputs(size: int, type: str) -> Output:
    """Return a message whose body has so many bytes, half of them its payload."""
    head = bytes(index % 251 for index in range(size - size // 2))
    return Output((), Reply(1, Empty()), 2**40 + 7, type, head, memoryview(bytes(size // 2)))


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
    parcels = [FramedParcel(Output((), Reply(1, Empty()), id, "t", bytes((id,)) * 3), account, held) for id in (1, 2)]
    packets: list[bytes] = []
    frames.FrameDecoder(masked=False).feed(b"".join(join(parcels)), packets)
    assert packets == [
        b"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1t",
        b"\0\0\0\0\0\0\0\1\0\0\0\1\1\1\1",
        b"\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1t",
        b"\0\0\0\0\0\0\0\2\0\0\0\1\2\2\2",
    ]
