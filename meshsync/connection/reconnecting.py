"""When a client comes back after a loss: what is final, and how long it waits before each attempt.

Source: PROTOCOL.md, sections 2.2 and 10; docs/PROTOCOL.md says where this departs from official clients.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from meshsync.errors import AuthenticationFailed, ConnectFailed, ConnectionLost, Dismissed, ProtocolError
from meshsync.reasons import safe_text
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import Connector

__all__ = ["Backoff", "Complaints", "ReconnectPlan", "is_final"]

logger: logging.Logger = logging.getLogger("meshsync")

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
LEAST_DELAY = 0.1
"""Seconds. Each delay is drawn evenly from 0 to a bound, which doubles from the first to the longest; none is shorter
than the least. Clients that lost one server together come back spread over time ("full jitter")."""

LONGEST_AFTER_CUT = 1.0
"""Seconds; the longest delay after an attempt that was cut in the handshake, or between the room's greeting and the end
of restoring: the server is there, and what cuts connections is the way to it, for which a longer wait does nothing."""

LONGEST_ASKED_FOR = 3600.0
"""Seconds; the most that a server gets by asking for it (``Retry-After``), which may have erred."""

COMPLAIN_EVERY = 60.0
"""Seconds between two warnings that the room is still not reached."""

FINAL_STATUSES = frozenset({400, 401, 403, 404, 405, 407, 410, 423, 426, *range(300, 400)})
"""HTTP statuses to which asking again changes nothing. 401 may be otherwise where a new token is made each time."""

FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})
"""Close codes by which the server says that this client is to stay away; so are those of applications, 4000 to 4999
(RFC 6455, section 7.4)."""


@dataclass(frozen=True, slots=True)
class ReconnectPlan:
    """How a client gets its next connections."""

    connector: Connector
    limit: float | None = None
    """Seconds after a loss until it gives up; None for never."""
    renews_token: bool = False
    """Whether each attempt gets a token of its own, so that a rejected one is not the last word."""


def is_final(error: BaseException, *, renews_token: bool) -> bool:
    """Return whether no attempt is worth making after this end of a connection or of an attempt.

    Args:
        renews_token: See `ReconnectPlan`.
    """
    match error:
        case Dismissed() | ProtocolError():
            return True
        case ConnectionLost(code=code):
            return error._is_final or (code is not None and (code in FINAL_CODES or 4000 <= code <= 4999))
        case AuthenticationFailed():
            return not renews_token
        case ConnectFailed(http_status=status):
            return error._is_final or status in FINAL_STATUSES
    return False  # An exception of the program's `token` function, or of a system without threads.


class Backoff:
    """The delays before attempts: full jitter over an exponential.

    Args:
        random: The stream for jitter.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._bound = FIRST_DELAY

    def next_delay(self, error: BaseException | None = None) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            error: Of the one before; it may say how long its server wants to be left alone.
        """
        if isinstance(error, ConnectFailed) and error._was_cut:
            self.limit()
        delay = max(LEAST_DELAY, self._bound * self._random.random())
        self._bound = min(LONGEST_DELAY, 2 * self._bound)
        wanted = error.retry_after if isinstance(error, ConnectFailed) else None
        return delay if wanted is None else max(delay, min(wanted, LONGEST_ASKED_FOR))

    def limit(self) -> None:
        """Let the next delay be rather short: the server is there."""
        self._bound = min(LONGEST_AFTER_CUT, self._bound)

    def restart(self) -> None:
        """Begin with the first bound again: the client was online."""
        self._bound = FIRST_DELAY


class Complaints:
    """The warnings about failed attempts: one at the first, then one a minute."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self._name = name
        self._attempts = 0
        self._next_at = 0.0

    def attempt_failed(self, error: BaseException, delay: float) -> None:
        """Report a failed attempt if it is time to."""
        self._attempts += 1
        now = self._runtime.monotonic()
        if self._attempts > 1 and now < self._next_at:
            return
        self._next_at = now + COMPLAIN_EVERY
        with suppress(Exception):  # A failing log handler must not end the attempts.
            logger.warning(
                "%s is offline: attempt %d to reconnect failed, the next one follows in %.1f s: %s",
                self._name,
                self._attempts,
                delay,
                safe_text(error),
            )
