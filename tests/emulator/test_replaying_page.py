"""The page ``docs/replaying.md``, run as it is: every command, in one shell, in an empty directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulator.test_walkthrough import ROOT, fits, read_steps, run_steps

PAGE = (ROOT / "docs" / "replaying.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of commands prints the text below it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    steps = list(read_steps(PAGE))
    for step, printed in zip(steps, run_steps(steps, tmp_path / "empty"), strict=True):
        if step.output is not None:
            assert fits(printed, step.output), f"{step.commands}\nprints\n{printed}\nand not\n{step.output}"
    assert len(steps) == 8
