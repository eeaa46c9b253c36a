"""The handle of an actor, as the program that spawned it sees it."""

from __future__ import annotations

from typing import ClassVar

from meshsync.errors import WouldDeadlock
from meshsync.hints import TASK, Hinted
from meshsync.runtime.deadlines import check_timeout
from simulator.engine.actors import Actor
from simulator.engine.conditions import new_condition
from simulator.engine.marks import interruptible
from simulator.engine.scheduler import Scheduler

__all__ = ["VirtualTask"]

__engine__ = True


class VirtualTask(Hinted):
    """An actor, to be joined and asked how it ended."""

    __slots__ = ("_ended", "_scheduler", "actor")
    _spellings: ClassVar[dict[str, str]] = TASK

    def __init__(self, scheduler: Scheduler, actor: Actor) -> None:
        self._scheduler = scheduler
        self.actor: Actor = actor
        self._ended = new_condition(scheduler)
        actor.at_end = self._announce

    @property
    def name(self) -> str:
        return self.actor.name

    @property
    def is_done(self) -> bool:
        return self.actor.is_done

    @property
    def error(self) -> BaseException | None:
        """The target's exception; None while it runs or after it returned. `ActorExit` if the simulation ended first.

        A failure that was read here is not raised in the main thread.
        """
        if self.actor.error is not None:
            self._scheduler.pending_errors.forgive(self.actor)
        return self.actor.error

    @interruptible
    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` virtual seconds; return whether it came. Does not raise ``error``.

        Raises:
            WouldDeadlock: If an actor joins itself.
            BlockingRefused: If the caller holds a condition, or is a timer's callback.
            TypeError: If ``timeout`` is no number of seconds; `ValueError` if it is negative or NaN.
        """
        timeout = check_timeout(timeout)
        actor = self.actor
        joiner = self._scheduler.check()
        if self._scheduler.in_callback:
            self._scheduler.refuse_blocking(joiner, "join()")
        if joiner is actor:
            raise WouldDeadlock(f"task {actor.name!r} joins itself")
        if actor.is_done:
            return True
        joiner.joining = actor
        try:
            with self._ended as ended:
                return ended.wait_for(lambda: actor.is_done, timeout)
        finally:
            joiner.joining = None

    def _announce(self) -> bool:
        with self._ended as ended:
            has_joiner = ended.has_waiters
            ended.notify_all()
        return has_joiner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {'done' if self.is_done else 'running'}>"
