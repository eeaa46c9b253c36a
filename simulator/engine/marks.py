"""Marks where code is defined that tell it apart on a stack: the engine's, the library's, and code that may be cut.

A mark belongs to a module, a package or a function's code, not to a path or a name: a function that is renamed or a
module that is moved keeps its mark. Marks cost nothing per call.

- ``__engine__ = True`` in a module: its code is the engine's. A diagnosis hides its frames, and Ctrl-C does not cut
  them, since the engine's state must stay whole.
- ``__library__ = True`` in a package's ``__init__``: the code of all its modules is the library's, not the program's.
- `interruptible` on a function of the engine: it only calls others, so Ctrl-C may cut it.
- `catching` on a function of the engine: whatever the program's code that it calls raises, it catches, so Ctrl-C may
  cut that code, wherever the function itself is called.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Protocol, TypeVar

__all__ = ["catching", "interruptible", "is_engine", "is_interruptible", "is_library", "may_cut"]

__engine__ = True


class Function(Protocol):
    """A function that was written in Python."""

    @property
    def __code__(self) -> CodeType: ...


F = TypeVar("F", bound=Function)

_interruptible: set[CodeType] = set()
_catching: set[CodeType] = set()


def interruptible(function: F) -> F:
    """Mark a function that only calls others, so that an interruption between two of its calls tears nothing.

    Its code is registered, and the function returned as it is.
    """
    _interruptible.add(function.__code__)
    return function


def catching(function: F) -> F:
    """Mark a function that catches whatever comes out of the code that it calls, and goes on.

    Its code is registered, and the function returned as it is.
    """
    _catching.add(function.__code__)
    return function


def is_engine(frame: FrameType) -> bool:
    """Return whether the frame runs code of a module that has the engine's mark."""
    return frame.f_globals.get("__engine__") is True


def is_interruptible(frame: FrameType) -> bool:
    """Return whether Ctrl-C may cut this frame: it is not the engine's, or its function is marked."""
    return not is_engine(frame) or frame.f_code in _interruptible


def may_cut(frame: FrameType | None) -> bool:
    """Return whether an exception may be raised in a stack: it tears no frame where the engine's state is not whole."""
    is_innermost = True
    while frame is not None:
        if frame.f_code in _catching and not is_innermost:
            return True
        if not is_interruptible(frame):
            return False
        frame, is_innermost = frame.f_back, False
    return True


def is_library(frame: FrameType) -> bool:
    """Return whether the frame runs code of a package that has the library's mark."""
    package = str(frame.f_globals.get("__package__") or "").partition(".")[0]
    return getattr(sys.modules.get(package), "__library__", False) is True
