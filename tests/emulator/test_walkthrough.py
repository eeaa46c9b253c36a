"""The page ``docs/walkthrough.md``, run as it is: every command, in one shell, in an empty directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.finding import places

__all__ = ["places"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "walkthrough.md"
PATIENCE = 120.0
"""The longest time that all commands together may take, in seconds."""
MARK = "----- the end of step"


@dataclass(frozen=True, slots=True)
class Step:
    """Commands, and what the page says that they print; None if it says nothing."""

    commands: str
    output: str | None


def read_steps(page: str) -> Iterator[Step]:
    """Yield the blocks of commands of a page, each with the block of text that follows it."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for (language, commands), (following, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        assert language in ("sh", "text"), f"a block of {language} is run by no test"
        if language == "sh":
            yield Step(commands, text if following == "text" else None)


def run_steps(steps: list[Step], directory: Path) -> list[str]:
    """Run commands in one shell, and return what each step has printed.

    Raises:
        AssertionError: If a command fails, or a process is not ended by the page.
    """
    script = "set -eu\n" + "".join(f"{step.commands}\nprintf '\\n%s\\n' '{MARK}'\n" for step in steps)
    directory.mkdir()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        ["sh", "-c", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            # Whatever goes on in the background holds the pipe open.
            output, errors = shell.communicate(timeout=PATIENCE)
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
                was_left = True
            except ProcessLookupError:
                was_left = False
    printed = output.split(f"\n{MARK}\n")
    assert (shell.returncode, len(printed)) == (0, len(steps) + 1), f"{output}\n\n{errors}"
    assert not was_left, "the page leaves a process behind"
    return printed[:-1]


def fits(printed: str, output: str) -> bool:
    """Return whether what was printed is what a page shows.

    An ellipsis there stands for any text, and on a line of its own for any lines.
    """
    lines = output.strip().splitlines()
    pattern = "".join(r"(.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    return re.fullmatch(pattern, f"{printed.strip()}\n") is not None


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
