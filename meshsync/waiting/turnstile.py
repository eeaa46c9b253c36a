"""Permits that tasks take in the order in which they ask."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Condition, Runtime

__all__ = ["Line", "Turnstile"]


class Line:
    """Tasks that wait, in the order in which they came; the first one goes on."""

    __slots__ = ("_runtime", "_tickets", "condition")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tickets: deque[object] = deque()
        self.condition: Condition = runtime.condition()

    def __len__(self) -> int:
        return len(self._tickets)

    def join(self, ticket: object) -> None:
        """Stand last. The condition is held."""
        self._tickets.append(ticket)

    def is_first(self, ticket: object) -> bool:
        """Return whether this one goes on. The condition is held."""
        return bool(self._tickets) and self._tickets[0] is ticket

    def leave(self, ticket: object) -> None:
        """Let those behind go on; again does nothing. Interrupted by Ctrl-C, it is to be called again."""
        with self.condition:
            self.condition.notify_all()  # First: behind it Ctrl-C may strike, and who is woken waits until it is left.
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def renew(self) -> None:
        """Be empty, in a child process, which has none of the threads that stand here."""
        self._tickets.clear()
        self.condition = self._runtime.condition()


class Turnstile:
    """Permits taken in the order of asking: a lock, a reentrant one, or a semaphore, in one world.

    Args:
        what: The object, for diagnosis.
        count: How many permits there are at first.
        is_reentrant: Whether the task that has the only one may take it again.
    """

    __slots__ = ("_line", "_permits", "_runtime", "_what", "leave", "release")

    def __init__(self, runtime: Runtime, what: str, *, count: int = 1, is_reentrant: bool = False) -> None:
        self._runtime = runtime
        self._what = what
        self._line = Line(runtime)
        self._permits = permits = runtime.permits(count, what, is_reentrant=is_reentrant)
        self.leave: Callable[..., object] = permits.leave
        """Gives a permit back, as an ``__exit__``."""
        self.release: Callable[[], None] = permits.give
        """Gives a permit back."""

    @property
    def free(self) -> int:
        """How many permits can be taken at this moment."""
        return self._permits.free

    def acquire(self, limit: float | None = None) -> bool:
        """Take a permit, waiting at most ``limit`` seconds; None waits for ever, 0 does not.

        Raises:
            KeyboardInterrupt: At Ctrl-C; nothing is held.
        """
        taken: list[Any] = []
        ticket = object()
        try:
            if not len(self._line) or self._permits.is_mine():
                self._permits.take(taken, 0)
            if not taken and limit != 0:
                self._wait(taken, ticket, limit)
            return bool(taken)
        except BaseException:
            # Ctrl-C strikes once, at any call: here is the one place that clears up behind it.
            if taken:
                self._permits.give()
            self._line.leave(ticket)
            raise

    def _wait(self, taken: list[Any], ticket: object, limit: float | None) -> None:
        """Stand in the line and take a permit as the first one. Whatever is raised, the caller leaves the line."""
        deadline = Deadline(self._runtime, limit)
        line, task, holdings = self._line, self._runtime.current(), self._runtime.holdings
        if holdings is not None:
            holdings.waits(task, self._awaited, lambda: line.leave(ticket))
        try:
            with line.condition:
                line.join(ticket)
                is_first = line.condition.wait_for(lambda: line.is_first(ticket), limit)
            if is_first:
                self._permits.take(taken, deadline.left())
            line.leave(ticket)
        finally:
            if holdings is not None:
                holdings.waits_no_more(task)

    def refuse_ended(self) -> None:
        """Raise `TaskExit` in a task that was ended by force; do nothing in all others."""
        with self._line.condition:
            pass

    def _awaited(self) -> str:
        return f"waits for {self._what}{self._permits!r}"

    def renew(self) -> None:
        """Be usable in a child process. What another thread of the parent held stays held, as with `threading`."""
        self._line.renew()

    def __repr__(self) -> str:
        return f"{self.free} free" if self.free else "taken"
