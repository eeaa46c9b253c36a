"""The programs in README.md run, as they stand there; those of two agents are run by tests/emulator/test_readme.py."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.pages import Step, read_blocks, run_steps

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


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_a_test(tmp_path: Path) -> None:
    """It passes with each of its seeds."""
    step = Step(f"cat > test_it.py <<'END'\n{TEST}END\npython -m pytest -q test_it.py | tail -n 1", None)
    (printed,) = run_steps([step], tmp_path / "empty")
    assert printed.startswith("20 passed in ")
