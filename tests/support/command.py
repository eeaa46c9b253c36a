"""The command ``meshsync`` as a test runs it: in this process, or as a process of its own where signals matter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from meshsync.cli.main import main
from simulator import Emulator

__all__ = ["PATIENCE", "environment", "of_emulator", "records", "run", "start"]

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds after which a command that should have ended has failed."""

_OURS = re.compile(r"MESHAGENT_|(ws|wss|http|https|all|no)_proxy$", re.IGNORECASE)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what leads to a room or a proxy, and with these variables."""
    kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return kept | variables


def of_emulator(emulator: Emulator, room: str | None = None) -> dict[str, str]:
    """Return the variables that lead a command to an emulator, and to a room of it."""
    return dict(emulator.env) | ({} if room is None else {"MESHAGENT_ROOM": room})


def run(*arguments: str, environ: Mapping[str, str] | None = None, input: str | bytes | None = None) -> Result:
    """Run a command here, to its end; it must not fail with a traceback."""
    unset: dict[str, str | None] = {name: None for name in os.environ if _OURS.match(name)}
    result = CliRunner().invoke(main, list(arguments), input=input, env=unset | dict(environ or {}))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def records(result: Result) -> list[dict[str, Any]]:
    """Return the records that a command printed as lines of JSON."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def start(*arguments: str, environ: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """Start a command as a process, its input and outputs pipes."""
    command = [sys.executable, "-m", "meshsync", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    variables = environment(**{"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(environ or {})})
    return subprocess.Popen(command, text=True, env=variables, **(pipes | options))
