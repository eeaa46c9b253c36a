"""The peer's signs of life: deadlines only, time is an argument.

A transport's owner reports each sign of life to a `Heartbeat`, asks it when to look again, and looks then. Not the
business of this module: clocks, and sending the ping.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["INTERVAL", "TIMEOUT", "Beat", "Heartbeat"]

INTERVAL = 30.0
"""Seconds of silence after which to ping.

Source: official Python clients up to release 0.31.1 (PROTOCOL.md, section 2).
"""

TIMEOUT = 15.0
"""Seconds to wait for a sign of life after that. Source: half the interval, as in official Python clients."""


class Beat(Enum):
    """The presumed state of the peer."""

    ALIVE = "alive"
    ASKED = "asked"
    DEAD = "dead"


_AFTER_SILENCE = {Beat.ALIVE: Beat.ASKED, Beat.ASKED: Beat.DEAD, Beat.DEAD: Beat.DEAD}
"""Where each state goes when its deadline passes. A sign of life leads back to ALIVE, except from DEAD."""


class Heartbeat:
    """Decides when to ping and when to give up.

    A sign of life is any byte received, or any progress of a pending write. A peer is only ever given up ``timeout``
    seconds after a ping was asked for: a late look (a paused process) first asks, and does not give up.
    """

    __slots__ = ("_deadline", "_interval", "_timeout", "state")

    def __init__(self, now: float, *, interval: float | None = INTERVAL, timeout: float = TIMEOUT) -> None:
        """Begin with a sign of life at ``now``.

        Args:
            now: Seconds on any monotonic clock; the same one in every call.
            interval: Seconds of silence before a ping; None never pings and never gives up.
            timeout: Seconds from the ping to giving up.
        Raises:
            ValueError: If a duration is not positive.
        """
        if (interval is not None and not interval > 0) or not timeout > 0:
            raise ValueError(f"heartbeat durations must be positive, got {interval} and {timeout}")
        self._interval = interval
        self._timeout = timeout
        self.state = Beat.ALIVE
        self._deadline = None if interval is None else now + interval

    @property
    def deadline(self) -> float | None:
        """When to call `look` next, in seconds on the caller's clock; None for never."""
        return self._deadline

    def alive(self, now: float) -> None:
        """Note a sign of life at ``now``."""
        if self._interval is not None and self.state is not Beat.DEAD:
            self.state = Beat.ALIVE
            self._deadline = now + self._interval

    def look(self, now: float) -> Beat | None:
        """Return what to do at ``now``: ASKED to send a ping, DEAD to give up, None for nothing.

        Each is returned once, when its deadline has passed. Look only after reading all received bytes, since the
        answer may be waiting unread.
        """
        if self._deadline is None or now < self._deadline:
            return None
        self.state = _AFTER_SILENCE[self.state]
        self._deadline = now + self._timeout if self.state is Beat.ASKED else None
        return self.state
