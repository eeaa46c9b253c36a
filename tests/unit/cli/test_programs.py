"""The commands that run programs, as a user runs them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from simulator import Transcript, faults
from simulator.cli.main import main
from simulator.cli.programs import _seeds
from simulator.cli.values import read_latency

PROGRAMS = """
    from simulator import participants

    def steady(sim):
        room = sim.room("demo")
        room.add(participants.Echo("bot"))
        alice = room.join("alice", enable=True)
        bot = alice.messaging.wait_for_participant(name="bot")
        alice.messaging.send_message(to=bot, type="ask", message={"n": 1})
        sim.room("other").join("ben")
        sim.sleep(2)

    def fails(sim):
        steady(sim)
        assert sim.seed != 4, "it is 4"
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a file of programs in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"commands_of_{tmp_path.name}.py"
    path.write_text(textwrap.dedent(PROGRAMS))
    return path.name


def test_run_tells_digests_and_the_end(program, capsys):
    """One line for each room, and one for the run; again the same."""
    outputs = []
    for _ in range(2):
        assert main(["run", f"{program}:steady", "--seed", "3", "--latency", "0.01"]) == 0
        outputs.append(capsys.readouterr().out)
    demo, other, end = outputs[0].splitlines()
    assert demo.startswith("room demo: 6 records, digest ")
    assert other.startswith("room other: 1 records, digest ")
    assert end == "seed 3 runs through, 2.120000 s of virtual time"
    assert outputs[0] == outputs[1]


def test_run_saves_transcripts_and_prints_charts(program, capsys):
    """Of several rooms, each in a file of its own."""
    options = ["--latency", "uniform:0.01,0.02", "--schedule", "random", "--transcript", "out.jsonl", "--chart"]
    assert main(["run", f"{program}:steady", *options]) == 0
    out = capsys.readouterr().out
    assert "ask" in out
    for name, room in (("out.jsonl", "demo"), ("out-other.jsonl", "other")):
        transcript = Transcript.load(name)
        assert transcript.room == room
        assert f"room {room}: {len(transcript)} records, digest {transcript.digest()}" in out


def test_run_that_fails_shows_where(program, capsys):
    """Status 1, and the traceback."""
    assert main(["run", f"{program}:fails", "--seed", "4"]) == 1
    out, errors = capsys.readouterr()
    assert "seed 4 fails" in out
    assert "AssertionError: it is 4" in errors
    assert f'{program}", line' in errors


def test_plan_and_horizon_are_taken(program, capsys):
    """A plan as JSON; and a run that takes too long is stopped."""
    Path("plan.json").write_text(json.dumps(faults.to_json([faults.at(1, faults.reset("alice"))])))
    assert main(["run", f"{program}:steady", "--plan", "plan.json", "--chart"]) == 0
    assert "fault reset struck: alice" in capsys.readouterr().out
    assert main(["run", f"{program}:steady", "--horizon", "1"]) == 1
    assert "HorizonReached" in capsys.readouterr().err


def test_explore_finds_and_replay_repeats(program, capsys):
    """Status 1 for a failure found and for one replayed, 0 for none and for a mended program."""
    assert main(["explore", f"{program}:fails", "--seeds", "0:10"]) == 1
    report = capsys.readouterr().out
    path = "replay-fails-4.json"
    assert report.splitlines()[0].startswith(f"seed 4 fails: AssertionError at {program}:")
    assert report.splitlines()[-1] == f"python -m simulator replay {path}"

    assert main(["replay", path, "--chart", "--transcript", "out.jsonl"]) == 1
    out, errors = capsys.readouterr()
    assert out.splitlines()[-1].startswith("fails as it did: AssertionError")
    assert "it is 4" in errors
    assert len(Transcript.load("out.jsonl")) == 6

    assert main(["explore", f"{program}:fails", "--seeds", "4", "--schedule", "pct"]) == 0
    assert capsys.readouterr().out == "none of 4 seeds fails\n"


def test_network_is_taken(program, capsys):
    """Rooms and participants that take time, delays that differ by direction, a bandwidth; all of them by name."""

    def end(*options: str) -> str:
        assert main(["run", f"{program}:steady", *options]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert end() == "seed 0 runs through, 2.000000 s of virtual time"
    assert end("--service", "10ms") == "seed 0 runs through, 2.030000 s of virtual time"
    assert end("--service", "room=0.01") == end("--service", "10ms")
    assert (
        end("--service", "10ms", "--service", "participants=1ms") == "seed 0 runs through, 2.037000 s of virtual time"
    )
    assert end("--latency-down", "0.1") == "seed 0 runs through, 2.600000 s of virtual time"
    assert end("--bandwidth", "1000") == "seed 0 runs through, 5.529000 s of virtual time"
    assert main(["check", f"{program}:steady", "--service", "participants=exponential:0.1"]) == 0
    assert main(["explore", f"{program}:fails", "--seeds", "0:10", "--service", "room=uniform:0.01,0.02"]) == 1
    network = json.loads(Path("replay-fails-4.json").read_text())["case"]["network"]
    assert network == {"service": {"room": {"law": "uniform", "low": 0.01, "high": 0.02}}}


def test_report_of_what_fails_by_the_seed_alone(program, capsys):
    """No line about faults that there were none of; with a plan that it does not need, that is said."""
    asked = ["explore", f"{program}:fails", "--schedule", "fifo", "--seeds", "0:10"]
    assert main(asked) == 1
    line = next(number for number, text in enumerate(PROGRAMS.splitlines()) if "it is 4" in text)
    first, last = f"seed 4 fails: AssertionError at {program}:{line + 1} in fails", "python -m simulator replay"
    nothing = "  needs no fault, nothing late and no order but first in, first out"
    assert capsys.readouterr().out.splitlines() == [first, "  it is 4", nothing, f"{last} replay-fails-4.json"]

    Path("plan.json").write_text(json.dumps(faults.to_json([faults.at(9, faults.reset("alice"))])))
    assert main([*asked, "--plan", "plan.json", "--chart"]) == 1
    assert capsys.readouterr().out.splitlines()[-4:-1] == ["  it is 4", "  needs none of 1 faults", nothing]


def test_check_compares_two_runs(program, capsys):
    """Status 0 and the digests if they are the same."""
    assert main(["check", f"{program}:steady", "--seed", "2"]) == 0
    assert capsys.readouterr().out.startswith("two runs are the same, the second one in another process")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "nowhere.py:steady"], "there is no file nowhere.py"),
        (["run", "no_such_module:steady"], "no module is named"),
        (["explore", "{}:stedy"], "is 'steady' meant?"),
        (["check", "{}"], "which program of"),
        (["replay", "nothing.json"], "nothing.json cannot be read"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(program, capsys, arguments, text):
    """Status 2, and nothing was run."""
    assert main([argument.format(program) for argument in arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert text in errors


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (["--latency", "gamma:1,2"], "no law is named 'gamma'"),
        (["--latency", "uniform:2,1"], "low must not be above high"),
        (["--latency", "uniform:1"], "--latency"),
        (["--latency", "fast"], "--latency"),
        (["--service", "rooms=1"], "of 'rooms'"),
        (["--service", "room=fast"], "--service"),
        (["--bandwidth", "0"], "--bandwidth"),
        (["--plan", "nothing.json"], "nothing.json cannot be read"),
        (["--schedule", "lifo"], "lifo"),
    ],
)
def test_option_that_is_wrong_is_a_usage_error(program, capsys, option, text):
    """The message has what is wrong with it."""
    with pytest.raises(SystemExit) as stopped:
        main(["run", f"{program}:steady", *option])
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


def test_laws_and_seeds_are_read():
    """A bare number is a constant; seeds are counted from 0, or from where one says."""
    from simulator import latency

    assert [read_latency(text) for text in ("0.5", "lognormal:0.04,0.4", "empirical:2,1")] == [
        latency.constant(0.5),
        latency.lognormal(0.04, 0.4),
        latency.empirical([1, 2]),
    ]
    assert (_seeds("20"), _seeds("5:7"), _seeds(":3")) == (range(20), range(5, 7), range(3))


# --- searches by workers, and those that go on ------------------------------------------------------------------------


def test_schedules_are_those_that_a_search_has():
    """Their names stand in the command's module too, which imports nothing of the simulation."""
    from simulator.cli.programs import _SEARCHED
    from simulator.engine.lateness import SCHEDULES
    from simulator.exploring.search import GUIDED, MIXED

    assert set(_SEARCHED) == {*SCHEDULES, GUIDED, MIXED}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_number_of_workers_changes_nothing(program, capsys, workers):
    """One is this process."""
    assert main(["explore", f"{program}:fails", "--seeds", "0:10", "--workers", workers]) == 1
    assert capsys.readouterr().out.startswith(f"seed 4 fails: AssertionError at {program}:")


def test_overdue_runs_are_told(program, capsys):
    """A search without a failure says how many were late for a time limit, which lateness alone makes them."""
    Path(program).write_text("def program(sim):\n    sim.sleep(1)\n    if sim.now > 1:\n        raise TimeoutError\n")
    assert main(["explore", f"{program}:program", "--seeds", "40", "--schedule", "late", "--workers", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("none of 40 seeds fails, but ")
    assert "of them passed a time limit by lateness and ended with that: " in line
    counting = ["--seeds", "40", "--schedule", "late", "--workers", "1", "--count-overdue"]
    assert main(["explore", f"{program}:program", *counting]) == 1
    assert "fails: TimeoutError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "which program?"),
        (["--resume", "kept.json", "--seeds", "3"], "leave out seeds"),
        (["--resume", "kept.json", "a.py:b", "--latency", "1"], "leave out program, latency"),
        (["--resume", "kept.json", "--service", "1", "--service", "participants=1"], "leave out service"),
        (["--workers", "0", "a.py:b"], "--workers"),
    ],
)
def test_search_that_makes_no_sense_is_a_usage_error(program, capsys, arguments, text):
    """Nothing is run."""
    with pytest.raises(SystemExit) as stopped:
        main(["explore", *arguments])
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


def test_file_to_go_on_from_has_to_be_there(program, capsys):
    """Status 2, in one sentence."""
    assert main(["explore", "--resume", "nothing.json"]) == 2
    assert capsys.readouterr().err == "simulator: nothing.json cannot be read: No such file or directory\n"
