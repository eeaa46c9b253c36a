"""The notebook that lives in the emulator: its first cell can be run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06_an_emulator.ipynb"


def test_the_first_cell_can_be_run_again_at_any_time() -> None:
    """Before the clients are there, and when they are in the way; whoever goes on from it meets no older one."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    first, second, third = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:3]
    names: dict[str, Any] = {}
    opened = []
    try:
        for cell in (first, first, second, first, second, third):
            exec(cell, names)
            if cell == first:
                opened.append(names["emulator"])
        assert [who.name for who in names["emulator"].participants("lab")] == ["ada", "bob"]
        assert len({emulator.port for emulator in opened}) == 3
    finally:
        for emulator in opened:
            emulator.close()
