"""The errors by which a scheduler says what is wrong with a run, with their texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshsync.reasons import describe_error
from simulator.engine import diagnosis
from simulator.engine.actors import Actor, Place
from simulator.engine.kernel import SECOND
from simulator.errors import (
    ActorFailed,
    BlockingRefused,
    ConditionOccupied,
    ForeignThread,
    HorizonReached,
    SimulationDeadlock,
    SimulationLivelock,
)

__all__ = [
    "blocks_in_a_callback",
    "blocks_inside",
    "callback_failed",
    "deadlock",
    "foreign_thread",
    "horizon",
    "livelock",
    "occupied",
    "waits_for_real",
]

__engine__ = True


def foreign_thread() -> ForeignThread:
    """Return the error of a thread that is no actor."""
    return ForeignThread(
        "a thread that is no actor uses the simulation; when it arrives depends on real time, so no run could be "
        f"repeated. Start it from within the simulation, or keep it out: {diagnosis.caller()}"
    )


def blocks_in_a_callback(call: str) -> BlockingRefused:
    """Return the error of a call that would block in a timer's callback."""
    hint = "a scripted participant goes on later by after(seconds, callback)"
    return BlockingRefused(f"{call} in the callback of a timer, which must not block: {diagnosis.caller()}; {hint}")


def blocks_inside(actor: Actor, call: str, but: Place | None) -> BlockingRefused:
    """Return the error of a call that would block while the actor is inside a condition.

    Args:
        but: The condition that the call itself is about, which the actor may be inside of.
    """
    others = sum(place is not but for place in actor.held)
    return BlockingRefused(
        f"{call} by {actor.label!r} while holding {'another' if but else 'a'} condition"
        f"{'' if others == 1 else ' and more'}, which no actor could enter meanwhile: {diagnosis.caller()}"
    )


def occupied() -> ConditionOccupied:
    """Return the error of a callback, or a predicate, that would enter a condition an actor is inside of."""
    return ConditionOccupied(f"an actor is inside of the condition that a callback would enter: {diagnosis.caller()}")


def waits_for_real(actor: Actor, wait: str, portable: str) -> BlockingRefused:
    """Return the error of a wait by the real clock.

    Args:
        wait: What it is and how long.
        portable: What is to be written instead.
    """
    return BlockingRefused(
        f"{wait} by {actor.label!r} takes real time, and none of the simulation's: {diagnosis.caller()}; the spelling "
        f"for simulations and real threads alike is {portable}, see docs/virtual-time.md"
    )


def callback_failed(callback: Callable[[], object], error: BaseException) -> ActorFailed:
    """Return the error of a timer whose callback raised ``error``."""
    function = callback.func if isinstance(callback, partial) else callback
    name = getattr(function, "__qualname__", type(function).__name__)
    failed = ActorFailed(f"the callback {name} of a timer failed: {describe_error(error, None)}", actor=name)
    failed.__cause__ = error
    return failed


def deadlock(report: str) -> SimulationDeadlock:
    """Return the error of a run in which no actor can go on; ``report`` has the actors."""
    return SimulationDeadlock(f"nobody can run, and nothing is left that could wake one; {report}")


def horizon(end: int, report: str) -> HorizonReached:
    """Return the error of a run that has reached its horizon, in nanoseconds."""
    return HorizonReached(f"the run reached its horizon of {end / SECOND:g} s; {report}")


def livelock(steps: int, actor: Actor | None, report: str) -> SimulationLivelock:
    """Return the error of ``steps`` steps at one instant, by an actor that polls or by several in turn (None)."""
    cause = f"actor {actor.label!r} polls without sleeping: {diagnosis.caller()}" if actor else "the clock stands still"
    return SimulationLivelock(f"{steps:,} steps at one instant: {cause}; {report}")
