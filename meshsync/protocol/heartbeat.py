"""The peer's signs of life: deadlines only, time is an argument.

A transport's owner reports received bytes to a `Heartbeat`, asks it when to look again, and looks then, with what has
become of the bytes for the peer. Not the business of this module: clocks, and sending the ping.

A ping waits behind all that was handed to the network before it, for minutes on a slow link. So its answer is due only
when it has arrived, and until then the peer's acknowledgements, those of its TCP, are signs of life. They are none
later: a system goes on acknowledging for a program that is dead, until its buffer is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["INTERVAL", "TIMEOUT", "Beat", "Heartbeat", "Outflow"]

INTERVAL = 30.0
"""Seconds of silence after which to ping.

Source: official Python clients up to release 0.31.1 (PROTOCOL.md, section 2).
"""

TIMEOUT = 15.0
"""Seconds to wait for a sign of life after that. Source: half the interval, as in official Python clients."""

_LOOKS = 64
"""Looks in a timeout while acknowledgements are awaited: by default one in 234 ms."""

_TIMEOUT_BYTES = 720 * 1024
"""Bytes that take a slow link one `TIMEOUT`, for systems that do not tell what has arrived.

Source: 48 KiB/s, so that one of 60 kB/s has some to spare.
"""


class Beat(Enum):
    """The presumed state of the peer."""

    ALIVE = "alive"
    ASKED = "asked"
    DEAD = "dead"


_ALIVE, _DEAD = Beat.ALIVE, Beat.DEAD  # Not looked up by name at each message: before 3.12 that is a call in Python.
_AFTER_SILENCE = {Beat.ALIVE: Beat.ASKED, Beat.ASKED: Beat.DEAD, Beat.DEAD: Beat.DEAD}
"""Where each state goes when its time has passed. A byte received leads back to ALIVE, except from DEAD."""


@dataclass(frozen=True, slots=True)
class Outflow:
    """What has become of the bytes for the peer, at one moment."""

    end: int = 0
    """Bytes handed to the network so far, and those that will go before a ping."""
    unacknowledged: int = 0
    """How many of these the peer's end has not acknowledged; at most so many, if that is not known."""
    is_known: bool = False
    """Whether the system tells what is acknowledged."""


_NOTHING = Outflow()


class Heartbeat:
    """Decides when to ping and when to give up.

    - A ping is due ``interval`` seconds after the last byte received.
    - Until the ping has arrived, the peer is given up ``interval + timeout`` seconds after its last sign of life, which
      is a byte received or one acknowledged.
    - Once it has arrived, it is given up ``timeout`` seconds later, or as many as the ping took to arrive if that is
      more: what the peer has yet to read before the ping comes over no faster link. It is ``interval + timeout`` at
      most.
    - Where the system does not tell what is acknowledged, it is given up ``timeout`` seconds after the ping was asked
      for, and as many again for each 720 KiB that may lie before it.

    A peer is only ever given up ``timeout`` seconds after a ping was asked for: a late look (a paused process) first
    asks, and does not give up. Acknowledgements are found by looking, so their times are known to a 64th of ``timeout``
    and taken to be the earlier ones.
    """

    __slots__ = (
        "_acknowledged",
        "_asked_at",
        "_due",
        "_interval",
        "_life_at",
        "_looked_at",
        "_period",
        "_ping_place",
        "_timeout",
        "deadline",
        "state",
    )

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
        self._period = timeout / _LOOKS
        self.state: Beat = Beat.ALIVE
        self._life_at = now
        """When the last sign of life came."""
        self._looked_at = now
        self._acknowledged = 0
        """The most bytes of which a look found that they were acknowledged."""
        self._asked_at = now
        """When the last ping was asked for."""
        self._ping_place: int | None = None
        """The bytes before the last ping; None once they are known to have arrived."""
        self._due = None if interval is None else now + interval
        """When the state changes next, unless there is a sign of life."""
        self.deadline: float | None = self._due
        """When to call `look` next, in seconds on the caller's clock; None for never. Read, not set, by the caller."""

    def alive(self, now: float) -> None:
        """Note at ``now`` that bytes were received."""
        if self._interval is not None and self.state is not _DEAD:
            self.state = _ALIVE
            self._life_at = now
            self.deadline = self._due = now + self._interval

    def watch(self, now: float) -> None:
        """Note at ``now`` that bytes wait for the network, so that acknowledgements are soon looked for."""
        soon = now + self._period
        if self.deadline is not None and self.deadline > soon:
            self.deadline = soon

    def look(self, now: float, outflow: Outflow = _NOTHING) -> Beat | None:
        """Return what to do at ``now``: ASKED to send a ping, DEAD to give up, None for nothing.

        Each is returned once, when its time has come. Look only after reading all received bytes, since the answer may
        be waiting unread.
        """
        if self.deadline is None or now < self.deadline:
            return None
        has_moved = self._note_acknowledgements(outflow)
        if self.state is Beat.ASKED and self._ping_place is not None and outflow.is_known:
            self._due = self._time_to_give_up(self._ping_place)
            if has_moved:
                # After a late look the time of the sign is not known: one more look tells whether it was the last.
                self._due = max(self._due, now + self._period)
        self._looked_at = now
        self.deadline = self._due
        beat = None
        if self._due is not None and now >= self._due:
            self.state = beat = _AFTER_SILENCE[self.state]
            self.deadline = self._due = self._ask(now, outflow) if beat is Beat.ASKED else None
        if outflow.is_known and outflow.unacknowledged and (self.state is Beat.ALIVE or self._ping_place is not None):
            self.watch(now)
        return beat

    def _note_acknowledgements(self, outflow: Outflow) -> bool:
        """Note what was acknowledged since the last look; return whether anything was."""
        acknowledged = outflow.end - outflow.unacknowledged
        if not outflow.is_known or acknowledged <= self._acknowledged:
            return False
        self._acknowledged = acknowledged
        self._life_at = max(self._life_at, self._looked_at)
        return True

    def _ask(self, now: float, outflow: Outflow) -> float:
        """Note a ping behind what is on its way; return when to give up."""
        self._asked_at, self._ping_place = now, outflow.end
        if outflow.is_known:
            return self._time_to_give_up(outflow.end)
        return now + self._timeout * (1 + outflow.unacknowledged / _TIMEOUT_BYTES)

    def _time_to_give_up(self, ping_place: int) -> float:
        """Return when to give up; ``ping_place`` bytes lie before a ping that had not arrived at the last look."""
        longest = self._timeout if self._interval is None else self._interval + self._timeout
        if self._acknowledged < ping_place:
            return max(self._asked_at + self._timeout, self._life_at + longest)
        self._ping_place = None
        arrived_at = max(self._asked_at, self._looked_at)
        return arrived_at + min(max(self._timeout, arrived_at - self._asked_at), longest)
