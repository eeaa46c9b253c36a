"""The programs in README.md run, as they stand there; those of two agents are run by tests/emulator/test_readme.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import read_blocks

ROOT = Path(__file__).parents[2]
AGENTS = ("examples/bot.py", "examples/alice.py")
SIMULATED, TEST = (
    block.text
    for block in read_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    if block.language == "python" and block.file not in AGENTS
)


def test_a_simulated_room(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a chart and a digest."""
    exec(compile(SIMULATED, "README.md", "exec"), {"__name__": "README"})
    summary, *chart, digest = capsys.readouterr().out.splitlines()
    assert summary == "support (seed 7): 2 participants, 10 messages, 1 fault"
    assert sum("  ask (" in line for line in chart) == 10
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_a_test(pytester: pytest.Pytester) -> None:
    """It passes with each of its seeds."""
    pytester.makepyfile(TEST)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=20)
