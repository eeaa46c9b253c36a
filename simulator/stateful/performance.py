"""One run of a script: each participant an actor with a client of its own, and what it did, for the report."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import meshsync
from meshsync.runtime.interfaces import Condition
from simulator.faults import Fault
from simulator.faults.plans import At, During, Planned, Quiet
from simulator.histories import History
from simulator.simulation import Simulation
from simulator.stateful.members import Member
from simulator.stateful.rules import Bundle, Rule, Several
from simulator.stateful.scripts import DrawnLateness, DrawnStep, Pick, Script

__all__ = ["Done", "Machine", "Performance"]

SETTLING = 1.0
"""Virtual seconds from when the last participant is there until the first operation: each knows of the others then."""


class Machine(Protocol):
    """What a machine does in a run, beside its rules."""

    sim: Simulation
    history: History

    def setup(self) -> None: ...
    def enter(self, me: Member) -> None: ...
    def leave(self, me: Member) -> None: ...
    def check(self) -> None: ...


@dataclass(slots=True)
class Done:
    """An operation of a run."""

    name: str
    """Of the participant."""
    call: str
    begun: float
    """Virtual seconds since the first operation could begin."""
    ended: float | None = None
    """None if it has not ended, or raised."""
    outcome: str = ""


@dataclass(slots=True)
class Performance:
    """Runs a script, once; a program of `simulator.exploring`."""

    make: Callable[[], Machine]
    script: Script
    invariants: Sequence[str]
    done: list[Done] = field(default_factory=list)
    """The operations so far, without those that were passed over."""
    skipped: int = 0
    """How many were passed over: a precondition was not met, or a bundle was empty."""
    begin: float = 0.0
    """When the first operation could begin, in virtual seconds."""
    broken: dict[str, str] = field(default_factory=dict)
    """What invariants that were violated have asserted, by name."""
    _values: dict[Bundle, list[Any]] = field(default_factory=dict)
    _here: int = 0
    _through: int = 0
    _is_over: bool = False

    def __call__(self, sim: Simulation) -> None:
        machine = self.make()
        machine.sim, machine.history = sim, History(sim)
        machine.setup()
        change = meshsync.condition()
        members = [Member(name, sim.runtime) for name in self.script.parts]
        begins = [meshsync.Event() for _ in members]
        tasks = [
            sim.spawn(partial(self._live, machine, me, begin, change), name=me.name)
            for me, begin in zip(members, begins, strict=True)
        ]
        with change:
            change.wait_for(lambda: self._here == len(members))
        sim.sleep(SETTLING)
        self.begin = sim.now
        for name in self.invariants:
            sim.always(partial(self._holds, name, getattr(machine, name)), name=name)
        sim.plan(*(_later(entry, self.begin) for entry in self.script.plan))
        if isinstance(sim.runtime.schedule, DrawnLateness):
            sim.runtime.schedule.begin()
        for begin in begins:  # In their order, whoever was there first.
            begin.set()
        with change:
            change.wait_for(lambda: self._through == len(members))
        machine.check()
        with change:
            self._is_over = True
            change.notify_all()
        for task in tasks:
            task.join()

    def _holds(self, name: str, ask: Callable[[], object]) -> bool:
        try:
            return ask() in (None, True)
        except AssertionError as error:
            self.broken[name] = str(error)
            return False

    def _live(self, machine: Machine, me: Member, begin: meshsync.Event, change: Condition) -> None:
        """Be one participant."""
        machine.enter(me)
        with change:
            self._here += 1
            change.notify_all()
        begin.wait()
        for step in self.script.parts[me.name]:
            if step.pause:
                meshsync.sleep(step.pause)
            self._do(machine, me, step)
        with change:
            self._through += 1
            change.notify_all()
            change.wait_for(lambda: self._is_over)
        machine.leave(me)

    def _do(self, machine: Machine, me: Member, step: DrawnStep) -> None:
        rule = step.rule
        if not all(predicate(machine, me) for predicate in rule.preconditions):
            self.skipped += 1
            return
        arguments = self._arguments(step)
        if arguments is None:
            self.skipped += 1
            return
        call = f"{rule.name}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        done = Done(me.name, call, machine.sim.now - self.begin)
        self.done.append(done)
        try:
            result = rule.function(machine, me, **arguments)
        except Exception as error:
            done.outcome = f"raises {type(error).__name__}"
            raise
        done.ended = machine.sim.now - self.begin
        done.outcome = "" if result is None else f"returns {result!r:.60}"
        self._keep(rule, result)

    def _arguments(self, step: DrawnStep) -> dict[str, Any] | None:
        """Return the arguments of an operation; None if it takes a value of a bundle that has none."""
        found = {}
        for name, value in step.arguments.items():
            if not isinstance(value, Pick):
                # A rule may change it, and a script is run more than once.
                found[name] = copy.deepcopy(value)
                continue
            values = self._values.get(value.bundle, [])
            if not values:
                return None
            place = len(values) - 1 - value.place % len(values)
            found[name] = values.pop(place) if value.is_consumed else values[place]
        return found

    def _keep(self, rule: Rule, result: object) -> None:
        for target in rule.targets:
            values = self._values.setdefault(target, [])
            values += result.values if isinstance(result, Several) else [result]


def _later(entry: Planned | Fault, begin: float) -> Planned | Fault:
    """Return an entry of a plan whose times count from the beginning of the operations."""
    match entry:
        case At():
            return replace(entry, time=entry.time + begin)
        case During():
            return replace(entry, start=entry.start + begin, end=entry.end + begin)
        case Quiet():
            return replace(entry, after=entry.after + begin)
    return entry
