"""Values of options, as texts on the command line: seeds, laws of delay, fault plans."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # commands that are given none need not wait for the simulator
    from simulator.latency import Law

__all__ = ["LAWS", "SERVICE", "read_law", "read_plan", "read_seed", "read_service"]

LAWS = (
    "seconds, as 0.04 or 40ms, or a law with its numbers: uniform:0.01,0.05 lognormal:0.04,0.4 exponential:0.2"
    " empirical:0.01,0.3"
)
SERVICE = "[room=|participants=]LAW"

_DURATION = re.compile(r"(.*[\d.])\s*(ms|s)")
_UNITS = {"ms": 1e-3, "s": 1.0}
"""Seconds in a unit."""


def read_seed(text: str) -> int | str:
    """Return a seed: a number, or any text."""
    return int(text) if text.lstrip("-").isdecimal() else text


def read_law(text: str) -> Law:
    """Return a law of delays.

    Raises:
        click.BadParameter: If it is none.
    """
    from simulator import latency

    name, _, numbers = text.rpartition(":")
    laws: dict[str, Callable[..., Law]] = {
        "": latency.constant,
        "constant": latency.constant,
        "uniform": latency.uniform,
        "lognormal": latency.lognormal,
        "exponential": latency.exponential,
        "empirical": lambda *samples: latency.empirical(samples),
    }
    try:
        return laws[name](*(_seconds(number) for number in numbers.split(",")))
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"no law is named {name!r}" if isinstance(error, KeyError) else str(error)
        raise click.BadParameter(f"{wrong}; give {LAWS}") from None


def read_service(text: str) -> dict[str, Law]:
    """Return a law of the time that messages take to be handled, by those that it is for.

    Raises:
        click.BadParameter: If it is none.
    """
    who, _, law = text.rpartition("=")
    who = who or "room"
    if who not in ("room", "participants"):
        raise click.BadParameter(f"service is {SERVICE}, not of {who!r:.100}")
    return {who: read_law(law)}


def _seconds(text: str) -> float:
    """Return a number, of seconds if it has a unit."""
    match = _DURATION.fullmatch(text)
    return float(text) if match is None else float(match[1]) * _UNITS[match[2]]


def read_plan(text: str) -> tuple[Any, ...]:
    """Return the fault plan in a file.

    Raises:
        click.BadParameter: If there is none.
    """
    from simulator import faults

    try:
        return faults.from_json(json.loads(Path(text).read_text(encoding="utf-8")))
    except OSError as error:
        raise click.BadParameter(f"{text} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.BadParameter(f"{text}: {error}") from None
