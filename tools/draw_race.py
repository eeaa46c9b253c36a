"""Draw the picture in ``docs/races.md``: the failing run of its program, as `Failure.plot` shows it.

    python -m tools.draw_race

Needs matplotlib. Whoever changes the program or the look of timelines draws it anew.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def draw() -> Any:
    """Run the program of the page, and return the axes with its failure."""
    page = (DOCS / "races.md").read_text(encoding="utf-8")
    found = re.search(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"__name__": "races"}
    exec(compile(found[1], "races.md", "exec"), names)
    return names["failure"].plot()


def main() -> int:
    """Write the picture; return 0."""
    import matplotlib

    matplotlib.use("Agg")
    draw().figure.savefig(DOCS / "race.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
