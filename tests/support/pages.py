"""Pages of the documentation, run as they are: every block of commands, in one shell, in an empty directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Step", "fits", "read_steps", "run_steps"]

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
    # Into files: what goes on in the background would hold a pipe open.
    printed, logged = directory.with_suffix(".out"), directory.with_suffix(".err")
    with printed.open("w") as out, logged.open("w") as errors:
        command = ["sh", "-c", script]
        shell = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = shell.wait(PATIENCE)
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
                was_left = True
            except ProcessLookupError:
                was_left = False
            shell.wait()
    parts = printed.read_text(encoding="utf-8").split(f"\n{MARK}\n")
    assert (status, len(parts)) == (0, len(steps) + 1), f"{parts[-1]}\n\n{logged.read_text(encoding='utf-8')}"
    assert not was_left, "the page leaves a process behind"
    return parts[:-1]


def fits(printed: str, output: str) -> bool:
    """Return whether what was printed is what a page shows.

    An ellipsis there stands for any text, and on a line of its own for any lines.
    """
    lines = output.strip().splitlines()
    pattern = "".join(r"(.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    return re.fullmatch(pattern, f"{printed.strip()}\n") is not None
