"""Sections that Ctrl-C does not tear.

A task may be interrupted between any two instructions, and what it had half done under a lock stays half done: a peer
that counts as challenged and never was, a task that counts as started. A handful of assignments can be put into an
order in which each half is right. A state machine that others call cannot, so it is called within such a section.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from meshsync.runtime.interfaces import Condition, Runtime, Shield

__all__ = ["critical_section"]


def critical_section(runtime: Runtime, condition: Condition | None = None) -> AbstractContextManager[object]:
    """Return a context that puts off what interrupts the calling task until it is left, and holds a condition.

    Not for waiting. What came meanwhile is raised at the end, when all is done.
    """
    make = runtime.shield
    shield = None if make is None else make()
    held = _NONE if condition is None else condition
    return held if shield is None else _CriticalSection(shield, held)


_NONE: AbstractContextManager[object] = nullcontext()


class _CriticalSection:
    __slots__ = ("_held", "_shield")

    def __init__(self, shield: Shield, held: AbstractContextManager[object]) -> None:
        self._shield = shield
        self._held = held

    def __enter__(self) -> None:
        try:
            self._shield.put_up()
            self._held.__enter__()
        except BaseException:  # Ctrl-C struck before it was up.
            self._put_down()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._held.__exit__(kind, error, trace)
        finally:
            self._put_down()

    def _put_down(self) -> None:
        try:
            self._shield.put_down()
        except BaseException:  # Of several signals the first has raised.
            self._shield.put_down()
            raise
