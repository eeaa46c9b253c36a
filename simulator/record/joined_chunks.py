"""Chunks of a stream that came in one message, as if each had come in its own: what programs write is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from meshsync.errors import ProtocolError
from meshsync.protocol.operations import Broadcast, Push, Send
from meshsync.protocol.stream_messages import StreamChunks, decode_stream_message, encode_stream_message
from simulator.room.members import Output, push

__all__ = ["apart", "trips_apart"]

M = TypeVar("M", bound=Send | Broadcast | Push)


def apart(message: M) -> Sequence[M]:
    """Return a message for each chunk that is in one; the message itself where it has not several."""
    own = message.message.get("meshsync") if message.type == "stream.chunk" else None
    if not isinstance(own, dict) or "sizes" not in own:
        return (message,)
    try:
        decoded = decode_stream_message(message.type, message.message, bytes(message.attachment))
    except ProtocolError:  # Its recipient skips it.
        return (message,)
    if not isinstance(decoded, StreamChunks):
        return (message,)
    bodies = [(encode_stream_message(chunk)[1], chunk.data) for chunk in decoded.chunks]
    return [replace(message, message=body, attachment=data) for body, data in bodies]


def trips_apart(trips: Sequence[tuple[Output, Push]]) -> list[Sequence[tuple[Output, Push]]]:
    """Return, for each chunk of a message, what `apart` makes of its ways to recipients."""
    return list(zip(*[_trip_apart(output, what) for output, what in trips], strict=True))


def _trip_apart(output: Output, what: Push) -> list[tuple[Output, Push]]:
    parts = apart(what)
    if len(parts) == 1:
        return [(output, what)]
    return [(push(output.to, output.id, part), part) for part in parts]
