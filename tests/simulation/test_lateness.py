"""Races across time: found, made small, repeated; and what lateness leaves as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshsync
from simulator import Simulation, latency, participants
from simulator.engine.kernel import SECOND
from simulator.engine.lateness import Lateness, LateSchedule, PilotSchedule
from simulator.engine.seeds import Seeds
from simulator.exploring.exploration import explore, replay
from simulator.exploring.runs import Case, Run, run

LAW = latency.lognormal(median=0.02, sigma=0.4)


def lost_update(sim: Simulation) -> None:
    """Two tellers read, work for 30 ms and write, a quarter of a second apart."""
    room = sim.room("bank")
    office = room.join("office", enable=True)
    balance = {"now": 0}

    def teller(name: str, amount: int) -> None:
        with meshsync.connect("bank", name=name) as client, client.messaging.messages("deposit") as deposits:
            client.messaging.enable()
            deposits.get()
            before = balance["now"]
            meshsync.sleep(0.03)
            balance["now"] = before + amount

    tasks = [sim.spawn(teller, name, amount, name=name) for name, amount in (("ann", 10), ("tom", 20))]
    for name in ("ann", "tom"):
        office.messaging.send_message(office.messaging.wait_for_participant(name=name), "deposit", {})
        meshsync.sleep(0.25)
    for task in tasks:
        task.join()
    assert balance["now"] == 30


def impatient(sim: Simulation) -> None:
    """Wait half a second for an answer that takes a tenth."""
    room = sim.room("demo")
    room.add(participants.Echo("bot"))
    alice = room.join("alice", enable=True)
    bot = alice.messaging.wait_for_participant(name="bot")
    with alice.messaging.messages("ask") as answers:
        alice.messaging.send_message(bot, "ask", {})
        answers.get(timeout=0.5)


def quietly(program, seeds, **options):
    """Explore without a file and a report."""
    return explore(program, seeds, latency=LAW, save=None, report=None, **options)


def test_race_across_time_is_found_made_small_and_named(tmp_path: Path) -> None:
    """Another order within an instant finds nothing; one late step is left, with what it came too late for."""
    assert quietly(lost_update, range(60), schedule="random") is None
    failure = explore(lost_update, range(300), schedule="late", latency=LAW, save=tmp_path / "kept.json", report=None)
    assert failure is not None
    assert "test_lateness.py" in failure.symptom.place
    assert 'assert balance["now"] == 30' in failure.symptom.source
    assert 1 <= len(failure.lates) <= 2 and failure.deviations == ()
    assert failure.delays[0].late == failure.lates[0]
    text = str(failure)
    assert f"needs {len(failure.lates)} of {len(failure.found.lates)} late steps: " in text
    assert (" s late at " in text and " after 'message" in text) or " after '" in text

    again = replay(tmp_path / "kept.json", program=lost_update)
    assert again.is_same and again.is_identical
    case = Case.from_json(json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))["case"])
    assert case == failure.run.case


def test_default_mix_finds_it() -> None:
    """Three seeds of four are late."""
    failure = quietly(lost_update, range(400))
    assert failure is not None and failure.lates


@pytest.mark.parametrize("program", [lost_update, impatient])
def test_pilot_changes_nothing(program) -> None:
    """A run under it is the run of first-in-first-out, to the byte."""
    plain = run(program, Case(7, latency=LAW))
    assert run(program, Case(7, latency=LAW), schedule=PilotSchedule()).digests == plain.digests


def late_run(program, seed: int, lateness: Lateness) -> Run:
    """Run with a lateness that is given."""
    return run(program, Case(seed, latency=LAW), schedule=LateSchedule(Seeds(seed).stream("lateness"), lateness))


def test_late_run_is_repeated_to_the_byte() -> None:
    """By what was recorded alone, without drawing again."""
    for seed in range(5):
        first = late_run(lost_update, seed, Lateness(0.5, SECOND))
        again = run(lost_update, first.case)
        assert first.lates
        assert (again.digests, again.symptom, again.lates) == (first.digests, first.symptom, first.lates)


def numbered(sim: Simulation) -> None:
    """Send fifty messages, and expect them in order."""
    room = sim.room("demo")
    alice, bob = room.join("alice", enable=True), room.join("bob", enable=True)
    to = alice.messaging.wait_for_participant(name="bob")
    with bob.messaging.messages("n") as numbers:
        for number in range(50):
            alice.messaging.send_message_nowait(to, "n", {"n": number})
        assert [numbers.get().message["n"] for _ in range(50)] == list(range(50))


def test_order_within_a_connection_stays() -> None:
    """A late delivery delays all behind it."""
    for seed in range(5):
        made = late_run(numbered, seed, Lateness(0.5, SECOND))
        assert (made.error, len(made.lates) > 20) == (None, True)


def idle(sim: Simulation) -> None:
    """Be connected, and do nothing for an hour."""
    alice = sim.room("demo").join("alice", reconnect=False, timeout=None)
    sim.sleep(3600)
    assert alice.is_connected


def test_heartbeats_are_never_late() -> None:
    """Every other step of the program is late by up to a minute and a half, and no peer is taken for dead."""
    made = late_run(idle, 1, Lateness(0.5, 60 * SECOND, "program"))
    assert (made.error, bool(made.lates)) == (None, True)


@pytest.mark.parametrize("is_counted", [False, True])
def test_time_limit_that_lateness_passes_is_told_apart(is_counted: bool) -> None:
    """Such runs are no failure, and are reported, unless they are to count."""
    reports: list[str] = []
    failure = explore(
        impatient,
        range(100),
        schedule="late",
        latency=LAW,
        save=None,
        report=reports.append,
        count_overdue=is_counted,
        shrinking=30,
    )
    if is_counted:
        assert failure is not None and isinstance(failure.error, TimeoutError)
    else:
        assert failure is None
        assert "passed a time limit by lateness and ended with that: " in reports[0]
