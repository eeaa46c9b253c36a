"""Time limits: a call makes one `Deadline` of its timeout at its door, and hands that down."""

from __future__ import annotations

from typing import Literal

from meshsync.runtime.interfaces import Runtime

__all__ = ["Deadline", "Timeout"]

Timeout = float | Literal["default"] | None
"""Seconds; None for ever, 0 to poll, ``"default"`` for the client's default."""


class Deadline:
    """The end of a time limit that began when this was made.

    Args:
        timeout: Seconds from now. None never ends, and neither does ``"default"``, which is handed on as it is, to the
            call that knows the default.
    """

    __slots__ = ("_monotonic", "_timeout", "at")

    def __init__(self, runtime: Runtime, timeout: Timeout) -> None:
        self._monotonic = runtime.monotonic
        self._timeout = timeout
        self.at = self._monotonic() + timeout if isinstance(timeout, (int, float)) else None
        """A point on the runtime's monotonic clock, in seconds; None if there is none."""

    def left(self) -> float | None:
        """Return how many seconds are left, 0 once it is over; None if it never is."""
        return None if self.at is None else max(0.0, self.at - self._monotonic())

    def rest(self) -> Timeout:
        """Return the time limit to hand down: the seconds left, or None or ``"default"`` as they were given."""
        return self._timeout if self.at is None else self.left()

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.at is not None and self._monotonic() >= self.at
