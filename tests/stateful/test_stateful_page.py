"""The programs in docs/stateful.md run, and print what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.programs import run_programs

PAGE = Path(__file__).parents[2] / "docs" / "stateful.md"


@pytest.mark.timeout(300)  # Making a failure small takes hundreds of runs.
def test_the_page_prints_what_it_says() -> None:
    """All of its blocks, in order: a lost update is found and made small, and its repaired twin passes."""
    results = run_programs(PAGE)
    assert len(results) == 2
    for printed, expected in results:
        assert fits(printed, expected), printed
