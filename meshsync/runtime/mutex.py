"""Mutual exclusion with a time limit."""

from __future__ import annotations

from collections.abc import Callable

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
        self._holder: object = None
        """A token of the call that holds it; None while none does."""

    def run(self, timeout: Timeout, what: object, work: Callable[[], None]) -> None:
        """Wait until no other task holds it, and hold it for ``work``.

        No context manager: Ctrl-C can strike before the first line of an ``__exit__``, and it would be held for ever.

        Args:
            timeout: The longest wait, in seconds; ``"default"`` is None here, since the task that holds it keeps a
                limit of its own.
            what: The guarded object, for the error.
        Raises:
            StreamTimeout: If another task held it all the time; nothing was done. Else as ``work``.
        """
        limit = timeout if isinstance(timeout, (int, float)) else None
        token = object()
        try:
            with self._condition:
                if not self._condition.wait_for(lambda: self._holder is None, limit):
                    raise StreamTimeout(
                        f"{what!r} is in use by another task, for {limit or 0:.3g} s now; nothing was done"
                    )
                self._holder = token
            work()
        finally:
            if self._holder is token:
                try:
                    self._release()
                except BaseException:  # Ctrl-C struck in there.
                    self._release()
                    raise

    def _release(self) -> None:
        with self._condition:
            self._holder = None
            self._condition.notify_all()
