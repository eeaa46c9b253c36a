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

A stream that is to outlive a loss of either connection (``resuming``) needs further agreement, of both sides again:

- ``meshsync`` in ``stream.open`` has ``resume``, an object: ``seconds``, how long the stream outlives a loss;
  ``secret``, a text for the proofs; and ``number``, which grows by one when the same stream is offered again after a
  loss. An acceptor that agrees answers with ``resume``: its own ``seconds``, of which the smaller counts for both, and
  the ``number`` that it answers.
- ``stream.meshsync.resume``: ``proof``, 64 hexadecimal digits (see `proof_of`); ``position``, how many chunks its
  sender has taken in; ``granted``, how many bytes it has allowed to be sent, the window included; ``number``, which
  grows with each attempt of its sender to resume; ``seen``, the latest number of its recipient that it knows, or 0.
- ``stream.meshsync.credit`` has ``position`` as well: chunks up to there need not be held for a resumption.
- ``stream.chunk`` may have the member ``meshsync``, with ``version`` and ``is_partial``, which is true where the next
  one's data belongs to the same chunk of the program. That one's header is empty, and it counts its data alone.
- ``meshsync`` in ``stream.open`` and in ``stream.accept`` has ``joins``, true, in ``resume``: its sender reads several
  chunks in one ``stream.chunk``. Where both have it, ``stream.chunk`` may have, in ``meshsync``, ``sizes``: how many
  bytes of the attachment belong to each chunk, in their order; and ``headers``, theirs, unless all are empty. The
  ``header`` beside it is empty then.
- ``stream.meshsync.closed``: its sender has taken in all that came before the ``stream.close``.
- ``stream.meshsync.cancel`` may have ``left``, which is true when its sender leaves the room for good; and it and
  ``stream.meshsync.closed`` have ``proof``, as above, where they answer a ``stream.meshsync.resume``.

Without the agreement the irregular end is a ``stream.close`` too, for want of another message.

Not the business of this module: the peer's identity, waiting, windows (``flow_control``), and the shape of duplex
streams on the wire (``bridging``).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, read_member
from meshsync.values import made_quickly

__all__ = [
    "CONTROL_TYPES",
    "MOST_JOINED",
    "STREAM_TYPES",
    "Accept",
    "Cancel",
    "Close",
    "Closed",
    "Credit",
    "Open",
    "Reject",
    "Resume",
    "ResumeConsent",
    "ResumeOffer",
    "StreamChunk",
    "StreamChunks",
    "StreamMessage",
    "decode_stream_message",
    "encode_stream_message",
    "proof_of",
]

MOST_JOINED = 256
"""Chunks in one message: each costs a reader and a record as much as one in a message of its own."""


# --- vocabulary -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResumeOffer:
    """An opener's offer to resume a stream after losses."""

    seconds: float
    """How long it outlives a loss; positive."""
    secret: str = field(repr=False)
    """Known to opener and acceptor alone; not empty."""
    number: int = 1
    """How often the stream has been offered, this time included."""
    joins: bool = False
    """Whether the opener reads several chunks in one message."""


@dataclass(frozen=True, slots=True)
class ResumeConsent:
    """An acceptor's consent to resume a stream after losses."""

    seconds: float
    """How long it outlives a loss; positive."""
    number: int = 1
    """That of the offer."""
    joins: bool = False
    """Whether the acceptor reads several chunks in one message."""


@dataclass(frozen=True, slots=True)
class Open:
    """The question whether a stream may be sent."""

    stream_id: str
    header: JsonObject
    window: int | None = None
    """Bytes that the sender of this is ready to hold unread; None if it knows no flow control."""
    resume: ResumeOffer | None = None
    """None if a loss ends the stream."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The consent to it."""

    stream_id: str
    window: int | None = None
    """As in `Open`."""
    resume: ResumeConsent | None = None
    """None if a loss ends the stream."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The refusal of it."""

    stream_id: str
    reason: str
    is_final: bool = False
    """Whether this does not change when the sender's program has been here for longer, as it may with official ones."""


@made_quickly
@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of the stream."""

    stream_id: str
    header: JsonObject
    data: bytes | bytearray | memoryview = field(default=b"", repr=False)
    is_partial: bool = False
    """Whether the next one goes on with it; only in a stream that outlives losses, where less is sent again so."""

    @property
    def chunks(self) -> tuple[StreamChunk, ...]:
        """The pieces in this message, as in `StreamChunks`."""
        return (self,)


@dataclass(frozen=True, slots=True)
class StreamChunks:
    """Several pieces of the stream in one message, none of them partial."""

    stream_id: str
    chunks: tuple[StreamChunk, ...]
    """At least one, at most `MOST_JOINED`, in their order."""

    @property
    def data(self) -> bytes:
        """The data of all."""
        return b"".join([chunk.data for chunk in self.chunks])


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
    position: int | None = None
    """Chunks that its sender has taken in; None for a stream that ends with its connections."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The irregular end."""

    stream_id: str
    reason: str
    proof: str = field(default="", repr=False)
    """As in `Resume`; empty where its sender has proven itself before."""
    has_left: bool = False
    """Whether its sender leaves for good."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What one side of a stream has, after a loss."""

    stream_id: str
    proof: str = field(repr=False)
    position: int
    """Chunks that its sender has taken in."""
    granted: int
    """Bytes that its sender allowed to be sent since the beginning."""
    number: int
    """Of this attempt of its sender; they grow."""
    seen: int = 0
    """The latest number of its recipient that its sender has got."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The confirmation that all was taken in before a `Close`."""

    stream_id: str
    proof: str = field(default="", repr=False)
    """As in `Cancel`."""


StreamMessage = Open | Accept | Reject | StreamChunk | StreamChunks | Close | Credit | Cancel | Resume | Closed


def proof_of(secret: str, stream_id: str, sender: str, recipient: str) -> str:
    """Return the proof that a participant resumes a stream rather than another one that knows its id.

    Args:
        sender: The id of the participant that resumes it. Since both ids are in it, nobody else can use the proof.

    Source: RFC 2104, with SHA-256, of the three texts with a line feed between them.
    """
    return hmac.new(secret.encode(), "\n".join((stream_id, sender, recipient)).encode(), sha256).hexdigest()


LONGEST = 1e9
"""Seconds that a stream can outlive a loss; a larger number is none."""
_OWN = "meshsync"
_NO_REASON = "The stream was rejected by the remote client"
"""The reason of a rejection without one, to official clients (PROTOCOL.md, section 8)."""


def encode_stream_message(message: StreamMessage) -> tuple[str, JsonObject]:
    """Return message type and body; a chunk's data is the message's attachment."""
    body: JsonObject = {"stream_id": message.stream_id}
    match message:
        case StreamChunk(header=header, is_partial=is_partial):
            body["header"] = header
            return "stream.chunk", body | ({_OWN: {"version": 1, "is_partial": True}} if is_partial else {})
        case StreamChunks(chunks=chunks):
            headers = [chunk.header for chunk in chunks]
            parts = {"version": 1, "sizes": [len(chunk.data) for chunk in chunks]}
            return "stream.chunk", body | {"header": {}, _OWN: parts | ({"headers": headers} if any(headers) else {})}
        case Credit(size=size, position=position):
            body["bytes"] = size
            return "stream.meshsync.credit", body if position is None else body | {"position": position}
        case Open(header=header, window=window, resume=resume):
            body["header"] = header
            return "stream.open", body | _agreement(window, resume)
        case Accept(window=window, resume=resume):
            return "stream.accept", body | _agreement(window, resume)
        case Reject(reason=reason, is_final=is_final):
            body["error"] = reason
            return "stream.reject", body | ({_OWN: {"version": 1, "is_final": True}} if is_final else {})
        case Close(is_complete=is_complete):
            return "stream.close", body if is_complete else body | {_OWN: {"version": 1, "is_complete": False}}
        case Cancel(reason=reason, proof=proof, has_left=has_left):
            body["reason"] = reason
            return "stream.meshsync.cancel", body | _proof(proof) | ({"left": True} if has_left else {})
        case Resume():
            numbers = {"granted": message.granted, "number": message.number, "seen": message.seen}
            return "stream.meshsync.resume", body | {"proof": message.proof, "position": message.position} | numbers
        case Closed(proof=proof):
            return "stream.meshsync.closed", body | _proof(proof)


def _proof(proof: str) -> JsonObject:
    return {"proof": proof} if proof else {}


def _agreement(window: int | None, resume: ResumeOffer | ResumeConsent | None) -> JsonObject:
    if window is None:
        return {}
    own: JsonObject = {"version": 1, "window": window}
    if resume is not None:
        own["resume"] = {"seconds": resume.seconds, "number": resume.number}
        if isinstance(resume, ResumeOffer):
            own["resume"]["secret"] = resume.secret
        if resume.joins:
            own["resume"]["joins"] = True
    return {_OWN: own}


def decode_stream_message(type: str, body: JsonObject, data: bytes) -> StreamMessage:
    """Return the value of a message of one of `STREAM_TYPES`.

    Raises:
        ProtocolError: If it lacks what it needs.
    """
    stream_id = read_member(body, "stream_id", str, type)
    match type:
        case "stream.chunk":
            header, agreed = read_member(body, "header", dict, type), _agreed(body)
            if "sizes" in agreed:
                return StreamChunks(stream_id, _separate(stream_id, agreed, data, type))
            return StreamChunk(stream_id, header, data, agreed.get("is_partial") is True)
        case "stream.meshsync.credit":
            size = read_member(body, "bytes", int, type)
            if size < 0:
                raise ProtocolError(f"{type} of {size} bytes")
            return Credit(stream_id, size, _read_count(body, "position", type) if "position" in body else None)
        case "stream.open":
            # An opener of another kind than Python's may leave out a header that it does not need.
            header = {} if body.get("header") is None else read_member(body, "header", dict, type)
            return Open(stream_id, header, _window(body), _offer(body))
        case "stream.accept":
            return Accept(stream_id, _window(body), _consent(body))
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
            has_left = body.get("left") is True
            return Cancel(stream_id, reason if isinstance(reason, str) else "", _read_proof(body), has_left)
        case "stream.meshsync.resume":
            numbers = (_read_count(body, name, type) for name in ("position", "granted", "number", "seen"))
            return Resume(stream_id, read_member(body, "proof", str, type), *numbers)
        case "stream.meshsync.closed":
            return Closed(stream_id, _read_proof(body))
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
        "stream.meshsync.resume",
        "stream.meshsync.closed",
    }
)
"""Message types that programs never get as messages."""

CONTROL_TYPES = STREAM_TYPES - {"stream.open", "stream.chunk"}
"""Those that carry nothing of a program's but a short reason."""


def _separate(stream_id: str, own: JsonObject, data: bytes, type: str) -> tuple[StreamChunk, ...]:
    sizes = read_member(own, "sizes", list, type)
    if len(sizes) > MOST_JOINED:
        raise ProtocolError(f"{type} has {len(sizes)} chunks; at most {MOST_JOINED} go in one")
    headers = read_member(own, "headers", list, type) if "headers" in own else [{} for _ in sizes]
    if not sizes or any(map(_is_no_size, sizes)) or sum(sizes) != len(data):
        raise ProtocolError(f"{type} has {len(data)} bytes, and 'sizes' that are not theirs")
    if len(headers) != len(sizes) or not all(isinstance(header, dict) for header in headers):
        raise ProtocolError(f"{type} has 'headers' that are not those of {len(sizes)} chunks")
    chunks, begin = [], 0
    for size, header in zip(sizes, headers, strict=True):
        chunks.append(StreamChunk(stream_id, header, data[begin : begin + size]))
        begin += size
    return tuple(chunks)


def _is_no_size(value: object) -> bool:
    return type(value) is not int or value < 0


def _read_proof(body: JsonObject) -> str:
    proof = body.get("proof")
    return proof if isinstance(proof, str) else ""


def _read_count(body: JsonObject, name: str, type: str) -> int:
    count = read_member(body, name, int, type)
    if count < 0:
        raise ProtocolError(f"{type} has {count} for {name!r}")
    return count


def _agreed(body: JsonObject) -> JsonObject:
    own = body.get(_OWN)
    return own if isinstance(own, dict) and own.get("version") == 1 else {}


def _window(body: JsonObject) -> int | None:
    window = _agreed(body).get("window")
    return window if type(window) is int and window > 0 else None


def _consent(body: JsonObject) -> ResumeConsent | None:
    # Without flow control there are no windows that could bound what is held.
    resume = _agreed(body).get("resume") if _window(body) is not None else None
    if not isinstance(resume, dict):
        return None
    seconds, number = resume.get("seconds"), resume.get("number")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not 0 < seconds <= LONGEST or type(number) is not int or number < 1:
        return None
    return ResumeConsent(float(seconds), number, resume.get("joins") is True)


def _offer(body: JsonObject) -> ResumeOffer | None:
    consent = _consent(body)
    secret = None if consent is None else body[_OWN]["resume"].get("secret")
    if consent is None or not isinstance(secret, str) or not secret:
        return None
    return ResumeOffer(consent.seconds, secret, consent.number, consent.joins)
