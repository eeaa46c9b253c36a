"""Emulators that are found: places of a test's own in which they leave their files, and ``serve`` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Served", "places", "run_simulator", "serving"]

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""The longest wait for a process that ends by itself, in seconds."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this process, and those that it starts, places of their own; return the directory where files lie."""
    root = tmp_path / "places"
    for directory in (root, root / "cache"):
        directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    monkeypatch.setenv("TMPDIR", str(root))
    monkeypatch.setattr("tempfile.tempdir", str(root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return root / "meshsync-emulators"


@dataclass(frozen=True, slots=True)
class Served:
    """An emulator in a process of its own."""

    process: subprocess.Popen[str]
    line: dict[str, Any]
    """What ``serve --json`` has printed."""

    @property
    def url(self) -> str:
        """Its address."""
        url: str = self.line["url"]
        return url

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it, and return what it has written to standard error."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE)[1]


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """Run ``serve`` until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "serve", "--json", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Served(process, json.loads(process.stdout.readline()))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run_simulator(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run ``python -m simulator`` to its end; return its exit status, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "simulator", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=os.environ | variables,
    )
    return done.returncode, done.stdout, done.stderr
