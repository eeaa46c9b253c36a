"""A seed and its mutants: how many runs there are, which is told, what differs, and that all follows from the seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

import meshsync
from simulator import Simulation, latency
from simulator.engine.aiming import Targets
from simulator.engine.lateness import Lateness
from simulator.engine.schedules import Late
from simulator.engine.seeds import Seeds
from simulator.engine.traced_schedule import Decision, TracedSchedule
from simulator.exploring import guided
from simulator.exploring.guided import CHANGES, MUTANTS, Trial, try_seed
from simulator.exploring.runs import Case, Run, Symptom, run

LAW = latency.lognormal(median=0.02, sigma=0.4)
CASE = Case(3, LAW, "late", lateness=Lateness(0.1, 50_000_000))
LATE = (Late("main/speak", 1, 1000, "sleep"),)


def talk(sim: Simulation) -> None:
    """Two send each other three messages."""
    room = sim.room("demo")
    clients = [room.join(name, enable=True) for name in ("ann", "ben")]

    def speak(client: meshsync.RoomClient, other: str) -> None:
        to = client.messaging.wait_for_participant(name=other)
        for number in range(3):
            client.messaging.send_message(to, f"{number}", {})
            meshsync.sleep(0.1)

    for task in [sim.spawn(speak, clients[0], "ben"), sim.spawn(speak, clients[1], "ann")]:
        task.join()


def recorded(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Run], Run] = lambda number, made: made):
    """Return a list that gets every run that is made; a run may be changed, by its number from 0."""
    made: list[Run] = []

    def kept(*args, **options) -> Run:
        made.append(change(len(made), run(*args, **options)))
        return made[-1]

    monkeypatch.setattr(guided, "run", kept)
    return made


def failing(made: Run, error: Exception) -> Run:
    """Return a run that failed."""
    return replace(made, error=error, symptom=Symptom(type(error).__name__, "here"))


def test_seed_alone_is_one_run(monkeypatch: pytest.MonkeyPatch):
    """Without mutants the case is run as it is."""
    made = recorded(monkeypatch)
    tried = try_seed(talk, CASE, Trial())
    assert (tried.runs, tried.overdue, len(made)) == (1, 0, 1)
    assert tried.run is made[0]


def test_mutants_follow_from_the_seed(monkeypatch: pytest.MonkeyPatch):
    """All of them, the order included; another seed has others."""
    first = recorded(monkeypatch)
    assert try_seed(talk, CASE, Trial(MUTANTS)).runs == 1 + MUTANTS
    again = recorded(monkeypatch)
    try_seed(talk, CASE, Trial(MUTANTS))
    assert [one.digests for one in again] == [one.digests for one in first]
    other = recorded(monkeypatch)
    try_seed(talk, replace(CASE, seed=4), Trial(MUTANTS))
    assert not {str(one.case.lates) for one in other} & {str(one.case.lates) for one in first}


def test_first_run_is_that_of_the_seed(monkeypatch: pytest.MonkeyPatch):
    """To trace it changes nothing."""
    made = recorded(monkeypatch)
    try_seed(talk, CASE, Trial(1))
    plain = run(talk, CASE)
    assert (made[0].digests, made[0].case) == (plain.digests, plain.case)


def test_mutant_is_repeated_by_its_case_alone(monkeypatch: pytest.MonkeyPatch):
    """Also after it was a text."""
    made = recorded(monkeypatch)
    try_seed(talk, CASE, Trial(4))
    for one in made:
        case = Case.from_json(json.loads(json.dumps(one.case.to_json())))
        assert run(talk, case).digests == one.digests


def test_first_that_fails_is_told_and_the_last_that_is_made(monkeypatch: pytest.MonkeyPatch):
    """What comes behind it is of no interest."""
    made = recorded(monkeypatch, lambda number, one: failing(one, KeyError()) if number == 3 else one)
    tried = try_seed(talk, CASE, Trial(MUTANTS))
    assert (tried.runs, len(made)) == (4, 4)
    assert tried.run is made[3]


def test_overdue_runs_are_counted_apart(monkeypatch: pytest.MonkeyPatch):
    """They end nothing, unless they count; of a seed without a failure the first of them is told."""

    def at_times_late(number: int, made: Run) -> Run:
        if number not in (2, 5):
            return replace(made, error=None, symptom=None)
        return failing(replace(made, case=replace(made.case, lates=LATE)), TimeoutError())

    made = recorded(monkeypatch, at_times_late)
    tried = try_seed(talk, CASE, Trial(MUTANTS))
    assert (tried.runs, tried.overdue) == (1 + MUTANTS, 2)
    assert tried.run is made[2]
    recorded(monkeypatch, at_times_late)
    assert try_seed(talk, CASE, Trial(MUTANTS, count_overdue=True)).runs == 3


# --- what a mutant is -------------------------------------------------------------------------------------------------


def made_and_traced(case: Case) -> tuple[Run, TracedSchedule]:
    """Run a case in order, but for what it says."""
    traced = TracedSchedule(guided.repeating(case))
    return run(talk, case, schedule=traced), traced


def test_mutant_makes_steps_late_behind_later_ones():
    """Of a run in which all was in time: at most five, each behind the next event or a later one."""
    made, traced = made_and_traced(replace(CASE, deviations=()))
    parent = guided.Parent(made.case, Targets(traced.steps), tuple(traced.decided))
    due = {(step.who, step.kind, step.number): step.due for step in parent.targets.steps}
    came = sorted(step.came for step in parent.targets.steps)
    for seed in range(50):
        case = parent.mutant(Seeds(seed).stream("test"))
        assert case.deviations is not None
        assert 1 <= len(case.lates) + len(case.deviations) <= CHANGES
        for one in case.lates:
            begin = due[one.who, one.kind, one.step]
            assert begin + one.by > min((when for when in came if when > begin), default=begin)


def test_mutant_takes_back_half_of_what_its_parent_has():
    """So that mutants of mutants do not come to have ever more."""
    made, traced = made_and_traced(replace(CASE, deviations=()))
    lates = tuple(Late(step.who, step.number, 1000, step.kind) for step in traced.steps)
    parent = guided.Parent(replace(made.case, lates=lates), Targets(traced.steps), ())
    kept = [sum(one.by == 1000 for one in parent.mutant(Seeds(seed).stream("test")).lates) for seed in range(50)]
    assert 0.4 * len(lates) < sum(kept) / 50 < 0.55 * len(lates)


def test_without_steps_the_order_changes():
    """As where nothing waits."""
    decided = Decision("main/a", False, 1, ("main/a", "main/b", "main/c"))
    parent = guided.Parent(CASE, Targets(()), (decided,))
    taken = {one.taken for seed in range(20) for one in parent.mutant(Seeds(seed).stream("test")).deviations or ()}
    assert taken == {"main/b", "main/c"}
    assert guided.Parent(CASE, Targets(()), ()).mutant(Seeds(1).stream("test")) == replace(CASE, deviations=())


def test_parent_is_one_with_a_new_order_of_arrivals(monkeypatch: pytest.MonkeyPatch):
    """If all mailboxes always see the same, every mutant is one of the seed's own run."""
    monkeypatch.setattr(guided, "arrivals", lambda made: {b"the same"})
    parents: list[guided.Parent] = []
    mutant = guided.Parent.mutant

    def noted(self: guided.Parent, stream: Random) -> Case:
        parents.append(self)
        return mutant(self, stream)

    monkeypatch.setattr(guided.Parent, "mutant", noted)
    made = recorded(monkeypatch)
    try_seed(talk, CASE, Trial(MUTANTS))
    assert {id(parent) for parent in parents} == {id(parents[0])}
    assert parents[0].case == made[0].case

    parents.clear()
    numbers = iter(range(100))
    monkeypatch.setattr(guided, "arrivals", lambda made: {bytes([next(numbers)])})
    try_seed(talk, CASE, Trial(MUTANTS))
    assert len({id(parent) for parent in parents}) > 5


def both(sim: Simulation) -> None:
    """Two send the third a message, one a quarter of a second after the other."""
    room = sim.room("demo")
    clients = [room.join(name, enable=True) for name in ("ann", "ben", "eve")]

    def speak(client: meshsync.RoomClient, after: float) -> None:
        to = client.messaging.wait_for_participant(name="eve")
        meshsync.sleep(after)
        client.messaging.send_message(to, "hello", {})

    for task in [sim.spawn(speak, clients[0], 0.25, name="ann"), sim.spawn(speak, clients[1], 0.5, name="ben")]:
        task.join()
    sim.run_until_idle()


def test_arrivals_differ_by_their_order():
    """By who sent what to whom, and not by when."""
    slower = run(both, Case(latency=latency.constant(0.02), deviations=()))
    slowest = run(both, Case(latency=latency.constant(0.03), deviations=()))
    assert guided.arrivals(slower) == guided.arrivals(slowest)
    other = run(both, replace(slower.case, lates=(Late("main/ann", 1, 500_000_000, "sleep"),)))
    assert not guided.arrivals(other) <= guided.arrivals(slower)
