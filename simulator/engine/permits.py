"""Permits of the virtual clock, which locks are made of; and who has them, for reports and actors that are ended."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from meshsync.runtime.holdings import Held
from simulator.engine import diagnosis
from simulator.engine.conditions import VirtualCondition, new_condition
from simulator.engine.scheduler import Scheduler

__all__ = ["VirtualPermits", "VirtualReentrant"]

__engine__ = True


class VirtualPermits:
    """So many permits for the actors of a simulation.

    Its condition is left before any call of the program's, and held for no wait but its own.
    """

    __slots__ = ("_condition", "_holders", "_scheduler", "_what", "free")

    def __init__(self, scheduler: Scheduler, count: int, what: str) -> None:
        self._scheduler = scheduler
        self._condition: VirtualCondition = new_condition(scheduler)
        self._what = what
        self.free: int = count
        self._holders: dict[Held, Hashable] = {}
        """What is taken and by whom, the first one first."""

    def is_mine(self) -> bool:
        """Return false: an actor that has one waits for another like all others."""
        return False

    def take(self, taken: list[Any], timeout: float | None) -> None:
        """Take one, waiting at most ``timeout`` virtual seconds, and add an item to ``taken``."""
        with self._condition:
            if self.free > 0 or self._condition.wait_for(lambda: self.free > 0, timeout):
                self.free -= 1
                taken.append(None)
                self._note(self._caller())

    def give(self) -> None:
        """Give one back: the calling actor's, or else that which was taken first."""
        with self._condition:
            self._give(self._caller())

    def leave(self, *details: object) -> None:
        """Give one back, as an ``__exit__``."""
        self.give()

    def _caller(self) -> Hashable:
        """Return the number of the actor that calls, as `VirtualRuntime.current` does."""
        return -1 if self._scheduler.in_callback else self._scheduler.running.serial

    def _give(self, task: Hashable) -> None:
        self.free += 1
        held = next((one for one, holder in reversed(self._holders.items()) if holder == task), None)
        if held is None:
            held = next(iter(self._holders), None)
        if held is not None:
            self._forget(held)
        self._condition.notify_all()

    def _note(self, task: Hashable) -> None:
        held = Held(self._what, diagnosis.caller(), lambda: self._revoke(held))
        self._holders[held] = task
        self._scheduler.holdings.took(task, held)

    def _forget(self, held: Held) -> None:
        self._scheduler.holdings.gave(self._holders.pop(held), held)

    def _revoke(self, held: Held) -> None:
        """Give back what a task held that has ended; does nothing if that was given back."""
        with self._condition:
            if held in self._holders:
                self._forget(held)
                self.free += 1
                self._condition.notify_all()

    def __repr__(self) -> str:
        """Return who has them, as the end of a sentence."""
        describe = self._scheduler.holdings.describe
        return "".join(f", held by {describe(task)} since {held.since}" for held, task in self._holders.items())


class VirtualReentrant(VirtualPermits):
    """One permit that the actor which has it may take again, and gives back as often."""

    __slots__ = ("_depth",)

    def __init__(self, scheduler: Scheduler, what: str) -> None:
        super().__init__(scheduler, 1, what)
        self._depth = 0

    def is_mine(self) -> bool:
        """Return whether the calling actor has it."""
        return self._caller() in self._holders.values()

    def take(self, taken: list[Any], timeout: float | None) -> None:
        """Take it, waiting at most ``timeout`` virtual seconds, and add an item to ``taken``."""
        if self.is_mine():
            self._depth += 1
            taken.append(None)
        else:
            super().take(taken, timeout)

    def give(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: If the calling actor does not have it.
        """
        self._scheduler.check()
        if not self.is_mine():
            if self._scheduler.is_over:  # It was taken away from an actor that unwinds now.
                return
            raise RuntimeError("cannot release un-acquired lock")
        if self._depth:
            self._depth -= 1
        else:
            super().give()

    def _revoke(self, held: Held) -> None:
        self._depth = 0
        super()._revoke(held)
