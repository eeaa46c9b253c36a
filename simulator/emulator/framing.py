"""Messages in the form in which they wait and travel: as WebSocket frames, made once for all recipients."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import cast

from meshsync.protocol import frames
from simulator.room.members import Output
from simulator.room.seat import Account, Held, Parcel, Piece, pieces_of

__all__ = ["JOINED", "FramedParcel", "frames_of", "join"]

JOINED = 64 * 1024
"""Bytes up to which a message is joined with its neighbours instead of being written by itself."""

_OVERHEAD = 176
"""About the bytes that a message takes in a queue beside its frames: the parcel, its cost as a number, the header of
``bytes`` and the places in its recipients' queues."""

_WRITTEN = 272 * 1024
"""Bytes of a larger message that are written at once: no ping waits for more, and fewer take more system calls.

The largest part of a stream, of 256 KiB, is written whole.
"""

_IN_16_BITS = 126
"""The second byte of a frame whose length follows in 16 bits, and the least such length. Source: RFC 6455, section 5.2.
"""

_LONGEST = 0xFFFF
"""The largest such length."""

_BINARY = bytes((0x80 | frames.Opcode.BINARY,))
"""The first byte of a binary message of one frame."""

_START, _BODY = 16, 12
"""Bytes that a start packet has before the type, and a body packet before the body."""


class _Template:
    """What stands before the body in the frames of a short message, of whose type only ids and a length vary."""

    __slots__ = ("begin", "middle", "pack")

    def __init__(self, name: bytes, is_longer: bool) -> None:
        self.begin: bytes = _BINARY + bytes((_START + len(name),))
        self.middle: bytes = struct.pack(">II", 0, 1) + name + _BINARY + (bytes((_IN_16_BITS,)) if is_longer else b"")
        """From the start packet's index to the body packet's frame."""
        self.pack = struct.Struct(f">2sQ{len(self.middle)}s{'H' if is_longer else 'B'}QI").pack


@lru_cache(maxsize=64)
def _templates(type: str) -> tuple[_Template, _Template] | None:
    """Return those for bodies up to 113 bytes, and for longer ones; None for a type that is too long for both."""
    name = type.encode()
    return (_Template(name, False), _Template(name, True)) if _START + len(name) < _IN_16_BITS else None


class FramedParcel(Parcel):
    """One message as frames. Nothing else of it is kept: what it was made from takes many times its bytes."""

    __slots__ = ("frames",)

    def __init__(self, output: Output, account: Account, held: Held) -> None:
        # Not by the class above: what it sets would be set anew.
        self.account: Account = account
        self.held: Held = held
        self.holders: int = 0
        if output.size <= JOINED:
            wire = frames_of(output)
            self.frames: bytes | list[bytes] = wire
            self.cost: int = len(wire) + _OVERHEAD
        else:
            self.frames = [frames.encode_pieces(group) for group in _groups(pieces_of(output))]
            self.cost = sum(map(len, self.frames)) + _OVERHEAD


def frames_of(output: Output) -> bytes:
    """Return a message of at most `JOINED` bytes as frames."""
    head, payload, id, size = output.head, output.payload, output.id, output.size
    templates = _templates(output.type) if 0 < size <= _LONGEST - _BODY else None
    if templates is not None:
        length = size + _BODY
        template = templates[length >= _IN_16_BITS]
        begin = template.pack(template.begin, id, template.middle, length, id, 1)
        return b"".join((begin, head, payload))
    return frames.encode_pieces(pieces_of(output))


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
