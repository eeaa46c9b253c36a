"""Execute every notebook from top to bottom; with none, say so.

    python -m tests.notebooks [arguments of pytest]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parents[1] / "notebooks"


def main(arguments: list[str]) -> int:
    """Return pytest's exit status, 0 where there is nothing to execute."""
    notebooks = sorted(map(str, DIRECTORY.glob("*.ipynb")))
    if not notebooks:
        print("there are no notebooks yet")
        return 0
    return int(pytest.main(["--nbmake", "--nbmake-timeout=120", "--timeout=300", *arguments, *notebooks]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
