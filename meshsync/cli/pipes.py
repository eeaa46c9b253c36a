"""The standard output when its reader goes, as after ``| head -1``: a command then ends, and says nothing."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

__all__ = ["GLANCE", "drop_output", "is_abandoned"]

GLANCE = 1.0
"""Seconds after which a command that waits looks whether its output is still read."""


def is_abandoned() -> bool:
    """Return whether nothing reads the standard output any more; where the system does not tell, False."""
    if not hasattr(select, "poll"):  # On Windows the next line that is printed shows it.
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # That of a program that runs a command in itself.
        return False
    return any(events & select.POLLERR for _, events in poll.poll(0))


def drop_output() -> None:
    """Have the interpreter flush the standard output into nothing at its end."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
