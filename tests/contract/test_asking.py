"""Questions and answers are the same on real sockets and on the virtual clock."""

from __future__ import annotations

import pytest

from simulator import Emulator, Simulation, check, latency
from tests.contract.asking_program import Sum, program
from tests.support.worlds import simulated


def test_a_program_observes_the_same_in_both_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, refusals, failures, time-outs, models, and questions within handlers."""
    with Emulator() as emulator, monkeypatch.context() as patch:
        for name, value in emulator.env.items():
            patch.setenv(name, value)
        real = program("demo")
    for seed, schedule in enumerate(["fifo", "random", "pct"]):
        with simulated(seed, latency=latency.lognormal(0.01, 0.5), schedule=schedule, failing_receivers="log"):
            assert program("demo") == real
    place = "tests.contract.asking_program.Add: message['numbers']: Input should be a valid array"
    assert real == [
        ("sum", {"sum": 3}, 0),
        ("size", {"size": 70_000}, 70_000),
        ("measure", {"size": 0}, 0),
        ("RequestRefused", "nothing to add", False),
        ("RequestFailed", "'ben' failed at the question 'sum'", False),
        (
            "RequestRefused",
            "'ben' has no handler for questions of type 'product'; "
            "its handlers are for 'Add', 'forward', 'size', 'sum'",
            False,
        ),
        (
            "ReceiveTimeout",
            "the question 'never' to 'ben' was not answered within 0.3 s: it has it; give a longer timeout= if the "
            "answer takes longer",
            False,
        ),
        ("telling", {"told": True}, 0),
        ("forward", {"sum": 9}, 0),
        ("telling", {"told": True}, 0),
        ("Sum", {"value": 6}, 0),
        ("typed", Sum(7)),
        ("RequestRefused", place, False),
        ("all", [("ben", 1), ("cyd", 1)]),
        real[-1],
    ]
    assert real[-1][0] == "SendTimeout"


def asked(sim: Simulation) -> None:
    """Run the program in a simulation."""
    sim.failing_receivers = "log"  # One of its handlers fails, and is meant to.
    program("demo")


@pytest.mark.parametrize("schedule", ["fifo", "random", "late"])
def test_runs_of_one_seed_are_the_same(schedule: str) -> None:
    """Down to the bytes on the links, in another process with another hash seed."""
    checked = check(asked, seed=11, latency=latency.uniform(0.001, 0.05), schedule=schedule, report=None)
    assert "process" in checked.how
