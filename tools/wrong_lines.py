"""Compare what a type checker says of ``tests/typing/lines.py`` with the lines that are marked as wrong there.

::

    python -m tools.wrong_lines [mypy | basedpyright | pyright]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

__all__ = ["LINES", "main", "marked", "reported"]

LINES = Path(__file__).parents[1] / "tests" / "typing" / "lines.py"

COMMANDS = {
    "mypy": ("--strict", "--no-error-summary", "--hide-error-context"),
    "basedpyright": ("--level", "error", "--pythonpath", sys.executable),
    "pyright": ("--level", "error", "--pythonpath", sys.executable),
}
"""The type checkers, and the arguments before the file."""


def marked(text: str) -> set[int]:
    """Return the numbers of the lines that are marked as wrong."""
    return {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}


def reported(checker: str, file: Path = LINES) -> dict[int, str]:
    """Return the lines that a type checker reports as errors, and what it says.

    Raises:
        RuntimeError: If it could not be run.
    """
    command = [sys.executable, "-m", checker, *COMMANDS[checker], str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=LINES.parents[2])
    found = re.findall(rf"^.*{re.escape(file.name)}:(\d+):(?:\d+:?)? (?:- )?error:? (.*)$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode and not found):
        raise RuntimeError(f"{checker} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return {int(line): text for line, text in found}


def main(arguments: list[str]) -> int:
    """Print each difference, and return the exit status."""
    checker = arguments[0] if arguments else "mypy"
    wrong, errors = marked(LINES.read_text(encoding="utf-8")), reported(checker)
    for line in sorted(wrong - set(errors)):
        print(f"{LINES.name}:{line}: {checker} does not see that this is wrong")
    for line in sorted(set(errors) - wrong):
        print(f"{LINES.name}:{line}: {checker} says of a right line: {errors[line]}")
    print(f"{checker} sees {len(wrong & set(errors))} of {len(wrong)} wrong lines")
    return int(wrong != set(errors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
