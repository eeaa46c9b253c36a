"""The programs in docs/lives.md run, and print what stands there."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import fits
from tests.support.programs import run_programs

PAGE = Path(__file__).parents[2] / "docs" / "lives.md"


def test_the_page_prints_what_it_says() -> None:
    """All of its blocks, in order."""
    results = run_programs(PAGE)
    assert len(results) == 4
    for printed, expected in results:
        assert fits(printed, expected), printed
