"""Mutual exclusion with a time limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from meshsync.errors import StreamTimeout
from meshsync.runtime.deadlines import Timeout
from meshsync.world import condition

__all__ = ["Turn"]


class Turn:
    """Lets one task at a time do what must not be mixed and may block, such as writing several chunks.

    No condition is held meanwhile. A task that takes it twice waits for itself.
    """

    def __init__(self) -> None:
        self._condition = condition()
        self._is_taken = False

    @contextmanager
    def take(self, timeout: Timeout, what: object) -> Iterator[None]:
        """Wait for the turn and have it inside ``with``.

        Args:
            timeout: The longest wait, in seconds; ``"default"`` is None here, since who has the turn keeps its own.
            what: What is used in turns, for the error.
        Raises:
            StreamTimeout: If another task had it all the time.
        """
        limit = timeout if isinstance(timeout, (int, float)) else None
        with self._condition:
            if not self._condition.wait_for(lambda: not self._is_taken, limit):
                raise StreamTimeout(f"{what!r} is in use by another task, for {limit or 0:.3g} s now; nothing was done")
            self._is_taken = True
        try:
            yield
        finally:
            with self._condition:
                self._is_taken = False
                self._condition.notify_all()
