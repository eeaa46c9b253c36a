"""The page ``docs/walkthrough.md``, run as it is: every command, in one shell, in an empty directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.finding import places
from tests.support.pages import fits, read_steps, run_steps

__all__ = ["places"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "walkthrough.md"


@pytest.mark.parametrize(
    ("printed", "output", "is_so"),
    [
        ("a (b)\n", "a (b)\n", True),
        ("a (c)\n", "a (b)\n", False),
        ("1 passed in 0.3s\n", "1 passed in …\n", True),
        ("1 passed in 0.3s\nmore\n", "1 passed in …\n", False),
        ("a\nb\nc\nd\n", "a\n…\nd\n", True),
        ("a\nd\n", "a\n…\nd\n", True),
        ("a\nb\nc\n", "a\n…\nd\n", False),
    ],
)
def test_text_of_a_page_stands_for_what_is_printed(printed: str, output: str, is_so: bool) -> None:
    """Otherwise the test below could not fail."""
    assert fits(printed, output) is is_so


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_page_does_what_it_says(places: Path, tmp_path: Path) -> None:
    """Each block of commands prints the text below it, and nothing of it is left running."""
    steps = list(read_steps(PAGE.read_text(encoding="utf-8")))
    for step, printed in zip(steps, run_steps(steps, tmp_path / "empty"), strict=True):
        if step.output is not None:
            assert fits(printed, step.output), f"{step.commands}\nprints\n{printed}\nand not\n{step.output}"
    assert list(places.iterdir()) == []
