"""Time limits: a call makes one `Deadline` of its timeout at its door, and hands that down."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from numbers import Real
from typing import Literal

from meshsync.places import warn_program
from meshsync.runtime.interfaces import Runtime

__all__ = [
    "FOREVER",
    "Deadline",
    "Limit",
    "Timeout",
    "check_duration",
    "check_timeout",
    "own_limit",
    "seems_milliseconds",
    "warn_of_milliseconds",
]

Timeout = float | Literal["default"] | None
"""Seconds; None for ever, 0 to poll, ``"default"`` for the client's default."""

Limit = Callable[[Timeout, float | None], float | None]
"""Returns a call's time limit in seconds: its own, else the client's for all calls, else the one given second."""

FOREVER = 1e9
"""A longer limit is none, in seconds: 31 years. Some waits of the system take no larger number."""


def check_duration(seconds: object, name: str) -> float:
    """Return a number of seconds that a program gave as a `float`: zero, positive or infinite.

    Args:
        name: The argument's name, for errors.
    Raises:
        TypeError: If it is no real number; true and false are none.
        ValueError: If it is negative or NaN.
    """
    if type(seconds) is float:  # Most are, and many calls a second ask.
        number = seconds
    elif isinstance(seconds, bool) or not isinstance(seconds, Real):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r:.100}")
    else:
        try:
            number = float(seconds)
        except OverflowError:  # An integer of hundreds of digits.
            number = -inf if seconds < 0 else inf
    if not number >= 0:  # NaN is not, either.
        raise ValueError(f"{name} is a number of seconds from 0 on, not {number!r}")
    return number


_LEAST_MILLISECONDS, _MOST_MILLISECONDS = 2_000, 999_000
"""Whole thousands between these rather are milliseconds. Below, they are limits of some minutes; above, limits that are
meant to be none."""


def seems_milliseconds(seconds: float) -> bool:
    """Return whether a number of seconds is a whole number of thousands that no person chooses.

    They choose whole minutes, up to two hours, and whole quarter hours.
    """
    if not _LEAST_MILLISECONDS <= seconds <= _MOST_MILLISECONDS or seconds % 1000:
        return False
    return bool(seconds % 900 and (seconds % 60 or seconds > 7200))


def warn_of_milliseconds(seconds: object, name: str) -> None:
    """Warn of a number of seconds that seems to be one of milliseconds.

    A float is what a program calculated, or what a person wrote who read the warning.
    """
    if type(seconds) is int and seems_milliseconds(seconds):
        warn_program(
            f"{name}={seconds} is {seconds} s: for {seconds} ms give {seconds / 1000:g}, and for that many seconds "
            f"{seconds}.0"
        )


def check_timeout(timeout: object, name: str = "timeout") -> float | None:
    """Return a time limit that a program gave, in seconds; None if it is none, or so long that it comes to the same.

    One that seems to be in milliseconds is warned of, see `warn_of_milliseconds`.

    Raises:
        TypeError: If it is neither None nor a real number.
        ValueError: If it is negative or NaN.
    """
    if timeout is None or (type(timeout) is float and 0 <= timeout <= FOREVER):
        return timeout
    if type(timeout) is int and 0 <= timeout < _LEAST_MILLISECONDS:
        return float(timeout)
    seconds = check_duration(timeout, name)
    warn_of_milliseconds(timeout, name)
    return None if seconds > FOREVER else seconds


def own_limit(timeout: Timeout, default: float | None) -> float | None:
    """Return a call's time limit in seconds where there is no client: the `Limit` of none."""
    return default if isinstance(timeout, str) and timeout == "default" else check_timeout(timeout)


class Deadline:
    """The end of a time limit that began when this was made.

    Args:
        timeout: Seconds from now. None and infinity never end, and neither does ``"default"``, which is handed on as it
            is, to the call that knows the default.
    Raises:
        TypeError: As `check_timeout`, and `ValueError` too.
    """

    __slots__ = ("_monotonic", "_timeout", "at")

    def __init__(self, runtime: Runtime, timeout: Timeout) -> None:
        self._monotonic = monotonic = runtime.monotonic
        self._timeout: Timeout = timeout
        self.at: float | None = None
        """A point on the runtime's monotonic clock, in seconds; None if there is none."""
        if type(timeout) is float and 0 <= timeout <= FOREVER:  # Most are, and each call that waits asks.
            self.at = monotonic() + timeout
        elif timeout is not None and timeout != "default":
            self._timeout = limit = check_timeout(timeout)
            if limit is not None:
                self.at = monotonic() + limit

    def left(self) -> float | None:
        """Return how many seconds are left, 0 once it is over; None if it never is."""
        if self.at is None:
            return None
        monotonic = self._monotonic
        left = self.at - monotonic()
        return left if left > 0 else 0.0

    def cap(self, seconds: float) -> float:
        """Return so many seconds, or those that are left if they are fewer."""
        left = self.left()
        return seconds if left is None or seconds < left else left

    def rest(self) -> Timeout:
        """Return the time limit to hand down: the seconds left, or None or ``"default"`` as they were given."""
        return self._timeout if self.at is None else self.left()

    @property
    def limit(self) -> float:
        """The whole of the time limit in seconds, for errors; 0 if there is none."""
        return 0.0 if self.at is None or isinstance(self._timeout, str) else self._timeout or 0.0

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.at is not None and self._monotonic() >= self.at
