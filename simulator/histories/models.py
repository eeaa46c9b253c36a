"""What objects do when one operation comes after another: the sequential behaviour that a history is held against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any

from meshsync.errors import UsageError

__all__ = ["MODELS", "NOTHING", "Model", "counter", "fifo_queue", "register"]


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()
"""The result of an operation that returns none, such as a write: what a program records for it does not count."""


class Model(ABC):
    """An object, as a function of its state. Subclass it for objects of your own."""

    initial: Hashable = None
    """The state before the first operation."""

    @abstractmethod
    def apply(self, state: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Hashable, object]:
        """Return the state after an operation, and its result, or `NOTHING`; ``state`` is not changed.

        Raises:
            UsageError: If the object has no such operation.
        """


def _unknown(what: str, name: str, arguments: tuple[Any, ...], known: str) -> UsageError:
    shown = ", ".join(map(repr, arguments))
    return UsageError(f"a {what} has no operation {name}({shown}): it has {known}")


class _Register(Model):
    """See `register`."""

    def __init__(self, initial: Hashable) -> None:
        self.initial = initial

    def apply(self, state: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Hashable, object]:
        match name, *arguments:
            case "read", *rest if not rest:
                return state, state
            case "write", value:
                return value, NOTHING
            case "compare_and_set", expected, value:
                return (value, True) if state == expected else (state, False)
        raise _unknown("register", name, arguments, "read(), write(value), compare_and_set(expected, value)")


class _Counter(Model):
    """See `counter`."""

    def __init__(self, initial: int) -> None:
        self.initial = initial

    def apply(self, state: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Hashable, object]:
        match name, *arguments:
            case "read", *rest if not rest:
                return state, state
            case "add", amount:
                return state + amount, NOTHING
            case "increment", *rest if len(rest) < 2:
                after = state + (rest[0] if rest else 1)
                return after, after
        raise _unknown("counter", name, arguments, "read(), add(amount), increment(amount=1)")


class _Queue(Model):
    """See `fifo_queue`."""

    def __init__(self, initial: tuple[Hashable, ...]) -> None:
        self.initial = initial

    def apply(self, state: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Hashable, object]:
        match name, *arguments:
            case "put", item:
                return (*state, item), NOTHING
            case "get", *rest if not rest:
                return (state[1:], state[0]) if state else (state, None)
        raise _unknown("queue", name, arguments, "put(item), get()")


def register(initial: Hashable = None) -> Model:
    """Return the model of one value: ``read()`` returns it, ``write(value)`` sets it, and nothing else does.

    ``compare_and_set(expected, value)`` sets it if it is the expected one, and returns whether it was.
    """
    return _Register(initial)


def counter(initial: int = 0) -> Model:
    """Return the model of a number: ``read()``, ``add(amount)``, and ``increment(amount=1)`` with the new value."""
    return _Counter(initial)


def fifo_queue(*initial: Hashable) -> Model:
    """Return the model of a queue: ``put(item)``, and ``get()``, which returns the oldest item, or None if empty."""
    return _Queue(initial)


MODELS: dict[str, Callable[[], Model]] = {"register": register, "counter": counter, "queue": fifo_queue}
"""By the names under which `linearizable` knows them."""
