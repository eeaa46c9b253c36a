"""The condition of the virtual clock, on which every lock, queue and future of a simulated program is built.

Only the thread that holds the baton runs, so no state here needs protection; a condition is held across a hand-over
only if its holder was preempted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import NoReturn

from meshsync.runtime.deadlines import FOREVER, check_timeout
from simulator.engine import mistakes
from simulator.engine.actors import Actor, Place
from simulator.engine.marks import interruptible
from simulator.engine.scheduler import Scheduler

__all__ = ["VirtualCondition", "new_condition"]

__engine__ = True


class VirtualCondition:
    """A lock and a place to wait, in virtual time. Entering it twice raises `RuntimeError` at once."""

    __slots__ = ("_entrants", "_scheduler", "_waiters", "outer", "owner")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.owner: Actor | None = None
        """The actor inside."""
        self.outer: Place | None = None
        """The condition that its owner was inside of before; means nothing while it has no owner."""
        self._waiters: dict[Actor, None] = {}  # a dict for its order and its quick removal
        self._entrants: list[Actor] = []

    @property
    def has_waiters(self) -> bool:
        return bool(self._waiters)

    def __enter__(self) -> VirtualCondition:
        scheduler = self._scheduler
        actor, get_ident = scheduler.running, scheduler.get_ident
        if actor.ident != get_ident():  # Called as a name: CPython 3.11 is slow to call what an attribute holds.
            scheduler.check()
        scheduler.polls_left = left = scheduler.polls_left - 1
        if left < 0:
            scheduler.livelock()
        if self.owner is not None:
            self._contend(actor)
        self.owner = actor
        self.outer = actor.inside
        actor.inside = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        actor = self._scheduler.running
        if actor.inside is self:  # As nearly always: it is inside, and has entered no other since.
            self.owner = None
            actor.inside = self.outer
        else:
            if self.owner is not actor:
                owner = self._owner_after_the_end()
                if owner is None:
                    return
                actor = owner
            self.owner = None
            self._unlink(actor)
        if self._entrants:
            self._admit()

    def _owner_after_the_end(self) -> Actor | None:
        """Return the calling actor, which runs on although it is not its turn; None if it is not inside.

        Raises:
            RuntimeError: If it is not, and the simulation goes on.
        """
        actor, scheduler = self.owner, self._scheduler
        if actor is not None and actor.ident == scheduler.get_ident():
            return actor
        if scheduler.is_over:  # one that was ended inside wait() could not enter again
            return None
        raise RuntimeError("leaving a condition that is not held")

    def wait(self, timeout: float | None = None) -> bool:
        """Release, wait for a notification, and enter again; False if ``timeout`` virtual seconds passed first.

        Zero lets every actor run that is ready, and does not move the clock.

        Raises:
            RuntimeError: If the caller does not hold the condition.
            TypeError: If ``timeout`` is no number of seconds; `ValueError` if it is negative or NaN.
            BlockingRefused: If the caller holds another condition too, or is a timer's callback.
        """
        actor = self._scheduler.running
        if self.owner is not actor:
            self._refuse("wait()")
        if timeout is None or (timeout := check_timeout(timeout)) is None:
            return self._wait(actor, None)
        return self._wait(actor, self._scheduler.kernel.instant(timeout))

    def _wait(self, actor: Actor, until: int | None) -> bool:
        """Wait for a notification or an instant in nanoseconds; one not in the future lets the others run first."""
        scheduler = self._scheduler
        if scheduler.in_callback or self.outer is not None or actor.inside is not self:
            scheduler.refuse_blocking(actor, "wait()", but=self)
        if until is None:
            self._waiters[actor] = None
        elif until <= scheduler.kernel.now:
            scheduler.yield_turn(actor)
        else:
            self._waiters[actor] = None
            time_out = partial(self._time_out, actor)
            actor.timer = scheduler.kernel.at(until, time_out, background=actor.is_housekeeping)
        actor.notified = False
        actor.waiting = self
        self.owner = actor.inside = None
        if self._entrants:
            self._admit()
        try:
            scheduler.park(actor)
        finally:
            actor.waiting = None
            if not actor.notified:
                self._waiters.pop(actor, None)
            if self.owner is not None:  # other actors ran meanwhile, which mypy does not know
                self._contend(actor)  # type: ignore[unreachable]
            self.owner = actor
            self.outer = None
            actor.inside = self
        return actor.notified

    @interruptible
    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate()`` holds, at most ``timeout`` virtual seconds; return its last value.

        Raises:
            RuntimeError: As ``wait``, also when the predicate holds at once; `TypeError` and `ValueError` likewise.
        """
        actor = self._scheduler.running
        if self.owner is not actor:
            self._refuse("wait_for()")
        if timeout is not None and not (type(timeout) is float and 0 <= timeout <= FOREVER):
            timeout = check_timeout(timeout)
        result = predicate()
        if result:
            return result
        if timeout is None:
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
        """Wake every waiting actor, in the order in which they began to wait; a timer's callback may, too.

        Raises:
            RuntimeError: If the caller does not hold the condition.
        """
        scheduler = self._scheduler
        if self.owner is not scheduler.running:
            self._refuse("notify_all()")
        waiters = self._waiters
        if not waiters:
            return
        is_late = scheduler.kernel.late is not None
        for actor in waiters:
            actor.notified = True
            timer = actor.timer
            if timer is not None:
                timer.cancel()
                actor.timer = None
            if is_late:
                scheduler.wake(actor)
            else:
                wake = actor.wake
                wake()
        waiters.clear()

    def withdraw(self, actor: Actor) -> None:
        """Take an actor that is ended by force out of those who wait, for a notification or to enter."""
        self._waiters.pop(actor, None)
        if actor in self._entrants:
            self._entrants.remove(actor)

    def vacate(self) -> None:
        """Let others enter, since its owner never leaves it."""
        self.owner = self.outer = None
        self._admit()

    def _refuse(self, call: str) -> NoReturn:
        """Raise for a call by an actor that does not hold this."""
        self._scheduler.check()
        raise RuntimeError(f"{call} on a condition that is not held: use it inside 'with condition:'")

    def _unlink(self, actor: Actor) -> None:
        """Remove this from the chain of conditions that ``actor`` is inside of, wherever in it this is."""
        inner, place = None, actor.inside
        while place is not None and place is not self:
            inner, place = place, place.outer
        if inner is None:
            actor.inside = self.outer
        else:
            inner.outer = self.outer

    def _admit(self) -> None:
        """Let the actors that want to enter try again."""
        self._scheduler.ready.extend(self._entrants)
        self._entrants.clear()

    def _contend(self, actor: Actor) -> None:
        """Wait until no actor is inside. Allowed while holding another one: locks may be nested, in one order."""
        if self.owner is actor:
            if self._scheduler.in_callback:
                raise mistakes.occupied()
            raise RuntimeError("a condition is entered twice: it is not reentrant")
        while self.owner is not None:
            if self._scheduler.in_callback:
                raise mistakes.occupied()
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
        actor.wake()


class _PreemptedCondition(VirtualCondition):
    """A condition at whose entering, leaving and notifying a schedule may put another actor first."""

    __slots__ = ()

    def __enter__(self) -> VirtualCondition:
        self._scheduler.check()
        self._scheduler.preempt()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        super().__exit__(kind, error, trace)
        self._scheduler.preempt()

    def _wait(self, actor: Actor, until: int | None) -> bool:
        if until is not None and until > (now := self._scheduler.kernel.now):
            until += self._scheduler.late(actor, until, "wait", until - now)
        return super()._wait(actor, until)

    def notify_all(self) -> None:
        super().notify_all()
        self._scheduler.preempt()


def new_condition(scheduler: Scheduler) -> VirtualCondition:
    """Make a condition; one that does not ask for preemption where there is no schedule that might want it."""
    return VirtualCondition(scheduler) if scheduler.schedule is None else _PreemptedCondition(scheduler)
