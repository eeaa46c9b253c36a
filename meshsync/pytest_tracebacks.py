"""Which errors pytest shows without the frames of this library, and how.

Part of `meshsync.pytest_plugin`.
"""

from __future__ import annotations

import dis
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest

from meshsync.errors import MeshsyncError
from meshsync.tracebacks import is_foreign, is_library, without_library

__all__ = ["is_on_purpose", "shortened", "shortened_collection", "text_of"]

_SPOKEN = (AttributeError, ImportError, TypeError, ValueError)
"""The errors of Python that this library raises on purpose, as a bug of it might."""


def is_on_purpose(error: BaseException) -> bool:
    """Return whether this library means the error for the program, which may then do without our frames.

    Any other that comes out of it may be a bug of ours, which its frames tell of; so may a TypeError or the like that
    is not raised by a ``raise`` of ours.
    """
    if isinstance(error, MeshsyncError):
        return True
    links = list(_links(error.__traceback__))
    return isinstance(error, _SPOKEN) and bool(links) and _is_raise(links[-1])


def _is_raise(trace: TracebackType) -> bool:
    code = trace.tb_frame.f_code
    return is_library(code) and code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


@contextmanager
def shortened(config: pytest.Config, raised: pytest.ExceptionInfo[BaseException] | None) -> Iterator[None]:
    """Leave out our frames of the errors that we mean for the program, while a report is made of what was raised.

    Afterwards all is there again, for a debugger. With ``--full-trace`` or ``--tb=native`` nothing is left out, nor in
    a checkout of this library, whose tests are of those frames.
    """
    is_whole = config.getoption("fulltrace") or config.getoption("tbstyle") == "native"
    if raised is None or is_whole or config.rootpath == Path(__file__).resolve().parents[1]:
        yield
        return
    whole, traces = raised.traceback, list[tuple[BaseException, TracebackType]]()
    for error in _chain(raised.value):
        if error.__traceback__ is not None and is_on_purpose(error):
            traces.append((error, error.__traceback__))
    try:
        _set((error, _shown(trace)) for error, trace in traces)
        if traces and traces[0][0] is raised.value:
            raised.traceback = type(whole)(_shown(traces[0][1]))
        yield
    finally:
        raised.traceback = whole
        _set(traces)


def _set(traces: Iterable[tuple[BaseException, TracebackType]]) -> None:
    for error, trace in traces:
        error.__traceback__ = trace


def _shown(trace: TracebackType) -> TracebackType:
    """Return a traceback without our frames; with the outermost one alone if there is none of the program's.

    That is the plug-in's own. Else pytest would show those of its own that have called it.
    """
    shown = without_library(trace)
    ours = [one for one in _links(trace) if is_library(one.tb_frame.f_code)]
    if ours and all(is_foreign(one.tb_frame.f_code) for one in _links(shown)):
        return TracebackType(None, ours[0].tb_frame, ours[0].tb_lasti, ours[0].tb_lineno)
    return shown


def _links(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error, those of which it came, and those in a group: as with pytest, none twice."""
    seen, waiting = set[int](), [error]
    while waiting:
        error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        before = error.__cause__ if error.__suppress_context__ else error.__context__
        inside = getattr(error, "exceptions", ())  # Of a group, also of the one that Python 3.10 has by a library.
        waiting += [one for one in (before, *inside) if isinstance(one, BaseException)]


@contextmanager
def shortened_collection(collector: pytest.Collector) -> Iterator[None]:
    """Leave out our frames, as `shortened` does, of an error at the import of a test module.

    No hook has that error before it is a text. An ImportError is one before the collector has it, and stays whole.
    """
    represent = collector.repr_failure

    def repr_failure(raised: pytest.ExceptionInfo[BaseException]) -> object:
        with shortened(collector.config, raised):
            return represent(raised)

    vars(collector)["repr_failure"] = repr_failure
    try:
        yield
    finally:
        del vars(collector)["repr_failure"]


def text_of(config: pytest.Config, error: BaseException) -> str:
    """Return an error with its traceback as Python prints it, but for our frames; see `shortened`."""
    with shortened(config, pytest.ExceptionInfo.from_exception(error)):
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
