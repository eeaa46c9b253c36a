"""Frozen values that check their own fields: the parts of fault plans.

The metadata of each field of a `Value` has a check; the check also normalizes the value, so that equal plans are equal
values: numbers become plain floats, names are sorted. Every mistake is a `ValueError` that names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from numbers import Real
from typing import Any, TypedDict

from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import warn_of_milliseconds
from simulator import latency
from simulator.latency import Law

__all__ = [
    "Metadata",
    "Value",
    "checked",
    "choice",
    "duration",
    "implied",
    "instance",
    "law",
    "link_law",
    "name",
    "names",
    "number",
    "optional",
    "rate",
    "reason",
    "settled_law",
    "settled_names",
    "text",
    "truth",
    "whole",
]

Check = Callable[[str, Any], Any]
"""Given a field's name and a value, returns the value to keep, or raises `ValueError`."""

Read = Callable[[Mapping[str, Any]], object]
"""Given the JSON object of a value, returns the value, or raises `ValueError`."""


class Metadata(TypedDict):
    """The metadata of a field."""

    check: Check
    read: Read | None
    """None if the values are not written as JSON objects."""
    is_implied: bool
    """Whether a value that is the field's default is left out of what is written; see `implied`."""


@dataclass(frozen=True, slots=True)
class Value:
    """A frozen dataclass whose fields carry one of the checks below as their metadata."""

    def __post_init__(self) -> None:
        for field in fields(self):
            settled = field.metadata["check"](field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, settled)


def checked(check: Check, read: Read | None = None) -> Metadata:
    """Return the metadata of a field with that check."""
    return {"check": check, "read": read, "is_implied": False}


def _name(field: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} must be a participant's name, a text that is not empty, not {value!r:.100}")
    return value


def settled_names(field: str, value: Iterable[str]) -> tuple[str, ...]:
    """Return names for a field, sorted, each once; raise `ValueError` unless there is one and all are names."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{field} must be a set of names, not {value!r:.100}")
    settled = tuple(sorted({_name(field, one) for one in value}))
    if not settled:
        raise ValueError(f"{field} must not be empty")
    return settled


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{field} must be a text, not {type(value).__name__}")
    return value


def _reason(field: str, value: Any) -> str:
    return safe_text(_text(field, value))


def _truth(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be True or False, not {type(value).__name__}")
    return value


def settled_law(field: str, value: Law | float, *, is_of_link: bool = False) -> Law:
    """Return a law for a field; raise `ValueError` unless it is one or a number of seconds.

    Args:
        is_of_link: Whether it is of delays in transit, of which those that seem to be milliseconds are warned of.
    """
    try:
        return latency.as_link_law(value) if is_of_link else latency.as_law(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field}: {error}") from None


name: Metadata = checked(_name)
"""A participant's name."""
names: Metadata = checked(settled_names)
"""Names of participants, at least one; kept sorted, each once."""
text: Metadata = checked(_text)
reason: Metadata = checked(_reason)
"""A reason that participants are given; made safe to send, see `safe_text`."""
truth: Metadata = checked(_truth)
law: Metadata = checked(settled_law, latency.from_json)
"""A law of delays, or a number of seconds."""
link_law: Metadata = checked(partial(settled_law, is_of_link=True), latency.from_json)
"""Likewise, of delays in transit."""


def choice(*choices: str) -> Metadata:
    """Return the metadata of a field that is one of the texts."""

    def check(field: str, value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"{field} must be one of {', '.join(choices)}, not {value!r:.100}")
        return value

    return checked(check)


def whole(least: int) -> Metadata:
    """Return the metadata of a field that is a whole number, at least ``least``."""

    def check(field: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{field} must be a whole number, at least {least}, not {value!r:.100}")
        return value

    return checked(check)


def number(*, most: float = 1e12, is_zero_fine: bool = True) -> Metadata:
    """Return the metadata of a field that is a number from 0 to ``most``: a duration, a time, an amount, a rate."""

    def check(field: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{field} must be a number, not {type(value).__name__}")
        settled = float(value)
        if not 0 <= settled <= most or (settled == 0 and not is_zero_fine):  # NaN is in no range
            least = "at least 0" if is_zero_fine else "above 0"
            raise ValueError(f"{field} must be {least} and at most {most:g}, got {settled:g}")
        return settled

    return checked(check)


def _duration(field: str, value: Any) -> float:
    warn_of_milliseconds(value, field)
    seconds: float = number()["check"](field, value)
    return seconds


duration: Metadata = checked(_duration)
"""A number of seconds that something lasts; one that seems to be in milliseconds is warned of."""
rate: Metadata = number(most=1.0)
"""A share of all cases, from 0 to 1."""


def instance(kind: type, read: Read) -> Metadata:
    """Return the metadata of a field that is itself a value of that class."""

    def check(field: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{field} must be a {kind.__name__.lower()}, not {type(value).__name__}")
        return value

    return checked(check, read)


def implied(metadata: Metadata) -> Metadata:
    """Return the metadata of a field whose default need not be written: plans of before the field was there have none.

    Records of faults stay the same to the byte, too.
    """
    return {**metadata, "is_implied": True}


def optional(metadata: Metadata) -> Metadata:
    """Return the metadata of a field that may also be None."""
    check = metadata["check"]
    return checked(lambda field, value: None if value is None else check(field, value), metadata["read"])
