"""The programs in docs/latency.md run, and print what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.programs import run_programs

PAGE = Path(__file__).parents[2] / "docs" / "latency.md"


@pytest.mark.timeout(180)  # It computes for 15 s, on a processor of its own.
def test_the_page_prints_what_it_says() -> None:
    """All of its blocks, in order; the figures are those of the seed."""
    results = run_programs(PAGE)
    assert len(results) == 5
    for printed, expected in results:
        assert fits(printed, expected), printed
