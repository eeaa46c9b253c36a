"""The messages of a stream between its two sides: values, and their form on the wire. Sans-I/O, no clock.

A classic stream is five types of ordinary messages between two participants (PROTOCOL.md, section 8), each with the
stream's ``stream_id``, which its opener made:

- ``stream.open``: ``header``, a JSON object for the acceptor's program.
- ``stream.accept``, ``stream.reject``: the answer; a rejection's ``error`` is its reason, possibly empty.
- ``stream.chunk``: ``header``, a JSON object, and an attachment, possibly empty. From either side.
- ``stream.close``: the regular end, of both directions. From either side.

Two clients of this package add flow control and cancelling, which others never see:

- ``stream.open`` and ``stream.accept`` have one more member, ``meshsync``, an object: ``version``, the number 1, and
  ``window``, how many bytes its sender is ready to hold unread. Flow control is agreed upon when both have sent it.
  A peer that does not know it leaves it out of its ``stream.accept``, or shows it to its program beside the rest of
  the ``stream.open``, as it does ``stream_id``. Unknown members and versions are ignored.
- ``stream.meshsync.credit``: ``bytes``, how many more may be sent to its sender: those that its program has read.
  A chunk may be sent whenever the rest of the window is positive, and counts as in `size_of`.
- ``stream.meshsync.cancel``: ``reason``, a text. The irregular end, of both directions: a writer
  is to stop, and a reader has not got all data.
- ``stream.close`` has the member ``meshsync`` as well, with ``version`` and ``is_complete``, which is false, where an
  opener gives up waiting for the answer: a consent may have crossed it, and its reader would see a regular end.

Without the agreement the irregular end is a ``stream.close`` too, for want of another message.

Not the business of this module: the peer's identity, waiting, windows (``flow_control``), and the shape of duplex
streams on the wire (``bridging``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, read_member

__all__ = [
    "CONTROL_TYPES",
    "STREAM_TYPES",
    "Accept",
    "Cancel",
    "Close",
    "Credit",
    "Open",
    "Reject",
    "StreamChunk",
    "StreamMessage",
    "decode_stream_message",
    "encode_stream_message",
]


# --- vocabulary -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """The question whether a stream may be sent."""

    stream_id: str
    header: JsonObject
    window: int | None = None
    """Bytes that the sender of this is ready to hold unread; None if it knows no flow control."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The consent to it."""

    stream_id: str
    window: int | None = None
    """As in `Open`."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The refusal of it."""

    stream_id: str
    reason: str
    is_final: bool = False
    """Whether this does not change when the sender's program has been here for longer, as it may with official ones."""


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of the stream."""

    stream_id: str
    header: JsonObject
    data: bytes | bytearray | memoryview = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """The regular end, or that of an offer."""

    stream_id: str
    is_complete: bool = True
    """False for an offer that its opener withdraws."""


@dataclass(frozen=True, slots=True)
class Credit:
    """``size`` more bytes may be sent."""

    stream_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The irregular end."""

    stream_id: str
    reason: str


StreamMessage = Open | Accept | Reject | StreamChunk | Close | Credit | Cancel

_OWN = "meshsync"
_NO_REASON = "The stream was rejected by the remote client"
"""The reason of a rejection without one, to official clients (PROTOCOL.md, section 8)."""


def encode_stream_message(message: StreamMessage) -> tuple[str, JsonObject]:
    """Return message type and body; a chunk's data is the message's attachment."""
    body: JsonObject = {"stream_id": message.stream_id}
    match message:
        case StreamChunk(header=header):
            body["header"] = header
            return "stream.chunk", body
        case Credit(size=size):
            body["bytes"] = size
            return "stream.meshsync.credit", body
        case Open(header=header, window=window):
            body["header"] = header
            return "stream.open", body | _agreement(window)
        case Accept(window=window):
            return "stream.accept", body | _agreement(window)
        case Reject(reason=reason, is_final=is_final):
            body["error"] = reason
            return "stream.reject", body | ({_OWN: {"version": 1, "is_final": True}} if is_final else {})
        case Close(is_complete=is_complete):
            return "stream.close", body if is_complete else body | {_OWN: {"version": 1, "is_complete": False}}
        case Cancel(reason=reason):
            body["reason"] = reason
            return "stream.meshsync.cancel", body


def _agreement(window: int | None) -> JsonObject:
    return {} if window is None else {_OWN: {"version": 1, "window": window}}


def decode_stream_message(type: str, body: JsonObject, data: bytes) -> StreamMessage:
    """Return the value of a message of one of `STREAM_TYPES`.

    Raises:
        ProtocolError: If it lacks what it needs.
    """
    stream_id = read_member(body, "stream_id", str, type)
    match type:
        case "stream.chunk":
            return StreamChunk(stream_id, read_member(body, "header", dict, type), data)
        case "stream.meshsync.credit":
            size = read_member(body, "bytes", int, type)
            if size < 0:
                raise ProtocolError(f"{type} of {size} bytes")
            return Credit(stream_id, size)
        case "stream.open":
            # An opener of another kind than Python's may leave out a header that it does not need.
            header = {} if body.get("header") is None else read_member(body, "header", dict, type)
            return Open(stream_id, header, _window(body))
        case "stream.accept":
            return Accept(stream_id, _window(body))
        case "stream.reject":
            reason = body.get("error")
            own = body.get(_OWN)
            is_final = isinstance(own, dict) and own.get("is_final") is True
            return Reject(stream_id, reason if isinstance(reason, str) else _NO_REASON, is_final)
        case "stream.close":
            own = body.get(_OWN)
            return Close(stream_id, not isinstance(own, dict) or own.get("is_complete") is not False)
        case "stream.meshsync.cancel":
            reason = body.get("reason")
            return Cancel(stream_id, reason if isinstance(reason, str) else "")
    raise ProtocolError(f"{type!r:.100} is no stream message")


STREAM_TYPES = frozenset(
    {
        "stream.open",
        "stream.accept",
        "stream.reject",
        "stream.chunk",
        "stream.close",
        "stream.meshsync.credit",
        "stream.meshsync.cancel",
    }
)
"""Message types that programs never get as messages."""

CONTROL_TYPES = STREAM_TYPES - {"stream.open", "stream.chunk"}
"""Those that carry nothing of a program's but a short reason."""


def _window(body: JsonObject) -> int | None:
    own = body.get(_OWN)
    window = own.get("window") if isinstance(own, dict) and own.get("version") == 1 else None
    return window if type(window) is int and window > 0 else None
