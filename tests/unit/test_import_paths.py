"""What the README, the examples and the notebooks import can be imported, and stays so: a literal list."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHOWN = {
    "meshsync": "ConnectionLost MeshsyncError MessageStreamChunk MessagingClient connect signals",
    "meshsync.buffering": "buffered",
    "meshsync.compression": "compression",
    "meshsync.encryption": "encryption",
    "meshsync.filters": "StreamFilter filtered",
    "meshsync.negotiation": "accept_filtered open_filtered",
    "meshsync.signals": "message",
    "simulator": "Emulator Simulation check current explore faults latency participants replay",
}
"""What has been shown since the first release, by module."""


@pytest.mark.parametrize(("module", "names"), SHOWN.items(), ids=SHOWN)
def test_what_was_shown_is_there(module: str, names: str) -> None:
    """Programs that were written from the README go on."""
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def sources() -> Iterator[tuple[str, str]]:
    """Yield each piece of Python that users are shown, with the name of its file."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
        yield "README.md", block
    for file in sorted((ROOT / "examples").glob("*.py")):
        yield file.name, file.read_text(encoding="utf-8")
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield file.name, "".join(line for line in cell["source"] if not line.startswith(("%", "!")))


def shown_imports() -> list[tuple[str, str, str]]:
    """Return each (file, module, name) of ours that they import."""
    found = set()
    for file, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("meshsync", "simulator"):
                found.update((file, node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names if alias.name.split(".")[0] in ("meshsync", "simulator")]
                found.update((file, module, "") for module in modules)
    return sorted(found)


def test_every_shown_import_is_in_the_list() -> None:
    """What is shown is promised."""
    missing = [
        (file, module, name) for file, module, name in shown_imports() if name and name not in SHOWN[module].split()
    ]
    assert missing == []
    assert len(shown_imports()) > 20
