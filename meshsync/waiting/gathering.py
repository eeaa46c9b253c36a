"""A condition of one world at which tasks wait for something that a diagnosis can name."""

from __future__ import annotations

from collections.abc import Callable

from meshsync.runtime.interfaces import Condition, Runtime

__all__ = ["Gathering"]


def _nothing() -> None:
    """Withdraw from where no task is handed anything."""


class Gathering:
    """A condition and the word for what is awaited there.

    Args:
        awaited: The rest of a sentence about one who waits.
    """

    __slots__ = ("_awaited", "_runtime", "condition")

    def __init__(self, runtime: Runtime, awaited: str) -> None:
        self._runtime = runtime
        self._awaited = awaited
        self.condition: Condition = runtime.condition()

    def wait_for(
        self,
        predicate: Callable[[], bool],
        limit: float | None,
        withdraw: Callable[[], None] = _nothing,
        *,
        awaited: str | None = None,
    ) -> bool:
        """Wait until ``predicate()`` holds, at most ``limit`` seconds; return its last value. The condition is held.

        Args:
            withdraw: Takes the caller out of a line, if it ends by force.
            awaited: Another word for what is awaited.
        """
        if predicate():
            return True
        holdings = self._runtime.holdings
        if holdings is None or limit == 0:
            return self.condition.wait_for(predicate, limit)
        task = self._runtime.current()
        holdings.waits(task, lambda: awaited or self._awaited, withdraw)
        try:
            return self.condition.wait_for(predicate, limit)
        finally:
            holdings.waits_no_more(task)

    def renew(self) -> None:
        """Replace the condition, in a child process: a thread of the parent may have been inside."""
        self.condition = self._runtime.condition()
