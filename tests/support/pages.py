"""Pages of the documentation, run as they are in an empty directory, and what they print compared with what they show.

On a page with blocks of ``sh`` these run in one shell, in their order; a block of ``python`` between them is a program
of its own. On a page without, the blocks of ``python`` are one program in pieces, which share their names. A block of
``text`` or ``json`` right below one that runs is what that prints, and elsewhere an illustration. A comment above a
block, or anywhere for the page, changes that:

``<!-- file: bot.py -->``
    The block is written to that file at this point, and not run.
``<!-- not run: REASON -->``
    The block is not run; a test has the list of all such blocks.
``<!-- page: needs matplotlib -->``
    A library that not every environment has.

The programs of a page that gives the command `EMULATED` in its text are run by it, as their reader is told to. What a
comment says a reader sees nothing of: `left_unsaid` returns what the text beside it lacks.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

__all__ = [
    "EMULATED",
    "Block",
    "Ran",
    "Step",
    "fits",
    "left_unsaid",
    "needs",
    "read_blocks",
    "read_steps",
    "run_page",
    "run_steps",
]

from tools.reference import pytest_plugin

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""The longest time that all commands together may take, in seconds."""
ENDING = 10.0
"""The longest time that what the page has ended may take to do so, in seconds."""
MARK = "----- the end of step"
EMULATED = "python -m simulator exec -- python page.py"
"""What runs the programs of a page, copied into one file, in rooms of an emulator."""
SHOWN = ("text", "json")
"""Languages of what is printed, or only shown."""
_BLOCK = re.compile(r"(?:^<!-- (file|not run): (.*?) -->\n+)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"^<!-- page: needs (.*?) -->$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code on a page."""

    language: str
    text: str
    file: str = ""
    """The file it is written to, if it is not run."""
    reason: str = ""
    """Why it is not run."""
    output: str | None = None
    """What the page says that it prints; None if it says nothing."""

    @property
    def runs(self) -> bool:
        """Whether it is code that runs where it stands."""
        return self.language not in SHOWN and not self.file and not self.reason


@dataclass(frozen=True, slots=True)
class Step:
    """Commands, and what the page says that they print; None if it says nothing."""

    commands: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Ran:
    """A block that ran, and what it printed."""

    block: Block
    printed: str

    @property
    def fits(self) -> bool:
        """Whether that is what the page shows."""
        return self.block.output is None or fits(self.printed, self.block.output)


def read_blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order, what is printed with the block that prints it.

    Raises:
        AssertionError: If there is a block in a language that no test runs.
    """
    blocks: list[Block] = []
    end = -1
    for match in _BLOCK.finditer(page):
        mark, value, language, text = match.groups()
        assert language in ("sh", "python", *SHOWN) or mark, f"a block of {language} is run by no test"
        is_below = not mark and page[end : match.start()].strip() == "" and end > 0
        if language in SHOWN and is_below and blocks[-1].runs:
            last = blocks.pop()
            blocks.append(Block(last.language, last.text, output=text))
        else:
            file, reason = (value if mark == kind else "" for kind in ("file", "not run"))
            blocks.append(Block(language, text, file=file, reason=reason))
        end = match.end()
    return blocks


def read_steps(page: str) -> Iterator[Step]:
    """Yield the blocks of commands of a page, each with the block of text that follows it."""
    for block in read_blocks(page):
        assert block.language == "sh", f"a block of {block.language} is no command"
        yield Step(block.text, block.output)


def needs(page: str) -> list[str]:
    """Return the libraries without which a page cannot run."""
    return _NEEDS.findall(page)


def left_unsaid(page: str, extras: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what the comments of a page say and its text does not: names of files and libraries, in their order.

    A file is to be named right above its block, a library, or an extra of ours that has it, anywhere outside blocks.

    Args:
        page: Its text.
        extras: By the names of extras the libraries that they bring.
    """
    prose = re.sub(r"\s+", " ", _COMMENT.sub("", _BLOCK.sub("", page)))
    missing = []
    for library in needs(page):
        ways = [rf"pip install [^`]*\b{re.escape(library)}\b"]
        ways += [rf"pip install [^`]*\[{extra}\]" for extra, brings in extras.items() if library in brings]
        if not any(re.search(rf"`{way}", prose) for way in ways):
            missing.append(library)
    end = 0
    for match in _BLOCK.finditer(page):
        mark, file = match.group(1, 2)
        if mark == "file" and f"`{file}`" not in _COMMENT.sub("", page[end : match.start()]):
            missing.append(file)
        end = match.end()
    return missing


# --- running ----------------------------------------------------------------------------------------------------------


def run_page(page: Path, directory: Path) -> list[Ran]:
    """Run a page in a directory, which is made; return each block that ran with what it printed.

    Raises:
        AssertionError: If a block fails, or a process is not ended by the page.
    """
    text = page.read_text(encoding="utf-8")
    blocks = read_blocks(text)
    is_script = any(block.language == "sh" and block.runs for block in blocks)
    if is_script or EMULATED in text:
        script, ran = _commands(blocks, directory) if is_script else _program(blocks, directory)
        return [Ran(*pair) for pair in zip(ran, _run_script(script, directory, len(ran)), strict=True)]
    directory.mkdir()
    printed = directory.with_suffix(".json")
    command = [sys.executable, "-m", "tests.support.programs", str(page), str(printed)]
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    ran = [block for block in blocks if block.runs]
    return [Ran(*pair) for pair in zip(ran, json.loads(printed.read_text(encoding="utf-8")), strict=True)]


def _commands(blocks: Sequence[Block], directory: Path) -> tuple[str, list[Block]]:
    """Return a script that runs blocks and writes files, and the blocks that it runs."""
    kept = directory.with_suffix(".files")
    kept.mkdir()
    lines, ran = ["set -eu"], []
    for number, block in enumerate(blocks):
        name = f"block{number}.py"
        if block.file or (block.runs and block.language == "python"):
            (kept / name).write_text(block.text, encoding="utf-8")
            lines.append(f"cp {shlex.quote(str(kept / name))} {shlex.quote(block.file or name)}")
        if block.runs:
            ran.append(block)
            lines += [block.text if block.language == "sh" else f"python {name}", f"printf '\\n%s\\n' '{MARK}'"]
    return "\n".join(lines) + "\n", ran


def _program(blocks: Sequence[Block], directory: Path) -> tuple[str, list[Block]]:
    """Return a script that writes files and runs all other blocks as one program, as `EMULATED` says; and these."""
    ran = [block for block in blocks if block.runs]
    program = "".join(f"{block.text}\nprint('\\n{MARK}')\n" for block in ran)
    files = [block for block in blocks if block.file]
    script, _ = _commands([*files, Block("python", program, file="page.py")], directory)
    return f"{script}{EMULATED}\n", ran


def run_steps(steps: list[Step], directory: Path) -> list[str]:
    """Run commands in one shell, and return what each step has printed.

    Raises:
        AssertionError: If a command fails, or a process is not ended by the page.
    """
    script = "set -eu\n" + "".join(f"{step.commands}\nprintf '\\n%s\\n' '{MARK}'\n" for step in steps)
    return _run_script(script, directory, len(steps))


def _run_script(script: str, directory: Path, count: int) -> list[str]:
    directory.mkdir()
    # Into files: what goes on in the background would hold a pipe open.
    printed, logged = directory.with_suffix(".out"), directory.with_suffix(".err")
    with printed.open("w") as out, logged.open("w") as errors:
        shell = subprocess.Popen(
            ["sh", "-c", script],
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = shell.wait(PATIENCE)
            was_left = not _has_ended(shell.pid, ENDING)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    parts = printed.read_text(encoding="utf-8").split(f"\n{MARK}\n")
    assert (status, len(parts)) == (0, count + 1), f"{parts[-1]}\n\n{logged.read_text(encoding='utf-8')}"
    assert not was_left, "the page leaves a process behind"
    return parts[:-1]


def _has_ended(group: int, seconds: float) -> bool:
    """Return whether a group of processes has ended, or does so within some seconds: a pool's workers end late."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.05)


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of a shell in which ``python`` is this one, and ``meshsync`` the command of this tree."""
    scripts = directory.with_suffix(".bin")
    scripts.mkdir()
    (scripts / "meshsync").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m meshsync "$@"\n')
    (scripts / "meshsync").chmod(0o755)
    # The fixtures of an installed package are found by pytest; those of this tree are not.
    plugin = pytest_plugin()
    is_installed = plugin in {entry.value for entry in entry_points(group="pytest11")}
    plugins = {} if is_installed else {"PYTEST_PLUGINS": plugin}
    path = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(directory.with_suffix(".state"))}
    return os.environ | variables | plugins


def fits(printed: str, output: str) -> bool:
    """Return whether what was printed is what a page shows.

    An ellipsis there stands for any text, and on a line of its own for any lines.
    """
    lines = output.strip().splitlines()
    pattern = "".join(r"(.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    return re.fullmatch(pattern, f"{printed.strip()}\n") is not None
