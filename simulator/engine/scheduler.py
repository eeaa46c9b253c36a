"""Runs one actor at a time, chosen by the actor that stops running; and moves the clock when no actor can run.

There is no scheduler thread. An actor that blocks calls `Scheduler.park`, which picks the next one, hands it the baton
and lets the caller's thread rest until another hands the baton back. Not the business of this module: making threads,
and real time.

Real concurrency is left in three places: a signal's handler in the creating thread, the watchdog, and the threads of a
simulation that is over. They rest on this: CPython switches threads, and handles signals, only after a call and when a
loop jumps back, or when a function in Python begins, so that a test of attributes and one call in C after it are not
torn apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import NoReturn

from meshsync.runtime.holdings import Holdings
from meshsync.runtime.lifecycle import move
from simulator.engine import diagnosis, mistakes
from simulator.engine.actors import Actor, ActorState, Baton, Births, Place
from simulator.engine.housekeeping import Housekeeping
from simulator.engine.kernel import Kernel
from simulator.engine.pending_errors import PendingErrors
from simulator.engine.ready_actors import ReadyActors
from simulator.engine.schedules import Schedule
from simulator.errors import ActorExit, InvariantError, SimulationClosed

__all__ = ["Scheduler"]

__engine__ = True

EXITS = 1000
"""How many times `ActorExit` is raised in an actor before its thread is laid to rest."""


class Errand(Enum):
    """Until when the main actor lets the others run."""

    NONE = "no errand: it runs, or blocks as any other"
    STEP = "one turn of an actor or a timer"
    STEPPED = "the end of that turn, which has begun"
    IDLE = "no actor can run and only background timers are left"


_ERRANDS = {
    Errand.NONE: {Errand.STEP, Errand.IDLE},
    Errand.STEP: {Errand.STEPPED, Errand.NONE},
    Errand.STEPPED: {Errand.NONE},
    Errand.IDLE: {Errand.NONE},
}

# Each a name of the module: in Python 3.10 every look at a member of an enum calls a function.
_NEW, _DONE, _LOST = ActorState.NEW, ActorState.DONE, ActorState.LOST
_NONE, _STEP, _STEPPED, _IDLE = Errand.NONE, Errand.STEP, Errand.STEPPED, Errand.IDLE


class Scheduler:
    """The actors, the one that runs, and the errors to be raised in the main one.

    Args:
        get_ident: Tells threads apart.
        make_baton: Makes a lock.
        start: Makes the thread of an actor that is chosen for the first time; the thread begins by taking its baton.
        schedule: Decides among ready actors; None for first-in-first-out.
        horizon: The instant at which the run ends, in nanoseconds, or None.
        patience: For how many nanoseconds only background timers may happen before that counts as a deadlock. They get
            that much because they may yet do something: a heartbeat may notice a lost peer.
        max_steps: How many turns one instant may take.
    """

    def __init__(
        self,
        *,
        get_ident: Callable[[], int],
        make_baton: Callable[[], Baton],
        start: Callable[[Actor], None],
        schedule: Schedule | None,
        horizon: int | None,
        patience: int,
        max_steps: int,
    ) -> None:
        self.kernel: Kernel = Kernel()
        if schedule is not None and schedule.is_late:
            self.kernel.late = schedule.late
        self.get_ident = get_ident
        self.schedule = schedule
        self._queues = ReadyActors(self.kernel)
        self.ready: deque[Actor] = self._queues.ready
        """The actors that can run; a shortcut for the code that makes actors ready most often."""
        self.turns: int = 0
        """How many turns actors and timers have had so far."""
        self.in_callback: bool = False
        self.is_over: bool = False
        """Whether every blocking call is to raise: in the main thread ``over``, elsewhere `ActorExit`. A plain
        attribute, since it is tested and set where no call is allowed, see the module's docstring."""
        self.over: BaseException = SimulationClosed("the simulation is over")
        self.urgent: bool = False
        """Whether the next choice has to consider more than the ready actors. Cleared by the main thread only."""
        self.after_turn: Callable[[Callable[[], object] | None], None] | None = None
        """Called after each turn of an actor (with None) or of a timer (with its callback); None if none is to be."""
        self.gate: Callable[[Actor], None] | None = None
        """Passed by each actor that has its turn, while ``urgent`` is set; None if there is nothing to be held back."""
        self.make_ready: Callable[[Actor], None] = self.ready.append
        """Puts an actor behind those that can run; or later, if its program is slow."""
        self.polls_left: int = max_steps
        """How often a condition may be entered or the clock read until the next turn."""
        self.doomed: deque[Actor] = deque()
        """The ghosts of actors that unwind before any other goes on, and behind them the actor that ended them."""
        self.holdings: Holdings = Holdings(self._label)
        """What the actors hold of locks, by serial number."""
        self.pending_errors: PendingErrors = PendingErrors()
        """The errors that the main thread is to raise."""
        self._make_baton = make_baton
        self._births = Births(make_baton, self.ready)
        self.actors: dict[int, Actor] = self._births.actors
        """The actors that have not ended, by serial number."""
        self._start = start
        self._horizon, self._patience = horizon, patience
        self._max_steps = max_steps
        self._errand = _NONE
        self._quiet_since: int | None = None
        self._housekeeping = Housekeeping(max_steps)
        self.main: Actor = self._births.make("main", None, False)
        self.running: Actor = self.main
        self.main.ident = get_ident()
        self.main.begin()

    # --- actors ------------------------------------------------------------------------------------------------------

    def add(self, name: str, parent: Actor | None = None) -> Actor:
        """Make an actor that is not ready yet.

        Args:
            parent: The actor that spawns it; by default the running one, whose life it shares.
        """
        actor = self._births.make(name, parent or self.running, self.in_callback)
        actor.wake = partial(self.make_ready, actor)
        return actor

    def check(self) -> Actor:
        """Return the actor that calls, which must be the one that runs.

        Raises:
            ForeignThread: In a thread that is no actor.
            ActorExit: In an actor that outlived its simulation.
            SimulationClosed: In the main thread, if it left the simulation behind.
        """
        actor = self.running
        if actor.ident != self.get_ident():
            self._refuse()
        return actor

    def _refuse(self) -> NoReturn:
        ident = self.get_ident()
        for actor in list(self.actors.values()):
            if actor.ident == ident:
                self._leave(actor)
        raise mistakes.foreign_thread()

    def refuse_blocking(self, actor: Actor, call: str, *, but: Place | None = None) -> NoReturn:
        """Raise `BlockingRefused` for a call that would block in a callback, or while holding a condition."""
        if self.in_callback:
            raise mistakes.blocks_in_a_callback(call)
        raise mistakes.blocks_inside(actor, call, but)

    # --- handing over ------------------------------------------------------------------------------------------------

    def park(self, actor: Actor, chosen: Actor | None = None) -> None:
        """Let others run until ``actor``, the running one, is chosen again; the caller has seen to it that it will be.

        Args:
            chosen: The actor that goes on, if that is decided.
        Raises:
            ActorExit: If the simulation ended meanwhile.
            Exception: In the main thread, the error it was summoned for.
        """
        if chosen is None:
            if actor is self.main and self.pending_errors.has_failures and not self.is_over:
                self.withdraw(actor)
                raise self.pending_errors.pop_failure()
            chosen = self._next()
        if chosen is not actor:
            if self.is_over:
                self._leave(actor)
            self.running = chosen  # with the test above and the release below one step, see the module's docstring
            if chosen.state is not _NEW:
                chosen.baton.release()
            else:
                self._begin(chosen)
            try:
                actor.baton.acquire()
            except BaseException:  # a signal's handler raised; only in the main thread
                if not self.abandon(SimulationClosed("the simulation was left by Ctrl-C, or another signal")):
                    actor.baton.acquire(False)  # it was just being handed over
                raise
        if self.urgent:
            self._obey(actor)

    def preempt(self) -> None:
        """Let the schedule put another ready actor in the place of the running one."""
        schedule = self.schedule
        actor = self.running
        if schedule is None or self.in_callback or self.is_over or actor.is_doomed:
            return
        chosen = self._queues.pick(schedule, actor)
        if chosen is actor:
            return
        if chosen is None:
            chosen = self._next(is_timer_first=True)
        else:
            self.turns += 1
            if self.after_turn is not None:
                self.after_turn(None)
        self.park(actor, chosen)

    def abandon(self, reason: BaseException) -> bool:
        """Declare the simulation over although an actor runs that cannot be stopped; the main thread goes on.

        Returns:
            Whether that is so; False if the main thread has the baton already.
        """
        running = self.running  # from here on no call, so that no other thread comes in between
        if running is self.main:
            return False
        if running.state is not _DONE:
            running.state = _LOST
        self.over = reason
        self.is_over = self.urgent = True
        self.in_callback = False
        self.running = self.main
        return True

    def _begin(self, chosen: Actor) -> None:
        """Give an actor its thread and the baton, or the next actor if no thread can be started."""
        while chosen.state is _NEW:
            try:
                self._start(chosen)
            except RuntimeError as error:  # no more threads
                chosen.error = error
                self.end(chosen)
                chosen = self._next()
                self.running = chosen
        chosen.baton.release()

    def finish(self, actor: Actor) -> None:
        """Record the end of the running actor and hand the baton on; its thread has nothing more to do."""
        actor.finish()  # first, since notifying the joiners may let one of them run
        has_joiner = actor.at_end is not None and not self.is_over and actor.at_end()
        self.end(actor, has_joiner=has_joiner)
        self._hand_on(actor)

    def _hand_on(self, actor: Actor) -> None:
        """Hand the baton on, in the thread of an actor that has no more turns."""
        if actor.is_doomed:
            self.running = actor  # and not its ghost: timers and predicates are called in this thread
        chosen = self._next()
        if self.is_over:  # no thread waits for the baton
            return
        self.running = chosen  # one step again
        if chosen.state is not _NEW:
            chosen.baton.release()
        else:
            self._begin(chosen)

    def end(self, actor: Actor, *, has_joiner: bool = False) -> None:
        """Drop an actor from the simulation; see `PendingErrors.add_failure` for one that failed."""
        actor.finish()
        self.actors.pop(actor.serial, None)
        self.holdings.note_end(actor.serial, actor.label)
        if self.pending_errors.add_failure(actor, has_joiner=has_joiner):
            self.urgent = True

    # --- choosing ----------------------------------------------------------------------------------------------------

    @property
    def can_run(self) -> bool:
        """Whether an actor is ready that does not run."""
        return bool(self._queues)

    def late(self, actor: Actor, due: int, kind: str, limit: int = 0) -> int:
        """Return by how many nanoseconds a step of an actor is late; see `Schedule.late`."""
        if actor.is_housekeeping or self.kernel.late is None:
            return 0
        return self.kernel.late(actor.path, due, limit, kind)

    def wake(self, actor: Actor) -> None:
        """Make an actor ready that has something to do, now or as late as the schedule says."""
        if by := self.late(actor, self.kernel.now, "turn"):
            actor.timer = self.kernel.at(self.kernel.now + by, actor.wake)
        else:
            actor.wake()

    def yield_turn(self, actor: Actor) -> None:
        """Put the running actor, which is about to park, behind all that can run."""
        self._queues.put_last(actor)
        if self.schedule is not None:
            self.schedule.yielded(actor.path)

    def _next(self, *, is_timer_first: bool = False) -> Actor:
        """Return a ready actor, taken off its queue; the clock moves until there is one.

        Args:
            is_timer_first: Whether the next timer comes before all of them.
        """
        if self.after_turn is not None and not self.doomed:
            self.after_turn(None)
        queues, kernel, housekeeping = self._queues, self.kernel, self._housekeeping
        ready, set_back = self.ready, queues.set_back
        self.polls_left = self._max_steps
        while True:
            if self.urgent and (wanted := self._wanted()) is not None:
                return wanted
            self.turns = turns = self.turns + 1
            if turns >= housekeeping.due and housekeeping.look(turns, kernel.now):
                self.summon(mistakes.livelock(self._max_steps, None, self.report()))
                continue
            if is_timer_first:
                is_timer_first = False
            elif ready or set_back:
                if self._quiet_since is not None and not all(a.is_housekeeping for a in (*ready, *set_back)):
                    self._quiet_since = None
                if self.schedule is None:
                    return ready.popleft()
                chosen = queues.pick(self.schedule)
                if chosen is not None:
                    return chosen
            else:
                if kernel.foreground:
                    self._quiet_since = None
                elif self._is_quiet():
                    if self._errand is not _NONE:
                        self._move(_NONE)
                        return self.main
                    self._quiet_since = None
                    self.summon(mistakes.deadlock(self.report()))
                    continue
                if self._horizon is not None and self._horizon_passed():
                    continue
            callback = kernel.take()
            if callback is None:
                continue
            self.in_callback = True
            try:
                callback()
            except BaseException as error:
                self.summon(mistakes.callback_failed(callback, error))
            finally:
                self.in_callback = False
            if self.after_turn is not None:
                self.after_turn(callback)

    def _wanted(self) -> Actor | None:
        """Return the actor that has to run now: one to unwind, or the main one even if it waits for something."""
        if self.doomed and not self.is_over:
            return self.unwind_next()
        if self.is_over or self.pending_errors:
            return self.main
        if self._errand is _STEP:
            self._move(_STEPPED)
            return None
        return self.main if self._errand is _STEPPED else None

    def unwind_next(self) -> Actor:
        """Return the first of the doomed, taken off; what it calls raises from then on, reading the clock included."""
        chosen = self.doomed.popleft()
        if chosen.is_doomed:
            self.polls_left = -1
        return chosen

    def _is_quiet(self) -> bool:
        """Return whether no timer is left, or only background timers for too long."""
        due = self.kernel.next_deadline
        if due is None or self._errand is _IDLE:
            return True
        if self._quiet_since is None:
            self._quiet_since = self.kernel.now
        return due - self._quiet_since > self._patience

    # --- errors ------------------------------------------------------------------------------------------------------

    def summon(self, error: BaseException) -> None:
        """Have the main actor run next and raise ``error``. A signal's handler may call this at any time."""
        self.pending_errors.add(error)
        self.urgent = True

    def _obey(self, actor: Actor) -> None:
        """End the actor that has just been chosen, or raise the error it was summoned for, if there is one."""
        if self.is_over or actor.is_doomed:
            self._leave(actor)
        if actor is not self.main:
            if self.gate is not None:
                self.gate(actor)
            return
        self.urgent = False  # before looking: a signal's handler may set it again any time
        error = self.pending_errors.pop()
        if self.pending_errors or self._errand is _STEP or self._errand is _STEPPED or self.gate is not None:
            self.urgent = True
        if error is not None:
            if isinstance(error, InvariantError):  # It ends the run: whatever is called now raises it again.
                self.over = error
                self.is_over = self.urgent = True
            self.withdraw(actor)
            raise error

    def withdraw(self, actor: Actor) -> None:
        """Take an actor off the queues and its timer away: it is chosen no more, unless it is made ready again."""
        if actor.timer is not None:
            actor.timer.cancel()
            actor.timer = None
        self._queues.withdraw(actor)

    def _leave(self, actor: Actor) -> NoReturn:
        """End an actor of a simulation or a life that is over: raise, or after `EXITS` times in vain, rest for ever."""
        if actor is self.main:
            self.withdraw(actor)
            raise self.over
        actor.exits += 1
        if actor.exits > EXITS:
            actor.rest()
            if actor.is_doomed and not self.is_over and actor.at_end is not None:
                actor.at_end()
                self._hand_on(actor)
            for_ever = self._make_baton()
            for_ever.acquire()
            for_ever.acquire()
        raise ActorExit("its life is over" if actor.is_doomed and not self.is_over else "the simulation is over")

    def _horizon_passed(self) -> bool:
        due, horizon = self.kernel.next_deadline, self._horizon
        if due is None or horizon is None or due <= horizon:
            return False
        self._horizon = None
        self.kernel.move(horizon)
        if self.after_turn is not None:
            self.after_turn(None)  # A time limit that ended before, with no turn since, was the first to pass.
        self.summon(mistakes.horizon(horizon, self.report()))
        return True

    def livelock(self) -> None:
        """Report an actor that polls and never blocks: the main thread raises, the actor goes on later."""
        actor = self.check()
        error = mistakes.livelock(self._max_steps, actor, self.report())
        self.polls_left = self._max_steps
        if actor is self.main or self.in_callback:
            raise error
        self.summon(error)
        self.make_ready(actor)
        self.park(actor)

    def report(self) -> str:
        """Return a paragraph for each actor."""
        return diagnosis.report(list(self.actors.values()), self.kernel.now, holdings=self.holdings)

    def _label(self, task: object) -> str:
        return next((actor.label for actor in self.actors.values() if actor.serial == task), "a timer")

    # --- moving the world from outside -------------------------------------------------------------------------------

    def step(self) -> bool:
        """Let one actor or one timer have its turn; return whether there was one. Main thread only."""
        self._move(_STEP)
        self.urgent = True
        try:
            self.park(self.main)
            return self._errand is not _NONE
        finally:
            self._end_errand()

    def run_until_idle(self) -> None:
        """Let the others run until none can and only background timers are left. Main thread only."""
        self._move(_IDLE)
        try:
            self.park(self.main)
        finally:
            self._end_errand()

    def _end_errand(self) -> None:
        """End the errand of the main actor, if it has one."""
        if self._errand is not _NONE:
            self._move(_NONE)

    def _move(self, errand: Errand) -> None:
        self._errand = move(_ERRANDS, self._errand, errand, "the main actor")
