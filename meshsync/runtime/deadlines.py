"""Time limits, and what is left of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

from meshsync.world import monotonic

__all__ = ["Timeout", "countdown"]

Timeout = float | Literal["default"] | None
"""Seconds; None for ever, 0 to poll, ``"default"`` for the client's default."""


@overload
def countdown(timeout: float | None) -> Callable[[], float | None]: ...
@overload
def countdown(timeout: Timeout) -> Callable[[], Timeout]: ...
def countdown(timeout: Timeout) -> Callable[[], Timeout]:
    """Return what returns how much is left of a time limit that begins now; None and ``"default"`` stay what they are.

    Seconds.
    """
    if not isinstance(timeout, (int, float)):
        return lambda: timeout
    deadline = monotonic() + timeout
    return lambda: max(0.0, deadline - monotonic())
