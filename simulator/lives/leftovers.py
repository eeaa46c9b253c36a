"""What one life of a program leaves to the next in the globals of its modules, where a real process begins anew.

Only globals are looked at that the program's own functions name, and only what they hold is compared, so that what is
only read is never reported. No code of the program runs for that. Objects that programs share in other ways, such as
arguments, are not looked at.
"""

from __future__ import annotations

import enum
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

__all__ = ["Leftovers"]

_DEPTH = 5
"""How deep containers in containers are compared."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None), enum.Enum)
_LIBRARY = tuple({sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")})

_Place: TypeAlias = tuple[str, str]
"""A module and the name of a global in it."""


class Leftovers:
    """Compares the globals that a program finds at the beginning of a life with those of its first one.

    Attributes:
        texts: What was found, one sentence each.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._first: dict[str, dict[_Place, object]] = {}
        self._reported: set[tuple[str, _Place]] = set()

    def note(self, program: str, target: Callable[..., object]) -> None:
        """Note what a program's first life finds; again does nothing."""
        if program not in self._first:
            self._first[program] = _contents(target)

    def compare(self, program: str, target: Callable[..., object], life: int) -> None:
        """Report what another life finds otherwise."""
        first = self._first.get(program, {})
        for place, content in _contents(target).items():
            if content != first.get(place, content) and (program, place) not in self._reported:
                self._reported.add((program, place))
                module, name = place
                self.texts.append(
                    f"life {life} of {program!r} finds the global {name} of {module} as earlier lives left it, where a"
                    " process would begin anew: keep it in an object that the program makes, or on a disk"
                )


def _contents(target: Callable[..., object]) -> dict[_Place, object]:
    """Return the content of each global that the functions of a program name, by place."""
    return {(module, name): _content(value, _DEPTH) for module, name, value in _globals_of(target)}


def _globals_of(target: object) -> Iterator[tuple[str, str, object]]:
    """Yield each global of the program's modules that a function names, or one that it calls."""
    seen: set[int] = set()
    left: deque[object] = deque([target])
    while left:
        thing = left.popleft()
        if isinstance(thing, partial):
            left += [thing.func, *thing.args]
            continue
        if isinstance(thing, MethodType):
            left += [thing.__func__, type(thing.__self__)]
            continue
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, type) and not _is_library(thing.__module__):
            left += vars(thing).values()
        elif isinstance(thing, FunctionType) and not _is_library(thing.__module__, thing.__code__.co_filename):
            left += [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
            for name in _names(thing.__code__):
                value = thing.__globals__.get(name)
                if isinstance(value, (FunctionType, type)):
                    left.append(value)
                elif value is not None and not isinstance(value, ModuleType) and not callable(value):
                    yield thing.__module__, name, value


def _is_filled(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, (FunctionType, MethodType, partial, type))
    except ValueError:  # It is assigned later.
        return False


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_library(module: str | None, file: str = "") -> bool:
    name = (module or "").partition(".")[0]
    return name in sys.stdlib_module_names or name in ("meshsync", "simulator") or file.startswith(_LIBRARY)


def _content(value: object, depth: int) -> object:
    """Return what can be compared with the same object's content later; runs no code of the program."""
    if isinstance(value, _PLAIN):
        return value
    if depth == 0:
        return id(value)
    if isinstance(value, dict):
        return [(_content(key, depth - 1), _content(one, depth - 1)) for key, one in dict.items(value)]
    if isinstance(value, (list, tuple, deque)):
        return [_content(one, depth - 1) for one in value]
    if isinstance(value, (set, frozenset)):
        return {id(one) if not isinstance(one, _PLAIN) else one for one in value}
    if isinstance(value, bytearray):
        return bytes(value)
    if _is_library(type(value).__module__):
        return id(value)
    return id(value), _content(getattr(value, "__dict__", {}), depth - 1)
