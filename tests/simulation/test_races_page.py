"""The program in ``docs/races.md`` runs as it stands there, and shows what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "races.md").read_text(encoding="utf-8")


def test_program_of_the_page_finds_the_lost_update(capsys: pytest.CaptureFixture[str]) -> None:
    """By its assertion, and by one step alone: the end of the sleep between reading and writing."""
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(program, "docs/races.md", "exec"), {"__name__": "races"})
    printed = capsys.readouterr().out
    assert re.fullmatch(r"AssertionError \(Late\(who='main/(ann|tom)', step=1, by=\d+, kind='sleep'\),\)\n", printed)


def test_the_picture_of_the_page_shows_the_race() -> None:
    """The step that is late, the message that came meanwhile, and the failure."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    from tools.draw_race import DOCS, draw

    said = [text.get_text() for text in draw().texts]
    pyplot.close("all")
    assert any(re.fullmatch(r"main/ann is 0.261 s late at its sleep 1", text) for text in said), said
    assert any(text.startswith("fails: AssertionError, at races.md") for text in said), said
    assert said.count("deposit") == 2
    assert (DOCS / "race.png").is_file()
