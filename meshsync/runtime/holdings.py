"""What the tasks of a runtime hold and wait for, where the runtime can end tasks and reports deadlocks: a simulation.

Real threads cannot be ended from outside, so `ThreadRuntime` has none, and what a thread held when it ended stays held,
as with ``threading.Lock``. Not the business of this module: any waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["Held", "Holdings"]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """One lock, or one permit of a semaphore, that a task holds."""

    what: str
    """The object, as ``Lock of prog.py:3``."""
    since: str
    """Where it was taken, as ``prog.py:17 in work``."""
    release: Callable[[], None]
    """Gives it back; the longest waiting task has it then. Never waits."""


class Holdings:
    """What each task holds and waits for. Kept by the locks; nothing here acts by itself.

    Args:
        name_of: Returns the name of a task that has not ended.
    """

    __slots__ = ("_ended", "_held", "_name_of", "_waiting")

    def __init__(self, name_of: Callable[[Hashable], str]) -> None:
        self._name_of = name_of
        self._held: dict[Hashable, dict[Held, None]] = {}
        self._waiting: dict[Hashable, tuple[Callable[[], str], Callable[[], None]]] = {}
        self._ended: dict[Hashable, str] = {}

    # --- called by locks, queues and events ---------------------------------------------------------------------------

    def took(self, task: Hashable, held: Held) -> None:
        """Record that a task holds something."""
        self._held.setdefault(task, {})[held] = None

    def gave(self, task: Hashable, held: Held) -> None:
        """Record that it does no more; does nothing if that is known."""
        mine = self._held.get(task)
        if mine is not None:
            mine.pop(held, None)
            if not mine:
                del self._held[task]

    def waits(self, task: Hashable, describe: Callable[[], str], withdraw: Callable[[], None]) -> None:
        """Record that a task waits.

        Args:
            describe: Returns for what, as the rest of a sentence.
            withdraw: Takes its place among those who wait away, so that nothing is handed to it. Never waits.
        """
        self._waiting[task] = describe, withdraw

    def waits_no_more(self, task: Hashable) -> None:
        """Record that it does not."""
        self._waiting.pop(task, None)

    # --- called by the runtime ----------------------------------------------------------------------------------------

    def held_by(self, task: Hashable) -> tuple[Held, ...]:
        """Return what a task holds, in the order of taking."""
        return tuple(self._held.get(task, ()))

    def awaited_by(self, task: Hashable) -> str | None:
        """Return what a task waits for, as the rest of a sentence; None if it waits for nothing of these."""
        found = self._waiting.get(task)
        return None if found is None else found[0]()

    def note_end(self, task: Hashable, name: str) -> None:
        """Record the name of a task that ends; what it holds stays held, as on real threads."""
        if task in self._held:
            self._ended[task] = name

    def describe(self, task: Hashable) -> str:
        """Return the name of a task, quoted, and whether it has ended."""
        ended = self._ended.get(task)
        return repr(self._name_of(task)) if ended is None else f"{ended!r}, which has ended,"

    def release_all(self, task: Hashable) -> tuple[Held, ...]:
        """Give back what a task holds, and take it out of every line; return what it held, in the order of taking.

        The hook for a runtime that ends a task by force. It may be called by any task and in a timer's callback; the
        task itself must not run on in these objects.
        """
        found = self._waiting.pop(task, None)
        if found is not None:
            found[1]()
        held = self.held_by(task)
        for one in reversed(held):
            one.release()
        self._held.pop(task, None)
        return held
