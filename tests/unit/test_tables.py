"""Tables in pages of the documentation, held against what they list."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from meshsync.cli.exits import ExitCode
from meshsync.cli.main import main
from simulator import Transcript
from simulator.record.records import KINDS

DOCS = Path(__file__).parents[2] / "docs"
COMMAND_LINE = (DOCS / "command-line.md").read_text(encoding="utf-8")
RECORDING = (DOCS / "recording.md").read_text(encoding="utf-8")


def test_page_has_every_command_and_option() -> None:
    """By name, somewhere in it."""
    for name, command in main.commands.items():
        assert f"`{name}" in COMMAND_LINE or f"meshsync {name}" in COMMAND_LINE, name
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for option in (option for found in inner for option in found.params if isinstance(option, click.Option)):
            long = [text for text in (*option.opts, *option.secondary_opts) if text.startswith("--")]
            assert any(text in COMMAND_LINE for text in (*long, *option.opts)), long


def test_page_has_every_exit_code() -> None:
    """In its table."""
    section = COMMAND_LINE.partition("## Exit status")[2]
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \|| {int(code)} ", section, re.MULTILINE), code


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_record_is_in_its_table(kind: str) -> None:
    """A new one has to be explained."""
    assert re.search(rf"^\|[^|]*`{kind}`", RECORDING, re.MULTILINE)


def test_the_lines_of_a_record_make_a_file(tmp_path: Path) -> None:
    """Those that the page shows."""
    (lines,) = re.findall(r"^```json\n(.*?)^```", RECORDING, re.MULTILINE | re.DOTALL)
    (tmp_path / "page.jsonl").write_text(lines, encoding="utf-8")
    page = Transcript.load(tmp_path / "page.jsonl")
    assert [record.recipient for record in page.messages()] == ["bob", "eve"]
    assert not page.is_complete
