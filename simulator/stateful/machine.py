"""The machine that programs subclass, and the test that Hypothesis makes of it."""

from __future__ import annotations

import hashlib
import unittest
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as Settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import meshsync
from meshsync.errors import UsageError
from simulator.exploring.runs import Case, run
from simulator.faults import Fault
from simulator.faults.plans import Planned
from simulator.histories import History
from simulator.latency import Law, as_link_law
from simulator.simulation import Simulation
from simulator.stateful.members import Member
from simulator.stateful.performance import Performance
from simulator.stateful.report import Report
from simulator.stateful.rules import invariants_of, rules_of
from simulator.stateful.scripts import Bounds, Script, schedule_of, scripts

__all__ = ["ConcurrentMachine", "run_as_test"]


class _TestCaseOf:
    """Gives each class of machines its test."""

    def __get__(self, machine: object, kind: type[ConcurrentMachine]) -> type[MachineTest]:
        made = vars(kind).get("_test_case")
        if made is None:
            made = type(f"{kind.__name__}Test", (MachineTest,), {"machine": kind, "__module__": kind.__module__})
            made.__qualname__ = f"{kind.__qualname__}.TestCase"
            kind._test_case = made
        return cast("type[MachineTest]", made)


class ConcurrentMachine:
    """Rules that several participants run at once; subclass it, and assign its ``TestCase`` to a name of a test module.

    Hypothesis draws for each participant a sequence of operations and the pauses between them, and for the run who goes
    on among several and which steps are late. In each run there is a new machine, whose methods are called by all
    participants: what it keeps is known to all of them, and what is of one alone is kept in its `Member`, ``me``.

    Attributes:
        participants: The names of the participants.
        room_name: The room that they join.
        latency: The law of delays of every connection, or seconds.
        steps: The most operations of a participant.
        longest_pause: The longest pause before an operation, in virtual seconds.
        latest: The most that a step is late, in virtual seconds; 0 for never.
        horizon: Virtual seconds after which a run is stopped, which fails it; None for never.
        plan: Faults, whose times count from the first operation on; or a strategy of lists of them.
        count_overdue: Whether a run fails that has passed a time limit by lateness alone.
        stall_after: Real seconds for which a participant may block outside the simulation; None for ever.
        save: The directory in which a failing run leaves the transcripts of its rooms; None for none.
        sim: The simulation of this run.
        history: A `History` of this run, for operations that are held against a model.
    """

    participants: ClassVar[Sequence[str]] = ("ada", "bob")
    room_name: ClassVar[str] = "stage"
    latency: ClassVar[Law | float] = 0.01
    steps: ClassVar[int] = 8
    longest_pause: ClassVar[float] = 1.0
    latest: ClassVar[float] = 1.0
    horizon: ClassVar[float | None] = 3600.0
    plan: ClassVar[Sequence[Planned | Fault] | SearchStrategy[Any]] = ()
    count_overdue: ClassVar[bool] = False
    stall_after: ClassVar[float | None] = 5.0
    save: ClassVar[str | Path | None] = ".hypothesis"

    TestCase: ClassVar[_TestCaseOf] = _TestCaseOf()
    """A ``unittest.TestCase``, with ``settings`` of Hypothesis to set."""
    _test_case: ClassVar[type[MachineTest] | None] = None

    sim: Simulation
    history: History

    def setup(self) -> None:
        """Prepare the run, before any participant is there: rooms, servers, scripted participants."""

    def enter(self, me: Member) -> None:
        """Let a participant in, in its own actor. By default ``me.room`` is its client, with messaging enabled."""
        me.room = meshsync.connect(self.room_name, name=me.name)
        me.room.messaging.enable()

    def leave(self, me: Member) -> None:
        """Let a participant leave, in its own actor, when all are through and `check` has returned."""
        me.room.close()

    def check(self) -> None:
        """Raise if the run went wrong; called when all operations have ended, with all participants still there."""


class MachineTest(unittest.TestCase):
    """The test of a machine."""

    machine: ClassVar[type[ConcurrentMachine]]
    settings: ClassVar[Settings] = Settings(deadline=None, suppress_health_check=list(HealthCheck))

    def runTest(self) -> None:  # unittest's name
        """Run the machine until it fails, or there were examples enough."""
        run_as_test(self.machine, settings=self.settings)

    runTest.is_hypothesis_test = True  # type: ignore[attr-defined]  # to pytest's plugin of Hypothesis


def run_as_test(machine: type[ConcurrentMachine], *, settings: Settings | None = None) -> None:
    """Run a machine with script after script, and raise the failure of the smallest that fails.

    Args:
        settings: Of Hypothesis. There is no deadline, whatever they say: nothing here follows from real time.
    Raises:
        UsageError: If the class is no machine that can be run.
        Exception: That of the smallest script that fails; Hypothesis has printed the script.
    """
    given_class: object = machine
    if not isinstance(given_class, type) or not issubclass(given_class, ConcurrentMachine):
        raise UsageError(f"run_as_test() is for a subclass of ConcurrentMachine, not for {machine!r:.100}")
    given = settings or machine.TestCase.settings
    # Deadlines and slow data are about real time, which is that of a busy machine.
    health = [*given.suppress_health_check, HealthCheck.too_slow]
    # What explains an example says which lines of the engine ran.
    phases = [phase for phase in given.phases if phase is not Phase.explain]
    chosen = Settings(given, deadline=None, suppress_health_check=tuple(dict.fromkeys(health)), phases=phases)
    chosen(_test_of(machine))()


def _test_of(machine: type[ConcurrentMachine]) -> Callable[[], None]:
    """Return the function that Hypothesis runs."""
    names = tuple(machine.participants)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"{machine.__name__}.participants: names, each once, not {names!r:.100}")
    plan = machine.plan if isinstance(machine.plan, SearchStrategy) else st.just(tuple(machine.plan))
    bounds = Bounds(machine.steps, machine.longest_pause, machine.latest, plan.map(tuple))
    rules, invariants = rules_of(machine, names), invariants_of(machine)
    latency = as_link_law(machine.latency)

    def test(script: Script) -> None:
        perform = partial(Performance, machine, script, invariants)
        performance = perform()
        case = Case(script.seed, latency, script.order, horizon=machine.horizon)
        result = run(performance, case, schedule=schedule_of(script), stall_after=machine.stall_after)
        if performance.skipped:
            hypothesis.event("operations were passed over: a precondition, or an empty bundle")
        if result.is_overdue and not machine.count_overdue:
            hypothesis.event("overdue: a time limit was passed by lateness")
        elif result.cause is not None:
            name = machine.__qualname__
            hypothesis.note(Report(name, perform, performance, result, machine.stall_after, machine.save))
            raise result.cause

    test.__name__ = test.__qualname__ = machine.__name__
    found = hypothesis.given(script=scripts(rules, names, bounds))(test)
    _take_over(machine, found)
    return found


def _take_over(machine: type[ConcurrentMachine], test: Any) -> None:
    """Give a test its own place in the database, and what ``@seed`` and ``@reproduce_failure`` left at the class.

    As ``hypothesis.stateful`` does it for its machines; without these attributes a test works, and knows less.
    """
    digest = hashlib.sha256(f"{machine.__module__}:{machine.__qualname__}".encode()).digest()
    test.hypothesis.inner_test._hypothesis_internal_add_digest = digest
    test._hypothesis_internal_print_given_args = False  # The report has them in the order of the run.
    for name in ("_hypothesis_internal_use_seed", "_hypothesis_internal_use_reproduce_failure"):
        setattr(test, name, getattr(machine, name, None))
