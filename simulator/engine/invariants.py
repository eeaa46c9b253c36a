"""What a program claims to hold throughout a run, and who broke it: predicates that are asked after every turn.

They are asked on the thread of the actor whose turn has just ended, or that found no other to run and took a timer.
Nothing of the run follows from them: they make no timer, take no turn and draw nothing, so that a run with them is the
run without, as long as the predicates only look.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path

from meshsync.errors import UsageError
from meshsync.reasons import describe_error
from meshsync.runtime.deadlines import check_duration
from simulator.engine import diagnosis
from simulator.engine.kernel import SECOND
from simulator.engine.marks import catching
from simulator.engine.scheduler import Scheduler
from simulator.errors import BlockingRefused, ConditionOccupied, InvariantError, InvariantViolated, PredicateFailed

__all__ = ["Claim", "Invariants"]

__engine__ = True


class Claim(Enum):
    """What is claimed of a predicate."""

    ALWAYS = "always"
    NEVER = "never"
    EVENTUALLY = "eventually"


_EVENTUALLY = Claim.EVENTUALLY
_POLLS = 1_000_000
"""How often predicates may enter conditions and read the clock after one turn, which the actor is not charged for."""


class _Invariant:
    """A predicate, and what is claimed of it."""

    __slots__ = ("ask", "claim", "deadline", "place", "text", "within")

    def __init__(
        self,
        claim: Claim,
        text: str,
        place: str,
        ask: Callable[[], object],
        within: float | None,
        deadline: int | None,
    ) -> None:
        self.claim = claim
        self.text = text
        """The claim, with the name of the predicate or its source line."""
        self.place = place
        """The file and the line of the predicate."""
        self.ask = ask
        self.within = within
        """Seconds within which it has to be true; None for until the end, and where it has to be always."""
        self.deadline = deadline
        """The end of these, in nanoseconds since the start."""


class Invariants:
    """The predicates of one run, until the first is violated.

    Args:
        subject: Given to predicates that take an argument.
    """

    def __init__(self, scheduler: Scheduler, subject: object) -> None:
        self._scheduler = scheduler
        self._subject = subject
        self._invariants: list[_Invariant] = []
        self.violation: InvariantError | None = None
        """The first violation, or failure of a predicate; nothing is asked after it."""

    def add(
        self, claim: Claim, predicate: Callable[..., object], name: str | None = None, within: float | None = None
    ) -> None:
        """Ask a predicate from the end of the present turn on.

        Raises:
            UsageError: If it is nothing that can be asked; it is not asked.
            TypeError: If ``within`` is no number; `ValueError` if it is negative, NaN or infinite.
        """
        takes_subject = _takes_argument(predicate)
        deadline = None
        if within is not None:
            within = check_duration(within, "within")
            if within == float("inf"):
                raise ValueError("within: a finite number of seconds, or None for until the end of the simulation")
            deadline = self._scheduler.kernel.instant(within)
        label, place = _name(predicate)
        ask = partial(predicate, self._subject) if takes_subject else predicate
        text = f"{claim.value} {name or label}"
        self._invariants.append(_Invariant(claim, text, place, ask, within, deadline))
        if self.violation is None:
            self._scheduler.after_turn = self._look

    def conclude(self) -> InvariantError | None:
        """Ask for the last time, in the main actor; return what was violated now, which is raised by no other."""
        if self.violation is None and not self._scheduler.is_over:
            violation = self._find(partial(_turn_of_actor, self._scheduler))
            if violation is None:
                violation = next((self._unfulfilled(one) for one in self._invariants if one.claim is _EVENTUALLY), None)
            self._stop(violation)
            return violation
        return None

    def _look(self, callback: Callable[[], object] | None) -> None:
        """Ask all predicates after a turn, of an actor, or of a timer with that callback."""
        scheduler = self._scheduler
        if scheduler.is_over:
            return
        ended = partial(_turn_of_actor, scheduler) if callback is None else partial(_turn_of_timer, callback)
        violation = self._find(ended)
        if violation is not None and not scheduler.is_over:  # It is over if a predicate has blocked for real.
            self._stop(violation)
            scheduler.summon(violation)

    def _stop(self, violation: InvariantError | None) -> None:
        self.violation = violation
        self._scheduler.after_turn = None

    def _find(self, ended: Callable[[], str]) -> InvariantError | None:
        """Return the first violation, if there is one; claims that are fulfilled are dropped."""
        scheduler = self._scheduler
        now, polls, was_in_callback = scheduler.kernel.now, scheduler.polls_left, scheduler.in_callback
        fulfilled: list[_Invariant] = []
        scheduler.polls_left = _POLLS
        scheduler.in_callback = True  # Refuses every call that would block, and lets no schedule preempt.
        try:
            return self._first_violation(now, ended, fulfilled)
        finally:
            scheduler.in_callback = was_in_callback
            scheduler.polls_left = polls
            if fulfilled:
                self._invariants = [one for one in self._invariants if one not in fulfilled]
                if not self._invariants:
                    scheduler.after_turn = None

    def _first_violation(
        self, now: int, ended: Callable[[], str], fulfilled: list[_Invariant]
    ) -> InvariantError | None:
        for one in self._invariants:
            if one.deadline is not None and now > one.deadline:
                return self._overdue(one, ended)
            value = _ask(self._scheduler, one, now, ended)
            if isinstance(value, InvariantError):
                return value
            if one.claim is _EVENTUALLY:
                if value:
                    fulfilled.append(one)
            elif value is not None and value is (one.claim is Claim.NEVER):
                return _violated(one, now, f"{'true' if value else 'false'} after {ended()}")
        return None

    def _overdue(self, one: _Invariant, ended: Callable[[], str]) -> InvariantViolated:
        assert one.deadline is not None
        text = f"still false when {one.within:g} s were over; the clock went on to {ended()}"
        return _violated(one, one.deadline, text, is_overdue=True)

    def _unfulfilled(self, one: _Invariant) -> InvariantViolated:
        limit = "" if one.within is None else f", before its {one.within:g} s were over"
        return _violated(one, self._scheduler.kernel.now, f"still false at the end of the simulation{limit}")


@catching
def _ask(scheduler: Scheduler, one: _Invariant, now: int, ended: Callable[[], str]) -> bool | PredicateFailed | None:
    """Return whether a predicate is true; None if it cannot be asked now, as an actor is in the midst of a change."""
    try:
        value = one.ask()
        if value is None or inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
            if inspect.iscoroutine(value):
                value.close()  # It warns if it was never awaited, which adds nothing.
            return _failed(one, now, f"returned {value!r:.100}, which is neither true nor false", ended, None)
        return bool(value)
    except ConditionOccupied:
        return None
    except BlockingRefused as error:
        return _failed(one, now, f"blocks, which a predicate must not: {error}", ended, error)
    except Exception as error:
        return _failed(one, now, f"raised {describe_error(error, None)}", ended, error)
    except BaseException as error:  # Ctrl-C
        scheduler.summon(error.with_traceback(None))
        return None


def _violated(one: _Invariant, when: int, how: str, *, is_overdue: bool = False) -> InvariantViolated:
    text = f"{one.text} ({one.place}) is violated at {when / SECOND:.9f} s: {how}"
    return InvariantViolated(text, invariant=one.text, place=one.place, time=when / SECOND, is_overdue=is_overdue)


def _failed(
    one: _Invariant, when: int, how: str, ended: Callable[[], str], error: BaseException | None
) -> PredicateFailed:
    text = f"the predicate of {one.text} ({one.place}) {how}; at {when / SECOND:.9f} s, after {ended()}"
    failed = PredicateFailed(text, invariant=one.text, place=one.place, time=when / SECOND)
    failed.__cause__ = error
    return failed


def _turn_of_actor(scheduler: Scheduler) -> str:
    """Return a text about the turn of an actor that has just ended: whose it was, and where that is."""
    actor = scheduler.running
    where = "which has ended" if actor.is_done else f"at {diagnosis.caller()}"
    return f"a turn of {actor.label!r}, {where}"


def _turn_of_timer(callback: Callable[[], object]) -> str:
    """Return a text about the turn of a timer: what it called, and on what."""
    function = callback.func if isinstance(callback, partial) else callback
    name = getattr(function, "__qualname__", type(function).__name__)
    owner = getattr(getattr(function, "__self__", None), "name", None)
    return f"a turn of the timer {name}{f' of {owner}' if isinstance(owner, str) else ''}"


def _takes_argument(predicate: Callable[..., object]) -> bool:
    """Return whether a predicate takes the simulation.

    Raises:
        UsageError: If it is no function that can be asked.
    """
    if not callable(predicate):
        raise UsageError(f"a predicate is a function, which is asked again and again, not {predicate!r:.100}")
    function = predicate.func if isinstance(predicate, partial) else predicate
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        function = getattr(function, "__call__", function)  # noqa: B004
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise UsageError(f"a predicate returns whether it holds: {_name(predicate)[0]} would return no such thing")
    try:
        parameters = inspect.signature(predicate).parameters.values()
    except ValueError:  # of a builtin
        return False
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if len(needed) > 1 or any(one.kind is one.KEYWORD_ONLY for one in needed):
        raise UsageError(f"a predicate takes no argument, or the simulation: {_name(predicate)[0]} takes others")
    return bool(needed)


def _name(predicate: Callable[..., object]) -> tuple[str, str]:
    """Return a predicate's name, of a lambda the source line instead, and its place."""
    function = predicate.func if isinstance(predicate, partial) else predicate
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        name = getattr(function, "__name__", None) or type(function).__name__
        return name, f"of {type(function).__name__}"
    name = function.__name__
    if name == "<lambda>":
        name = linecache.getline(code.co_filename, code.co_firstlineno).strip() or name
    return name, f"{Path(code.co_filename).name}:{code.co_firstlineno}"
