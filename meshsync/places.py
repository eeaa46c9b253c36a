"""The place of the program that called into these packages, for warnings."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["LIBRARY", "program_frame", "warn_program"]

LIBRARY = ("meshsync", "simulator")
"""The packages whose frames are not the program's."""


def program_frame() -> tuple[FrameType, int]:
    """Return the frame of the program that called into these packages, and how far it is above the caller's frame."""
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in LIBRARY:
        frame, depth = frame.f_back, depth + 1
    return frame, depth


def warn_program(text: str) -> None:
    """Warn of a fault of the program, at its line."""
    warnings.warn(text, RuntimeWarning, stacklevel=program_frame()[1] + 1)
