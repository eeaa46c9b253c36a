"""What links carry: frames, with their sizes as on a WebSocket. What they mean is not this module's business."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias, TypeVar

from meshsync.protocol import frames as wire
from meshsync.protocol.frames import CloseFrame

__all__ = ["ControlFrame", "Frame", "Payload", "close_frame", "frame", "framed", "size_of"]


class ControlFrame(Enum):
    """A frame that carries no packet."""

    PING = "ping"
    PONG = "pong"
    END = "the sender's end is shut, nothing comes after it"
    OPEN = "may I connect, in TCP's handshake"
    OPENED = "yes"
    REFUSED = "no"
    REQUEST = "the HTTP request for a WebSocket, with its token"
    ADMITTED = "its answer, yes"
    DENIED = "its answer, no"


_SIZES = {
    ControlFrame.PING: 2,
    ControlFrame.PONG: 2,
    ControlFrame.END: 0,
    ControlFrame.OPEN: 60,
    ControlFrame.OPENED: 60,
    ControlFrame.REFUSED: 40,
    ControlFrame.REQUEST: 600,
    ControlFrame.ADMITTED: 200,
    ControlFrame.DENIED: 200,
}
"""Bytes without a mask; those of a handshake are approximate."""


Payload = TypeVar("Payload")
"""The content of a link's other frames than control and close frames: packets, or values that stand for messages."""

Frame: TypeAlias = tuple[Payload | ControlFrame | CloseFrame, int]
"""A frame's content, and its size in bytes: that of a packet's WebSocket frame, header and mask included."""


def frame(content: ControlFrame, *, is_masked: bool) -> tuple[ControlFrame, int]:
    """Return a control frame as a client's (masked) or a room's; the size is that on a WebSocket.

    Source: RFC 6455, section 5.2.
    """
    return content, _SIZES[content] + (4 if is_masked and content in (ControlFrame.PING, ControlFrame.PONG) else 0)


def framed(packets: Iterable[bytes], *, is_masked: bool) -> tuple[list[tuple[bytes, int]], int]:
    """Return the frame of each packet, as a client's (masked) or a room's, and the bytes of all of them.

    The sizes are those on a WebSocket. Source: RFC 6455, section 5.2.
    """
    least = 6 if is_masked else 2
    frames: list[tuple[bytes, int]] = []
    total = 0
    for packet in packets:
        size = len(packet)
        size += least if size < 126 else least + 2 if size < 65536 else least + 8
        frames.append((packet, size))
        total += size
    return frames, total


def close_frame(code: int | None, reason: str, *, is_masked: bool) -> tuple[CloseFrame, int]:
    """Return a close frame; a reason longer than 123 bytes of UTF-8 is cut.

    Raises:
        ValueError: If ``code`` is no close code that may be sent.
    """
    written = wire.encode_close(code, reason, None)
    return CloseFrame(code, written[4:].decode()), len(written) + (4 if is_masked else 0)


def size_of(frames: Iterable[Frame[Payload]]) -> int:
    """Return the bytes of frames together."""
    size = 0
    for _, length in frames:  # Not sum() over a generator, which takes twice as long for the usual two.
        size += length
    return size
