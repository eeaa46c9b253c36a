"""What was refused, and the log's lines about it: few of them, without a traceback and without a token.

A stranger can cause as many refusals as it likes. So of each kind there are ten lines a minute at most, each about
another room, name or reason, and the numbers are in the emulator's statistics.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["HttpLog", "Refusals"]

_log = logging.getLogger("simulator.emulator")

_INTERVAL = 60.0
"""Seconds in which there are so many lines of one kind, all different."""

_MOST = 10
"""How many that is."""

STRANGERS = (OSError, EOFError)
"""Errors of a connection, whose cause is at its other end."""


@dataclass(slots=True)
class _Logged:
    """What was logged of one kind."""

    since: float
    """When the present minute began."""
    count: int
    """How many of the kind there were at the last line."""
    texts: set[str] = field(default_factory=set)
    """Those of the present minute."""


class Refusals:
    """Counts refusals by their kind, and logs each text once a minute at most, and ten of each kind.

    Args:
        now: Returns the time in seconds, from any origin.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._now = now
        self._logged: dict[str, _Logged] = {}
        """What was logged of each kind."""

    def add(self, kind: str, text: str, level: int = logging.WARNING, **members: object) -> None:
        """Count a refusal, and log ``text`` if that is due. A text must not have a token in it.

        Args:
            members: For programs that read the log; see docs/logging.md.
        """
        self.counts[kind] += 1
        now, count = self._now(), self.counts[kind]
        logged = self._logged.get(kind)
        if logged is None or now - logged.since >= _INTERVAL:
            logged = self._logged[kind] = _Logged(now, 0 if logged is None else logged.count)
        elif text in logged.texts or len(logged.texts) >= _MOST:
            return
        more = count - logged.count - 1
        logged.count = count
        logged.texts.add(text)
        extra = {"event": "refused", "kind": kind, **members, "count": count}
        _log.log(level, "%s%s", text, f" ({more} more since the last line of this kind)" if more else "", extra=extra)

    def extend(self, kind: str, text: str) -> None:
        """Count a refusal as `add` does, and log it only if there was none of its kind for a minute."""
        self.add(kind, text)
        self._logged[kind].since = self._now()


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
