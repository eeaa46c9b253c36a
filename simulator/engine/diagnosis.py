"""The report of a stuck simulation: where each actor is, in whose code, and what it waits for."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from meshsync.runtime.holdings import Holdings
from meshsync.tracebacks import is_foreign
from simulator.engine.actors import Actor, ActorState
from simulator.engine.kernel import SECOND
from simulator.engine.marks import is_engine, is_library

__all__ = ["caller", "frame_of", "is_standard", "line_of", "report"]

__engine__ = True

_STANDARD = sysconfig.get_paths()["stdlib"]
_THREADING = str(Path(_STANDARD) / "threading.py")
_FRAMES = 12
"""How many frames of each stack to show, innermost ones."""


def is_standard(frame: FrameType) -> bool:
    """Return whether the frame runs Python's standard library, which is not ours to mark."""
    name = frame.f_code.co_filename
    return name.startswith("<frozen") or (name.startswith(_STANDARD) and "site-packages" not in name)


def frame_of(actor: Actor) -> FrameType | None:
    """Return the innermost frame of an actor's thread."""
    ident = actor.ident if actor.thread is None else actor.thread.ident
    return sys._current_frames().get(ident) if ident is not None else None


def line_of(frame: FrameType | None) -> str:
    """Return the innermost line of the program, as ``file:line in function``.

    The program is the code that is neither the engine's, nor this library's, nor the standard library's. If there is no
    such line, the library's outside the engine stands for it.
    """
    inner, library = frame, None
    while frame is not None:
        if not is_engine(frame) and not is_standard(frame):
            if not is_library(frame):
                break
            library = library or frame
        frame = frame.f_back
    frame = frame or library or inner
    if frame is None:
        return "unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def caller() -> str:
    """Return the line of the calling program that led into the engine."""
    return line_of(sys._getframe(1))


def report(
    actors: Iterable[Actor], now: int, *, is_running: Actor | None = None, holdings: Holdings | None = None
) -> str:
    """Return a paragraph for each actor: its name, what it waits for, its stack.

    Args:
        now: Nanoseconds since the start.
        is_running: The actor that has the baton, if the report is to say so.
        holdings: What they hold and wait for of locks, queues and events.
    """
    parts = [f"at {now / SECOND:.9f} s:"]
    for actor in actors:
        awaited = holdings.awaited_by(actor.serial) if holdings is not None else None
        state = "runs" if actor is is_running else _state(actor, awaited)
        parts.append(f"  actor {actor.label!r} {state}")
        parts.extend(f"    {line}" for line in _stack(frame_of(actor)))
    return "\n".join(parts)


def _state(actor: Actor, awaited: str | None) -> str:
    """Return what an actor waits for, as the rest of a sentence about it.

    Args:
        awaited: What it waits for by a condition, if that is known.
    """
    limit = f" until {actor.timer.when / SECOND:.9f} s" if actor.timer is not None and actor.timer.is_pending else ""
    inside = f", inside {_count(len(actor.held))}" if actor.held else ""
    if actor.entering is not None:
        owner = actor.entering.owner
        return f"wants to enter a condition that {owner.label if owner else 'nobody'!r} is inside of{inside}"
    if actor.joining is not None and actor.waiting is not None:
        return f"waits for the end of {actor.joining.label!r}{limit}"
    if actor.waiting is not None and awaited is not None:
        return f"{awaited}{limit or ', without a time limit'}"
    if actor.waiting is not None:
        return f"waits on a condition{limit or ', without a time limit'}"
    if limit:
        return f"sleeps{limit}{inside}"
    return ("has not begun" if actor.state is ActorState.NEW else "is ready to run") + inside


def _count(conditions: int) -> str:
    return "a condition" if conditions == 1 else f"{conditions} conditions"


def unbegun(actors: Iterable[Actor]) -> str:
    """Return what to say of programs that have not begun, when nothing is going to run any more; "" for none."""
    names = [one.label for one in actors if one.target is not None and not one.name.startswith("meshsync ")]
    if not names:
        return ""
    return (
        f"{', '.join(map(repr, names))} never ran: nothing let time pass since it was spawned; call sim.run(), "
        "sim.sleep() or another call that waits"
    )


def _stack(frame: FrameType | None) -> list[str]:
    """Return the lines of a stack, outermost first, without the engine's, and without what has started the program.

    That is the thread's own beginning, or pytest.
    """
    shown = []
    while frame is not None:
        if not is_engine(frame) and frame.f_code.co_filename != _THREADING:
            shown.append(frame)
        frame = frame.f_back
    if not all(is_foreign(frame.f_code) for frame in shown):
        while is_foreign(shown[-1].f_code):
            shown.pop()
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(shown[:_FRAMES]))
    return "".join(summary.format()).splitlines()
