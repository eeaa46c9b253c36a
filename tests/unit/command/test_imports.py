"""What ``import meshsync`` imports: none of the command, so that its time does not grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

FOREIGN = [
    "asyncio",
    "click",
    "concurrent",
    "getpass",
    "multiprocessing",
    "readline",
    "rich",
    "simulator",
    "subprocess",
    "tqdm",
]
"""Packages that a client has no use for until it is asked for more."""
OWN = {"meshsync.__main__", "meshsync.cli", "meshsync.discovery", "meshsync.local_emulator"}
"""Modules of ours, likewise."""


def loaded_by(program: str) -> set[str]:
    """Return the modules that are loaded after a program in an interpreter of its own."""
    program += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    return set(json.loads(done.stdout))


def test_a_client_imports_nothing_of_the_command() -> None:
    """Neither it nor what it is made with; what a bare interpreter loads anyway is no matter."""
    loaded = loaded_by("import meshsync") - loaded_by("")
    assert "meshsync.connect" in loaded
    assert {name for name in loaded if name.partition(".")[0] in FOREIGN} == set()
    assert {name for name in loaded if name in OWN or name.startswith("meshsync.cli.")} == set()


def test_the_command_imports_neither_rich_nor_simulator_before_it_needs_them() -> None:
    """Its help is soon there, and works without what is optional."""
    loaded = loaded_by("import meshsync.cli.main")
    assert "click" in loaded
    assert {name for name in loaded if name.partition(".")[0] in ("rich", "simulator", "tqdm", "aiohttp")} == set()
