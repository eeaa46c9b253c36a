"""One program, unchanged, on the emulator and in a simulation: it observes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Emulator, latency
from tests.simulation import two_worlds_program
from tests.support.worlds import simulated

Observations = list[two_worlds_program.Observation]


def on_the_emulator(monkeypatch: pytest.MonkeyPatch) -> Observations:
    """Run the program on real sockets and threads."""
    with Emulator() as emulator, monkeypatch.context() as patch:
        for name, value in emulator.env.items():
            patch.setenv(name, value)
        return two_worlds_program.program("demo")


def in_a_simulation(**options: object) -> Observations:
    """Run the program on a virtual clock."""
    with simulated(**options) as _:  # type: ignore[arg-type]
        return two_worlds_program.program("demo")


def test_the_program_knows_nothing_of_simulations() -> None:
    """Its file never speaks of the simulator's package."""
    source = Path(two_worlds_program.__file__).read_text(encoding="utf-8")
    assert "import simulator" not in source and "from simulator" not in source


def test_a_program_observes_the_same_in_both_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages, attachments, attributes, streams, errors, time-outs and a lost peer: the whole list is equal."""
    real = on_the_emulator(monkeypatch)
    assert in_a_simulation() == real
    for seed, schedule in enumerate(["fifo", "random", "pct"] * 3):
        assert in_a_simulation(seed=seed, latency=latency.lognormal(0.02, 0.5), schedule=schedule) == real
    assert len(real) > 50


def test_what_it_observes_is_what_the_documentation_says() -> None:
    """A literal, so that both worlds cannot go wrong together."""
    seen = in_a_simulation()
    assert [observation for observation in seen if observation[0] in ("cyd", "ben serves", "guest")] == [
        ("cyd", "news", 70_000),
        ("cyd", "has read", True),
        ("cyd", "error", "StreamInterrupted", None, False, False),
        ("cyd", "error", "ClientClosed", None, False, False),
        ("ben serves", "rejects", "ada"),
        ("ben serves", "chunks", "ada", [({"number": 0}, 3), ({"number": 1}, 0), ({"number": 2}, 100_000)]),
        ("ben serves", "has read", b"more"),
        ("ben serves", "has read", b"so far", interrupted("ada ended the stream early: changed my mind")),
        ("ben serves", "has read", b"from cyd", interrupted("cyd has left")),
        ("guest", "the guest sees", ["ada", "ben"], "demo", "agent"),
    ]
    errors = [observation[2:4] for observation in seen if observation[:2] == ("ada", "error")]
    assert [error for error in errors if str(error[0]).startswith("Stream")] == [
        (
            "StreamRejected",
            "Streams are not allowed by this client: the program of 'cyd' takes none until it calls "
            "messaging.enable(callback), or messaging.streams() to iterate over them",
        ),
        ("StreamRejected", "not today"),
        ("StreamCancelled", "ben ended the stream early: enough"),
        ("StreamInterrupted", "cyd has left"),
    ]


def interrupted(text: str) -> two_worlds_program.Observation:
    """Return what is noted of a stream that was cut off while the connection is fine."""
    return ("error", "StreamInterrupted", text, False, True)
