"""How often something may happen: so many times a second, with some saved up."""

from __future__ import annotations

__all__ = ["Rate"]

_SAVED = 2.0
"""Seconds whose allowance may be saved up: clients begin with several requests at once."""


class Rate:
    """An allowance that grows with time; time is an argument, in seconds.

    Args:
        per_second: The growth of the allowance; at least one is always allowed at once.
    """

    __slots__ = ("_at", "_left", "_most", "per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second: float = per_second
        self._most = max(per_second * _SAVED, 1.0)
        self._left = self._most
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Take ``count`` from the allowance; return False, with nothing taken, if it is less than that."""
        self._left = min(self._most, self._left + (now - self._at) * self.per_second)
        self._at = now
        if count > self._left:
            return False
        self._left -= count
        return True
