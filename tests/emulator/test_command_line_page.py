"""The page ``docs/command-line.md``, run as it is, and its tables held against the command."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click
import pytest

from meshsync.cli.exits import ExitCode
from meshsync.cli.main import main
from tests.support.finding import places
from tests.support.pages import fits, read_steps, run_steps

__all__ = ["places"]

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script ``meshsync`` in the path, as an installation does."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "meshsync"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m meshsync "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("script")
@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_page_does_what_it_says(places: Path, tmp_path: Path) -> None:
    """Each block of commands prints the text below it, and nothing of it is left running."""
    steps = list(read_steps(PAGE))
    for step, printed in zip(steps, run_steps(steps, tmp_path / "empty"), strict=True):
        if step.output is not None:
            assert fits(printed, step.output), f"{step.commands}\nprints\n{printed}\nand not\n{step.output}"
    assert list(places.iterdir()) == []


def test_page_has_every_command_and_option() -> None:
    """By name, somewhere in it."""
    for name, command in main.commands.items():
        assert f"`{name}" in PAGE or f"meshsync {name}" in PAGE, name
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for option in (option for found in inner for option in found.params if isinstance(option, click.Option)):
            long = [text for text in (*option.opts, *option.secondary_opts) if text.startswith("--")]
            assert any(text in PAGE for text in (*long, *option.opts)), long


def test_page_has_every_exit_code() -> None:
    """In its table."""
    section = PAGE.partition("## Exit status")[2]
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \|| {int(code)} ", section, re.MULTILINE), code
