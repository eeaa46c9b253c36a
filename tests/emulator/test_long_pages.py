"""The pages of the documentation that take longest, run as the others are in `test_pages.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.emulator.test_pages import LONG, check_page
from tests.support.finding import places

__all__ = ["places"]


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("name", LONG)
def test_page_does_what_it_says(name: str, places: Path, tmp_path: Path) -> None:
    """Each block prints the text below it, and nothing of the page is left running."""
    check_page(name, places, tmp_path)
