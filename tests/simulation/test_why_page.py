"""The programs in docs/why.md run, print what stands there, and draw its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.programs import run_programs

PAGE = Path(__file__).parents[2] / "docs" / "why.md"


def test_the_page_prints_what_it_says_and_draws_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its blocks, in order."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    ((printed, expected),) = run_programs(PAGE)
    assert fits(printed, expected), printed
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert (PAGE.parent / "why.png").is_file()
