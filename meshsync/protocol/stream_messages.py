"""What the two sides of a stream say to each other, and one side's account of it: sans-I/O, no clock.

A classic stream is five types of ordinary messages between two participants (PROTOCOL.md, section 8), each with the
stream's ``stream_id``, which its opener made:

- ``stream.open``: ``header``, a JSON object for the acceptor's program.
- ``stream.accept``, ``stream.reject``: the answer; a rejection's ``error`` is its reason, possibly empty.
- ``stream.chunk``: ``header``, a JSON object, and an attachment, possibly empty. From either side.
- ``stream.close``: the regular end, of both directions. From either side.

Two clients that both know how add flow control and cancelling, which the others never see:

- ``stream.open`` and ``stream.accept`` have one more member, ``meshsync``, an object: ``version``, the number 1, and
  ``window``, how many bytes its sender is ready to hold unread. Flow control is agreed upon when both have said it.
  A peer that does not know it leaves it out of its ``stream.accept``, or shows it to its program beside the rest of
  the ``stream.open``, as it does ``stream_id``. Members and versions that are not known are ignored.
- ``stream.meshsync.credit``: ``bytes``, how many more the sender of this may be sent: what its program has read.
  A chunk may be sent whenever what is left of the window is positive, and counts as in `size_of`.
- ``stream.meshsync.cancel``: ``reason``, a text. The irregular end, of both directions: who writes is to stop, who
  reads has not got everything.
- ``stream.close`` has the member ``meshsync`` as well, with ``version`` and ``is_complete``, which is false, where an
  opener gives up waiting for the answer: a consent may have crossed it, and its reader would see a regular end.

Without the agreement the irregular end is a ``stream.close`` too, for want of another word.

Not the business of this module: who the peer is, waiting, and duplex streams' shape on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, encode_object, read_member
from meshsync.protocol.packets import MAX_MESSAGE_SIZE

__all__ = [
    "CHUNK_OVERHEAD",
    "LEAST_WINDOW",
    "STREAM_TYPES",
    "UNREAD_LIMIT",
    "WINDOW",
    "WINDOWS_OF_A_CLIENT",
    "Accept",
    "Account",
    "Cancel",
    "Chunk",
    "Close",
    "Credit",
    "Open",
    "Phase",
    "Reject",
    "StreamWord",
    "decode_stream_word",
    "encode_stream_word",
    "next_window",
    "size_of",
]

WINDOW = 8 * 1024 * 1024
"""Bytes that a stream may have unread, if few others are open."""
WINDOWS_OF_A_CLIENT = 32 * 1024 * 1024
"""Bytes that all streams of a client share; later ones get less."""
LEAST_WINDOW = 256 * 1024
"""Bytes that every stream gets, however many there are."""
UNREAD_LIMIT = 64 * 1024 * 1024
"""Bytes unread after which a stream without flow control fails."""
CHUNK_OVERHEAD = 256
"""Bytes that a chunk counts beside its content: it takes room even if it is empty."""


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
class Chunk:
    """A piece of the stream."""

    stream_id: str
    header: JsonObject
    data: bytes | bytearray | memoryview = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """The regular end, or that of an offer."""

    stream_id: str
    is_complete: bool = True
    """False for an offer that its opener takes back."""


@dataclass(frozen=True, slots=True)
class Credit:
    """The word that so many more bytes may come."""

    stream_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The irregular end."""

    stream_id: str
    reason: str


StreamWord = Open | Accept | Reject | Chunk | Close | Credit | Cancel

_OWN = "meshsync"
_NO_REASON = "The stream was rejected by the remote client"
"""What a rejection without a reason means to official clients (PROTOCOL.md, section 8)."""


def encode_stream_word(word: StreamWord) -> tuple[str, JsonObject]:
    """Return message type and body; a chunk's data is the message's attachment."""
    body: JsonObject = {"stream_id": word.stream_id}
    match word:
        case Chunk(header=header):
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


def decode_stream_word(type: str, body: JsonObject, data: bytes) -> StreamWord:
    """Return what a message of one of `STREAM_TYPES` says.

    Raises:
        ProtocolError: If it lacks what it needs.
    """
    stream_id = read_member(body, "stream_id", str, type)
    match type:
        case "stream.chunk":
            return Chunk(stream_id, read_member(body, "header", dict, type), data)
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
    raise ProtocolError(f"{type!r:.100} is no word of a stream")


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


def _window(body: JsonObject) -> int | None:
    own = body.get(_OWN)
    window = own.get("window") if isinstance(own, dict) and own.get("version") == 1 else None
    return window if type(window) is int and window > 0 else None


def size_of(header: Mapping[str, Any], data: bytes | bytearray | memoryview) -> int:
    """Return what a chunk counts: its data, its header as compact JSON, and `CHUNK_OVERHEAD`, in bytes.

    Raises:
        InvalidMessage: If the header is no JSON object.
    """
    return len(data) + CHUNK_OVERHEAD + (len(encode_object(header, "header")) if header else 2)


def next_window(granted: int) -> int:
    """Return the window of one more stream of a client whose others have ``granted`` bytes together."""
    # Half of what is left, so that those that come late still find some.
    return max(LEAST_WINDOW, min(WINDOW, (WINDOWS_OF_A_CLIENT - granted) // 2))


# --- one side's account -----------------------------------------------------------------------------------------------


class Phase(Enum):
    """The life of a stream, as one side sees it."""

    OFFERED = "offered"
    """Opened by one side, not yet answered by the other."""
    OPEN = "open"
    ENDED = "ended"


_MOVES = {
    Phase.OFFERED: {Phase.OPEN, Phase.ENDED},
    Phase.OPEN: {Phase.ENDED},
    Phase.ENDED: set[Phase](),
}


class Account:
    """One side's account of a stream: its phase, what may be sent, and what is held unread. Sizes are bytes.

    Not safe to use from two tasks at once.

    Args:
        window: What this side is ready to hold unread.
    """

    __slots__ = ("_owed", "_room", "_unread", "is_agreed", "is_held", "phase", "window")

    def __init__(self, window: int) -> None:
        self.phase = Phase.OFFERED
        self.window = window
        self.is_agreed = False
        """Whether both sides know flow control and cancelling."""
        self.is_held = False
        """Whether nothing may go out yet, since this side's consent has to go first."""
        self._room = 0
        self._unread = 0
        self._owed = 0

    def open(self, peer_window: int | None) -> None:
        """Note that the stream was accepted; None if the peer knows no flow control."""
        self.move(Phase.OPEN)
        self.is_agreed = peer_window is not None
        self._room = peer_window or 0

    def move(self, phase: Phase) -> None:
        """Change the phase.

        Raises:
            RuntimeError: If there is no way from the present one; nothing has changed.
        """
        if phase not in _MOVES[self.phase]:
            raise RuntimeError(f"a stream that is {self.phase.value} cannot become {phase.value}")
        self.phase = phase

    # --- what goes out ------------------------------------------------------------------------------------------------

    @property
    def may_send(self) -> bool:
        """Whether the other side can take another chunk."""
        return (self._room > 0 or not self.is_agreed) and not self.is_held

    def send(self, size: int) -> None:
        """Count a chunk that goes out."""
        self._room -= size

    def make_room(self, size: int) -> None:
        """Count what the other side has read, or a chunk of which nothing went out after all."""
        self._room += size

    # --- what comes in ------------------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """What has come and was not read."""
        return self._unread

    def arrive(self, size: int) -> None:
        """Count a chunk that came.

        Raises:
            ProtocolError: If it is more than this side is ready to hold.
        """
        # The last chunk that the window let through may be as large as a message can be.
        limit = self.window + MAX_MESSAGE_SIZE + CHUNK_OVERHEAD if self.is_agreed else UNREAD_LIMIT
        self._unread += size
        if self._unread > limit:
            what = "despite flow control" if self.is_agreed else "and the other side knows no flow control"
            raise ProtocolError(f"{self._unread} bytes are unread, {what}; at most {limit} are kept")

    def read(self, size: int) -> None:
        """Count a chunk that was read."""
        self._unread -= size
        self._owed += size

    def owe(self, size: int) -> None:
        """Take back a credit that could not be sent."""
        self._owed += size

    def widen(self, window: int) -> None:
        """Be ready to hold more unread from now on; the other side is told with the next credit."""
        self._owed += window - self.window
        self.window = window

    def take_credit(self) -> int:
        """Return how much the other side is to be told it may send, or 0 while that is not worth a message."""
        if not self.is_agreed or self._owed * 2 < self.window or self.phase is not Phase.OPEN:
            return 0
        owed, self._owed = self._owed, 0
        return owed
