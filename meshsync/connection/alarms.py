"""The time limits that a connection's reader keeps for the client's parts."""

from __future__ import annotations

from collections.abc import Callable

from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime

__all__ = ["Alarms"]


class Alarms:
    """What the reader calls later, by key, since no task waits for it.

    Needs no lock: each change is one operation of a dict.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._alarms: dict[object, tuple[Deadline, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._alarms)

    def set(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` after so many seconds, unless it is cancelled. Only the reader may: it is not woken by this."""
        self._alarms[key] = (Deadline(self._runtime, seconds), ring)

    def cancel(self, key: object) -> None:
        """Take an alarm back, if there is one. Any task may."""
        self._alarms.pop(key, None)

    def ring(self) -> float | None:
        """Call what is due; return how long it is until the next alarm, in seconds, or None if there is none."""
        for key, (deadline, ring) in list(self._alarms.items()):
            if deadline.is_over and self._alarms.pop(key, None) is not None:
                ring()
        waits = (deadline.left() for deadline, _ in list(self._alarms.values()))
        return min((wait for wait in waits if wait is not None), default=None)
