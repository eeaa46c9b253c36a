"""A warning where a program makes calls that wait in a coroutine, whose event loop stands still meanwhile."""

from __future__ import annotations

import sys
from inspect import CO_COROUTINE

from meshsync.places import program_frame, warn_program

__all__ = ["warn_in_coroutine"]


def warn_in_coroutine(what: str) -> None:
    """Warn if a coroutine of the program makes a call that waits: its event loop stands still meanwhile.

    What most of these calls return is None, of which an ``await`` says no more than that it is None.

    Args:
        what: The call, such as ``send_message()``.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return
    if program_frame()[0].f_code.co_flags & CO_COROUTINE:
        warn_program(
            f"{what} is called in a coroutine: meshsync is synchronous, so the event loop stands still until the call "
            "is done, and there is nothing to await; call it by asyncio.to_thread, or in a function that is not async"
        )
