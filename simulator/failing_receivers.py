"""Receivers that raise, as failures of what is tested: of a simulation's run, and of a test that has an emulator.

In production an exception of a receiver is logged, and its client goes on. So do the clients here; but a test whose log
is not read would pass, so that the exception is raised at the end, as an actor's is.
"""

from __future__ import annotations

from pathlib import Path
from types import FrameType, TracebackType

from meshsync.dispatch.reports import Failure
from meshsync.reasons import describe_error
from meshsync.tracebacks import is_library, without_library
from simulator.errors import ReceiverFailed

__all__ = ["RAISE", "FailingReceivers", "method_in", "receiver_failed"]

RAISE = "raise"
_CHOICES = (RAISE, "log")


class FailingReceivers:
    """A world of tests, which has a choice of what becomes of receivers that raise."""

    _failing_receivers: str

    @property
    def failing_receivers(self) -> str:
        """What becomes of what receivers raise from now on: ``"raise"`` or ``"log"``; see above."""
        return self._failing_receivers

    @failing_receivers.setter
    def failing_receivers(self, choice: str) -> None:
        if choice not in _CHOICES:
            raise ValueError(f"failing_receivers: {' or '.join(map(repr, _CHOICES))}, not {choice!r:.100}")
        self._failing_receivers = choice


def receiver_failed(failure: Failure, remedy: str) -> ReceiverFailed:
    """Return the error that tells of a failing receiver at the end of a run.

    Args:
        remedy: What a program writes that means it.
    """
    name = failure.client.rpartition(" in ")[0] or failure.client
    what = f"{failure.receiver} of {name!r} failed at {failure.event!r}"
    place = _place(failure.error.__traceback__)
    error, *_ = describe_error(failure.error).removesuffix(": ").splitlines()  # The rest is in the chained one.
    text = f"{what}{f', {place}' if place else ''}: {error}"
    failed = ReceiverFailed(
        text,
        actor=name,
        receiver=failure.receiver,
        event=failure.event,
        remedy=f". In production this would only be logged; where it is meant: {remedy}",
    )
    failed.__cause__ = failure.error
    return failed


def _place(trace: TracebackType | None) -> str:
    """Return the innermost line of the program in a traceback, as ``file:line``; empty if there is none."""
    innermost = _innermost(without_library(trace))
    if innermost is None or is_library(innermost[0].f_code):
        return ""
    frame, line = innermost
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _innermost(trace: TracebackType | None) -> tuple[FrameType, int] | None:
    found = None
    while trace is not None:
        found, trace = (trace.tb_frame, trace.tb_lineno), trace.tb_next
    return found


def method_in(trace: TracebackType | None, kind: type) -> tuple[object, str]:
    """Return the first object of a class whose own method a traceback goes through, and the name of that method.

    Returns:
        None and "" if there is none.
    """
    while trace is not None:
        owner, code = trace.tb_frame.f_locals.get("self"), trace.tb_frame.f_code
        if isinstance(owner, kind) and not is_library(code):
            return owner, code.co_name
        trace = trace.tb_next
    return None, ""
