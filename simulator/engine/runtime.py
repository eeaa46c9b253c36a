"""`VirtualRuntime`: the `Runtime` of a simulation, with a thread for each actor and a clock that nobody waits for.

The only module of the simulator's engine that touches threads and real time. Who runs is decided in ``scheduler.py``.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import warnings
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from types import FrameType, TracebackType

from meshsync.runtime.threads import ThreadRuntime
from simulator.engine import diagnosis
from simulator.engine.actors import Actor
from simulator.engine.conditions import VirtualCondition, new_condition
from simulator.engine.kernel import SECOND, Kernel
from simulator.engine.os_process import Garbage, Interrupts, Pin, processor_use
from simulator.engine.scheduler import Scheduler
from simulator.engine.schedules import Schedule, schedule_named
from simulator.engine.seeds import Seeds, entropy
from simulator.engine.stalls import Observation, StallDetector
from simulator.engine.tasks import VirtualTask
from simulator.errors import (
    ActorExit,
    ActorFailed,
    ActorsRefuse,
    BlockingRefused,
    SimulationClosed,
    SimulationNested,
    WorldStalled,
)

__all__ = ["VirtualRuntime"]

START = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the Unix epoch."""
STACK = 1 << 20
"""Bytes of stack for each actor: enough for Python's default recursion limit, also in 3.10, where calls nest in C."""
OUTSIDE = ("IPython", "_pydevd_bundle", "debugpy", "execnet", "ipykernel", "pytest_timeout", "tqdm", "xdist", "zmq")
"""Packages whose threads serve the person at the screen, and stay outside the simulation whoever starts them."""

_real_start = threading.Thread.start
_threads = ThreadRuntime()
_open: VirtualRuntime | None = None


class VirtualRuntime:
    """Time, threads and chance that follow from a seed. Open from construction; close it in the thread that made it.

    Args:
        seed: Everything that happens follows from this and the program.
        schedule: ``"fifo"``, ``"random"``, ``"pct"``, or a `Schedule`.
        horizon: Virtual seconds after which the run is stopped; None for never.
        pin: Whether to keep the calling thread and all actors on one processor.
        start: The wall clock's beginning, in seconds since the Unix epoch.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever. Also how long
            closing waits for each actor.
        patience: Virtual seconds for which only background timers may happen before that counts as a deadlock.
        max_steps: How many turns of actors and timers one instant may take.
        scope: Makes a context that each actor runs in, such as one that installs a world.

    Raises:
        SimulationNested: If another one is open in this process: threads, garbage and Ctrl-C are the process's.
    """

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
    ) -> None:
        global _open
        if _open is not None:
            raise SimulationNested(f"another simulation is open in this process, since {_open.opened_at}")
        self.opened_at: str = diagnosis.caller()
        """The line that opened it."""
        self.seeds = Seeds(seed)
        self.scope = scope
        self._start_wall = start
        self._stall_after = stall_after
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
        """The clock and the timers; ``kernel.after(seconds, callback)`` has something happen."""
        self.is_open = True
        self._threads: list[threading.Thread] = []
        self._watchdog: threading.Thread | None = None
        self._close_watchdog = threading.Event()
        self._process: list[Interrupts | Garbage | Pin] = [Interrupts(self._interrupted), Garbage()]
        if pin:
            self._process.append(Pin())
        for hold in self._process:
            hold.apply()
        _open = self
        threading.Thread.start = _start_or_adopt  # type: ignore[method-assign, assignment]

    # --- the Runtime -------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Return virtual seconds since the start."""
        scheduler = self._scheduler
        scheduler.polls_left -= 1
        if scheduler.polls_left < 0:
            scheduler.livelock()
        return self.kernel.now / SECOND

    def wall(self) -> float:
        """Return seconds since the Unix epoch, by the virtual clock."""
        return self._start_wall + self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait in virtual time; zero or less lets every actor run that is ready."""
        scheduler = self._scheduler
        actor = scheduler.check()
        if actor.inside or scheduler.in_callback:
            scheduler.refuse_blocking(actor, "sleep()")
        if seconds <= 0:
            scheduler.yield_turn(actor)
        elif seconds != math.inf:
            actor.timer = self.kernel.after(seconds, actor.wake)
        scheduler.park(actor)
        actor.timer = None

    def condition(self) -> VirtualCondition:
        """Make a condition."""
        return new_condition(self._scheduler)

    def spawn(self, target: Callable[[], None], *, name: str) -> VirtualTask:
        """Run ``target`` in an actor of its own, whose thread starts when it is its turn.

        What it raises is raised in the main thread as `ActorFailed`, unless somebody looks at the task's ``error``.

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
        actor = scheduler.add(name)
        actor.target = target
        task = VirtualTask(scheduler, actor)
        scheduler.make_ready(actor)
        if self._watchdog is None and self._stall_after is not None:
            self._watch(self._stall_after)
        if scheduler.schedule is not None:
            scheduler.preempt()
        return task

    def current(self) -> int:
        """Return the number of the running actor, 0 in the thread that made the runtime, -1 in a timer's callback."""
        scheduler = self._scheduler
        if scheduler.running.ident != get_ident():
            return get_ident()  # an outsider: as good as any number that is no actor's
        return -1 if scheduler.in_callback else scheduler.running.serial

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
        """What decides among ready actors, with its deviations so far; None for first-in-first-out."""
        return self._scheduler.schedule

    @property
    def turns(self) -> int:
        """How many turns actors and timers have had."""
        return self._scheduler.turns

    @property
    def is_idle(self) -> bool:
        """Whether no other actor can run and only background timers are left."""
        return not self._scheduler.can_run and self.kernel.foreground == 0

    def preemption_point(self) -> None:
        """Let the schedule put another actor first, here; for what is no condition, such as sending and receiving."""
        if self._scheduler.schedule is not None:
            self._scheduler.check()
            self._scheduler.preempt()

    def report(self) -> str:
        """Return a paragraph for each actor: what it waits for, and its stack."""
        return diagnosis.report(
            list(self._scheduler.actors.values()), self.kernel.now, is_running=self._scheduler.running
        )

    def blocked(self) -> list[FrameType]:
        """Return where the actors stand that no time limit wakes: before a condition that another one is inside of.

        If there are none, those that wait for anything else.
        """
        waiting = [
            actor
            for actor in self._scheduler.actors.values()
            if actor.timer is None and (actor.entering is not None or actor.waiting is not None)
        ]
        chosen = [actor for actor in waiting if actor.entering is not None] or waiting
        return [frame for frame in map(diagnosis.frame_of, chosen) if frame is not None]

    def raise_failures(self) -> None:
        """Raise now what the creating thread would raise when it blocks the next time, if there is anything.

        Raises:
            ActorFailed: For instance; nobody had been told.
        """
        summons = self._scheduler.summons
        error = summons.take()
        if error is None and summons.has_failures:
            error = summons.take_failure()
        if error is not None:
            raise error

    def step(self) -> bool:
        """Let one actor or one timer have its turn; return whether there was one."""
        self._check_main("step()")
        return self._scheduler.step()

    def run_until_idle(self) -> None:
        """Return when no other actor can run and only background timers are left."""
        self._check_main("run_until_idle()")
        self._scheduler.run_until_idle()

    def run(self, seconds: float | None = None, *, speed: float = 1.0) -> None:
        """Let the world move as fast as real time, or ``speed`` times that; Ctrl-C ends it.

        Args:
            seconds: How long, in virtual seconds; None until the world is idle.
        """
        self._check_main("run()")
        if not speed > 0:
            raise ValueError(f"speed {speed} is not above 0")
        begun, origin = time.monotonic(), self.kernel.now
        end = None if seconds is None else self.kernel.instant(seconds)
        while True:
            while self._scheduler.can_run:
                self.step()
            due = self.kernel.next_deadline
            if end is not None and (due is None or due > end):
                due = end
            if due is None or (end is None and self.is_idle):
                return
            time.sleep(max(0.0, begun + (due - origin) / SECOND / speed - time.monotonic()))
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

    # --- threads -----------------------------------------------------------------------------------------------------

    def _begin(self, actor: Actor) -> None:
        """Make the thread of an actor; it rests until the caller releases its baton."""
        target, actor.target = actor.target, None
        assert target is not None
        thread = threading.Thread(target=self._live, args=(actor, target), name=actor.label, daemon=True)
        del target
        before = threading.stack_size(STACK)
        try:
            _real_start(thread)
        finally:
            threading.stack_size(before)
        self._took_place(actor, thread)

    def _took_place(self, actor: Actor, thread: threading.Thread) -> None:
        actor.thread = thread
        actor.ident = thread.ident
        actor.is_started = True
        self._threads.append(thread)
        if len(self._threads) > 64 and len(self._threads) > 2 * len(self._scheduler.actors):
            self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _live(self, actor: Actor, target: Callable[[], None]) -> None:
        """Be the thread of an actor: from its first turn to its last."""
        actor.baton.acquire()
        scheduler = self._scheduler
        try:
            if not scheduler.is_over:
                with self.scope() if self.scope is not None else contextlib.nullcontext():
                    target()
        except BaseException as error:
            actor.error = error
        finally:
            del target  # what it closed over is finalized here, while the actor has its turn
            with contextlib.suppress(ActorExit):
                scheduler.finish(actor)

    def _adopt(self, thread: threading.Thread) -> None:
        """Make an actor of a thread that an actor is about to start, and start it."""
        run = thread.run
        label = getattr(getattr(thread, "_target", None), "__name__", type(thread).__name__)
        scheduler = self._scheduler
        actor = scheduler.add(label)  # not by the thread's name, which counts all threads of the process
        task = VirtualTask(scheduler, actor)

        def join(timeout: float | None = None) -> None:
            if get_ident() == scheduler.running.ident and not scheduler.is_over:
                task.join(timeout)
            else:
                threading.Thread.join(thread, timeout)

        thread.run = lambda: self._live(actor, run)  # type: ignore[method-assign]
        thread.join = join  # type: ignore[method-assign]
        thread.is_alive = lambda: not actor.is_done  # type: ignore[method-assign]
        thread.daemon = True  # one that refuses to end must not keep the process
        try:
            _real_start(thread)
        except BaseException:
            scheduler.end(actor)
            raise
        self._took_place(actor, thread)
        scheduler.make_ready(actor)
        if self._watchdog is None and self._stall_after is not None:
            self._watch(self._stall_after)
        scheduler.preempt()

    # --- Ctrl-C ------------------------------------------------------------------------------------------------------

    def _interrupted(self, handle: Callable[[], object], frame: FrameType | None) -> None:
        """Decide when Ctrl-C is raised: never inside the engine, whose state must stay whole.

        Runs in the creating thread, if that is the process's main one. The first is raised when that thread has its
        turn, which it gets at the next hand-over. If another comes before that, since the running actor computes or
        blocks for real, the main thread leaves the simulation behind.
        """
        scheduler = self._scheduler
        if get_ident() != scheduler.main.ident or not _in_engine(frame):
            handle()
            return
        if scheduler.summons.is_interrupted and scheduler.running is not scheduler.main:
            handle()  # what this raises leaves the rest in which the main thread is, see Scheduler.park
            return
        try:
            handle()
        except BaseException as error:
            scheduler.summon(error.with_traceback(None))

    # --- the watchdog ------------------------------------------------------------------------------------------------

    def _watch(self, limit: float) -> None:
        self._watchdog = threading.Thread(target=self._observe, args=(limit,), name="simulation watchdog", daemon=True)
        _real_start(self._watchdog)

    def _observe(self, limit: float) -> None:
        """Look at the world now and then, until it is closed or an actor blocks for real."""
        scheduler, detector = self._scheduler, StallDetector(limit)
        while not self._close_watchdog.wait(limit / 8):
            turns, running = scheduler.turns, scheduler.running
            processor, is_runnable = processor_use(getattr(running.thread, "native_id", None))
            seen = Observation(
                time=time.monotonic(),
                progress=turns,
                processor=processor,
                is_outside=running is scheduler.main,
                is_runnable=is_runnable,
            )
            if not detector.observe(seen):
                continue
            frame = diagnosis.frame_of(running)
            line, report = diagnosis.line_of(frame), self.report()
            del frame
            error = WorldStalled(
                f"actor {running.label!r} blocks for real, for {limit:g} s, and holds everyone up: {line}; {report}"
            )
            # One step, if the actor has not moved on: see the docstring of scheduler.py.
            if scheduler.turns == turns and scheduler.running is running and not scheduler.is_over:
                running.is_lost = True
                scheduler.over = error
                scheduler.is_over = scheduler.urgent = True
                scheduler.running = scheduler.main
                scheduler.main.baton.release()
                return

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor where it is blocked, so that its ``finally`` blocks run, and give the process back.

        Closing again does nothing.

        Raises:
            ActorFailed: If an actor had failed and nobody had been told; everything is closed.
            ActorsRefuse: If actors did not end; their threads go on as daemons.
        """
        problems = self._close()
        if problems:
            raise problems[0]

    def _close(self) -> list[BaseException]:
        global _open
        if not self.is_open:
            return []
        scheduler = self._scheduler
        if get_ident() != scheduler.main.ident or scheduler.in_callback:
            raise BlockingRefused(f"only the thread that made a simulation closes it: {diagnosis.caller()}")
        self.is_open = False
        self._close_watchdog.set()
        if not scheduler.is_over:
            scheduler.over = SimulationClosed("the simulation is over")
        scheduler.is_over = scheduler.urgent = True
        refusing = [actor for actor in list(scheduler.actors.values()) if not self._end(actor)]
        scheduler.running = scheduler.main
        for thread in [*self._threads, self._watchdog]:
            if thread is not None and all(actor.thread is not thread for actor in refusing):
                threading.Thread.join(thread, self._grace)
        if threading.Thread.start is _start_or_adopt:
            threading.Thread.start = _real_start  # type: ignore[method-assign]
        for hold in reversed(self._process):
            hold.undo()
        _open = None
        problems = scheduler.summons.take_rest()
        if refusing:
            names = tuple(actor.label for actor in refusing)
            text = f"{len(names)} of the actors did not end; {diagnosis.report(refusing, self.kernel.now)}"
            problems.append(ActorsRefuse(text, actors=names))
        return problems

    @property
    def _grace(self) -> float:
        """How long to wait for one thread to end, in real seconds."""
        return 5.0 if self._stall_after is None else self._stall_after

    def _end(self, actor: Actor) -> bool:
        """End one actor; return whether it did."""
        if actor is self._scheduler.main:
            return True
        thread = actor.thread
        if not isinstance(thread, threading.Thread):
            actor.target = None
            self._scheduler.end(actor)
            return True
        if not actor.is_lost:
            self._scheduler.running = actor
            actor.baton.release()
        deadline = time.monotonic() + (0.1 if actor.is_lost else self._grace)
        while not actor.refuses and time.monotonic() < deadline:
            threading.Thread.join(thread, 0.05)
            if not threading.Thread.is_alive(thread):
                return True
        actor.is_lost = True
        return False

    def __enter__(self) -> VirtualRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        problems = self._close()
        if not problems:
            return
        if error is None:
            raise problems[0]
        for problem in problems:  # an error is on its way already, and must not be hidden by what may follow from it
            if problem.__cause__ is not error and not isinstance(error, ActorFailed):
                warnings.warn(f"{type(problem).__name__}: {problem}", RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__} seed {self.seeds.seed!r}, {state}, at {self.kernel.now / SECOND:.9f} s>"


def _start_or_adopt(thread: threading.Thread) -> None:
    """Stand in for ``threading.Thread.start`` while a simulation is open: threads that actors start are actors."""
    runtime = _open
    if runtime is None or runtime._scheduler.running.ident != get_ident() or runtime._scheduler.is_over:
        _real_start(thread)
        return
    owners = (type(thread).__module__, getattr(getattr(thread, "_target", None), "__module__", None) or "")
    if any(owner.split(".")[0] in OUTSIDE for owner in owners):
        _real_start(thread)
        return
    runtime._adopt(thread)


def _in_engine(frame: FrameType | None) -> bool:
    """Return whether an interrupted stack has a frame in which the engine's state may be torn."""
    while frame is not None:
        if diagnosis.is_engine(frame) and frame.f_code.co_name not in _WHOLE:
            return True
        frame = frame.f_back
    return False


_WHOLE = {"wait_for", "run", "join"}
"""Functions of the engine that only call others: to interrupt them between two calls tears nothing."""
