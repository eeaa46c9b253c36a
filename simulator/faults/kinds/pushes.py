"""A room sends a participant a message that clients do not expect."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import ClassVar

from meshsync.protocol.codec import encode_push
from meshsync.protocol.operations import Push
from meshsync.protocol.packets import split
from simulator.faults import fields
from simulator.faults.layers import ConnectionFault, StruckConnection
from simulator.faults.registry import register

__all__ = ["MALFORMATIONS", "MalformedPush", "OversizedPush", "malformed_push", "oversized_push"]


_PACKET_SIZE = 64 * 1024
"""Body bytes in a packet, as in a room's own messages."""

_PUSH_TYPE = encode_push(Push("", "", {}))[0]

_MALFORMED: dict[str, list[bytes]] = {
    "packet": [struct.pack(">QI", 1, 1) + b"a body packet, where a message has to start"],
    "json": split(0, _PUSH_TYPE, struct.pack(">Q", 5) + b"{nope"),
    "text": [struct.pack(">QII", 1, 0, 0) + b"\xff"],
}
"""Packets that break the protocol: in a wrong order; with a header that is no JSON; with a type that is no UTF-8."""

MALFORMATIONS = tuple(_MALFORMED)
"""The ways in which a push can break the protocol."""


@register
@dataclass(frozen=True, slots=True)
class MalformedPush(ConnectionFault):
    """The room sends the participant a push that breaks the protocol."""

    word: ClassVar[str] = "malformed_push"
    name: str = field(metadata=fields.name)
    kind: str = field(metadata=fields.choice(*MALFORMATIONS))

    def strike(self, connection: StruckConnection) -> None:
        connection.push(_MALFORMED[self.kind])


@register
@dataclass(frozen=True, slots=True)
class OversizedPush(ConnectionFault):
    """The room sends the participant a push with a body of ``size`` bytes."""

    word: ClassVar[str] = "oversized_push"
    name: str = field(metadata=fields.name)
    size: int = field(metadata=fields.whole(1))

    def strike(self, connection: StruckConnection) -> None:
        connection.push(split(0, _PUSH_TYPE, bytes(self.size), _PACKET_SIZE))


def malformed_push(name: str, kind: str = "packet") -> MalformedPush:
    """Send the participant a push that breaks the protocol, in one of the ways of `MALFORMATIONS`."""
    return MalformedPush(name, kind)


def oversized_push(name: str, size: int = 32 * 1024 * 1024) -> OversizedPush:
    """Send the participant a push of ``size`` bytes; the room itself passes on 4 MiB, and clients accept more."""
    return OversizedPush(name, size)
