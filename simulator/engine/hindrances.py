"""What keeps a program from running as it would: it stands still for a while, it is slow, or its wall clock is wrong.

A *program* is an actor that was spawned, with all actors that it and they spawn: its name stands in their paths.
A program that stands still is held at the gate that each actor passes when it has its turn. One that is slow is woken
later. Both cost nothing while there is neither. Connections and the plan of faults are not this module's business.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache, partial

from meshsync.errors import UsageError
from simulator.engine.actors import Actor
from simulator.engine.kernel import SECOND, Timer
from simulator.engine.scheduler import Scheduler

__all__ = ["Hindrances", "is_of_program"]

__engine__ = True


@lru_cache(maxsize=10_000)
def is_of_program(path: str, name: str) -> bool:
    """Return whether an actor's path is that of a program of that name, in any of its lives, or of a part of it."""
    return re.search(rf"/{re.escape(name)}(, life \d+)?/", f"{path}/") is not None


@dataclass(frozen=True, slots=True)
class _Slowness:
    name: str
    factor: float
    by: int
    """Nanoseconds."""


@dataclass(frozen=True, slots=True)
class _Skew:
    name: str
    offset: float
    drift: float
    since: int
    """When it began, in nanoseconds."""


class Hindrances:
    """The hindrances of the programs of one simulation."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._pauses: dict[str, int] = {}
        """When each program goes on that stands still, in nanoseconds."""
        self._held: dict[Actor, Timer] = {}
        """The actors that had their turn meanwhile, and what lets them go on."""
        self._slow: list[tuple[Hashable, _Slowness]] = []
        """Each with what caused it."""
        self._skews: list[tuple[Hashable, _Skew]] = []
        self._late = scheduler.kernel.late

    @property
    def present(self) -> str:
        """The path of the running actor; empty in a timer's callback."""
        return "" if self._scheduler.in_callback else self._scheduler.running.path

    def check(self, name: str) -> None:
        """Raise `UsageError` unless a program of that name was spawned; it may have ended."""
        scheduler = self._scheduler
        programs = scheduler.main.children
        plain, _, number = name.rpartition("#")
        was_spawned = name in programs or (number.isdecimal() and 1 < int(number) <= programs[plain])
        if was_spawned or any(is_of_program(actor.path, name) for actor in scheduler.actors.values()):
            return
        there_are = ", ".join(map(repr, programs)) or "none"
        hint = ", which is the thread that made the simulation" if name == "main" else ""
        raise UsageError(f"no program is called {name!r:.100}{hint}; those that were spawned are: {there_are}")

    # --- standing still -----------------------------------------------------------------------------------------------

    def pause(self, name: str, seconds: float) -> None:
        """Let a program stand still for some seconds; of several pauses the longest counts.

        Raises:
            UsageError: If no program of that name was spawned.
        """
        self.check(name)
        scheduler, kernel = self._scheduler, self._scheduler.kernel
        until = kernel.instant(seconds)
        self._pauses[name] = max(self._pauses.get(name, 0), until)
        scheduler.gate, scheduler.urgent = self._hold, True
        kernel.at(until, self._open)
        if not scheduler.in_callback:  # It may be the caller who stands still.
            self._hold(scheduler.running)

    def _paused_until(self, path: str) -> int:
        """Return when an actor goes on, in nanoseconds; past if it does not stand still."""
        return max((end for name, end in self._pauses.items() if is_of_program(path, name)), default=0)

    def _hold(self, actor: Actor) -> None:
        """Keep an actor that has its turn from going on while its program stands still.

        One inside a condition goes on until it has left that: a timer's callback has to find every condition free.
        """
        scheduler, kernel = self._scheduler, self._scheduler.kernel
        while actor.inside is None and (until := self._paused_until(actor.path)) > kernel.now:
            go_on = partial(scheduler.ready.append, actor)
            actor.timer = self._held[actor] = kernel.at(until, go_on, background=actor.is_housekeeping)
            try:
                scheduler.park(actor)
            finally:
                actor.timer = None
                self._held.pop(actor, None)

    def _open(self) -> None:
        """Open the gate, unless a program still stands still."""
        now = self._scheduler.kernel.now
        self._pauses = {name: end for name, end in self._pauses.items() if end > now}
        if not self._pauses:
            self._scheduler.gate = None

    # --- slowness -----------------------------------------------------------------------------------------------------

    def slow(self, cause: Hashable, name: str, factor: float, by: float) -> None:
        """Let each sleep of a program last ``factor`` times as long, and each of its turns begin ``by`` seconds later.

        Raises:
            UsageError: If no program of that name was spawned.
        """
        self.check(name)
        self._slow.append((cause, _Slowness(name, factor, round(by * SECOND))))
        self._settle()

    def _settle(self) -> None:
        """Let the engine ask for slowness, or no more."""
        scheduler = self._scheduler
        scheduler.kernel.late = self._late_step if self._slow else self._late
        scheduler.make_ready = self._wake if self._slow else scheduler.ready.append
        for actor in scheduler.actors.values():
            actor.wake = partial(scheduler.make_ready, actor)

    def _late_step(self, who: str, due: int, limit: int, kind: str) -> int:
        """Be asked how late a step is: as late as the schedule says, and of a slow program's sleep more."""
        late = 0 if self._late is None else self._late(who, due, limit, kind)
        if kind == "sleep":
            rest = due - self._scheduler.kernel.now
            late += sum(round(rest * (one.factor - 1)) for _, one in self._slow if is_of_program(who, one.name))
        return late

    def _wake(self, actor: Actor) -> None:
        """Make an actor ready, later if its program is slow."""
        scheduler = self._scheduler
        by = 0
        if not actor.is_housekeeping:
            by = sum(one.by for _, one in self._slow if is_of_program(actor.path, one.name))
        if by:
            kernel = scheduler.kernel
            actor.timer = kernel.at(kernel.now + by, partial(scheduler.ready.append, actor))
        else:
            scheduler.ready.append(actor)

    # --- wall clocks --------------------------------------------------------------------------------------------------

    def skew(self, cause: Hashable, name: str, offset: float, drift: float) -> None:
        """Let a program's wall clock be ahead by ``offset`` seconds, and by ``drift`` seconds more each second.

        Raises:
            UsageError: If no program of that name was spawned.
        """
        self.check(name)
        self._skews.append((cause, _Skew(name, offset, drift, self._scheduler.kernel.now)))

    def ahead(self) -> float:
        """Return by how many seconds the wall clock of the running actor is ahead."""
        if not self._skews:
            return 0.0
        path, now = self.present, self._scheduler.kernel.now
        return sum(
            one.offset + one.drift * ((now - one.since) / SECOND)
            for _, one in self._skews
            if is_of_program(path, one.name)
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def relieve(self, cause: Hashable) -> None:
        """End what a cause has begun; of equal causes, one."""
        for found in (self._slow, self._skews):
            place = next((place for place, (one, _) in enumerate(found) if one == cause), None)
            if place is not None:
                del found[place]
        self._settle()

    def relieve_all(self) -> None:
        """End all hindrances, pauses included."""
        self._slow.clear()
        self._skews.clear()
        self._settle()
        self._pauses.clear()
        self._open()
        for actor, timer in self._held.items():
            if timer.is_pending:
                timer.cancel()
                self._scheduler.ready.append(actor)
