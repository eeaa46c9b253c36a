"""The tests in docs/testing.md run, each as it stands there, and those that are to fail print what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import fits
from tests.support.pytest_runs import run_here

pytestmark = pytest.mark.timeout(300)

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_tests_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """All pass but two, whose reports have what the page shows."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "text"}
    files = {}
    for language, text in blocks:
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", text)
            assert name is not None, text
            files[name[1]] = text
    assert len(files) == 8
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    printed = run_here(tmp_path, "-p", "no:randomly")
    assert re.search(r"^2 failed, 12 passed in", printed, re.MULTILINE), printed
    section, report = (text for language, text in blocks if language == "text")
    for shown, end in [(section, "___"), (report, "---")]:
        begin = printed.index(shown.splitlines()[0])
        found = printed[begin : printed.index(end, begin + len(shown.splitlines()[0]))]
        assert fits(found, shown), found
