"""The programs in README.md run, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshsync import StreamRejected
from tests.support.worlds import simulated

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def programs(section: str) -> list[str]:
    """Return the Python in a section."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(program: str, name: str) -> None:
    """Run a program here."""
    exec(compile(program, f"README.md, {name}", "exec"), {"__name__": name})


def test_a_room_on_your_own_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Alice and her bot, without a machine of their own."""
    alice, bot, *_ = programs("A room on your own machine")
    with simulated(latency=0.05) as sim:
        sim.spawn(run, bot, "bot")
        sim.sleep(1)
        sim.spawn(run, alice, "alice").join()
        announcement = [record.recipient for record in sim.room("support").transcript.messages("announcement")]
    assert capsys.readouterr().out == "{'you said': 'hi'}\n"
    assert announcement == ["bot"]


def test_an_order_that_must_not_be_lost() -> None:
    """The bot's client confirms it."""
    _, bot, order, *_ = programs("A room on your own machine")
    with simulated(latency=0.05) as sim:
        sim.spawn(run, bot, "bot")
        sim.sleep(1)
        sim.spawn(run, order, "order").join()
        (sent,) = sim.room("support").transcript.messages("order")
    assert (sent.recipient, sent.outcome) == ("bot", "delivered")


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """Bob gets the tune whole; what is no tune is rejected, with his reason."""
    alice, bob = programs("Streams")
    with simulated(latency=0.05) as sim:
        sim.spawn(run, bob, "bob")
        sim.spawn(run, alice, "alice").join()
        with pytest.raises(StreamRejected, match="only tunes, please"):
            run(alice.replace("tune.wav", "virus.exe"), "alice")
    assert capsys.readouterr().out == "tune.wav of alice: 6,553,600 bytes\n"


def test_a_simulated_room(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a chart and a digest."""
    program, _ = programs("A simulated room")
    run(program, "a simulated room")
    summary, *chart, digest = capsys.readouterr().out.splitlines()
    assert summary == "support (seed 7): 2 participants, 10 messages, 1 fault"
    assert sum("  ask (" in line for line in chart) == 10
    assert re.fullmatch("[0-9a-f]{64}", digest)
