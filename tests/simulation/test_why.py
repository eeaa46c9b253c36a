"""Where a failure came from: the jump is at what was planted, and a run that does not begin alike is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import latency
from simulator.cli.main import main
from simulator.engine.branches import Branch
from simulator.engine.lateness import Lateness
from simulator.engine.schedules import Late
from simulator.exploring.checking import RunsDiffer
from simulator.exploring.exploration import Failure, explore
from simulator.exploring.origin import why
from simulator.exploring.runs import Case, Program, run
from simulator.simulation import Simulation
from tests.benchmarks.races.catalogue import RACES

LATE = Case(
    1,
    latency.constant(0.01),
    "late",
    deviations=(),
    lates=(Late("main/work", 3, 1_000_000_000, "sleep"),),
    lateness=Lateness(0.1, 1_000_000_000, "program"),
)
"""A case of `two_steps` that fails."""


def failing(program: Program, case: Case) -> Failure:
    """Return the failure of a case that fails."""
    made = run(program, case)
    assert made.error is not None
    return Failure(program, None, made, made, 1, True)


@pytest.mark.one_python
@pytest.mark.parametrize("name", ["lost_update", "half_a_file"])
def test_jump_is_within_one_event_of_what_is_planted(name: str) -> None:
    """Of what `explore` finds of two races of the bench."""
    race = RACES[name]
    failure = explore(race.racy, range(300), schedule="late", latency=race.law, shrinking=300, save=None, report=None)
    assert failure is not None
    assert race.symptom.matches(failure.symptom)
    origin = why(failure)
    assert origin.jump is not None
    (planted,) = (event.number for event in origin.events if f"{failure.lates[0].who} is" in event.text)
    assert origin.jump[1].event.number - origin.jump[0].event.number == 1
    assert abs(origin.jump[1].event.number - planted) <= 1
    assert origin.jump[0].interval[1] < origin.jump[1].interval[0]
    assert origin.runs == 1 + 32 * (len(origin.points) - 1)
    assert why(failure) == origin


def two_steps(sim: Simulation) -> None:
    """Ben looks half a second after Ann has begun, who is done in a tenth of it: unless she is late."""
    room = sim.room("office")
    ann, ben = room.join("ann", enable=True), room.join("ben", enable=True)
    done = []

    def work() -> None:
        for number in range(4):
            meshsync.sleep(0.1)
            ann.local_participant.set_attribute("step", number)
        done.append(True)

    task = sim.spawn(work, name="work")
    meshsync.sleep(1)
    ben.local_participant.set_attribute("looks", True)
    assert done, "not done"
    task.join()


def test_jump_of_a_planted_step_is_at_the_instant_at_which_it_was_due() -> None:
    """The third step comes a second late; before that few runs fail, afterwards most."""
    origin = why(failing(two_steps, LATE))
    assert origin.jump is not None
    assert origin.jump[1].event.text.startswith("main/work is 1 s late at its sleep 3")
    assert origin.jump[0].probability < 0.3
    assert origin.jump[1].probability > 0.7


@pytest.mark.one_python
def test_rarer_lateness_shows_what_is_lost_in_the_noise() -> None:
    """Where every second step is late by seconds, most runs fail; with one in fifty the planted step stands out."""
    case = replace(LATE, lateness=Lateness(0.9, 10_000_000_000, "program"))
    noisy = why(failing(two_steps, case), probability=None)
    assert noisy.points[0].probability > 0.8
    origin = why(failing(two_steps, case))
    assert origin.points[0].probability < 0.3
    assert origin.jump is not None
    assert origin.jump[1].event.text.startswith("main/work is 1 s late")
    with pytest.raises(ValueError, match="between 0 and 1"):
        why(failing(two_steps, case), probability=1.5)


def test_without_anything_by_chance_there_is_no_jump() -> None:
    """What fails in every run is no event's fault."""

    def wrong(sim: Simulation) -> None:
        client = sim.room("office").join("ann", enable=True)
        meshsync.sleep(2)
        assert client.is_closed

    origin = why(failing(wrong, Case(0, latency.uniform(0.01, 0.5), deviations=())), runs=16)
    assert origin.jump is None
    assert [point.probability for point in origin.points] == [1, 1]
    assert len(origin.merged) == 1
    assert "no event raises it: 100% of all runs fail" in str(origin)
    assert origin.to_json()["jump"] is None


def test_a_run_that_does_not_begin_alike_is_refused_with_the_difference() -> None:
    """A program that counts its runs, and sends that."""
    counter = count()

    def counting(sim: Simulation) -> None:
        sim.room("lobby").join("eve", enable=True).local_participant.set_attribute("run", next(counter))
        two_steps(sim)

    with pytest.raises(RunsDiffer, match=r"in room 'lobby', record 2: .*attributes.*'run': 1.*\n.*'run': \d"):
        why(failing(counting, LATE), runs=8)


def test_a_failure_that_is_no_more_is_refused() -> None:
    """As after the program was mended."""
    is_mended = []

    def mended(sim: Simulation) -> None:
        assert is_mended

    failure = failing(mended, Case(0, deviations=()))
    is_mended.append(True)
    with pytest.raises(UsageError, match="does not fail any more as it did, with AssertionError"):
        why(failure)
    for runs, points in ((0, 12), (32, 1)):
        with pytest.raises(ValueError, match="at least 1 run and 2 points"):
            why(failure, runs=runs, points=points)


def test_environment_changes_from_the_instant_on_and_the_program_does_not() -> None:
    """Delays before it are the same, those behind it are not; the program's dice stay."""

    def chatting(sim: Simulation) -> None:
        room = sim.room("office")
        ann = room.join("ann", enable=True)
        room.join("ben", enable=True)
        for _ in range(6):
            ann.local_participant.set_attribute("dice", sim.runtime.random("dice").random())
            meshsync.sleep(1)

    case = run(chatting, Case(5, latency.uniform(0.01, 0.5))).case
    times = []
    for branch in (None, Branch(3_500_000_000, 0), Branch(3_500_000_000, 0), Branch(3_500_000_000, 1)):
        transcript = run(chatting, case, branch=branch).transcripts["office"]
        records = [record for record in transcript if record.kind == "attributes"]
        times.append([record.time_ns for record in records if record.time_ns >= 3_500_000_000])
        assert transcript.packets_before(3_500_000_000)
        early = [record for record in transcript if record.time_ns < 3_500_000_000]
        dice = [record.detail for record in records]
        if branch is None:
            first_early, first_dice = early, dice
        assert (early, dice) == (first_early, first_dice)
    assert times[1] == times[2]
    assert len({tuple(one) for one in times}) == 3


PROGRAM = """
import meshsync

def program(sim):
    done = []

    def work():
        meshsync.sleep(0.3)
        done.append(True)

    client = sim.room("office").join("ann", enable=True)
    task = sim.spawn(work, name="work")
    meshsync.sleep(0.5)
    client.local_participant.set_attribute("looks", True)
    assert done, "not done"
    task.join()
"""


def test_command_reads_what_explore_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table and a picture, or JSON; a file that is none ends with status 2."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    name = f"why_{tmp_path.name}.py".replace("-", "_")
    Path(name).write_text(PROGRAM)
    assert main(["explore", f"{name}:program", "--schedule", "late", "--workers", "1", "--save", "kept.json"]) == 1
    capsys.readouterr()
    assert main(["why", "kept.json", "--runs", "8", "--plot", "why.png"]) == 0
    out = capsys.readouterr().out
    assert "has another chance:" in out
    assert "main/work is" in out.splitlines()[-1]
    assert Path("why.png").read_bytes().startswith(b"\x89PNG")
    assert main(["why", "kept.json", "--runs", "8", "--points", "3", "--as-searched", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [len(value["points"]) <= 3, value["points"][-1]["probability"]] == [True, 1.0]
    assert value["points"][0]["runs"] == 8
    assert main(["why", name]) == 2
    assert "is no failure kept" in capsys.readouterr().err
