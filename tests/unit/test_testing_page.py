"""The tests in docs/testing.md run, each as it stands there, and the one that is to fail prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.pytest_runs import run_here

pytestmark = pytest.mark.timeout(300)

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_tests_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """All pass but the last, whose report has the section that the page shows."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "text"}
    files = {}
    for language, text in blocks:
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", text)
            assert name is not None, text
            files[name[1]] = text
    assert len(files) == 6
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    printed = run_here(tmp_path, "-p", "no:randomly")
    assert re.search(r"^1 failed, 10 passed in", printed, re.MULTILINE), printed
    (shown,) = (text for language, text in blocks if language == "text")
    begin = printed.index(shown.splitlines()[0])
    end = printed.index("===", begin)
    assert fits(printed[begin:end], shown), printed[begin:end]
