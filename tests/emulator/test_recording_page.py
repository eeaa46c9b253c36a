"""The page ``docs/recording.md``: its blocks are run in their order, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import Transcript
from simulator.record.records import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recording.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PATIENCE = 120.0
"""Seconds for one block."""


def test_every_block_runs_as_it_is(tmp_path: Path) -> None:
    """Commands by a shell, programs by Python, and the file's lines make a file."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    printed = []
    for number, (language, text) in enumerate(BLOCKS):
        if language == "json":
            (tmp_path / "page.jsonl").write_text(text)
            continue
        (tmp_path / f"block{number}").write_text(text)
        command = ["sh", "-eu"] if language == "sh" else [sys.executable]
        done = subprocess.run(
            [*command, f"block{number}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        printed.append(done.stdout)
    assert [language for language, _ in BLOCKS] == ["sh", "python", "python", "python", "json"]
    assert "ada bob {'password': '[redacted]', 'text': 'hello'} b'123'" in printed[1]
    page = Transcript.load(tmp_path / "page.jsonl")
    assert [record.recipient for record in page.messages()] == ["bob", "eve"]
    assert not page.is_complete


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_its_table(kind: str) -> None:
    """A new one has to be explained."""
    assert re.search(rf"^\|[^|]*`{kind}`", PAGE, re.MULTILINE)
