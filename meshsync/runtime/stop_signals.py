"""The two signals by which a person or a system asks a process to end, as one exception in the main thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime

__all__ = ["StopAsked", "stop_signals"]


class StopAsked(BaseException):
    """A signal asked this process to end. No `Exception`: it strikes wherever the main thread is."""


@contextmanager
def stop_signals(runtime: Runtime) -> Iterator[None]:
    """Raise `StopAsked` inside the block at the first SIGTERM or Ctrl-C, at most once.

    Only where a signal would have its default effect: a program that handles or ignores one has its reasons. In other
    threads than the main one, which signals do not reach, this does nothing; nor in a simulation.
    """
    before: list[tuple[int, object]] = []

    def restore() -> None:
        while before:
            number, handler = before.pop()
            signal.signal(number, handler)  # type: ignore[arg-type]

    def stop(number: int, frame: FrameType | None) -> None:
        restore()  # From here on another one has its usual effect, for those who cannot wait for a regular end.
        raise StopAsked

    def take(number: int) -> None:
        default: object = signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
        if signal.getsignal(number) is default:
            before.append((number, default))  # First: it may strike as soon as it is handled.
            signal.signal(number, stop)

    try:
        for number in (signal.SIGTERM, signal.SIGINT) if isinstance(runtime, ThreadRuntime) else ():
            take(number)
    except ValueError:  # This is not the main thread.
        before.clear()
    try:
        yield
    finally:
        restore()
