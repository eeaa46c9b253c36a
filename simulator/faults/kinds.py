"""What can go wrong in a simulation: each kind of fault as a frozen value, and the function that makes it.

Faults are of two kinds: a *blow* is over at once, or by itself, and a *condition* holds until it is lifted. Durations
are in seconds of virtual time, sizes in bytes, rates between 0 and 1. Names are those of participants; whether anybody
has them is for the simulation to check. When things go wrong is not this module's business, nor is doing any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from simulator.faults import fields
from simulator.latency import Law

DIRECTIONS = ("both", "up", "down")
"""Up is from a participant to its room."""

MALFORMATIONS = ("packet", "json", "text")
"""What can be wrong with a push: its packets come in a wrong order, its header is no JSON, its type no UTF-8."""

_NAME: Any = fields.name
_RATE: Any = fields.number(most=1.0)
_DIRECTION: Any = fields.choice(*DIRECTIONS)


@dataclass(frozen=True, slots=True)
class Fault(fields.Value):
    """Something that goes wrong; one of the classes below."""

    word: ClassVar[str] = ""
    """What it is called by users, in plans and in transcripts."""
    is_condition: ClassVar[bool] = False
    """Whether it holds until it is lifted."""

    @property
    def names(self) -> tuple[str, ...]:
        """The participants it is about, who have to be known; empty for everybody, or for the room itself."""
        name = getattr(self, "name", None)
        return () if name is None else (name,)


# --- blows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """The connection breaks, which both sides notice at once; what is in flight is lost."""

    word: ClassVar[str] = "reset"
    name: str = field(metadata=fields.name)


@dataclass(frozen=True, slots=True)
class HalfOpen(Fault):
    """The connection goes silent for good, and nobody is told: each side finds out by its heartbeat."""

    word: ClassVar[str] = "half_open"
    name: str = field(metadata=fields.name)


@dataclass(frozen=True, slots=True)
class Pause(Fault):
    """The participant's end does not read, write or answer pings, as if its process were stopped, for a while."""

    word: ClassVar[str] = "pause"
    name: str = field(metadata=fields.name)
    seconds: float = field(metadata=fields.number())


@dataclass(frozen=True, slots=True)
class Restart(Fault):
    """The room's server goes down with every connection, and comes back after a while."""

    word: ClassVar[str] = "restart"
    down: float = field(metadata=fields.number())
    """Seconds during which connecting is refused."""
    forgets: bool = field(metadata=fields.truth)
    """Whether everybody has left when it is back; else they are still listed, until it notices that they are gone."""


@dataclass(frozen=True, slots=True)
class MalformedPush(Fault):
    """The room pushes something to the participant that breaks the protocol."""

    word: ClassVar[str] = "malformed_push"
    name: str = field(metadata=fields.name)
    kind: str = field(metadata=fields.choice(*MALFORMATIONS))


@dataclass(frozen=True, slots=True)
class OversizedPush(Fault):
    """The room pushes a message to the participant whose body has so many bytes."""

    word: ClassVar[str] = "oversized_push"
    name: str = field(metadata=fields.name)
    size: int = field(metadata=fields.whole(1))


@dataclass(frozen=True, slots=True)
class Leave(Fault):
    """The participant's connection is closed by the room, with a goodbye."""

    word: ClassVar[str] = "leave"
    name: str = field(metadata=fields.name)


@dataclass(frozen=True, slots=True)
class Join(Fault):
    """A participant without a program joins. The name may be new."""

    word: ClassVar[str] = "join"
    name: str = field(metadata=fields.name)
    role: str = field(metadata=fields.text)

    @property
    def names(self) -> tuple[str, ...]:
        return ()


# --- conditions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition(Fault):
    """A fault that holds until it is lifted."""

    is_condition: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Partition(Condition):
    """The participants and their room cannot reach each other. What is in flight stands still until repair."""

    word: ClassVar[str] = "partition"
    cut_off: tuple[str, ...] = field(metadata=fields.names)
    """Their names, sorted."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.cut_off


@dataclass(frozen=True, slots=True)
class RefuseConnect(Condition):
    """The participant's attempts to connect are refused."""

    word: ClassVar[str] = "refuse_connect"
    name: str = field(metadata=fields.name)


@dataclass(frozen=True, slots=True)
class DelayConnect(Condition):
    """The participant's attempts to connect take longer."""

    word: ClassVar[str] = "delay_connect"
    name: str = field(metadata=fields.name)
    delay: Law = field(metadata=fields.law)


@dataclass(frozen=True, slots=True)
class ChangedLatency(Condition):
    """Delays in transit follow another law; what is in flight arrives as it would have."""

    word: ClassVar[str] = "latency"
    delay: Law = field(metadata=fields.law)
    name: str | None = field(metadata=fields.optional(fields.name))
    """Whose connections; None for all."""
    direction: str = field(metadata=_DIRECTION)


@dataclass(frozen=True, slots=True)
class Throttle(Condition):
    """The participant's connection carries less."""

    word: ClassVar[str] = "throttle"
    name: str = field(metadata=fields.name)
    bandwidth: float = field(metadata=fields.number(is_zero_fine=False))
    """Bytes per second."""
    direction: str = field(metadata=_DIRECTION)


@dataclass(frozen=True, slots=True)
class RejectStreams(Condition):
    """A share of the streams that are offered to the participant is rejected in its name."""

    word: ClassVar[str] = "reject_streams"
    name: str = field(metadata=fields.name)
    reason: str = field(metadata=fields.text)
    rate: float = field(metadata=_RATE)


@dataclass(frozen=True, slots=True)
class DelayAccept(Condition):
    """What the participant answers to an offered stream is held back for a while."""

    word: ClassVar[str] = "delay_accept"
    name: str = field(metadata=fields.name)
    delay: Law = field(metadata=fields.law)


@dataclass(frozen=True, slots=True)
class ErrorReplies(Condition):
    """A share of the participant's requests is answered with an error, and nothing comes of them."""

    word: ClassVar[str] = "error_replies"
    name: str = field(metadata=fields.name)
    code: int = field(metadata=fields.whole(0))
    rate: float = field(metadata=_RATE)


@dataclass(frozen=True, slots=True)
class LateReplies(Condition):
    """What the room answers to the participant's requests is held back; what comes of them is not."""

    word: ClassVar[str] = "late_replies"
    name: str = field(metadata=fields.name)
    seconds: float = field(metadata=fields.number())


# --- what users call --------------------------------------------------------------------------------------------------


def reset(name: str) -> Reset:
    """Break the participant's connection; both sides notice at once.

    Raises:
        ValueError: As all functions here, if an argument is not what it has to be; the text names it.
    """
    return Reset(name)


def half_open(name: str) -> HalfOpen:
    """Silence the participant's connection for good, with nobody told."""
    return HalfOpen(name)


def partition(names: Iterable[str]) -> Partition:
    """Cut participants off from their room for a while; nothing is lost."""
    return Partition(names)  # type: ignore[arg-type]  # settled by its check


def pause(name: str, seconds: float) -> Pause:
    """Stop the participant's end of its connection for so many seconds."""
    return Pause(name, seconds)


def refuse_connect(name: str) -> RefuseConnect:
    """Refuse the participant's attempts to connect."""
    return RefuseConnect(name)


def delay_connect(name: str, delay: Law | float) -> DelayConnect:
    """Make the participant's attempts to connect take longer, by a law or so many seconds."""
    return DelayConnect(name, delay)  # type: ignore[arg-type]


def restart(*, down: float = 1.0, forgets: bool = True) -> Restart:
    """Take the room's server down with every connection, for so many seconds.

    Args:
        forgets: Whether it comes back with nobody in it. If not, who was there is listed until the server notices that
            the connection is gone, as long after as a heartbeat takes.
    """
    return Restart(down, forgets)


def latency(delay: Law | float, name: str | None = None, *, direction: str = "both") -> ChangedLatency:
    """Change the law of delays in transit, for one participant or all, in one direction or both."""
    return ChangedLatency(delay, name, direction)  # type: ignore[arg-type]


def throttle(name: str, bandwidth: float, *, direction: str = "both") -> Throttle:
    """Limit the participant's connection to so many bytes per second in each direction, or in one."""
    return Throttle(name, bandwidth, direction)


def reject_streams(name: str, reason: str = "rejected", rate: float = 1.0) -> RejectStreams:
    """Reject a share of the streams that are offered to the participant."""
    return RejectStreams(name, reason, rate)


def delay_accept(name: str, delay: Law | float) -> DelayAccept:
    """Hold back the participant's answers to offered streams."""
    return DelayAccept(name, delay)  # type: ignore[arg-type]


def error_replies(name: str, code: int, rate: float = 1.0) -> ErrorReplies:
    """Answer a share of the participant's requests with an error of that code."""
    return ErrorReplies(name, code, rate)


def late_replies(name: str, seconds: float) -> LateReplies:
    """Hold back the room's answers to the participant for so many seconds."""
    return LateReplies(name, seconds)


def malformed_push(name: str, kind: str = "packet") -> MalformedPush:
    """Push something to the participant that breaks the protocol, in one of the ways of `MALFORMATIONS`."""
    return MalformedPush(name, kind)


def oversized_push(name: str, size: int = 32 * 1024 * 1024) -> OversizedPush:
    """Push a message of so many bytes to the participant; the room itself passes on 4 MiB, and clients bear more."""
    return OversizedPush(name, size)


def leave(name: str) -> Leave:
    """Have the room close the participant's connection, with a goodbye."""
    return Leave(name)


def join(name: str, role: str = "user") -> Join:
    """Have a participant without a program join."""
    return Join(name, role)


# --- chance -----------------------------------------------------------------------------------------------------------


def happens(rate: float, stream: Random) -> bool:
    """Return whether something of a rate happens this time. Rates of 0 and 1 draw nothing."""
    return rate >= 1 or (rate > 0 and stream.random() < rate)
