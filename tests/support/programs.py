"""Programs in pages of the documentation: every block of Python, in one namespace, and what the page says it prints.

    python -m tests.support.programs PAGE OUTPUT

runs the programs of a page and writes what each has printed to OUTPUT, as a list in JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.support.pages import Block, read_blocks

__all__ = ["run_programs"]


def run_programs(page: Path) -> list[tuple[str, str]]:
    """Run the programs of a page in order; return what each has printed, and what the page says, where it does.

    Raises:
        AssertionError: If the page has a block of another language than ``python`` and ``text``.
    """
    return [(printed, block.output) for block, printed in _run(page) if block.output is not None]


def _run(page: Path) -> Iterator[tuple[Block, str]]:
    module = ModuleType(page.stem)  # Dataclasses look for theirs.
    before = sys.modules.get(page.stem)
    sys.modules[page.stem] = module
    try:
        for number, block in enumerate(read_blocks(page.read_text(encoding="utf-8"))):
            if block.file:
                Path(block.file).write_text(block.text, encoding="utf-8")
            if not block.runs:
                continue
            assert block.language == "python", f"a block of {block.language} is run by no test"
            file = f"{page.name}, block {number}"
            # So that reports find the text of lines.
            linecache.cache[file] = (len(block.text), None, block.text.splitlines(keepends=True), file)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, file, "exec", dont_inherit=True), vars(module))
            yield block, printed.getvalue()
    finally:
        del sys.modules[page.stem]
        if before is not None:
            sys.modules[page.stem] = before


def main(page: Path, output: Path) -> None:
    """Run a page, and write what its blocks have printed."""
    sys.path.insert(0, "")  # Files of the page are modules for its programs.
    output.write_text(json.dumps([printed for _, printed in _run(page)]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
