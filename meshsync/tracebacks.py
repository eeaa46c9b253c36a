"""Tracebacks as a reader of a program needs them: with the program's frames, and without those of this library.

Which errors are shown so is the business of who shows them: a notebook, or pytest.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import CodeType, TracebackType
from typing import overload

__all__ = ["is_foreign", "is_library", "without_library"]

_LIBRARY = tuple(str(Path(__file__).parents[1] / package / "_")[:-1] for package in ("meshsync", "simulator"))
"""Where our files are: a program may have another package of the name."""
_FOREIGN = ("<frozen ", *{path for name, path in sysconfig.get_paths().items() if name.endswith("lib")})
"""Where the files are that are neither ours nor the program's: Python's, and those of what is installed."""


def is_library(code: CodeType) -> bool:
    """Return whether code is of meshsync or of the simulator."""
    return code.co_filename.startswith(_LIBRARY)


def is_foreign(code: CodeType) -> bool:
    """Return whether code is neither ours nor the program's, but Python's or of an installed package."""
    return code.co_filename.startswith(_FOREIGN) and not is_library(code)


@overload
def without_library(trace: TracebackType) -> TracebackType: ...


@overload
def without_library(trace: TracebackType | None) -> TracebackType | None: ...


def without_library(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without our frames, and those of Python and of installed packages that ours have called.

    Returns:
        A new one; the same one if nothing would be left.
    """
    whole, kept, is_inside = trace, list[TracebackType](), False
    while trace is not None:
        code = trace.tb_frame.f_code
        is_inside = is_library(code) or (is_inside and is_foreign(code))
        if not is_inside:
            kept.append(trace)
        trace = trace.tb_next
    shown = None if kept else whole
    for one in reversed(kept):
        shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown
