"""`VirtualRuntime`: the `Runtime` of a simulation, with a thread for each actor and a clock that no thread waits for.

With ``actor_threads.py``, ``real_waits.py`` and ``watchdog.py`` the only module of the engine that touches threads and
real time. Which actor runs is decided in ``scheduler.py``.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random
from types import FrameType, TracebackType

from meshsync.places import warn_program
from meshsync.runtime.deadlines import check_duration
from meshsync.runtime.holdings import Holdings
from meshsync.runtime.threads import ThreadRuntime
from simulator.engine import diagnosis
from simulator.engine.actor_threads import ActorThreads, Adoption
from simulator.engine.actors import Actor
from simulator.engine.conditions import VirtualCondition, new_condition
from simulator.engine.hindrances import Hindrances
from simulator.engine.invariants import Invariants
from simulator.engine.kernel import SECOND, Kernel
from simulator.engine.lateness import schedule_named
from simulator.engine.lives import Lives, ProgramLife, refuse_doomed
from simulator.engine.marks import interruptible, may_cut
from simulator.engine.os_process import AtExit, Garbage, Interrupts, Pin
from simulator.engine.permits import VirtualPermits, VirtualReentrant
from simulator.engine.real_waits import RealWaits
from simulator.engine.scheduler import Scheduler
from simulator.engine.schedules import Schedule
from simulator.engine.seeds import Seeds, entropy
from simulator.engine.tasks import VirtualTask
from simulator.engine.watchdog import Watchdog
from simulator.errors import (
    ActorExit,
    ActorFailed,
    ActorsRefuse,
    BlockingRefused,
    ReceiverFailed,
    SimulationClosed,
    SimulationNested,
)

__all__ = ["VirtualRuntime", "check_none_open"]

__engine__ = True

START = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the Unix epoch."""

_threads = ThreadRuntime()
_open: VirtualRuntime | None = None


def check_none_open() -> None:
    """Check that no simulation is open in this process.

    Raises:
        SimulationNested: If one is; the text names the line that opened it.
    """
    if _open is not None:
        raise SimulationNested(
            f"another simulation is open in this process, since {_open.opened_at}: close it first, by the end of its "
            "with block or by its close()"
        )


_LEFT_OPEN = "; the simulation was never closed: write 'with Simulation(…) as sim:'"
"""What a warning of programs that never ran ends with, when the process does."""


class VirtualRuntime:
    """Time, threads and chance that follow from a seed. Open from construction; close it in the thread that made it.

    Args:
        seed: Every event of the run follows from this and the program.
        schedule: ``"fifo"``, ``"random"``, ``"pct"``, or a `Schedule`.
        horizon: Virtual seconds after which the run is stopped; None for never.
        pin: Whether to keep the calling thread and all actors on one processor.
        start: The wall clock's beginning, in seconds since the Unix epoch.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever. Also how long
            closing waits for each actor.
        patience: Virtual seconds for which only background timers may happen before that counts as a deadlock.
        max_steps: How many turns of actors and timers one instant may take.
        scope: Makes a context that each actor runs in, such as one that installs a world.
        subject: Given to predicates that take an argument.

    Raises:
        SimulationNested: If another one is open in this process: threads, garbage and Ctrl-C are the process's.
    """

    shield: None = None

    def __init__(
        self,
        seed: int | str = 0,
        *,
        schedule: str | Schedule = "fifo",
        horizon: float | None = None,
        pin: bool = True,
        start: float = START,
        stall_after: float | None = 5.0,
        patience: float = 120.0,
        max_steps: int = 1_000_000,
        scope: Callable[[], AbstractContextManager[object]] | None = None,
        subject: object = None,
    ) -> None:
        global _open
        check_none_open()
        self.opened_at: str = diagnosis.caller()
        """The line that opened it."""
        self.seeds: Seeds = Seeds(seed)
        self._start_wall = start
        grace = 5.0 if stall_after is None else stall_after
        chosen = schedule_named(schedule, self.seeds) if isinstance(schedule, str) else schedule
        self._scheduler = scheduler = Scheduler(
            get_ident=get_ident,
            make_baton=allocate_lock,
            start=self._begin,
            schedule=chosen,
            horizon=None if horizon is None else round(horizon * SECOND),
            patience=round(patience * SECOND),
            max_steps=max_steps,
        )
        self.kernel: Kernel = scheduler.kernel
        """The clock and the timers; ``kernel.after(seconds, callback)`` schedules a call."""
        self.invariants: Invariants = Invariants(scheduler, subject)
        """What is claimed of the run."""
        self.lives: Lives = Lives(scheduler)
        """Ends the lives of programs by force."""
        self.hindrances: Hindrances = Hindrances(scheduler)
        """What keeps programs from running as they would."""
        self.is_open: bool = True
        self._threads = ActorThreads(scheduler, scope, grace)
        interrupts = Interrupts(self._interrupted, get_ident())
        self._watchdog = (
            None if stall_after is None else Watchdog(scheduler, stall_after, self.report, interrupts.strike)
        )
        self._grace = grace
        self._process: list[Interrupts | Garbage | Pin | Adoption | RealWaits | AtExit] = [interrupts, Garbage()]
        if pin:
            self._process.append(Pin())
        self._process += [Adoption(scheduler, self._adopt), RealWaits(scheduler, self._watches_main)]
        self._process.append(AtExit(lambda: self._warn_of_unbegun(_LEFT_OPEN)))
        for hold in self._process:
            hold.apply()
        _open = self

    # --- the Runtime -------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Return virtual seconds since the start."""
        scheduler = self._scheduler
        scheduler.polls_left = left = scheduler.polls_left - 1
        if left < 0:
            scheduler.livelock()
        return self.kernel.now / SECOND

    def wall(self) -> float:
        """Return seconds since the Unix epoch, by the virtual clock, or by the wrong one of the running program."""
        return self.true_wall() + self.hindrances.ahead()

    def true_wall(self) -> float:
        """Return seconds since the Unix epoch, by the virtual clock."""
        return self._start_wall + self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` of virtual time; zero lets every actor run that is ready.

        Raises:
            TypeError: If that is no number; `ValueError` if it is negative or NaN.
            BlockingRefused: If the caller holds a condition, or is a timer's callback.
        """
        seconds = check_duration(seconds, "seconds")
        scheduler = self._scheduler
        actor = scheduler.check()
        if actor.inside or scheduler.in_callback:
            scheduler.refuse_blocking(actor, "sleep()")
        if not seconds:
            scheduler.yield_turn(actor)
        elif seconds != math.inf:
            end = self.kernel.instant(seconds)
            if self.kernel.late is not None:
                end += scheduler.late(actor, end, "sleep")
            actor.timer = self.kernel.at(end, actor.wake, background=actor.is_housekeeping)
        scheduler.park(actor)
        actor.timer = None

    @property
    def holdings(self) -> Holdings:
        """What the actors hold and wait for of locks, queues and events, by the number that ``current`` returns."""
        return self._scheduler.holdings

    def condition(self) -> VirtualCondition:
        """Make a condition."""
        return new_condition(self._scheduler)

    def permits(self, count: int, what: str, *, is_reentrant: bool) -> VirtualPermits:
        """Make permits, whose holders are recorded."""
        scheduler = self._scheduler
        return VirtualReentrant(scheduler, what) if is_reentrant else VirtualPermits(scheduler, count, what)

    def spawn(self, target: Callable[[], None], *, name: str, life: ProgramLife | None = None) -> VirtualTask:
        """Run ``target`` in an actor of its own, whose thread starts when it is its turn.

        Its exception is raised in the main thread as `ActorFailed`, unless the program reads the task's ``error``.

        Args:
            life: The life that it begins; by default it is part of the caller's.
        Raises:
            RuntimeError: If the interpreter is shutting down and starts no more threads.
            SimulationClosed: If the simulation is over.
        """
        scheduler = self._scheduler
        scheduler.check()
        if scheduler.is_over:
            raise SimulationClosed(f"task {name!r} is spawned in a simulation that is over: {diagnosis.caller()}")
        if self.is_exiting():
            raise RuntimeError(f"task {name!r} is spawned while the interpreter is shutting down")
        actor = scheduler.add(name, scheduler.main if life is not None and life.number > 1 else None)
        actor.life = life or actor.life
        actor.target = target
        task = VirtualTask(scheduler, actor)
        scheduler.wake(actor)
        if self._watchdog is not None:
            self._watchdog.start()
        if scheduler.schedule is not None:
            scheduler.preempt()
        return task

    def check_alive(self) -> None:
        """Raise `ActorExit` in an actor whose life was ended by force; do nothing in all other threads."""
        refuse_doomed(self._scheduler)

    def watch_main(self) -> None:
        """Let the creating thread, from now on, no more block for real than other actors; see `Watchdog`."""
        if self._watchdog is not None:
            self._watchdog.watches_main = True
            self._watchdog.start()

    def _watches_main(self) -> bool:
        return self._watchdog is not None and self._watchdog.watches_main

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        """Return a context in which the creating thread may block for real."""
        watchdog = self._watchdog
        before = watchdog is not None and watchdog.watches_main
        try:
            if watchdog is not None:
                watchdog.watches_main = False
            yield
        finally:
            if watchdog is not None:
                watchdog.watches_main = before

    def _begin(self, actor: Actor) -> None:
        self._threads.begin(actor)

    def _adopt(self, thread: threading.Thread) -> None:
        """Make an actor of a thread that an actor is about to start, and start it."""
        self._threads.adopt(thread)
        if self._watchdog is not None:
            self._watchdog.start()
        self._scheduler.preempt()

    def current(self) -> int:
        """Return the number of the running actor, 0 in the thread that made the runtime, -1 in a timer's callback."""
        scheduler = self._scheduler
        if scheduler.running.ident != get_ident():
            return get_ident()  # a thread that is no actor: any number will do that is no actor's
        return -1 if scheduler.in_callback else scheduler.running.serial

    @property
    def is_housekeeping(self) -> bool:
        """Whether the running actor only keeps house."""
        return not self._scheduler.in_callback and self._scheduler.running.is_housekeeping

    @contextmanager
    def housekeeping(self) -> Iterator[None]:
        """Return a context in which the running actor's waits are no sign that anything is going to happen."""
        actor = self._scheduler.check()
        before, actor.is_housekeeping = actor.is_housekeeping, True
        try:
            yield
        finally:
            actor.is_housekeeping = before

    def random(self, stream: str) -> Random:
        """Return the random stream of that name, which follows from the seed."""
        return self.seeds.stream(f"program/{stream}")

    def entropy(self, size: int) -> bytes:
        """Return ``size`` bytes that follow from the seed and the running actor's label."""
        actor = "a timer" if self._scheduler.in_callback else self._scheduler.running.label
        return entropy(self.seeds.stream(f"entropy/{actor}"), size)

    def is_exiting(self) -> bool:
        """Return whether the interpreter is past its main program: it ends for real, simulation or not."""
        return _threads.is_exiting()

    # --- more than a Runtime -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.monotonic()

    @property
    def schedule(self) -> Schedule | None:
        """The schedule among ready actors, with its deviations so far; None for first-in-first-out."""
        return self._scheduler.schedule

    @property
    def turns(self) -> int:
        """How many turns actors and timers have had."""
        return self._scheduler.turns

    @property
    def is_idle(self) -> bool:
        """Whether no other actor can run and only background timers are left."""
        return not self._scheduler.can_run and self.kernel.foreground == 0

    def report(self) -> str:
        """Return a paragraph for each actor: its name, state and stack."""
        return diagnosis.report(
            list(self._scheduler.actors.values()),
            self.kernel.now,
            is_running=self._scheduler.running,
            holdings=self._scheduler.holdings,
        )

    def blocked(self) -> list[FrameType]:
        """Return the frames of the actors without a time limit that wait to enter a condition another one is inside of.

        If there are none, of those without a time limit that wait on a condition.
        """
        waiting = [
            actor
            for actor in self._scheduler.actors.values()
            if actor.timer is None and (actor.entering is not None or actor.waiting is not None)
        ]
        chosen = [actor for actor in waiting if actor.entering is not None] or waiting
        return [frame for frame in map(diagnosis.frame_of, chosen) if frame is not None]

    @property
    def exits(self) -> tuple[ActorExit, ...]:
        """What ended the actors that had not ended when this was closed, each with its traceback."""
        return tuple(self._scheduler.pending_errors.exits)

    def add_failure(self, failed: ReceiverFailed) -> None:
        """Keep the failure of a receiver, to be raised when this is closed."""
        self._scheduler.pending_errors.add_receiver(failed)

    def raise_failures(self) -> None:
        """Raise now what the creating thread would raise when it blocks the next time or closes this, if anything.

        Raises:
            ActorFailed: For instance; its error had not been read.
        """
        pending_errors = self._scheduler.pending_errors
        error = pending_errors.pop()
        if error is None and pending_errors.has_failures:
            error = pending_errors.pop_failure()
        error = error or pending_errors.pop_receiver()
        if error is not None:
            raise error

    def conclude(self) -> None:
        """Raise what is violated now, where the program ends: nothing is left that has to become true.

        Raises:
            InvariantError: Of what was claimed.
        """
        violation = self.invariants.conclude()
        if violation is not None:
            raise violation

    def step(self) -> bool:
        """Let one actor or one timer have its turn; return whether there was one.

        Raises:
            BlockingRefused: If the caller is not the main actor, holds a condition, or is a timer's callback.
        """
        self._check_main("step()")
        return self._scheduler.step()

    def run_until_idle(self) -> None:
        """Return when no other actor can run and only background timers are left.

        Raises:
            BlockingRefused: As ``step``.
        """
        self._check_main("run_until_idle()")
        self._scheduler.run_until_idle()

    @interruptible
    def run(self, seconds: float | None = None, *, speed: float = 1.0) -> None:
        """Let the clock move as fast as real time, or ``speed`` times that; Ctrl-C ends it.

        Args:
            seconds: How long, in virtual seconds; None until the simulation is idle.
        Raises:
            ValueError: If ``speed`` is not above 0, or ``seconds`` is negative or NaN; nothing has happened.
            BlockingRefused: As ``step``.
        """
        self._check_main("run()")
        if not speed > 0:
            raise ValueError(f"speed {speed} is not above 0")
        seconds = None if seconds is None else check_duration(seconds, "seconds")
        if seconds == math.inf:
            seconds = None
        begun, origin = ThreadRuntime.monotonic(), self.kernel.now
        end = None if seconds is None else self.kernel.instant(seconds)
        while True:
            while self._scheduler.can_run:
                self.step()
            due = self.kernel.next_deadline
            if end is not None and (due is None or due > end):
                due = end
            if due is None or (end is None and self.is_idle):
                return
            with self._unwatched():
                time.sleep(max(0.0, begun + (due - origin) / SECOND / speed - ThreadRuntime.monotonic()))
            self.kernel.at(due, self._scheduler.main.wake)
            self._scheduler.park(self._scheduler.main)
            if due == end:
                return

    def _check_main(self, call: str) -> None:
        scheduler = self._scheduler
        actor = scheduler.check()
        if actor is not scheduler.main:
            raise BlockingRefused(f"{call} belongs to the thread that made the simulation: {diagnosis.caller()}")
        if actor.inside or scheduler.in_callback:
            scheduler.refuse_blocking(actor, call)

    # --- Ctrl-C ------------------------------------------------------------------------------------------------------

    def _interrupted(self, handle: Callable[[], object], frame: FrameType | None) -> None:
        """Decide when Ctrl-C is raised: never inside the engine, whose state must stay whole.

        Runs in the creating thread, if that is the process's main one. The first is raised when that thread has its
        turn, which it gets at the next hand-over. If a second comes before that, since the running actor computes or
        blocks for real, the main thread leaves the simulation.
        """
        scheduler = self._scheduler
        if get_ident() != scheduler.main.ident or may_cut(frame):
            handle()
            return
        if scheduler.pending_errors.is_interrupted and scheduler.running is not scheduler.main:
            handle()  # its exception ends the rest of the main thread, see Scheduler.park
            return
        try:
            handle()
        except BaseException as error:
            scheduler.summon(error.with_traceback(None))

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor where it is blocked, so that its ``finally`` blocks run, and restore the process's settings.

        Closing again does nothing.

        Raises:
            ActorFailed: If an actor had failed and its error was not read; the runtime is closed.
            ActorsRefuse: If actors did not end; their threads go on as daemons, and the runtime is closed.
            InvariantError: If something claimed does not hold, and no call has raised that; the runtime is closed.
            BlockingRefused: In another thread or a timer's callback; the runtime is open.
        """
        problems = self._close(concludes=True)
        if problems:
            raise problems[0]

    def _warn_of_unbegun(self, end: str = "") -> None:
        """Name the programs that never ran."""
        if not self.kernel.now and (text := diagnosis.unbegun(self._scheduler.actors.values())):
            warn_program(text + end)

    def _close(self, *, concludes: bool) -> list[BaseException]:
        """Close it, and return what is still to be raised.

        Args:
            concludes: Whether what had to become true is violated if it has not.
        """
        global _open
        if not self.is_open:
            return []
        scheduler = self._scheduler
        if get_ident() != scheduler.main.ident or scheduler.in_callback:
            raise BlockingRefused(f"only the thread that made a simulation closes it: {diagnosis.caller()}")
        violation = self.invariants.conclude() if concludes else None
        self.is_open = False
        if self._watchdog is not None:
            self._watchdog.stop()
        if not scheduler.is_over:
            scheduler.over = SimulationClosed("the simulation is over")
        scheduler.is_over = scheduler.urgent = True
        others = [actor for actor in scheduler.actors.values() if actor is not scheduler.main]
        if concludes:
            self._warn_of_unbegun()
        refusing = [actor for actor in others if not self._threads.end(actor)]
        scheduler.running = scheduler.main
        self._threads.join(but=[*refusing, *self.lives.resting])
        if self._watchdog is not None:
            self._watchdog.join(self._grace)
        for hold in reversed(self._process):
            hold.undo()
        _open = None
        problems = scheduler.pending_errors.pop_rest()
        if violation is not None:
            problems.append(violation)
        if refusing:
            names = tuple(actor.label for actor in refusing)
            text = f"{len(names)} of the actors did not end; {diagnosis.report(refusing, self.kernel.now)}"
            problems.append(ActorsRefuse(text, actors=names))
        return problems

    def __enter__(self) -> VirtualRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        problems = self._close(concludes=error is None)
        if not problems:
            return
        if error is None:
            raise problems[0]
        for problem in problems:  # ``error`` is being raised, and must not be hidden by errors that may follow from it
            if problem.__cause__ is not error and not isinstance(error, ActorFailed):
                warnings.warn(f"{type(problem).__name__}: {problem}", RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__} seed {self.seeds.seed!r}, {state}, at {self.kernel.now / SECOND:.9f} s>"
