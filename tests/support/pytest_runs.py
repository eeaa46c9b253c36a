"""Runs of pytest in processes of their own, in projects that have nothing but the plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["run", "run_here"]

ROOT = Path(__file__).resolve().parents[2]


def run(directory: Path, program: str, *options: str, **variables: str) -> str:
    """Run pytest on one file, and return what it prints."""
    (directory / "test_it.py").write_text(textwrap.dedent(program), encoding="utf-8")
    return run_here(directory, *options, **variables)


def run_here(directory: Path, *options: str, plugins: tuple[str, ...] = (), **variables: str) -> str:
    """Run pytest in a directory, and return what it prints.

    Args:
        plugins: Modules of plug-ins to load besides.
        variables: Of the environment.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    loaded = [option for plugin in ("meshsync.pytest_plugin", *plugins) for option in ("-p", plugin)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *loaded, "-p", "no:cacheprovider", *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        cwd=directory,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path, **variables},
    )
    return done.stdout + done.stderr
