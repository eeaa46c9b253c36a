"""Execute every notebook from top to bottom; with none, print that.

    python -m tools.notebooks [arguments of pytest]
    python -m tools.notebooks --write [notebook …]

The second form keeps the notebooks' outputs, for their readers on the web: without execution times and versions, so
that executing them again changes nothing but pictures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

DIRECTORY = Path(__file__).parents[1] / "notebooks"

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""All metadata that a notebook has on its kernel."""


def main(arguments: list[str]) -> int:
    """Return pytest's exit status, 0 where there are no notebooks."""
    if arguments[:1] == ["--write"]:
        for path in [Path(argument).resolve() for argument in arguments[1:]] or sorted(DIRECTORY.glob("*.ipynb")):
            print(path.name)
            write(path)
        return 0
    notebooks = sorted(map(str, DIRECTORY.glob("*.ipynb")))
    if not notebooks:
        print("there are no notebooks yet")
        return 0
    beside = ["--numprocesses", "auto"] if find_spec("xdist") else []
    return int(pytest.main(["--nbmake", "--nbmake-timeout=120", "--timeout=300", *beside, *arguments, *notebooks]))


def write(path: Path) -> None:
    """Execute a notebook and keep its outputs."""
    import nbformat
    from nbclient import NotebookClient

    os.environ.pop("MPLBACKEND", None)  # tox sets agg, which shows none, and pictures are wanted here
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=120, record_timing=False, resources=resources).execute()
    settle(notebook)
    nbformat.write(notebook, path)


def settle(notebook: Any) -> None:
    """Remove from an executed notebook the data on the machine and the moment."""
    notebook["metadata"] = KERNEL
    for number, cell in enumerate(notebook["cells"], 1):
        cell["id"], cell["metadata"] = f"cell-{number:02}", {}
        if cell["cell_type"] == "code":
            cell["outputs"] = list(_joined(cell["outputs"]))


def _joined(outputs: list[Any]) -> Iterator[Any]:
    """Yield outputs, neighbouring texts as one, since a kernel cuts them at random."""
    last = None
    for output in outputs:
        output["metadata"] = {}
        data = output.get("data", {})
        if "image/png" in data:
            data.pop("text/plain", None)  # a figure's size in pixels
        if output["output_type"] == "stream":
            del output["metadata"]
            if last is not None and last.get("name") == output["name"]:
                last["text"] += output["text"]
                continue
        if output["output_type"] == "error":
            del output["metadata"]
        last = output if output["output_type"] == "stream" else None
        yield output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
