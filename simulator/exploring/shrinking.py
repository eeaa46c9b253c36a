"""Leaving parts out of something for as long as what matters stays: delta debugging. Pure; runs nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(parts: Sequence[T], attempt: Callable[[Sequence[T]], Sequence[T] | None]) -> list[T]:
    """Return some of the parts, none of which can be left out alone.

    Large pieces are tried first, and the last before the first: what comes later in a run cannot change what came
    before, so an attempt to leave it out is the likelier one to succeed.

    Args:
        attempt: Gets what is left; returns what of that was made use of if it still does what matters, else None.

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
