"""One program, unchanged, on the emulator and in a simulation: it observes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Emulator, latency
from tests.simulation import two_worlds_program
from tests.simulation.worlds import simulated

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
    """Messages, attachments, attributes, errors, time-outs and a lost peer: the whole list is equal."""
    real = on_the_emulator(monkeypatch)
    assert in_a_simulation() == real
    assert in_a_simulation(seed=3, latency=latency.lognormal(0.02, 0.5)) == real
    assert len(real) > 20


def test_what_it_observes_is_what_the_documentation_says() -> None:
    """A literal, so that both worlds cannot go wrong together."""
    seen = in_a_simulation()
    assert [observation for observation in seen if observation[0] in ("cyd", "cyd hears", "guest")] == [
        ("cyd", "news", 70_000),
        ("cyd", "error", "ClientClosed", None, False, False),
        ("cyd hears", "message", "ada", "news", {"headline": "ünïcode ✓", "items": [1, 2.5, None, True]}, 70_000),
        ("guest", "the guest sees", ["ada", "ben"], "demo", "agent"),
    ]
