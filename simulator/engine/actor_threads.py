"""The threads that actors live in: those of spawned tasks, and those that the program starts by itself."""

from __future__ import annotations

import contextlib
import threading
from _thread import get_ident
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from meshsync.runtime.threads import ThreadRuntime
from simulator.engine.actors import Actor, ActorState
from simulator.engine.lives import refuse_doomed
from simulator.engine.marks import interruptible
from simulator.engine.real_waits import check_timer
from simulator.engine.scheduler import Scheduler
from simulator.engine.tasks import VirtualTask
from simulator.errors import ActorExit

__all__ = ["ActorThreads", "Adoption", "start_for_real"]

__engine__ = True

STACK = 8 << 20
"""Bytes of stack for each actor, as many as the main thread has on Linux. With less, a recursion that ends elsewhere
with ``RecursionError`` ends the process: 3.13 lets more calls nest in C. What is not used takes addresses alone."""
OUTSIDE = ("IPython", "_pydevd_bundle", "debugpy", "execnet", "ipykernel", "pytest_timeout", "tqdm", "xdist", "zmq")
"""Packages whose threads serve the person at the screen, and are no actors even if an actor starts them."""

start_for_real: Final = threading.Thread.start
"""Starts a thread that is no actor."""


class ActorThreads:
    """The threads of a simulation's actors.

    Args:
        scope: Makes a context that each actor runs in.
        grace: Real seconds to wait for the end of one thread.
    """

    def __init__(
        self, scheduler: Scheduler, scope: Callable[[], AbstractContextManager[object]] | None, grace: float
    ) -> None:
        self._scheduler = scheduler
        self._scope = scope
        self._grace = grace
        self._threads: list[threading.Thread] = []

    def begin(self, actor: Actor) -> None:
        """Make the thread of an actor; it rests until the caller releases its baton.

        Raises:
            RuntimeError: If the interpreter starts no more threads.
        """
        target, actor.target = actor.target, None
        assert target is not None
        thread = threading.Thread(target=self._live, args=(actor, target), name=actor.label, daemon=True)
        del target
        before = threading.stack_size(STACK)
        try:
            start_for_real(thread)
        finally:
            threading.stack_size(before)
        self._register(actor, thread)

    def adopt(self, thread: threading.Thread) -> None:
        """Make an actor of a thread that an actor is about to start, and start it.

        Raises:
            RuntimeError: If the interpreter starts no more threads; the actor is dropped.
        """
        run = thread.run
        label = getattr(getattr(thread, "_target", None), "__name__", type(thread).__name__)
        scheduler = self._scheduler
        actor = scheduler.add(label)  # not by the thread's name, which counts all threads of the process
        task = VirtualTask(scheduler, actor)

        @interruptible
        def join(timeout: float | None = None) -> None:
            if get_ident() == scheduler.running.ident and not scheduler.is_over:
                task.join(None if timeout is None else max(0, timeout))  # as threads do
            else:
                refuse_doomed(scheduler)
                threading.Thread.join(thread, timeout)

        thread.run = lambda: self._live(actor, run)  # type: ignore[method-assign]
        thread.join = join  # type: ignore[method-assign]
        thread.is_alive = lambda: not actor.is_done  # type: ignore[method-assign]
        thread.daemon = True  # a thread that refuses to end must not keep the process
        try:
            start_for_real(thread)
        except BaseException:
            scheduler.end(actor)
            raise
        self._register(actor, thread)
        scheduler.make_ready(actor)

    def end(self, actor: Actor) -> bool:
        """Release the baton of an actor whose simulation is over, so that it ends; return whether its thread did."""
        thread = actor.thread
        if not isinstance(thread, threading.Thread):
            actor.target = None
            self._scheduler.end(actor)
            return True
        grace = self._grace
        if actor.state is ActorState.LOST:
            grace = 0.1
        else:
            self._scheduler.running = actor
            actor.baton.release()
        deadline = ThreadRuntime.monotonic() + grace
        while actor.state is not ActorState.RESTING and ThreadRuntime.monotonic() < deadline:
            threading.Thread.join(thread, 0.05)
            if not threading.Thread.is_alive(thread):
                return True
        actor.lose()
        return False

    def join(self, *, but: list[Actor]) -> None:
        """Wait for the ends of all threads that are left, except those of ``but``."""
        for thread in self._threads:
            if all(actor.thread is not thread for actor in but):
                threading.Thread.join(thread, self._grace)

    def _register(self, actor: Actor, thread: threading.Thread) -> None:
        actor.thread = thread
        actor.ident = thread.ident
        actor.begin()
        self._threads.append(thread)
        if len(self._threads) > 64 and len(self._threads) > 2 * len(self._scheduler.actors):
            self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _live(self, actor: Actor, target: Callable[[], None]) -> None:
        """Be the thread of an actor: from its first turn to its last."""
        actor.baton.acquire()
        scheduler = self._scheduler
        # To the last turn, and not for the target alone: timers' callbacks run on the thread that hands over.
        with self._scope() if self._scope is not None else contextlib.nullcontext():
            try:
                if not scheduler.is_over and not actor.is_doomed:
                    if scheduler.gate is not None:
                        scheduler.gate(actor)
                    target()
            except BaseException as error:
                if not actor.is_doomed:  # Its traceback would keep what the life held.
                    actor.error = error
            finally:
                del target  # the objects it closed over are finalized here, while the actor has its turn
                with contextlib.suppress(ActorExit):
                    scheduler.finish(actor)


class Adoption:
    """Makes actors of the threads that actors start by ``threading.Thread.start``, while a simulation is open.

    Args:
        adopt: Makes an actor of a thread, and starts it.
    """

    def __init__(self, scheduler: Scheduler, adopt: Callable[[threading.Thread], None]) -> None:
        self._scheduler = scheduler
        self._adopt = adopt

    def apply(self) -> None:
        """Replace ``threading.Thread.start``."""
        global _adoption
        _adoption = self
        threading.Thread.start = _start  # type: ignore[method-assign, assignment]

    def undo(self) -> None:
        """Restore it, unless another function has been put there meanwhile."""
        global _adoption
        _adoption = None
        if threading.Thread.start is _start:
            threading.Thread.start = start_for_real  # type: ignore[method-assign]

    def start(self, thread: threading.Thread) -> None:
        """Start a thread; an actor's thread becomes an actor, unless it serves the person at the screen."""
        if self._scheduler.running.ident != get_ident() or self._scheduler.is_over:
            refuse_doomed(self._scheduler)
            start_for_real(thread)
            return
        functions = [getattr(thread, name, None) for name in ("_target", "function")]  # The latter is a timer's.
        owners = (type(thread).__module__, *(getattr(function, "__module__", None) or "" for function in functions))
        if any(owner.split(".")[0] in OUTSIDE for owner in owners):
            start_for_real(thread)
            return
        check_timer(thread)
        self._adopt(thread)


_adoption: Adoption | None = None


def _start(thread: threading.Thread) -> None:
    """Be ``threading.Thread.start`` while a simulation is open."""
    if _adoption is None:
        start_for_real(thread)
    else:
        _adoption.start(thread)
