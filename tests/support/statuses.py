"""What a room writes about its status, which no room of ours sends."""

from __future__ import annotations

from meshsync.protocol.envelopes import encode_envelope, encode_object
from meshsync.protocol.operations import Status

__all__ = ["encode_status"]


def encode_status(status: Status) -> tuple[str, bytes]:
    """Return the message type and the body of a status.

    Raises:
        InvalidMessage: If it holds what JSON cannot carry.
    """
    return "room.status", encode_envelope(encode_object(status.members, "status", forwarded=True))
