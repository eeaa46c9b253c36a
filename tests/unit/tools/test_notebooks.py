"""The notebooks as they are committed; ``python -m tools.notebooks`` executes them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.notebooks import DIRECTORY, KERNEL, settle

NOTEBOOKS = sorted(DIRECTORY.glob("*.ipynb"))
MACHINE = re.compile(
    r"/(?:home|root|tmp|work|Users|opt|usr|var)/|site-packages|[A-Z]:\\\\|ipykernel_\d|localhost|0x[0-9a-f]{6}"
)
"""What only a machine would say: where its files are, its addresses, its processes."""

all_notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def texts(notebook: dict[str, Any]) -> str:
    """Return all of a notebook but its pictures."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    return json.dumps(notebook)


def test_the_notebooks_are_there():
    """A first room, latency, faults, races, streams, an emulator."""
    assert [path.stem[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_", "05_", "06_"]


@all_notebooks
def test_notebook_was_executed_from_top_to_bottom(path):
    """Every code cell has its number, something was put out, and nothing went wrong."""
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]

    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert outputs
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []


@all_notebooks
def test_notebook_says_nothing_of_the_machine(path):
    """Neither in outputs nor in metadata: no path, no address, no time, no version."""
    notebook = read(path)

    assert notebook["metadata"] == KERNEL
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert MACHINE.findall(texts(notebook)) == []


@all_notebooks
def test_notebook_shows_a_picture(path):
    """Each has one; and a figure's size in pixels, which changes with a font, is not told in words."""
    outputs = [output for cell in read(path)["cells"] for output in cell.get("outputs", [])]
    pictures = [output["data"] for output in outputs if "image/png" in output.get("data", {})]

    assert pictures
    assert all("text/plain" not in data for data in pictures)


@all_notebooks
def test_each_picture_has_a_caption(path):
    """The cell after it begins with one sentence, in italics: what a reader sees who knows nothing."""
    cells = read(path)["cells"]
    after = [
        "".join(following["source"])
        for cell, following in itertools.pairwise(cells)
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    ]

    assert [text for text in after if not re.match(r"\*[A-Z][^*.]*\.\*(\n\n|$)", text)] == []


@all_notebooks
def test_notebook_says_what_to_install(path):
    """One line, the same in each."""
    assert "`pip install '.[notebook]'`" in texts(read(path))


def test_settling_takes_out_what_changes():
    """Times, versions, sizes of figures, and where the kernel happened to cut a text."""
    stream = {"output_type": "stream", "name": "stdout"}
    figure = {"image/png": "…", "text/plain": "<Figure size 900x300 with 1 Axes>"}
    notebook = {
        "metadata": {"language_info": {"version": "3.13.0"}},
        "cells": [
            {"cell_type": "markdown", "id": "a1b2", "metadata": {}, "source": "# Title"},
            {
                "cell_type": "code",
                "id": "c3d4",
                "metadata": {"execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}},
                "outputs": [
                    {**stream, "text": "one\n"},
                    {**stream, "text": "two\n"},
                    {"output_type": "display_data", "data": figure, "metadata": {"needs_background": "light"}},
                ],
            },
        ],
    }

    settle(notebook)

    assert notebook["metadata"] == KERNEL
    assert [cell["id"] for cell in notebook["cells"]] == ["cell-01", "cell-02"]
    assert notebook["cells"][1]["metadata"] == {}
    assert notebook["cells"][1]["outputs"] == [
        {**stream, "text": "one\ntwo\n"},
        {"output_type": "display_data", "data": {"image/png": "…"}, "metadata": {}},
    ]
