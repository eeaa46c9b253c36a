"""Ctrl-C at a chosen place of the client's code, and tasks that may fail."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["CtrlC", "Interrupt", "quiet_threads"]


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Let tasks fail without a report."""
    hook, threading.excepthook = threading.excepthook, lambda arguments: None
    try:
        yield
    finally:
        threading.excepthook = hook


class Interrupt:
    """Raises `KeyboardInterrupt` in the calling thread at the n-th place where a signal could be handled.

    Python handles signals when a function is entered and when a call has returned, and this counts those of meshsync's
    modules (jumping back in a loop is the third, and passes such a place here). Not inside the scripted transport,
    which is not made for it; and not inside finalizers, where Python prints what is raised and goes on, and which the
    garbage collector may run at any place, so that counting them would move all later ones.

    Args:
        spared: The names of functions at whose return it does not strike: their result is lost there, as it would be in
            the program's own line. Python 3.10 handles signals there, later ones do not.
    """

    def __init__(self, at: int, spared: Collection[str] = ()) -> None:
        self.left = at
        self._spared = spared

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_return", "return") or not _is_of_the_client(frame):
            return
        if event == "return" and frame.f_code.co_name in self._spared:
            return
        self.left -= 1
        if self.left == 0:
            sys.setprofile(None)
            self.strike()

    def strike(self) -> None:
        """Raise."""
        raise KeyboardInterrupt

    def run(self, target: Callable[[], object]) -> bool:
        """Call; return whether it was interrupted."""
        sys.setprofile(self)
        try:
            target()
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False


class CtrlC(Interrupt):
    """The same by a signal, which the client may put off. For the main thread, whose handler is Python's own."""

    def strike(self) -> None:
        signal.raise_signal(signal.SIGINT)


_FINALIZERS = {"__del__", "cleanup"}
"""Names of functions that the garbage collector calls; the second is blinker's, of its weak references."""


def _is_of_the_client(frame: FrameType | None) -> bool:
    if frame is None or f"{os.sep}meshsync{os.sep}" not in frame.f_code.co_filename:
        return False
    while frame is not None:
        # In a finalizer Python drops the exception and the program goes on, so that it says nothing of the call.
        if frame.f_code.co_filename.endswith("scripted.py") or frame.f_code.co_name in _FINALIZERS:
            return False
        frame = frame.f_back
    return True
