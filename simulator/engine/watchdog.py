"""The thread that detects an actor which blocks for real, and holds up all the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from meshsync.runtime.threads import ThreadRuntime
from simulator.engine import diagnosis
from simulator.engine.actor_threads import start_for_real
from simulator.engine.actors import ActorState
from simulator.engine.os_process import processor_use
from simulator.engine.scheduler import Scheduler
from simulator.engine.stalls import Observation, StallDetector
from simulator.errors import WorldStalled

__all__ = ["Watchdog"]

__engine__ = True

_DONE, _LOST = ActorState.DONE, ActorState.LOST


class Watchdog:
    """Observes a simulation 8 times per ``limit``, until it is stopped or an actor has blocked for too long.

    Args:
        limit: Real seconds for which an actor may block outside the simulation.
        report: Returns what each actor waits for.
    """

    def __init__(self, scheduler: Scheduler, limit: float, report: Callable[[], str]) -> None:
        self._scheduler = scheduler
        self._limit = limit
        self._report = report
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
        scheduler, limit = self._scheduler, self._limit
        detector = StallDetector(limit)
        while not self._stopped.wait(limit / 8):
            turns, running = scheduler.turns, scheduler.running
            processor, is_runnable = processor_use(getattr(running.thread, "native_id", None))
            seen = Observation(
                time=ThreadRuntime.monotonic(),
                progress=turns,
                processor=processor,
                is_outside=running is scheduler.main,
                is_runnable=is_runnable,
            )
            if not detector.observe(seen):
                continue
            frame = diagnosis.frame_of(running)
            line, report = diagnosis.line_of(frame), self._report()
            del frame
            error = WorldStalled(
                f"actor {running.label!r} blocks for real, for {limit:g} s, and holds up all others: {line}; {report}"
            )
            # One step, if the actor has not moved on: see the docstring of scheduler.py. So the table is not used.
            if scheduler.turns == turns and scheduler.running is running and not scheduler.is_over:
                if running.state is not _DONE:
                    running.state = _LOST
                scheduler.over = error
                scheduler.is_over = scheduler.urgent = True
                scheduler.running = scheduler.main
                scheduler.main.baton.release()
                return
