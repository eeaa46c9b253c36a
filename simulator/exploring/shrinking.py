"""Leaving parts out as long as the failure stays: delta debugging. Pure; runs no program by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(parts: Sequence[T], attempt: Callable[[Sequence[T]], Sequence[T] | None]) -> list[T]:
    """Return some of the parts, none of which can be left out alone.

    Large pieces are tried first, and the last before the first: a later part of a run cannot change an earlier one, so
    an attempt to leave it out is the likelier one to succeed.

    Args:
        attempt: Gets the parts that are left; returns those of them that were used if the failure stays, else None.

    Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002); the order of attempts
        and going on behind a success instead of beginning anew are those of Hypothesis.
    """
    best = list(parts)
    while True:
        smaller = _pass(best, attempt)
        if len(smaller) == len(best):
            return smaller
        best = smaller  # each part that went may have freed another


def _pass(parts: Sequence[T], attempt: Callable[[Sequence[T]], Sequence[T] | None]) -> list[T]:
    """Try to leave out each piece of each size once."""
    best = list(parts)
    size = len(best)
    while size:
        end = len(best)
        while end > 0:
            used = attempt([*best[: max(0, end - size)], *best[end:]])
            end -= size
            if used is not None:
                best = list(used)
                end = min(end, len(best))
        size //= 2
    return best
