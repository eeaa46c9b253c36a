"""What was refused, and the log's lines about it: few of them, without a traceback and without a token.

A stranger can cause as many refusals as it likes. So of each kind there is a line a minute at most, and the numbers are
in the emulator's statistics.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

__all__ = ["HttpLog", "Refusals"]

_log = logging.getLogger("simulator.emulator")

_INTERVAL = 60.0
"""Seconds between two lines of one kind."""

STRANGERS = (OSError, EOFError)
"""Errors of a connection, whose cause is at its other end."""


class Refusals:
    """Counts refusals by their kind, and logs the first of each kind, then one a minute at most.

    Args:
        now: Returns the time in seconds, from any origin.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._now = now
        self._logged: dict[str, tuple[float, int]] = {}
        """When a kind was last logged, and its count then."""

    def add(self, kind: str, text: str, level: int = logging.WARNING) -> None:
        """Count a refusal, and log ``text`` if that is due. A text must not have a token in it."""
        self.counts[kind] += 1
        now, count = self._now(), self.counts[kind]
        at, before = self._logged.get(kind, (-_INTERVAL, 0))
        if now - at < _INTERVAL:
            return
        self._logged[kind] = (now, count)
        more = count - before - 1
        _log.log(level, "%s%s", text, f" ({more} more since the last line of this kind)" if more else "")

    def extend(self, kind: str, text: str) -> None:
        """Count a refusal as `add` does, and log it only if there was none of its kind for a minute."""
        self.add(kind, text)
        self._logged[kind] = (self._now(), self.counts[kind])


class HttpLog(logging.Logger):
    """The logger that aiohttp is given: what it reports is the fault of a stranger, hence a refusal.

    What fails in a handler of ours does not get here. aiohttp logs a malformed request with a traceback whose last line
    repeats the request, a token in its URL included.
    """

    def __init__(self, refusals: Refusals) -> None:
        super().__init__("simulator.emulator.http", logging.WARNING)
        self._refusals = refusals

    def handle(self, record: logging.LogRecord) -> None:
        """Count a refusal."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, STRANGERS):
            self._refusals.add("lost", "a connection was lost in its handshake", logging.INFO)
        else:
            what = "" if error is None else f": {type(error).__name__}"
            self._refusals.add("malformed", f"a request was malformed{what}", logging.INFO)
