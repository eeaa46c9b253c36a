"""The record of operations: their beginnings and ends in the order in which they happened."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

from meshsync.errors import UsageError

__all__ = ["History", "Operation"]


class _Unset:
    def __repr__(self) -> str:
        return "no result"


UNSET = _Unset()
"""The result of an operation that was given none."""


class HasNow(Protocol):
    """A simulation, or anything else that knows the time."""

    @property
    def now(self) -> float: ...


class Operation:
    """One operation of one process, from its call to its return.

    Attributes:
        result: What it returned; the program sets it before the operation ends.
    """

    __slots__ = (
        "_has_no_effect",
        "arguments",
        "begun",
        "begun_at",
        "ended",
        "ended_at",
        "key",
        "name",
        "process",
        "result",
    )

    def __init__(
        self, process: str, name: str, arguments: tuple[object, ...], key: Hashable, begun: int, begun_at: float
    ) -> None:
        self.process: str = process
        """Who called it."""
        self.name: str = name
        self.arguments: tuple[object, ...] = arguments
        self.key: Hashable = key
        """Which of several objects it was about."""
        self.begun: int = begun
        """Its call's number among all calls and returns of the history."""
        self.begun_at: float = begun_at
        """When it was called, in seconds."""
        self.ended: int | None = None
        """Its return's number; None if it has not returned, or failed, so that it may take effect at any time."""
        self.ended_at: float | None = None
        """When it returned, in seconds."""
        self.result: object = UNSET
        self._has_no_effect = False

    def drop(self) -> None:
        """State that it has had no effect, and never will, as one that failed with ``NotSent``."""
        self._has_no_effect = True

    @property
    def has_no_effect(self) -> bool:
        """Whether `drop` was called."""
        return self._has_no_effect

    @property
    def is_over(self) -> bool:
        """Whether it has returned."""
        return self.ended is not None

    def __repr__(self) -> str:
        call = f"{self.name}({', '.join(map(repr, self.arguments))})"
        key = "" if self.key is None else f" of {self.key!r}"
        end = "never returned" if self.ended_at is None else f"{self.ended_at:.6f} s"
        result = "" if self.result is UNSET else f" -> {self.result!r}"
        return f"{self.process}: {call}{key}{result} [{self.begun_at:.6f} s to {end}]"


class History:
    """The operations of one run.

    Args:
        clock: The simulation, whose ``now`` is noted; or None for no times. The order of calls and returns is that in
            which this object is told of them, so that what happens at one instant has an order too.
    """

    def __init__(self, clock: HasNow | None = None) -> None:
        self._clock = clock
        self._operations: list[Operation] = []
        self._in_progress: dict[Operation, None] = {}
        self._count = 0

    @contextmanager
    def operation(self, process: str, name: str, *arguments: object, key: Hashable = None) -> Iterator[Operation]:
        """Return a context that is one operation: called when it is entered, returned when it is left.

        An exception in it passes on, and makes the operation one that may have taken effect or not, at any time since
        its call: a time-out says no more. Call `Operation.drop` for one that certainly had no effect.

        Args:
            process: Who calls it; one process has one operation at a time.
            name: What it does, in the words of a model: ``"read"``, ``"write"``, ``"put"`` …
            arguments: What the model's operation takes.
            key: Which object it is about, if there are several: each is looked at by itself.
        Raises:
            UsageError: If an operation of the process is in progress.
        """
        if any(one.process == process for one in self._in_progress):
            raise UsageError(f"an operation of {process!r} is in progress: give each thread a name of its own")
        operation = Operation(process, name, arguments, key, self._tick(), self._now())
        self._operations.append(operation)
        self._in_progress[operation] = None
        try:
            yield operation
            operation.ended, operation.ended_at = self._tick(), self._now()
        finally:
            del self._in_progress[operation]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations so far, in the order of their calls, without those that had no effect."""
        return tuple(one for one in self._operations if not one.has_no_effect)

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def _tick(self) -> int:
        self._count += 1
        return self._count

    def _now(self) -> float:
        return 0.0 if self._clock is None else self._clock.now

    def __repr__(self) -> str:
        return "\n".join([f"<History of {len(self)} operations>", *map(repr, self)])
