"""The time limits that a connection's reader keeps for the client's parts."""

from __future__ import annotations

from collections.abc import Callable

from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime

__all__ = ["Alarms"]


class Alarms:
    """Callbacks due later on the reader, by key; no task waits for them.

    Needs no lock: each change is one operation of a dict.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._alarms: dict[object, tuple[Deadline, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._alarms)

    def set(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` after ``seconds``, unless cancelled. Only the reader may call this, which does not wake it."""
        self._alarms[key] = (Deadline(self._runtime, seconds), ring)

    def cancel(self, key: object) -> None:
        """Cancel the alarm, if there is one. Any task may."""
        self._alarms.pop(key, None)

    def ring(self) -> float | None:
        """Call the callbacks that are due; return the seconds until the next alarm, or None if there is none."""
        for key, (deadline, ring) in list(self._alarms.items()):
            if deadline.is_over and self._alarms.pop(key, None) is not None:
                ring()
        waits = (deadline.left() for deadline, _ in list(self._alarms.values()))
        return min((wait for wait in waits if wait is not None), default=None)
