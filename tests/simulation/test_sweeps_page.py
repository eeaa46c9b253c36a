"""The page ``docs/sweeps.md``: its blocks are run in their order, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import fits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.timeout(300)  # processes that start, under whatever else the machine does


def test_every_block_runs_as_it_is(tmp_path: Path) -> None:
    """Commands by a shell, programs by Python; what they print is what the page shows."""
    pytest.importorskip("distributed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    printed, shown = [], []
    for number, (language, text) in enumerate(BLOCKS):
        if language == "text":
            shown.append(fits(printed[-1], text))
            continue
        (tmp_path / f"block{number}.py").write_text(text)
        done = subprocess.run(
            [*(["sh", "-eu"] if language == "sh" else [sys.executable]), f"block{number}.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    assert [language for language, _ in BLOCKS] == ["sh", "sh", "text", "python", "sh", "text"]
    assert shown == [True, True], printed
    assert re.fullmatch(r"\d+ sold to (ada|bob) and (ada|bob)\n", printed[2])
