"""`Event` and `Barrier` of any world: tasks that wait for what others do."""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError

from meshsync.runtime.interfaces import Runtime
from meshsync.waiting.binding import Portable, limit_of
from meshsync.waiting.gathering import Gathering

__all__ = ["Barrier", "Event"]


class Flag:
    """An event in one world."""

    __slots__ = ("_gathering", "is_set", "times")

    def __init__(self, runtime: Runtime, what: str) -> None:
        self._gathering = Gathering(runtime, f"waits for {what} to be set")
        self.is_set: bool = False
        self.times: int = 0
        """How often it was set, so that one who waits notices a set that was cleared at once."""

    def set(self) -> None:
        """Set it, and wake all."""
        with self._gathering.condition:
            self._gathering.condition.notify_all()  # First: behind it Ctrl-C may strike, and then it is not set.
            self.is_set = True
            self.times += 1

    def clear(self) -> None:
        """Set it back."""
        with self._gathering.condition:
            self.is_set = False

    def wait(self, limit: float | None) -> bool:
        """Return whether it was set at once or within ``limit`` seconds."""
        with self._gathering.condition:
            times = self.times
            return self._gathering.wait_for(lambda: self.is_set or self.times != times, limit)

    def renew(self) -> None:
        """Be usable in a child process, as set as it was."""
        self._gathering.renew()

    def __repr__(self) -> str:
        return "set" if self.is_set else "unset"


class Event(Portable[Flag]):
    """As `threading.Event`, in whichever world it is used; it begins unset in each."""

    def __init__(self) -> None:
        super().__init__(Flag)

    def is_set(self) -> bool:
        """Return whether it is set in the caller's world."""
        return self._state().is_set

    def set(self) -> None:
        """Set it, and wake all who wait for it."""
        self._state().set()

    def clear(self) -> None:
        """Set it back."""
        self._state().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return false if ``timeout`` seconds passed first.

        Args:
            timeout: The longest wait in seconds; None for ever.
        Raises:
            TypeError: If that is no number; `ValueError` if it is NaN.
        """
        return self._state().wait(limit_of(timeout))


class Round:
    """Those who pass a barrier together."""

    __slots__ = ("arrived", "is_broken", "is_open")

    def __init__(self) -> None:
        self.arrived: int = 0
        self.is_open: bool = False
        self.is_broken: bool = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.is_open or self.is_broken

    def withdraw(self) -> None:
        """Count one who waited out, who was ended by force."""
        self.arrived -= 1


class Crossing:
    """A barrier in one world."""

    __slots__ = ("_gathering", "_leaving", "_parties", "is_broken", "round")

    def __init__(self, runtime: Runtime, what: str, parties: int) -> None:
        self._gathering = Gathering(runtime, f"waits for all {parties} at {what}")
        self._parties = parties
        self.round: Round = Round()
        """The one that gathers."""
        self._leaving: Round | None = None
        """The one that is whole, and whose action runs."""
        self.is_broken: bool = False

    def wait(self, action: Callable[[], object] | None, limit: float | None) -> int:
        """Wait for the others, at most ``limit`` seconds; return how many were there before.

        Raises:
            BrokenBarrierError: If it is or becomes broken.
        """
        mine: Round | None = None
        try:
            with self._gathering.condition:
                if self.is_broken:
                    raise BrokenBarrierError
                mine = self.round
                index = mine.arrived
                mine.arrived += 1
                is_last = mine.arrived == self._parties
                if is_last:
                    self.round, self._leaving = Round(), mine
            if is_last:
                if action is not None:
                    action()
                self._open(mine)
            else:
                self._await(mine, limit)
        except BaseException:
            # The others would wait for one who comes no more, or pass without the action.
            if mine is not None and not mine.is_over:
                self.abort()
            raise
        if mine.is_broken:
            raise BrokenBarrierError
        return index

    def _open(self, mine: Round) -> None:
        with self._gathering.condition:
            self._gathering.condition.notify_all()
            mine.is_open = not mine.is_broken
            if self._leaving is mine:
                self._leaving = None

    def _await(self, mine: Round, limit: float | None) -> None:
        with self._gathering.condition:
            if not self._gathering.wait_for(lambda: mine.is_over, limit, mine.withdraw):
                raise BrokenBarrierError

    def abort(self) -> None:
        """Break it, until it is reset; those who wait get an error."""
        with self._gathering.condition:
            self.is_broken = True
            self._break()

    def reset(self) -> None:
        """Make it whole; those who wait get an error."""
        with self._gathering.condition:
            self.is_broken = False
            self._break()

    def _break(self) -> None:
        self.round.is_broken = self.round.arrived > 0
        if self._leaving is not None:
            self._leaving.is_broken = True
        self.round, self._leaving = Round(), None
        self._gathering.condition.notify_all()

    def renew(self) -> None:
        """Be usable in a child process, where no task waits."""
        self.round, self._leaving = Round(), None
        self._gathering.renew()

    def __repr__(self) -> str:
        return "broken" if self.is_broken else f"{self.round.arrived} of {self._parties} wait"


class Barrier(Portable[Crossing]):
    """As `threading.Barrier`, in whichever world it is used.

    Args:
        parties: How many tasks pass it together.
        action: Called by the last one that comes, before any of them goes on; it may block. If it raises, the
            barrier is broken.
        timeout: The longest wait in seconds, for calls without one; None for ever.
    Raises:
        ValueError: If ``parties`` is below 1.
    """

    def __init__(self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        limit_of(timeout)
        super().__init__(lambda runtime, what: Crossing(runtime, what, parties))
        self._action = action
        self._timeout = timeout
        self._parties = parties

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all are here; return how many were here before, so that one of them may do what one has to.

        Args:
            timeout: The longest wait in seconds; None for the barrier's own. If it is over, the barrier is broken.
        Raises:
            BrokenBarrierError: If the barrier is broken, or was reset meanwhile; the one of `threading`.
        """
        return self._state().wait(self._action, limit_of(self._timeout if timeout is None else timeout))

    def reset(self) -> None:
        """Begin anew; who waits gets `BrokenBarrierError`."""
        self._state().reset()

    def abort(self) -> None:
        """Break it; who waits, and who comes until it is reset, gets `BrokenBarrierError`."""
        self._state().abort()

    @property
    def parties(self) -> int:
        """How many tasks pass it together."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many tasks wait at present."""
        return self._state().round.arrived

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._state().is_broken
