"""Makes one moment of a run late, as a busy machine or a network does, whatever the schedule.

What becomes late is legal: sleeps and time limits are lower bounds, and the order within a link stays. It reaches into
the engine, so that it needs nothing of the schedule that the bench is there to judge.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from unittest.mock import patch

from simulator.engine import diagnosis
from simulator.engine.actors import Actor
from simulator.engine.kernel import SECOND
from simulator.engine.scheduler import Scheduler
from simulator.network.frames import Frame
from simulator.network.links import Link
from tests.benchmarks.races.race import Late, LateDelivery, LateStep

__all__ = ["Moment", "late"]


class Moment:
    """Whether the moment came that was to be late."""

    def __init__(self) -> None:
        self.seen = 0
        """How often an actor waited there, or such a packet was sent."""
        self.came = False

    def is_now(self, event: Late) -> bool:
        """Count one more; return whether this one is to be late."""
        self.seen += 1
        is_it = self.seen == event.time
        self.came = self.came or is_it
        return is_it


@contextmanager
def late(event: Late) -> Iterator[Moment]:
    """Within the block, make one moment of the one simulation in it late."""
    moment = Moment()
    if isinstance(event, LateStep):
        with patch.object(Scheduler, "park", _late_park(event, moment)):
            yield moment
    else:
        with patch.object(Link, "_launch", _late_launch(event, moment)):
            yield moment


def _late_park(event: LateStep, moment: Moment) -> Any:
    park = Scheduler.park

    def late_park(self: Scheduler, actor: Actor, chosen: Actor | None = None) -> None:
        park(self, actor, chosen)
        is_there = chosen is None and f"/{actor.path}".endswith(f"/{event.actor}")
        if is_there and event.line in _text(sys._getframe(1)) and moment.is_now(event):
            actor.timer = self.kernel.after(event.seconds, actor.wake)
            park(self, actor)
            actor.timer = None

    return _of_the_engine(late_park)


def _of_the_engine(function: Any) -> FunctionType:
    """Return a function whose frames are the engine's: a symptom is a line of the program, and not one of these."""
    names = {**globals(), "__package__": "simulator.engine", "__engine__": True}
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)


def _text(frame: Any) -> str:
    """Return the text of the program's innermost line."""
    file, _, rest = diagnosis.line_of(frame).rpartition(":")
    return linecache.getline(file, int(rest.split()[0])) if file else ""


def _late_launch(event: LateDelivery, moment: Moment) -> Any:
    launch = Link._launch
    content = event.content.encode()

    def late_launch(self: Link[Any], burst: Any) -> None:
        if self.name == event.link and _has(burst.frames, content) and moment.is_now(event):
            burst.delay += round(event.seconds * SECOND)
            burst.arrives += round(event.seconds * SECOND)
        launch(self, burst)

    return late_launch


def _has(frames: Sequence[Frame[Any]], content: bytes) -> bool:
    return any(isinstance(packet, bytes) and content in packet for packet, _ in frames)
