"""Mutual exclusion with a time limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from meshsync.errors import StreamTimeout
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Runtime

__all__ = ["TimedMutex"]


class TimedMutex:
    """Lets one task at a time do work that must not be mixed and may block, such as writing several chunks.

    No condition is held meanwhile. A task that holds it twice waits for itself.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._condition = runtime.condition()
        self._is_held = False

    @contextmanager
    def hold(self, timeout: Timeout, what: object) -> Iterator[None]:
        """Wait until no other task holds it, and hold it inside ``with``.

        Args:
            timeout: The longest wait, in seconds; ``"default"`` is None here, since the task that holds it keeps a
                limit of its own.
            what: The guarded object, for the error.
        Raises:
            StreamTimeout: If another task held it all the time; nothing was done.
        """
        limit = timeout if isinstance(timeout, (int, float)) else None
        with self._condition:
            if not self._condition.wait_for(lambda: not self._is_held, limit):
                raise StreamTimeout(f"{what!r} is in use by another task, for {limit or 0:.3g} s now; nothing was done")
            self._is_held = True
        try:
            yield
        finally:
            with self._condition:
                self._is_held = False
                self._condition.notify_all()
