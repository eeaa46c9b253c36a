"""The messages that two clients of this package exchange beside those of their programs; values, and their wire form.

Each is an ordinary direct message. PROTOCOL.md, section 13, has their order and meaning; a decoder refuses what it
cannot use, and no number, text or key is larger than stated here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.envelopes import JsonObject, read_member

__all__ = [
    "ATTRIBUTE",
    "KEY_SIZE",
    "OWN_PREFIX",
    "WINDOW",
    "Answer",
    "AnswerKind",
    "Body",
    "Confirmed",
    "Hello",
    "Identity",
    "Mark",
    "Numbered",
    "Proof",
    "Question",
    "attribute_of",
    "check_own_type",
    "decode_body",
    "encode_body",
    "read_identity",
    "resumes",
]

ATTRIBUTE = "meshsync"
"""The attribute by which our clients know each other."""
OWN_PREFIX = "meshsync."
"""How the types of these messages begin; programs may not use it."""
WINDOW = 64
"""The most numbers of one sender that its recipient has not confirmed."""
KEY_SIZE = 32
"""Bytes of a nonce, of half a secret and of a code: those of SHA-256."""

_VERSION = 1
_LARGEST = 2**53 - 1
"""The largest integer that every reader of JSON keeps."""
_INSTANCE = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_SIZE}}}")


# --- who is there -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """A claim that all may copy: the instance of a client, and the name under which the room shows it.

    The name is part of it, so that another's claim of the same instance, under another name, is another peer:
    what is addressed to one never goes to the other, even before they have a secret.
    """

    instance: str
    name: str


def attribute_of(instance: str) -> JsonObject:
    """Return the attribute's value for a client with that instance: 32 hexadecimal digits."""
    return {"v": _VERSION, "instance": instance, "confirm": 1, "resume": 1}


def read_identity(attributes: Mapping[str, Any]) -> Identity | None:
    """Return who a participant claims to be; None for one that does not confirm, or claims nonsense."""
    own = attributes.get(ATTRIBUTE)
    if not isinstance(own, Mapping) or own.get("v") != _VERSION or own.get("confirm") != 1:
        return None
    instance, name = own.get("instance"), attributes.get("name")
    if not isinstance(instance, str) or not _INSTANCE.fullmatch(instance):
        return None
    return Identity(instance, name if isinstance(name, str) else "")


def resumes(attributes: Mapping[str, Any]) -> bool:
    """Return whether a participant says that its streams outlive losses."""
    own = attributes.get(ATTRIBUTE)
    return read_identity(attributes) is not None and isinstance(own, Mapping) and own.get("resume") == 1


# --- the bodies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """A challenge: prove to this nonce who you are."""

    instance: str
    nonce: bytes = field(repr=False)
    half: bytes | None = field(default=None, repr=False)
    """The sender's half of a secret; None if it has one already."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer, which is a challenge too where none was sent before."""

    nonce: bytes = field(repr=False)
    echo: bytes = field(repr=False)
    """The nonce that it answers."""
    code: bytes = field(repr=False)
    upto: int
    arrived: int
    """As in `Confirmed`."""
    half: bytes | None = field(default=None, repr=False)
    """As in `Hello`."""


@dataclass(frozen=True, slots=True)
class Question:
    """What makes a confirmed message a question."""

    id: int
    """From 1 on: one of the asker's own."""
    reply_type: str = ""
    """The type that the answer is to have; empty for the answerer's choice."""
    takes_messages: bool = False
    """Whether its asker may take an ordinary message for the answer."""
    seconds: float | None = None
    """How long its asker waits at the most; None for ever."""


class AnswerKind(Enum):
    """What became of a question."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"
    """The answerer took part no longer before it had answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What makes a confirmed message an answer. The message itself is empty unless the question was answered."""

    id: int
    """The question's."""
    kind: AnswerKind = AnswerKind.ANSWERED
    reason: str = ""
    """Of a refusal, or of leaving; empty else."""
    log_id: str = ""
    """Of a failure: what the answerer's log has it under."""


Mark = Question | Answer


@dataclass(frozen=True, slots=True)
class Numbered:
    """A confirmed message."""

    number: int
    base: int
    """The lowest number for which a caller still waits: those below are given up, if they have not come."""
    type: str
    message: JsonObject
    attachment: bytes = field(default=b"", repr=False)
    mark: Mark | None = None
    """Whether it asks or answers."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A report on what came."""

    upto: int
    """All numbers up to this one are handled, or were given up before they came; 0 for none."""
    arrived: int
    """All numbers above ``upto`` up to this one wait for room in the recipient."""
    is_asking: bool = False
    """Whether something above ``arrived`` came that could not be used: all above it are to be sent again."""


Body = Hello | Proof | Numbered | Confirmed


def encode_body(body: Body) -> tuple[str, JsonObject]:
    """Return message type and body; the attachment of a `Numbered` is the message's."""
    match body:
        case Hello(instance, nonce, half):
            return "meshsync.hello", {"instance": instance, "nonce": nonce.hex()} | _half(half)
        case Proof(nonce, echo, code, upto, arrived, half):
            keys = {"nonce": nonce.hex(), "echo": echo.hex(), "code": code.hex()}
            return "meshsync.proof", {**keys, "upto": upto, "arrived": arrived} | _half(half)
        case Numbered(number, base, type, message):
            own = {"n": number, "base": base, "type": type, "message": message}
            return "meshsync.message", own | _encode_mark(body.mark)
        case Confirmed(upto, arrived, is_asking):
            return "meshsync.confirmed", {"upto": upto, "arrived": arrived} | ({"again": True} if is_asking else {})


def decode_body(type: str, body: JsonObject, attachment: bytes = b"") -> Body | None:
    """Return the value of a message whose type begins with `OWN_PREFIX`; None for a type of a later version.

    Raises:
        ProtocolError: If it lacks what it needs, or holds nonsense.
    """
    match type:
        case "meshsync.hello":
            instance = read_member(body, "instance", str, type)
            if not _INSTANCE.fullmatch(instance):
                raise ProtocolError(f"{type} names an instance that is none")
            return Hello(instance, _read_key(body, "nonce", type), _read_half(body, type))
        case "meshsync.proof":
            nonce, echo, code = (_read_key(body, name, type) for name in ("nonce", "echo", "code"))
            return Proof(nonce, echo, code, *_read_progress(body, type), _read_half(body, type))
        case "meshsync.message":
            number, base = _read_number(body, "n", type, 1), _read_number(body, "base", type, 1)
            if not base <= number < base + WINDOW:
                raise ProtocolError(f"{type} has number {number} and base {base}, which is not within {WINDOW}")
            inner = read_member(body, "type", str, type)
            message = read_member(body, "message", dict, type)
            return Numbered(number, base, inner, message, attachment, _read_mark(body))
        case "meshsync.confirmed":
            return Confirmed(*_read_progress(body, type), body.get("again") is True)
    return None


def _encode_mark(mark: Mark | None) -> JsonObject:
    match mark:
        case Question(id, reply_type, takes_messages, seconds):
            wanted: JsonObject = {"reply_type": reply_type} if reply_type else {}
            wanted |= {"messages": True} if takes_messages else {}
            return {"ask": {"id": id, **wanted} | ({} if seconds is None else {"seconds": seconds})}
        case Answer(id, kind, reason, log_id):
            told: JsonObject = {} if kind is AnswerKind.ANSWERED else {"outcome": kind.value}
            told |= {"reason": reason} if reason else {}
            return {"answer": {"id": id, **told} | ({"log": log_id} if log_id else {})}
    return {}


def _read_mark(body: JsonObject) -> Mark | None:
    """Return whether a message asks or answers; nonsense makes it neither, since its number has to count."""
    ask, answer = body.get("ask"), body.get("answer")
    if isinstance(ask, dict) and _is_id(ask.get("id")):
        seconds = ask.get("seconds")
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds < _LARGEST
        limit = float(seconds) if is_number and seconds is not None else None
        return Question(ask["id"], _text(ask.get("reply_type")), ask.get("messages") is True, limit)
    if isinstance(answer, dict) and _is_id(answer.get("id")):
        outcome = answer.get("outcome", AnswerKind.ANSWERED.value)
        kinds = {kind.value: kind for kind in AnswerKind}
        # One of a later version is no answer either.
        kind = kinds.get(outcome, AnswerKind.FAILED) if isinstance(outcome, str) else AnswerKind.FAILED
        return Answer(answer["id"], kind, _text(answer.get("reason")), _text(answer.get("log")))
    return None


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _half(half: bytes | None) -> JsonObject:
    return {} if half is None else {"half": half.hex()}


def _read_half(body: JsonObject, what: str) -> bytes | None:
    return None if body.get("half") is None else _read_key(body, "half", what)


def _read_key(body: JsonObject, name: str, what: str) -> bytes:
    text = read_member(body, name, str, what)
    if not _KEY.fullmatch(text):
        raise ProtocolError(f"{what} has a {name!r} that is not {2 * KEY_SIZE} hexadecimal digits")
    return bytes.fromhex(text)


def _read_number(body: JsonObject, name: str, what: str, least: int) -> int:
    number = read_member(body, name, int, what)
    if not least <= number <= _LARGEST:
        raise ProtocolError(f"{what} has a {name!r} out of range")
    return number


def _read_progress(body: JsonObject, what: str) -> tuple[int, int]:
    upto, arrived = _read_number(body, "upto", what, 0), _read_number(body, "arrived", what, 0)
    if arrived < upto:
        raise ProtocolError(f"{what} has handled more than came")
    return upto, arrived


def check_own_type(type: object) -> None:
    """Check that a program may send a message of a type.

    Raises:
        InvalidMessage: If the type is this package's own.
    """
    if isinstance(type, str) and type.startswith(OWN_PREFIX):
        raise InvalidMessage(f"the type {type!r:.100} is meshsync's own: choose one that does not begin {OWN_PREFIX!r}")
