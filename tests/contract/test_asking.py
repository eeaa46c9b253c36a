"""Questions and answers are the same on real sockets and on the virtual clock."""

from __future__ import annotations

import pytest

from simulator import Emulator, latency
from tests.contract.asking_program import Sum, program
from tests.support.worlds import simulated


def test_a_program_observes_the_same_in_both_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, refusals, failures, time-outs, models, and questions within handlers."""
    with Emulator() as emulator, monkeypatch.context() as patch:
        for name, value in emulator.env.items():
            patch.setenv(name, value)
        real = program("demo")
    for seed, schedule in enumerate(["fifo", "random", "pct"]):
        with simulated(seed, latency=latency.lognormal(0.01, 0.5), schedule=schedule):
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


def test_runs_of_one_seed_are_the_same() -> None:
    """Down to the bytes on the links, whatever the hash seed; see the tests of determinism for others."""
    digests = []
    for _ in range(2):
        with simulated(11, latency=latency.uniform(0.001, 0.05), schedule="random") as sim:
            program("demo")
            digests.append(sim.room("demo").transcript.digest())
    assert digests[0] == digests[1]
