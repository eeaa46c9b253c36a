"""Searching for a failing run, making it smaller, keeping it and having it again."""

from __future__ import annotations

import json
import linecache
import sys
from pathlib import Path

import pytest

import meshsync
import simulator
from meshsync.errors import UsageError
from simulator import faults, latency
from simulator.errors import ActorFailed, HorizonReached, SimulationDeadlock
from simulator.exploring.exploration import Replay, explore, replay
from simulator.exploring.programs import load
from simulator.exploring.runs import Case, run
from simulator.simulation import Simulation
from tests.support.textless import Textless


def fails_at_three(sim: Simulation) -> None:
    """Fail with seed 3 and above."""
    room = sim.room("demo")
    room.join("alice", enable=True)
    sim.sleep(1)
    if isinstance(sim.seed, int) and sim.seed >= 3:
        raise ValueError(f"seed {sim.seed}")


def meets_faults(sim: Simulation) -> None:
    """Fail if alice lost her connection twice, or bob his."""
    room = sim.room("demo")
    alice, bob = (room.join(name, reconnect=False) for name in ("alice", "bob"))
    sim.plan(faults.at(2, faults.reset("bob")), faults.at(2, faults.join("carol")))
    sim.sleep(1.5)
    if not alice.is_connected:
        alice = room.join("alice", reconnect=False)
        sim.sleep(2)
        assert alice.is_connected, "twice"
    assert bob.is_connected


def program_of_an_actor(sim: Simulation) -> None:
    """Fail in an actor."""
    sim.spawn(lambda: {}["key"], name="broken")
    sim.sleep(1)


def program_without_end(sim: Simulation) -> None:
    """Sleep."""
    sim.sleep(1e6)


def program_stuck(sim: Simulation) -> None:
    """Wait for what never comes."""
    with meshsync.condition() as lock:
        lock.wait()


def quietly(program, seeds=range(10), **options):
    """Explore without a file and a report."""
    return explore(program, seeds, save=None, report=None, **options)


def test_first_failing_seed_is_returned():
    """With its exception, where it was raised, the transcripts; the seeds after it are not run."""
    failure = quietly(fails_at_three)
    assert (failure.seed, type(failure.error), str(failure.error)) == (3, ValueError, "seed 3")
    assert failure.symptom.kind == "ValueError"
    assert failure.symptom.place.startswith("test_exploration.py:")
    assert failure.symptom.place.endswith(" in fails_at_three")
    assert [record.kind for record in failure.transcripts["demo"]] == ["connected", "enabled"]
    assert (failure.plan, failure.deviations, failure.is_repeatable) == ((), (), True)


def test_nothing_is_returned_if_no_seed_fails():
    """And nothing is written."""
    assert quietly(fails_at_three, range(3)) is None
    assert quietly(fails_at_three, ["a text is a seed too"]) is None


@pytest.mark.parametrize(
    ("program", "kind", "symptom"),
    [
        (program_of_an_actor, ActorFailed, "ActorFailed: KeyError at test_exploration.py:{} in <lambda>"),
        (program_without_end, HorizonReached, "HorizonReached at test_exploration.py:{} in program_without_end"),
        (program_stuck, SimulationDeadlock, "SimulationDeadlock at test_exploration.py:{} in program_stuck"),
    ],
)
def test_what_the_simulation_reports_is_a_failure(program, kind, symptom):
    """Of an actor, what it raised and where it did."""
    failure = quietly(program, horizon=1000)
    assert type(failure.error) is kind
    line = failure.symptom.place.partition(":")[2].partition(" ")[0]
    assert str(failure.symptom) == symptom.format(line)


def test_plan_is_shrunk_to_what_matters():
    """Of six faults, those of the program included, the two that it takes are left."""
    plan = [
        faults.at(1, faults.reset("alice")),
        faults.at(0.5, faults.join("dora")),
        faults.during(0.1, 0.2, faults.partition({"bob"})),
        faults.at(3, faults.reset("alice")),
    ]
    failure = quietly(meets_faults, plan=plan, latency=0.01)
    assert failure.plan == (faults.at(1, faults.reset("alice")), faults.at(3, faults.reset("alice")))
    assert failure.run.case.left_out == (1, 2, 4, 5)
    assert str(failure.error).startswith("twice")


def test_faults_that_the_program_plans_are_left_out_too():
    """By their numbers, behind those that were planned before it began."""

    def program(sim):
        bob = sim.room("demo").join("bob", reconnect=False)
        sim.plan(faults.at(1, faults.reset("bob")), faults.at(1, faults.join("carol")))
        sim.sleep(2)
        assert bob.is_connected

    failure = quietly(program, plan=[faults.at(0.5, faults.join("dora"))])
    assert failure.plan == (faults.at(1, faults.reset("bob")),)
    assert failure.run.case.left_out == (0, 2)
    assert [record.type for record in failure.transcripts["demo"].faults()] == ["reset"]


def test_plan_may_be_drawn_from_the_seed():
    """Anew for each; what was drawn is what is kept."""

    def plan(chance):
        return [faults.at(1 + 9 * chance.random(), faults.reset("alice"))]

    def program(sim):
        alice = sim.room("demo").join("alice")
        sim.sleep(2)
        assert alice.is_connected

    failure = quietly(program, range(100), plan=plan, schedule="random")
    (entry,) = failure.plan
    assert failure.seed != 0
    assert 1 < entry.time < 2


def test_plan_that_cannot_be_is_no_failure_of_the_program():
    """A bare fault strikes before anybody is there."""
    with pytest.raises(UsageError, match=r"which no room knows.*faults\.at"):
        quietly(fails_at_three, plan=[faults.reset("alice")])
    with Simulation():
        pass  # and none is left open


def test_interrupt_is_no_failure():
    """Ctrl-C ends the search, and the simulation is closed."""

    def program(sim):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quietly(program)
    with Simulation():
        pass


def test_program_that_remembers_is_told_apart():
    """If a second run does not fail, it is not made smaller, and the report points to check()."""
    calls = []

    def program(sim):
        calls.append(sim)
        assert len(calls) != 2

    failure = quietly(program, schedule="random")
    assert (failure.is_repeatable, failure.seed, failure.runs) == (False, 1, 3)
    assert "see check()" in str(failure)


def test_budget_of_runs_is_kept():
    """No run more than allowed, and none if shrinking is not wanted."""
    plan = [faults.at(time, faults.reset("alice")) for time in (1, 1.1, 1.2, 3)]
    failure = quietly(meets_faults, plan=plan, shrinking=3)
    assert failure.runs == 1 + 3
    failure = quietly(meets_faults, plan=plan, shrinking=0)
    assert (failure.runs, failure.plan) == (1, failure.found.plan)


# --- keeping it -------------------------------------------------------------------------------------------------------


def test_failure_is_kept_and_replayed(tmp_path, monkeypatch):
    """Under a name of program and seed, in the current directory unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    law = latency.lognormal(0.04, 0.4)
    reports: list[str] = []
    plan = [faults.at(0.5, faults.reset("alice"))]
    failure = explore(fails_at_three, schedule="pct", latency=law, plan=plan, report=reports.append)

    assert failure.path == Path("replay-fails_at_three-3.json")
    assert reports == [str(failure)]
    assert reports[0].endswith("\npython -m simulator replay replay-fails_at_three-3.json")
    kept = json.loads(failure.path.read_text())
    assert (kept["case"]["seed"], kept["case"]["latency"]["law"], kept["case"]["left_out"]) == (3, "lognormal", [0])
    made = replay(failure.path)
    assert made.is_same
    assert made.is_identical
    assert str(made) == f"fails as it did: {failure.symptom}"


@pytest.mark.parametrize(
    ("error", "line"),
    [(Textless(), "(Textless without a text)"), (ValueError("caf\udce9\nand more"), "caf?")],
    ids=range(2),
)
@pytest.mark.parametrize("is_of_actor", [False, True], ids=["program", "actor"])
def test_failure_without_text_is_reported_and_kept(error, line, is_of_actor, tmp_path):
    """In text that every terminal and file takes; the exception itself stays as it is."""

    def fail():
        raise error

    def program(sim):
        if is_of_actor:
            sim.spawn(fail, name="mute").join()
            sim.sleep(1)
        fail()

    reports: list[str] = []
    failure = explore(program, save=None, report=reports.append)
    failure.save(tmp_path / "kept.json")
    name = type(error).__name__
    assert failure.symptom.kind == (f"ActorFailed: {name}" if is_of_actor else name)
    text = f"actor 'mute' failed: {name}: {line}" if is_of_actor else line
    assert reports[0].encode().decode().splitlines()[1] == f"  {text}"
    assert json.loads((tmp_path / "kept.json").read_text())["failure"]["text"] == text


def test_directory_or_file_to_keep_it_in_may_be_given(tmp_path):
    """Directories are made."""
    one = explore(fails_at_three, save=tmp_path / "deep" / "down", report=None)
    two = explore(fails_at_three, save=tmp_path / "here.json", report=None)
    assert one.path == tmp_path / "deep" / "down" / "replay-fails_at_three-3.json"
    assert two.path == tmp_path / "here.json"
    assert one.path.read_text() == two.path.read_text()


def test_program_without_a_name_is_replayed_here(tmp_path):
    """Nothing is written unless asked; what is written then needs the program beside it."""

    def program(sim):
        fails_at_three(sim)

    reports: list[str] = []
    failure = explore(program, save=tmp_path, report=reports.append)
    assert failure.path is None
    assert list(tmp_path.iterdir()) == []
    assert "no name" in reports[0]
    assert failure.replay().is_same

    failure.save(tmp_path / "kept.json")
    assert replay(tmp_path / "kept.json", program=program).is_same
    with pytest.raises(UsageError, match="program="):
        replay(tmp_path / "kept.json")


def test_replay_tells_what_is_different(tmp_path):
    """A program that was mended, or fails in another way."""
    path = explore(fails_at_three, save=tmp_path, report=None).path

    def otherwise(sim):
        raise LookupError

    mended = replay(path, program=lambda sim: None)
    assert (mended.is_same, str(mended).partition(";")[0]) == (False, "does not fail any more")
    other = replay(path, program=otherwise)
    assert (other.is_same, str(other)[:38]) == (False, "fails in another way: LookupError at t")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("", "Expecting value"), ("[]", "list indices"), ("{}", "'replay'"), ('{"replay": 99}', "version 99")],
)
def test_file_that_is_no_failure_is_refused(tmp_path, text, wrong):
    """Whatever it is instead."""
    (tmp_path / "kept.json").write_text(text)
    with pytest.raises(UsageError, match=f"is no failure.*{wrong}"):
        replay(tmp_path / "kept.json")
    with pytest.raises(UsageError, match="cannot be read"):
        replay(tmp_path / "nothing.json")


def test_damaged_case_is_refused(tmp_path):
    """With the member that is wrong."""
    path = explore(fails_at_three, save=tmp_path, report=None).path
    kept = json.loads(path.read_text())
    del kept["case"]["latency"]
    path.write_text(json.dumps(kept))
    with pytest.raises(UsageError, match="'latency' is missing"):
        replay(path)


def test_face_of_the_package_hands_them_on():
    """As functions, whichever of the modules was imported before."""
    assert simulator.explore is explore
    assert simulator.replay is replay
    assert callable(simulator.check)


# --- what would pass without testing anything -------------------------------------------------------------------------


async def program_to_await(sim: Simulation) -> None:
    """Fail, if it is awaited."""
    raise AssertionError


def program_that_yields(sim: Simulation):
    """Fail, if it is iterated over."""
    yield
    raise AssertionError


@pytest.mark.parametrize("program", [program_to_await, program_that_yields, "demo.py:program"])
def test_program_of_which_nothing_would_run_is_refused(program):
    """Every seed would pass; nothing is run."""
    with pytest.raises(UsageError, match=r"coroutine function|generator function|cannot be called"):
        quietly(program)


@pytest.mark.parametrize("hidden", [program_to_await, program_that_yields])
def test_program_that_returns_what_has_not_run_fails(hidden):
    """A function around it hides the coroutine function; its result tells."""

    def program(sim: Simulation) -> object:
        return hidden(sim)

    assert "of which nothing has run" in str(quietly(program).error)


@pytest.mark.parametrize("seeds", [range(5, 5), 0, -1])
def test_search_without_a_seed_is_refused(seeds):
    """None of no seeds fails, which says nothing."""
    with pytest.raises(UsageError, match="no seed to try"):
        quietly(fails_at_three, seeds)


def test_number_of_seeds_stands_for_those_from_0_on():
    """As in the marker of tests."""
    assert quietly(fails_at_three, 3) is None
    assert quietly(fails_at_three, 4).found.case.seed == quietly(fails_at_three, range(4)).found.case.seed == 3


@pytest.mark.parametrize("seeds", [True, "0:5", 1.5, None])
def test_what_are_no_seeds_is_refused(seeds):
    """A text would be taken for its characters."""
    with pytest.raises(TypeError, match="seeds is how many, or which, as a list or a range, not "):
        quietly(fails_at_three, seeds)


# --- the same failure -------------------------------------------------------------------------------------------------


def test_line_added_above_is_the_same_failure(tmp_path, monkeypatch):
    """The text of the line tells, and not its number; another line is another failure."""
    monkeypatch.chdir(tmp_path)
    source = "def program(sim):\n    value = sim.seed\n    assert value < 3, value\n"
    path = tmp_path / "drifting.py"
    path.write_text(source, encoding="utf-8")
    failure = explore(load("drifting.py:program"), report=None)
    assert failure.symptom.place == "drifting.py:3 in program"

    def again(changed: str) -> Replay:
        path.write_text(changed, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "drifting")
        linecache.checkcache()
        return replay(failure.path)

    assert again("\n\n" + source).is_same
    assert not again(source.replace("value < 3", "value != 3")).is_same


def test_old_file_without_the_text_of_the_line_is_compared_by_its_number(tmp_path):
    """One of a release before tells no source."""
    explore(fails_at_three, save=tmp_path / "kept.json", report=None)
    value = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert value["failure"].pop("source").endswith('raise ValueError(f"seed {sim.seed}")')
    (tmp_path / "kept.json").write_text(json.dumps(value), encoding="utf-8")
    assert replay(tmp_path / "kept.json", program=fails_at_three).is_same


def receiver_that_fails(sim: Simulation) -> None:
    """Have a receiver fail, with a text that differs from seed to seed."""
    room = sim.room("demo")
    alice, bob = room.join("alice", enable=True), room.join("bob", enable=True)

    def fail(event: meshsync.RoomMessageEvent) -> None:
        raise ValueError(f"seed {sim.seed}")

    sim.failing_receivers = "log"
    bob.messaging.on_message("ask", fail)
    alice.messaging.send_message(alice.messaging.wait_for_participant(name="bob"), "ask", {})
    sim.sleep(1)


def test_failing_receiver_is_logged_once_in_a_search(caplog):
    """Its traceback of the first seed is there; the other nine are counted."""
    assert quietly(receiver_that_fails, schedule="random") is None
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in tracebacks] == ["seed 0"]
    assert "9 records that repeat these were left out" in caplog.text
    caplog.clear()
    run(receiver_that_fails, Case(5))
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["seed 5"]
