"""The comparison of a type checker with what is marked as wrong; and mypy, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import wrong_lines
from tools.wrong_lines import LINES, marked, reported


def test_marked_lines_are_found() -> None:
    """Those that end with the mark; there are about fifty."""
    assert marked("one\ntwo  # wrong\n# wrong is no mark here, is it?\n") == {2}
    assert len(marked(LINES.read_text(encoding="utf-8"))) >= 45


def test_mypy_sees_each_wrong_line_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the calls that programs make."""
    pytest.importorskip("mypy")  # which the environment `types` has
    assert wrong_lines.main(["mypy"]) == 0, capsys.readouterr().out


def test_differences_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong line that is not seen, and a right one that is."""
    file = tmp_path / "few.py"
    file.write_text("a: int = 1  # wrong\nb: int = ''\n", encoding="utf-8")
    monkeypatch.setattr(wrong_lines, "LINES", file)
    monkeypatch.setattr(wrong_lines, "reported", lambda checker: {2: "Incompatible types"})
    assert wrong_lines.main(["mypy"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "few.py:1: mypy does not see that this is wrong",
        "few.py:2: mypy says of a right line: Incompatible types",
        "mypy sees 0 of 1 wrong lines",
    ]


def test_a_checker_that_cannot_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no list without faults."""
    monkeypatch.setitem(wrong_lines.COMMANDS, "no_such_checker", ())
    with pytest.raises(RuntimeError, match="no_such_checker failed"):
        reported("no_such_checker", tmp_path)
