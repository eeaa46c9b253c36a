"""The thread that detects an actor which blocks for real, and holds up all the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import FrameType

from meshsync.runtime.threads import ThreadRuntime
from simulator.engine import diagnosis
from simulator.engine.actor_threads import start_for_real
from simulator.engine.actors import Actor, ActorState
from simulator.engine.marks import may_cut
from simulator.engine.os_process import processor_use
from simulator.engine.scheduler import Scheduler
from simulator.engine.stalls import BusyDetector, Observation, StallDetector
from simulator.errors import WorldStalled

__all__ = ["Watchdog"]

__engine__ = True

_DONE, _LOST = ActorState.DONE, ActorState.LOST

_log = logging.getLogger("simulator")

_LONG = 6
"""Times the limit for which an actor may compute before the log names it. Nothing else happens to it."""

_DEBUGGERS = ("_pydevd_bundle", "bdb", "code", "debugpy", "pdb")


class Watchdog:
    """Observes a simulation 8 times per ``limit``, until it is stopped or an actor has blocked for too long.

    Args:
        limit: Real seconds for which an actor may block outside the simulation.
        report: Returns what each actor waits for.
        strike: Raises an error in the creating thread, whatever it waits for; returns whether it can.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        limit: float,
        report: Callable[[], str],
        strike: Callable[[BaseException], bool],
    ) -> None:
        self._scheduler = scheduler
        self._limit = limit
        self._report = report
        self._strike = strike
        self._main_native_id = threading.get_native_id()
        self.watches_main = False
        """Whether the creating thread is in the program, where it may no more block for real than any other actor."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to observe; again does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._observe, name="simulation watchdog", daemon=True)
            start_for_real(self._thread)

    def stop(self) -> None:
        """Stop observing."""
        self._stopped.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most ``timeout`` real seconds."""
        if self._thread is not None:
            threading.Thread.join(self._thread, timeout)

    def _observe(self) -> None:
        stalls, busy = StallDetector(self._limit), BusyDetector(_LONG * self._limit)
        while not self._stopped.wait(self._limit / 8):
            running = self._scheduler.running
            seen = self._look(running)
            if busy.observe(seen):
                line = diagnosis.line_of(diagnosis.frame_of(running))
                text = "actor %r has computed for more than %g s, while all others wait: %s"
                _log.warning(text, running.label, _LONG * self._limit, line)
            if stalls.observe(seen) and self._end(running, seen.progress):
                return

    def _look(self, running: Actor) -> Observation:
        """Return the state of the simulation at this moment, in which one actor runs."""
        scheduler = self._scheduler
        turns, is_main = scheduler.turns, running is scheduler.main
        native_id = self._main_native_id if is_main else getattr(running.thread, "native_id", None)
        processor, is_runnable = processor_use(native_id)
        return Observation(
            time=ThreadRuntime.monotonic(),
            progress=turns,
            processor=processor,
            is_outside=is_main and not (self.watches_main and _is_in_program(diagnosis.frame_of(running))),
            is_runnable=is_runnable,
        )

    def _end(self, running: Actor, turns: int) -> bool:
        """End a simulation that one actor holds up; return whether there is nothing left to observe."""
        scheduler = self._scheduler
        frame = diagnosis.frame_of(running)
        line, report = diagnosis.line_of(frame), self._report()
        del frame
        who = "the thread that made the simulation" if running is scheduler.main else f"actor {running.label!r}"
        error = WorldStalled(
            f"{who} blocks for real, for {self._limit:g} s, and holds up all others: {line}; what takes virtual time "
            f"is in docs/virtual-time.md; {report}"
        )
        if running is scheduler.main:
            # Its waiting is cut. It may wait again on its way out, as for a pool of threads, and is struck again then.
            if scheduler.turns == turns and scheduler.running is running:
                if not scheduler.is_over:
                    scheduler.over = error
                    scheduler.is_over = scheduler.urgent = True
                if not self._strike(error):
                    _log.error("%s", error)
                    return True
            return False
        # One step, if the actor has not moved on: see the docstring of scheduler.py. So the table is not used.
        if scheduler.turns == turns and scheduler.running is running and not scheduler.is_over:
            if running.state is not _DONE:
                running.state = _LOST
            scheduler.over = error
            scheduler.is_over = scheduler.urgent = True
            scheduler.in_callback = False  # It may block in a predicate, or a timer's callback.
            scheduler.running = scheduler.main
            scheduler.main.baton.release()
            return True
        return False


def _is_in_program(frame: FrameType | None) -> bool:
    """Return whether a thread is in the program: neither in the engine, nor in a debugger, where a person may think."""
    if not may_cut(frame):
        return False
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _DEBUGGERS:
            return False
        frame = frame.f_back
    return True
