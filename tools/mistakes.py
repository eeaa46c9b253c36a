"""Write docs/mistakes.md from the mistakes that a test makes.

python -m tools.mistakes
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from tests.support.mistakes import mistakes

__all__ = ["page"]

ROOT = Path(__file__).parents[1]

_HEAD = """\
# Mistakes, and what you see

What newcomers have tried, and how it is answered. Each of these runs as a test; `…` stands for what differs from run
to run. Before each, two clients have joined a room: `room`, whose `messaging` is enabled, and `bob`, whom `messaging`
knows as `peer`; `emulator` is running.

This page is made from `tests/support/mistakes.py` by `python -m tools.mistakes`.
"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for chapter, entries in groupby(mistakes(), lambda mistake: mistake.chapter):
        parts.append(f"## {chapter}\n")
        for entry in entries:
            parts.append(f"### {entry.title}\n\n```py\n{entry.code}\n```\n\n```text\n{entry.sees}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "docs/mistakes.md").write_text(page(), encoding="utf-8")
