"""Whether a program depends on nothing but its seed."""

from __future__ import annotations

import os

import pytest

from meshsync.errors import UsageError
from simulator import faults, latency, participants
from simulator.exploring.checking import RunsDiffer, check
from simulator.simulation import Simulation


def steady(sim: Simulation) -> None:
    """Depend on nothing but the seed: chance, faults, a stream of messages."""
    room = sim.room("demo")
    room.add(participants.Echo("bot", delay=latency.exponential(0.1)), participants.Chatter("chat", 0.5))
    room.join("alice", enable=True)
    sim.plan(faults.at(2, faults.reset("alice")))
    sim.sleep(5)


def depends_on_hashes(sim: Simulation) -> None:
    """Let people join in the order of a set."""
    sim.room("quiet")
    for name in {f"name{number}" for number in range(8)}:
        sim.room("demo").add(participants.Sink(name))


def depends_on_the_process(sim: Simulation) -> None:
    """Fail anywhere but here."""
    sim.sleep(1)
    assert os.environ.get("SIMULATOR_SECOND_RUN") is None, "another process"


def quietly(program, **options):
    """Check without a report."""
    return check(program, report=None, **options)


def test_two_runs_are_the_same_in_two_processes():
    """The second is in another one, under another hash seed; the report says so and has the digest."""
    reports: list[str] = []
    checked = check(steady, seed=5, latency=latency.lognormal(0.04, 0.4), schedule="random", report=reports.append)
    assert checked.how == "the second one in another process, under another hash seed"
    assert reports == [f"two runs are the same, {checked.how}: demo {checked.digests['demo']}"]
    assert len(checked.transcripts["demo"].faults()) == 1


def test_case_reaches_the_other_process():
    """Plan, latency and seed: else the runs would differ."""
    plan = [faults.at(1, faults.pause("chat", 2)), faults.during(2.5, 3, faults.latency(latency.uniform(0.1, 0.2)))]
    checked = quietly(steady, seed="text", latency=latency.empirical([0.01, 0.02]), plan=plan, horizon=60)
    assert len(checked.transcripts["demo"].faults()) == 4
    assert checked.digests != quietly(steady, seed="text").digests


def test_first_difference_is_shown():
    """Of a program that depends on the order of a set: the room, the record, both sides of it."""
    with pytest.raises(RunsDiffer, match=r"(?s)differ, .* in room 'demo', record \d+: .*versus"):
        quietly(depends_on_hashes)


def test_failure_of_one_run_is_a_difference():
    """With how it failed."""
    with pytest.raises(RunsDiffer, match=r"only one of two runs fails.*AssertionError at test_checking.py"):
        quietly(depends_on_the_process)


def test_program_without_a_name_is_checked_here():
    """And the report says so."""
    reports: list[str] = []
    checked = check(lambda sim: steady(sim) or None, report=reports.append)
    assert "in this process, since the program has no name" in checked.how
    assert checked.how in reports[0]


def test_memory_of_a_program_without_a_name_is_a_difference():
    """What a closure keeps is seen in one process too."""
    names = iter("ab")
    with pytest.raises(RunsDiffer, match=r"(?s)connected.* a .*versus.* b "):
        quietly(lambda sim: sim.room("demo").add(participants.Sink(next(names))))


def test_what_the_program_raises_is_raised():
    """A program that fails has another problem first."""

    def program(sim):
        raise LookupError("itself")

    with pytest.raises(LookupError, match="itself"):
        quietly(program)


def test_check_while_the_program_is_imported_is_refused(monkeypatch):
    """Else each process would start another one."""
    monkeypatch.setenv("SIMULATOR_SECOND_RUN", "1")
    with pytest.raises(UsageError, match="__main__"):
        quietly(steady)


def test_rooms_that_differ_are_told():
    """By their names."""
    names = iter("ab")
    with pytest.raises(RunsDiffer, match="one has the rooms a, the other b"):
        quietly(lambda sim: sim.room(next(names)))


def test_where_no_other_process_can_be_started_it_is_checked_here(monkeypatch):
    """An interpreter inside another program may not know its own; and one that does not start is told."""
    monkeypatch.setattr("sys.executable", "")
    assert "not known how to start another" in quietly(steady).how
    monkeypatch.undo()
    monkeypatch.setattr("simulator.exploring.checking.reference", lambda program: "no_such_module:steady")
    with pytest.raises(UsageError, match=r"could not be made in another process: .*no module is named"):
        quietly(steady)
