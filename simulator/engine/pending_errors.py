"""Errors that the main thread is to raise: failures of actors, deadlocks, Ctrl-C; in the order in which they came."""

from __future__ import annotations

from collections import deque

from meshsync.reasons import describe_error
from simulator.engine.actors import Actor
from simulator.errors import ActorExit, ActorFailed, InvariantError, ReceiverFailed

__all__ = ["PendingErrors"]

__engine__ = True


class PendingErrors:
    """Errors that the main thread has yet to raise, and failed actors whose error no program has read."""

    def __init__(self) -> None:
        self._errors: deque[BaseException | None] = deque()  # None stands for the failure of an actor
        self._failed: list[Actor] = []
        self._receiver: ReceiverFailed | None = None
        self.exits: list[ActorExit] = []
        """Of the actors that the end of the simulation ended: the tracebacks tell where each was."""

    def __bool__(self) -> bool:
        """Return whether the main thread's wait is to be interrupted."""
        return bool(self._errors)

    @property
    def has_failures(self) -> bool:
        """Whether an actor's failure is left that was not read."""
        return bool(self._failed)

    @property
    def is_interrupted(self) -> bool:
        """Whether a Ctrl-C is pending."""
        return any(map(_ends_all, self._errors))

    def add(self, error: BaseException) -> None:
        """Have the main thread raise ``error``. A signal's handler may call this at any time."""
        self._errors.append(error)

    def add_failure(self, actor: Actor, *, has_joiner: bool) -> bool:
        """Keep the failure of an actor; return whether the main thread's wait is to be interrupted for it.

        Args:
            has_joiner: Whether another actor joins this one and may read its error first. If none does, the main thread
                raises it when it blocks the next time, or closes the simulation.
        """
        if isinstance(actor.error, ActorExit):
            self.exits.append(actor.error)
            return False
        if actor.error is None or actor.is_forgiven or isinstance(actor.error, SystemExit):
            return False
        self._failed.append(actor)
        if not has_joiner:
            self._errors.append(None)
        return not has_joiner

    def add_receiver(self, failed: ReceiverFailed) -> None:
        """Keep the failure of a receiver, to be raised at the end; of further ones only how many there are."""
        if self._receiver is None:
            self._receiver = failed
        else:
            self._receiver.count += 1

    def forgive(self, actor: Actor) -> None:
        """Record that a program has read the error of an actor."""
        actor.is_forgiven = True
        if actor in self._failed:
            self._failed.remove(actor)

    def pop(self) -> BaseException | None:
        """Return the error to be raised first, removed; None if none is left."""
        while self._errors:
            error = self._errors.popleft()
            if error is None and self._failed:
                error = self.pop_failure()
            if error is not None:
                return error
        return None

    def pop_failure(self) -> ActorFailed:
        """Return the first failure that was not read, removed."""
        actor = self._failed.pop(0)
        error = actor.error
        failed = ActorFailed(f"actor {actor.label!r} failed: {describe_error(error, None)}", actor=actor.label)
        failed.__cause__ = error
        return failed

    def pop_receiver(self) -> ReceiverFailed | None:
        """Return the first failure of a receiver, removed, with how many there were; None if there was none."""
        failed, self._receiver = self._receiver, None
        return failed

    def pop_rest(self) -> list[BaseException]:
        """Return the errors left at the end of a simulation: Ctrl-C, violations, failures of actors and receivers."""
        rest: list[BaseException] = [
            error for error in self._errors if error and (isinstance(error, InvariantError) or _ends_all(error))
        ]
        self._errors.clear()
        while self._failed:
            rest.append(self.pop_failure())
        if (failed := self.pop_receiver()) is not None:
            rest.append(failed)
        return rest


def _ends_all(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, Exception)
