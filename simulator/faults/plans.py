"""Fault plans: the faults of a simulation and their times, as frozen data.

A *fault* is an effect, such as ``reset`` or ``partition``. A *planned* fault has its time: `at` a time, `during` a
while, `every` interval, `on` an event, until `quiet`. Both are values: they can be compared, kept, written as JSON
with `to_json` and read again, and a plan that fails a program can be made smaller by leaving parts out. Times are in
seconds of virtual time since the start. Carrying a plan out is not this module's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from simulator.faults import fields
from simulator.faults.fault import Fault, LastingFault
from simulator.faults.registry import KINDS
from simulator.latency import Law

__all__ = [
    "EVENTS",
    "At",
    "During",
    "Every",
    "On",
    "Planned",
    "Quiet",
    "Trigger",
    "at",
    "during",
    "every",
    "from_json",
    "names",
    "on",
    "quiet",
    "to_json",
]

EVENTS = (
    "connect",
    "join",
    "leave",
    "enable",
    "disable",
    "attributes",
    "message",
    "broadcast",
    "reply",
    "stream.open",
    "stream.accept",
    "stream.reject",
    "stream.chunk",
    "stream.close",
    "fault",
)
"""The events that a fault can follow."""


# --- when -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trigger(fields.Value):
    """An event that a fault can follow; a field that is None matches anything."""

    event: str = field(metadata=fields.choice(*EVENTS))
    sender: str | None = field(default=None, metadata=fields.optional(fields.name))
    """The name of the participant that causes it."""
    to: str | None = field(default=None, metadata=fields.optional(fields.name))
    """The name of the participant that it is for."""
    type: str | None = field(default=None, metadata=fields.optional(fields.text))
    """The type of the message."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.sender, self.to) if name is not None)

    def matches(self, event: str, *, sender: str | None = None, to: str | None = None, type: str | None = None) -> bool:
        """Return whether an event that happened matches."""
        return (
            event == self.event
            and self.sender in (None, sender)
            and self.to in (None, to)
            and self.type in (None, type)
        )


_FAULT = fields.instance(Fault, lambda member: _read(member))  # noqa: PLW0108  # it is defined below
_TRIGGER = fields.instance(Trigger, lambda member: Trigger(**member))


@dataclass(frozen=True, slots=True)
class _Plan(fields.Value):
    word: ClassVar[str] = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The participants that it strikes, which rooms have to know."""
        fault = getattr(self, "fault", None)
        return fault.names if fault is not None else ()


@dataclass(frozen=True, slots=True)
class At(_Plan):
    """The fault strikes at a time."""

    word: ClassVar[str] = "at"
    time: float = field(metadata=fields.number())
    fault: Fault = field(metadata=_FAULT)


@dataclass(frozen=True, slots=True)
class During(_Plan):
    """The lasting fault is in force from one time until another."""

    word: ClassVar[str] = "during"
    start: float = field(metadata=fields.number())
    end: float = field(metadata=fields.number())
    fault: Fault = field(metadata=_FAULT)

    def __post_init__(self) -> None:
        fields.Value.__post_init__(self)
        if not self.start < self.end:
            raise ValueError(f"during needs a start before its end, got {self.start:g} and {self.end:g} seconds")
        if not isinstance(self.fault, LastingFault):
            raise ValueError(f"{self.fault.word} is over by itself and cannot hold for a while: use at")


@dataclass(frozen=True, slots=True)
class Every(_Plan):
    """The one-off fault strikes repeatedly, the first time after one interval."""

    word: ClassVar[str] = "every"
    interval: Law = field(metadata=fields.law)
    fault: Fault = field(metadata=_FAULT)

    def __post_init__(self) -> None:
        fields.Value.__post_init__(self)
        # The likely mistake. A law that draws zero at times is bounded by the injector.
        if not self.interval.quantile(0.5) > 0:
            raise ValueError("with an interval of 0 seconds it would strike for ever without the clock moving")
        if isinstance(self.fault, LastingFault):
            raise ValueError(f"{self.fault.word} holds until it is lifted and cannot be repeated: use during")


@dataclass(frozen=True, slots=True)
class On(_Plan):
    """The fault strikes once, right after the ``nth`` event that matches."""

    word: ClassVar[str] = "on"
    trigger: Trigger = field(metadata=_TRIGGER)
    nth: int = field(metadata=fields.whole(1))
    """Counted from 1."""
    fault: Fault = field(metadata=_FAULT)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.trigger.names, *self.fault.names)


@dataclass(frozen=True, slots=True)
class Quiet(_Plan):
    """At a time, every lasting fault is lifted, and no fault strikes any more."""

    word: ClassVar[str] = "quiet"
    after: float = field(metadata=fields.number())


Planned: TypeAlias = "At | During | Every | On | Quiet"
"""A fault with its time, or `Quiet`."""


@dataclass(frozen=True, slots=True)
class _Following:
    """The first half of ``on(…).do(fault)``."""

    trigger: Trigger
    nth: int

    def do(self, fault: Fault) -> On:
        """Return the plan of a fault that strikes right after the event."""
        return On(self.trigger, self.nth, fault)


# --- what users call --------------------------------------------------------------------------------------------------


def at(time: float, fault: Fault) -> At:
    """Plan a fault for a time, in seconds since the start; a lasting one is in force from then on.

    Raises:
        ValueError: As all functions here, if an argument has a wrong type or value; the text names it.
    """
    return At(time, fault)


def during(start: float, end: float, fault: Fault) -> During:
    """Plan a lasting fault to be in force from ``start`` to ``end``, in seconds since the start.

    Raises:
        ValueError: Also if the fault is over by itself, such as a reset.
    """
    return During(start, end, fault)


def every(interval: Law | float, fault: Fault) -> Every:
    """Plan a one-off fault to strike repeatedly, at an interval in seconds or drawn from a law.

    Raises:
        ValueError: Also if the fault is a lasting one, which would never end.
    """
    return Every(fields.settled_law("interval", interval), fault)


def on(
    event: str | Trigger,
    *,
    nth: int = 1,
    sender: str | None = None,
    to: str | None = None,
    type: str | None = None,
) -> _Following:
    """Begin the plan of a fault that follows an event: ``on("message", sender="alice", nth=3).do(reset("bob"))``.

    Args:
        event: One of `EVENTS`, or a whole `Trigger`, beside which only ``nth`` may be given.
        nth: Which of the events that match, counted from 1.
        sender: The name of the participant that causes it; None for any.
        to: The name of the participant that it is for; None for any.
        type: The type of the message; None for any.
    Raises:
        ValueError: Also if ``event`` is a `Trigger` and ``sender``, ``to`` or ``type`` is given.
    """
    if not isinstance(event, Trigger):
        return _Following(Trigger(event, sender, to, type), nth)
    if (sender, to, type) != (None, None, None):
        raise ValueError("give a Trigger, or an event with sender, to and type, not both")
    return _Following(event, nth)


def quiet(*, after: float) -> Quiet:
    """Plan the end of all faults, in seconds since the start: lasting ones are lifted, later ones do not strike."""
    return Quiet(after)


def names(plan: Iterable[Planned | Fault]) -> tuple[str, ...]:
    """Return the names of the participants in a plan, each once, in order of appearance."""
    return tuple(dict.fromkeys(name for entry in plan for name in entry.names))


# --- JSON -------------------------------------------------------------------------------------------------------------

_PLANS: dict[str, type[_Plan]] = {kind.word: kind for kind in (At, During, Every, On, Quiet)}


def to_json(plan: Iterable[Planned | Fault]) -> list[dict[str, Any]]:
    """Return a fault plan as a list of JSON objects, which `from_json` reads."""
    return [{"when" if isinstance(entry, _Plan) else "fault": entry.word} | _members(entry) for entry in plan]


def _members(value: Any) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for part in dataclasses.fields(value):
        member = getattr(value, part.name)
        if part.metadata.get("is_implied") and member == part.default:
            continue
        if isinstance(member, Fault):
            member = {"fault": member.word} | _members(member)
        elif isinstance(member, Trigger):
            member = {name: given for name, given in _members(member).items() if given is not None}
        elif isinstance(member, Law):
            member = member.to_json()
        elif isinstance(member, tuple):
            member = list(member)
        written[part.name] = member
    return written


def from_json(value: Any) -> tuple[Planned | Fault, ...]:
    """Return the fault plan that `to_json` wrote.

    Raises:
        ValueError: If it is no fault plan; the text names the entry.
    """
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a fault plan is a list, not {type(value).__name__}")
    plan: list[Planned | Fault] = []
    for index, entry in enumerate(value):
        try:
            plan.append(_read(entry))
        except (TypeError, ValueError) as error:
            raise ValueError(f"fault plan, entry {index}: {error}") from None
    return tuple(plan)


def _read(value: object) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    given = dict(value)
    is_planned = "when" in given
    kinds: Mapping[str, type[_Plan] | type[Fault]] = _PLANS if is_planned else KINDS
    word = given.pop("when" if is_planned else "fault", None)
    kind = kinds.get(word) if isinstance(word, str) else None
    if kind is None:
        raise ValueError(f"{word!r} is none of {', '.join(sorted(kinds))}")
    parts = {part.name: part for part in dataclasses.fields(kind)}
    needed = {name for name, part in parts.items() if not part.metadata.get("is_implied")}
    if not needed <= given.keys() <= parts.keys():
        raise ValueError(f"{word} takes {', '.join(parts)}, got {', '.join(sorted(given)) or 'nothing'}")
    for name, member in given.items():
        read = parts[name].metadata["read"]
        if isinstance(member, Mapping) and read is not None:
            given[name] = read(member)
    return kind(**given)
