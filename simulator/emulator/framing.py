"""Messages in the form in which they wait and travel: as WebSocket frames, made once for all recipients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from meshsync.protocol import frames
from simulator.room.members import Output
from simulator.room.seat import Account, Held, Parcel, Piece

__all__ = ["FramedParcel", "join"]

_JOINED = 64 * 1024
"""Bytes up to which a message is joined with its neighbours instead of being written by itself."""

_WRITTEN = 256 * 1024
"""Bytes of a larger message that are written at once: no ping waits for more, and fewer take more system calls."""

_OVERHEAD = 176
"""About the bytes that a message takes in a queue beside its frames: the parcel, its cost as a number, the header of
``bytes`` and the places in its recipients' queues."""


class FramedParcel(Parcel):
    """One message as frames. Nothing else of it is kept: what it was made from takes many times its bytes."""

    __slots__ = ("frames",)

    def __init__(self, output: Output, account: Account, held: Held) -> None:
        super().__init__(output, account, held)
        pieces = self.pieces()
        if output.size <= _JOINED:
            self.frames: bytes | list[bytes] = frames.encode_pieces(pieces)
            size = len(self.frames)
        else:
            self.frames = [frames.encode_pieces(group) for group in _groups(pieces)]
            size = sum(map(len, self.frames))
        self.cost: int = size + _OVERHEAD
        del self.output


def _groups(packets: list[Piece]) -> Iterator[list[Piece]]:
    """Cut packets into groups that are written at once, each a single one or of at most `_WRITTEN` bytes of content."""
    group: list[Piece] = []
    held = 0
    for packet in packets:
        size = sum(map(len, packet))
        if group and held + size > _WRITTEN:
            yield group
            group, held = [], 0
        group.append(packet)
        held += size
    yield group


def join(parcels: Sequence[Parcel]) -> list[bytes]:
    """Return the buffers to write for these messages: small ones joined, large ones some frames at a time."""
    if len(parcels) == 1:
        wire = cast("FramedParcel", parcels[0]).frames
        return [wire] if isinstance(wire, bytes) else wire
    buffers: list[bytes] = []
    small: list[bytes] = []
    for parcel in cast("Sequence[FramedParcel]", parcels):
        wire = parcel.frames
        if isinstance(wire, bytes):
            small.append(wire)
            continue
        if small:
            buffers.append(b"".join(small))
            small.clear()
        buffers += wire
    if small:
        buffers.append(b"".join(small))
    return buffers
