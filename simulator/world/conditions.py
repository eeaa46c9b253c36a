"""The condition of the virtual clock: what every lock, queue and future of a simulated program is built on.

Only the thread that holds the baton runs, so no state here needs protection; a condition is held across a hand-over
only if its holder was preempted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import TracebackType

from simulator.world.actors import Actor
from simulator.world.scheduler import Scheduler

__all__ = ["VirtualCondition"]


class VirtualCondition:
    """A lock and a place to wait, in virtual time. Entering it twice raises `RuntimeError` at once."""

    __slots__ = ("_entrants", "_scheduler", "_waiters", "owner")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.owner: Actor | None = None
        """Who is inside."""
        self._waiters: dict[Actor, None] = {}  # a dict for its order and its quick removal
        self._entrants: list[Actor] = []

    @property
    def has_waiters(self) -> bool:
        return bool(self._waiters)

    def __enter__(self) -> VirtualCondition:
        scheduler = self._scheduler
        actor = scheduler.check()
        scheduler.polls += 1
        if scheduler.polls > scheduler.poll_limit:
            scheduler.livelock()
        if scheduler.schedule is not None:
            scheduler.preempt()
        if self.owner is not None:
            self._contend(actor)
        self.owner = actor
        actor.held.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        scheduler = self._scheduler
        actor = self.owner
        if actor is None or actor.ident != scheduler.get_ident():
            if scheduler.is_over:  # an actor that was told to end inside wait() could not take it again
                return
            raise RuntimeError("leaving a condition that is not held")
        self._release(actor)
        if scheduler.schedule is not None:
            scheduler.preempt()

    def wait(self, timeout: float | None = None) -> bool:
        """Release, wait for a notification, and take again; False if ``timeout`` virtual seconds passed first.

        Zero or less lets every actor run that is ready, and does not move the clock.

        Raises:
            RuntimeError: If the caller does not hold the condition.
            BlockingRefused: If the caller holds another condition too, or is a timer's callback.
        """
        actor = self._owned("wait()")
        if timeout is None or timeout == math.inf:
            return self._wait(actor, None)
        return self._wait(actor, self._scheduler.kernel.instant(timeout))

    def _wait(self, actor: Actor, until: int | None) -> bool:
        """Wait for a notification or an instant; one that is not in the future lets the others run first."""
        scheduler = self._scheduler
        if len(actor.held) != 1 or scheduler.in_callback:
            scheduler.refuse_blocking(actor, "wait()", but=self)
        if until is not None and until <= scheduler.kernel.now:
            scheduler.yield_turn(actor)
        else:
            self._waiters[actor] = None
            if until is not None:
                actor.timer = scheduler.kernel.at(until, partial(self._time_out, actor))
        actor.notified = False
        actor.waiting = self
        self._release(actor)
        try:
            scheduler.park(actor)
        finally:
            actor.waiting = None
            if not actor.notified:
                self._waiters.pop(actor, None)
            if self.owner is not None:
                self._contend(actor)
            self.owner = actor
            actor.held.append(self)
        return actor.notified

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate()`` holds, at most ``timeout`` virtual seconds; return its last value.

        Raises:
            RuntimeError: As ``wait``, also when the predicate holds at once.
        """
        actor = self._owned("wait_for()")
        result = predicate()
        if result:
            return result
        if timeout is None or timeout == math.inf:
            while not result:
                self._wait(actor, None)
                result = predicate()
            return result
        kernel = self._scheduler.kernel
        deadline = kernel.instant(timeout)
        while not result and kernel.now < deadline:
            self._wait(actor, deadline)
            result = predicate()
        return result

    def notify_all(self) -> None:
        """Wake everyone who waits, in the order in which they began to; a timer's callback may, too.

        Raises:
            RuntimeError: If the caller does not hold the condition.
        """
        self._owned("notify_all()")
        scheduler = self._scheduler
        if self._waiters:
            for actor in self._waiters:
                actor.notified = True
                if actor.timer is not None:
                    actor.timer.cancel()
                    actor.timer = None
                scheduler.make_ready(actor)
            self._waiters.clear()
        if scheduler.schedule is not None:
            scheduler.preempt()

    def _owned(self, call: str) -> Actor:
        """Return the running actor, which must hold this."""
        actor = self._scheduler.check()
        if self.owner is not actor:
            raise RuntimeError(f"{call} on a condition that is not held: use it inside 'with condition:'")
        return actor

    def _release(self, actor: Actor) -> None:
        self.owner = None
        if actor.held[-1] is self:
            actor.held.pop()
        else:
            actor.held.remove(self)
        if self._entrants:
            for entrant in self._entrants:
                self._scheduler.make_ready(entrant)
            self._entrants.clear()

    def _contend(self, actor: Actor) -> None:
        """Wait until nobody is inside. Allowed while holding another one: locks may be nested, in one order."""
        if self.owner is actor:
            raise RuntimeError("a condition is entered twice: it is not reentrant")
        while self.owner is not None:
            actor.entering = self
            self._entrants.append(actor)
            try:
                self._scheduler.park(actor)
            finally:
                actor.entering = None
                if actor in self._entrants:
                    self._entrants.remove(actor)

    def _time_out(self, actor: Actor) -> None:
        actor.timer = None
        del self._waiters[actor]
        self._scheduler.make_ready(actor)
