"""What becomes of the results of programs: nothing reads them, and who returns one may think otherwise."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from types import FunctionType

from meshsync.errors import UsageError
from meshsync.signals import check_result, function_of, name_of
from meshsync.tracebacks import is_foreign, is_library

__all__ = ["check_run", "check_task"]

__engine__ = True


def check_run(program: Callable[..., object], result: object) -> None:
    """Check what the program of a run returned; warn if it is a value that nothing reads.

    Raises:
        UsageError: If it is a coroutine or generator, of which nothing has run, or a truth value: every run would pass.
    """
    if inspect.iscoroutine(result):
        result.close()  # It warns if it was never awaited, which adds nothing.
    if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise UsageError(f"the program returned {result!r:.100}, of which nothing has run: it has to call what it does")
    if isinstance(result, bool):
        raise UsageError(
            f"the program {name_of(program)} returned {result}, which decides nothing: a run fails by an exception. "
            "What to do: assert what has to hold, and return nothing"
        )
    if result is not None:
        text = "a run fails by an exception, and values are kept in a list of the program's own, or printed"
        _warn(program, f"the program {name_of(program)} returned {result!r:.100}, which nothing reads: {text}")


def check_task(target: Callable[..., object], result: object) -> None:
    """Check what a spawned program returned; warn if it is a truth value.

    Others may have their use where the program is called elsewhere, as the status of a script.

    Raises:
        TypeError: If it is a coroutine or generator, of which nothing has run.
    """
    check_result(result)
    if isinstance(result, bool):
        text = "a task fails by an exception, and what it returns is dropped"
        _warn(target, f"the program {name_of(target)} returned {result}, which nothing reads: {text}")


def _warn(function: Callable[..., object], text: str) -> None:
    """Warn at a function of the program; not of one whose result may be by the way, as of a lambda or a queue's put."""
    inner = function_of(function)
    if isinstance(inner, FunctionType) and inner.__name__ != "<lambda>":
        code = inner.__code__
        if not (is_library(code) or is_foreign(code)):
            registry = inner.__globals__.setdefault("__warningregistry__", {})
            warnings.warn_explicit(text, RuntimeWarning, code.co_filename, code.co_firstlineno, registry=registry)
