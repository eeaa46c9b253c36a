"""The programs in docs/asking.md and docs/typed.md run, and print what stands there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.programs import run_programs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "blocks"), [("asking.md", 7), ("typed.md", 5)])
def test_the_pages_print_what_they_say(page: str, blocks: int) -> None:
    """All of their blocks, in order."""
    logger = logging.getLogger("meshsync")
    level = logger.level
    try:
        results = run_programs(DOCS / page)
    finally:
        logger.setLevel(level)
    assert len(results) == blocks
    for printed, expected in results:
        assert fits(printed, expected), printed
