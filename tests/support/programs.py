"""Programs in pages of the documentation: every block of Python, in one namespace, and what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["run_programs"]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_programs(page: Path) -> list[tuple[str, str]]:
    """Run the programs of a page in order; return what each has printed, and what the page says, if it does.

    Raises:
        AssertionError: If the page has a block of another language than ``python`` and ``text``.
    """
    text = page.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(text)
    module = ModuleType(page.stem)  # Dataclasses look for theirs.
    namespace, before = vars(module), sys.modules.get(page.stem)
    sys.modules[page.stem] = module
    results = []
    try:
        for number, (language, program) in enumerate(blocks):
            assert language in ("python", "text"), f"a block of {language} is run by no test"
            if language != "python":
                continue
            file = f"{page.name}, block {number}"
            # So that reports find the text of lines.
            linecache.cache[file] = (len(program), None, program.splitlines(keepends=True), file)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(program, file, "exec", dont_inherit=True), namespace)
            following, output = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            if following == "text":
                results.append((printed.getvalue(), output))
    finally:
        del sys.modules[page.stem]
        if before is not None:
            sys.modules[page.stem] = before
    return results
