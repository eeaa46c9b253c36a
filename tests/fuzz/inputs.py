"""What the inputs of fuzzing are made of: several byte strings in one, and choices among texts."""

from __future__ import annotations

from collections.abc import Iterator

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, decode_object
from meshsync.protocol.frames import encode_close
from meshsync.protocol.stream_messages import STREAM_TYPES

__all__ = [
    "PUSH_TYPES",
    "REQUEST_TYPES",
    "STREAMS",
    "TYPES",
    "pack",
    "pick",
    "picked",
    "read_object",
    "reportable",
    "unpack",
]

REQUEST_TYPES = (
    "messaging.enable",
    "messaging.disable",
    "messaging.send",
    "messaging.broadcast",
    "set_attributes",
    "room.invoke_tool",
    "room.tool_call_request_chunk",
    "room.tool_call_response",
    "room.tool_call_response_chunk",
)
PUSH_TYPES = (
    "messaging.send",
    "__response__",
    "room_ready",
    "connected",
    "room.status",
    "room.tool_call.messaging",
    "room.tool_call_request_chunk.messaging",
    "room.tool_call_response_chunk",
)
STREAMS = tuple(sorted(STREAM_TYPES))
TYPES = (*PUSH_TYPES, *REQUEST_TYPES)

# --- inputs made of several parts -------------------------------------------------------------------------------------


def pack(*parts: bytes) -> bytes:
    """Return an input for a target that reads several byte strings."""
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def unpack(data: bytes) -> Iterator[bytes]:
    """Yield the byte strings of an input, whatever it is."""
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "little")
        yield data[at + 2 : end]
        at = end


def pick(choices: tuple[str, ...], choice: str) -> bytes:
    """Return the first byte with which an input chooses one of several texts."""
    return bytes((choices.index(choice),))


def picked(data: bytes, choices: tuple[str, ...]) -> tuple[str, bytes]:
    """Return the text that an input chooses with its first byte, and the rest."""
    return choices[data[0] % len(choices)] if data else choices[0], data[1:]


def read_object(data: bytes) -> JsonObject | None:
    """Return a JSON object, or None for what is none."""
    try:
        return decode_object(data, "it")
    except ProtocolError as error:
        reportable(error)
        return None


def reportable(error: ProtocolError) -> None:
    """Check that an error can be given as the reason of a close frame."""
    assert len(encode_close(error.code, str(error), None)) > 4
    assert len(str(error)) < 5_000
