"""Programs that benchmarks run beside themselves, and talk to by lines of JSON."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["EMULATOR", "Program", "running"]

EMULATOR = f"{shlex.quote(sys.executable)} -m simulator serve --port 0 --json"
"""Serves rooms, and prints one line of JSON."""


class Program:
    """A process that is told and tells JSON lines."""

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Give a command and return its answer."""
        assert self.process.stdin is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.read()

    def read(self) -> dict[str, Any]:
        """Return the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu(self) -> float:
        """Return the seconds of CPU it has used so far, NaN where the system does not say."""
        try:
            after_name = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], environ: Mapping[str, str]) -> Iterator[Program]:
    """Run a program until the block ends."""
    program = Program(command, environ)
    try:
        yield program
    finally:
        program.process.terminate()
        program.process.communicate(timeout=10)
