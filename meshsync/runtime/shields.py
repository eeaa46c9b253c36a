"""Putting off Ctrl-C for a moment, in a task that does what must not be torn."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

try:
    # Without the wrappers that make enumerations of numbers, which take ten times as long as the system calls.
    from _signal import getsignal as _get  # type: ignore[import-not-found]
    from _signal import signal as _set
except ImportError:
    from signal import getsignal as _get
    from signal import signal as _set

__all__ = ["HEED", "SignalShield"]

HEED = 1.0
"""Seconds after which the main thread, in a wait, checks for a signal.

A signal interrupts a system call. One that strikes just before the thread is in that call, which with many threads can
take milliseconds, is noted by Python and handled when the call returns: for a wait without an end, never.
"""

_NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGBREAK")
_NUMBERS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))
"""Those whose handlers raise, as a rule: by Ctrl-C, an end that is asked for, and the time limits of test runners."""


class SignalShield:
    """While it is up, signals do not reach the program's handlers in Python; they do as soon as it is down again.

    For the main thread, where Python calls handlers between any two instructions. Only signals that have a handler in
    Python are touched, and each gets its own back.
    """

    __slots__ = ("_came", "_handlers")

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[tuple[Any, int, FrameType | None]] = []

    def put_up(self) -> None:
        """Keep signals away. Interrupted, `put_down` makes all as before."""
        handlers = self._handlers
        for number in _NUMBERS:
            handler = _get(number)
            if callable(handler):
                handlers[number] = handler  # First: so it is put back wherever the next signal strikes.
                _set(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((self._handlers[number], number, frame))

    def put_down(self) -> None:
        """Let signals through, those that came meanwhile first, which may raise what their handlers raise.

        Interrupted, another call does the rest. Where it is down, this does nothing.
        """
        handlers = self._handlers
        while handlers:
            number = next(iter(handlers))
            if _get(number) == self._note:  # Else it is back, and a handler that ran since may have set another.
                _set(number, handlers[number])
            handlers.pop(number, None)
        while self._came:
            handler, number, frame = self._came.pop(0)
            handler(number, frame)
