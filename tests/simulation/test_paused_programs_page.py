"""The programs in docs/paused-programs.md run, and print what stands there."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import fits
from tests.support.programs import run_programs

PAGE = Path(__file__).parents[2] / "docs" / "paused-programs.md"


def test_the_page_prints_what_it_says() -> None:
    """A pause between looking and writing is found, and without one all is written."""
    ((printed, expected),) = run_programs(PAGE)
    assert fits(printed, expected), printed
