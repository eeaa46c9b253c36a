"""Values of options, as texts on the command line: seeds, laws of delay, fault plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshsync.cli.durations import read_seconds

if TYPE_CHECKING:  # commands that are given none need not wait for the simulator
    from simulator.latency import Latency, Law

__all__ = ["LAWS", "SERVICE", "read_latency", "read_law", "read_plan", "read_seed", "read_service"]

LAWS = (
    "seconds, as 0.04 or 40ms, or a law with its numbers: uniform:0.01,0.05 lognormal:0.04,0.4 exponential:0.2"
    " empirical:0.01,0.3; correlated:1s:lognormal:0.04,0.4, whose delays within a second are alike; matrix:FILE.json,"
    " laws by region"
)
SERVICE = "[room=|participants=]LAW"


def read_seed(text: str) -> int | str:
    """Return a seed: a number, or any text."""
    return int(text) if text.lstrip("-").isdecimal() else text


def read_latency(text: str) -> Latency:
    """Return a law of delays, or a matrix of them in a file.

    Raises:
        click.BadParameter: If it is neither.
    """
    kind, _, path = text.partition(":")
    return _read_matrix(path) if kind == "matrix" else read_law(text)


def read_law(text: str) -> Law:
    """Return a law given as `LAWS` says, but for a matrix.

    Raises:
        click.BadParameter: If it is none.
    """
    from simulator import latency

    kind, _, rest = text.partition(":")
    if kind == "correlated":
        seconds, colon, law = rest.partition(":")
        try:
            if not colon:
                raise ValueError("it has no law")
            return latency.correlated(read_law(law), read_seconds(seconds))
        except ValueError as error:
            raise click.BadParameter(f"{text}: {error}; it is correlated:SECONDS:LAW") from None
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
        read = laws[name](*(read_seconds(number) for number in numbers.split(",")))
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"no law is named {name!r}" if isinstance(error, KeyError) else str(error)
        raise click.BadParameter(f"{wrong}; give {LAWS}") from None
    if (
        not name
        and isinstance(read, latency.Constant)
        and not text.endswith("s")
        and read.seconds >= latency.IMPLAUSIBLE
    ):
        click.echo(f"warning: a delay of {text} is {text} s: write {text}ms or {text}s, whichever is meant", err=True)
    return read


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


def _read_matrix(path: str) -> Latency:
    from simulator import latency

    value = _read_json(path)
    try:
        return latency.from_json({"law": "matrix", **_with_laws(value)})
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}") from None


def _with_laws(value: Any) -> Any:
    """Return the JSON of a matrix in which laws that are texts, as on the command line, are those laws."""
    if not isinstance(value, dict):
        raise ValueError("a matrix is an object with pairs, regions and default")
    rows, default = value.get("pairs"), value.get("default")
    if isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values()):
        rows = {origin: {to: _as_law(law) for to, law in row.items()} for origin, row in rows.items()}
    return {**value, "pairs": rows, "default": _as_law(default)}


def _as_law(value: Any) -> Any:
    return read_law(value).to_json() if isinstance(value, str) else value


def read_plan(text: str) -> tuple[Any, ...]:
    """Return the fault plan in a file.

    Raises:
        click.BadParameter: If there is none.
    """
    from simulator import faults

    try:
        return faults.from_json(_read_json(text))
    except ValueError as error:
        raise click.BadParameter(f"{text}: {error}") from None


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.BadParameter(f"{path}: {error}") from None
