"""Programs that benchmarks run beside themselves, and talk to by lines of JSON; and whose interpreters run them."""

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

from tests.interop.releases import RELEASES, InterpreterMissing, python_of

__all__ = ["EMULATOR", "Program", "official", "running", "wake_ups"]

EMULATOR = f"{shlex.quote(sys.executable)} -m simulator serve --port 0 --json --log-level warning"
"""Serves rooms, and prints one line of JSON."""
ENDING = 10.0
"""Seconds in which a program ends that is told to."""


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
        """Return the seconds of CPU that the threads it has have used so far, NaN where the system does not say."""
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
        except OSError:
            return float("nan")


def wake_ups(pid: int) -> float:
    """Return how often threads of a process have waited so far and were woken, NaN where the system does not say."""
    try:
        tasks = [(task / "status").read_text(encoding="utf-8") for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int(task.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for task in tasks)
    except OSError:
        return float("nan")


@contextmanager
def running(command: list[str], environ: Mapping[str, str]) -> Iterator[Program]:
    """Run a program until the block ends."""
    program = Program(command, environ)
    try:
        yield program
    finally:
        program.process.terminate()
        try:
            program.process.communicate(timeout=ENDING)
        except subprocess.TimeoutExpired:  # As a room of thousands does, on a busy machine; what it did is measured.
            program.process.kill()
            program.process.communicate()


def official(*releases: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the interpreters of SDK releases, which are installed now if need be, and why those that lack do.

    The latter by ``"official RELEASE"``.
    """
    found, missing = {}, {}
    for release in releases:
        try:
            found[release] = str(python_of(RELEASES[release]))
        except (InterpreterMissing, RuntimeError, OSError) as error:
            missing[f"official {release}"] = str(error).strip().splitlines()[-1]
    return found, missing
