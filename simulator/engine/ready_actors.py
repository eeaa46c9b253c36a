"""The actors that can run, and which of them a schedule lets run next."""

from __future__ import annotations

from collections import deque

from simulator.engine.actors import Actor
from simulator.engine.kernel import Kernel
from simulator.engine.schedules import TIMER, Schedule

__all__ = ["ReadyActors"]

__engine__ = True


class ReadyActors:
    """Two queues: the actors that are ready, and those that are ready but were passed over."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.ready: deque[Actor] = deque()
        self.set_back: deque[Actor] = deque()
        """Actors that a schedule has passed over: ready too, but behind all other events of this instant."""

    def __bool__(self) -> bool:
        return bool(self.ready or self.set_back)

    def put_last(self, actor: Actor) -> None:
        """Put an actor behind all that can run."""
        # Behind those that were set back too: else it could poll for ever for an act of one of them.
        (self.set_back or self.ready).append(actor)

    def withdraw(self, actor: Actor) -> None:
        """Drop an actor, if it is there."""
        for queue in (self.ready, self.set_back):
            if actor in queue:
                queue.remove(actor)

    def pick(self, schedule: Schedule, running: Actor | None = None) -> Actor | None:
        """Return the actor that goes on, taken off its queue; None for the next timer, which is due.

        Args:
            schedule: Chooses among the candidates.
            running: The running actor, if it could go on.
        """
        ready, set_back = self.ready, self.set_back
        queue = [*([running] if running is not None else ()), *ready]
        candidates = [actor.path for actor in queue]
        has_timer = self._offers_timer() and not (running is not None and running.inside)
        if has_timer:
            candidates.append(TIMER)
        candidates += [actor.path for actor in set_back]
        index = schedule.choose(candidates, is_preemption=running is not None, set_back=len(set_back))
        if index == 0 and running is not None:
            return running
        chosen: Actor | None
        if index < len(queue):
            chosen = queue[index]
            ready.remove(chosen)
        elif has_timer and index == len(queue):
            chosen = None
        else:
            chosen = set_back[index - len(candidates)]
            set_back.remove(chosen)
        if running is not None:
            set_back.append(running)
        elif index <= len(queue):
            for _ in range(index):
                set_back.append(ready.popleft())
        return chosen

    def _offers_timer(self) -> bool:
        """Return whether the next timer may come before the ready actors: if it is due at this very instant.

        Not while one of them is inside a condition, since a timer's callback must find every condition free.
        """
        due = self._kernel.next_deadline
        if due is None or due > self._kernel.now:
            return False
        return not any(actor.inside for queue in (self.ready, self.set_back) for actor in queue)
