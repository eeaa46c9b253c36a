"""Faults of a scripted participant's class by which its methods would never be called, or called in vain."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Collection
from difflib import get_close_matches
from weakref import WeakSet

__all__ = ["check_callback", "check_participant"]

_checked: WeakSet[type] = WeakSet()


def check_participant(participant: object, base: type) -> None:
    """Check what is let into a room.

    Args:
        base: The class of all participants.
    Raises:
        TypeError: If it is no participant, its class has not begun it, or defines a hook as a coroutine function or a
            generator. It warns of the misspelled name of a hook.
    """
    kind = type(participant)
    if not isinstance(participant, base):
        hint = f"; {participant.__name__}(name) makes one" if isinstance(participant, type) else ""
        text = "a participant is an object of a subclass of participants.Participant, not"
        raise TypeError(f"{text} {participant!r:.100}{hint}")
    if "_simulator" not in vars(participant):
        raise TypeError(f"{kind.__qualname__}.__init__ has not called super().__init__(name)")
    if kind not in _checked:
        _check_hooks(kind, [name for name in vars(base) if name.startswith("on_")])
        _checked.add(kind)


def check_callback(callback: object) -> None:
    """Check what is to be called later.

    Raises:
        TypeError: If it cannot be called, or is a coroutine or generator function.
    """
    if not callable(callback):
        hint = "; give the function itself, or lambda: …, not what a call of it returns" if callback is None else ""
        raise TypeError(f"after() calls back a function without arguments, not {callback!r:.100}{hint}")
    if inspect.iscoroutinefunction(callback) or inspect.isgeneratorfunction(callback):
        name = getattr(callback, "__qualname__", "the callback")
        raise TypeError(f"{name} is a coroutine or generator function, of which nothing would run: give a plain one")


def _check_hooks(kind: type, hooks: Collection[str]) -> None:
    for name in hooks:
        method = getattr(kind, name)
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            text = f"{kind.__qualname__}.{name} is a coroutine or generator function, of which nothing would run"
            raise TypeError(f"{text}: give a plain one, and in place of a wait after(seconds, callback)")
    for name in dir(kind):
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        code = getattr(getattr(kind, name), "__code__", None)
        if code is None or name in hooks or not snake.startswith("on_"):
            continue
        if near := get_close_matches(snake, hooks, 1, 0.85):
            text = f"nothing calls {kind.__qualname__}.{name}(): did you mean {near[0]}()?"
            warnings.warn_explicit(text, RuntimeWarning, code.co_filename, code.co_firstlineno)
