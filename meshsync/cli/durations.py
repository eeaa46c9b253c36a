"""Times as a person types them: ``5``, ``0.5``, ``5s``, ``40ms``."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["SECONDS", "Seconds", "read_seconds"]

_DURATION = re.compile(r"(.*[\d.])\s*(ms|s)")
_UNITS = {"ms": 1e-3, "s": 1.0}
"""Seconds in a unit."""


def read_seconds(text: str) -> float:
    """Return a number, of seconds if it has a unit.

    Raises:
        ValueError: If it is none.
    """
    match = _DURATION.fullmatch(text)
    return float(text) if match is None else float(match[1]) * _UNITS[match[2]]


class Seconds(click.FloatRange):
    """A time in seconds, on the command line."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds that a text stands for."""
        try:
            seconds = read_seconds(str(value))
        except ValueError:
            self.fail(f"{value!r:.100} is no time: give seconds, as 5 or 0.5, or a unit, as 5s or 500ms", param, ctx)
        return float(super().convert(seconds, param, ctx))


SECONDS = Seconds(min=0, min_open=True)
