"""``env``: a shell's variables for the emulator that runs; and the environment of a command that joins one."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from meshsync.cli.durations import Seconds
from simulator.cli.shells import SHELLS, script, shell_of
from simulator.emulator.settings import CLEARED

__all__ = ["env", "environment_for"]


_PAUSE = 0.1
"""Seconds between two looks for an emulator."""

_HELP = """Print lines for a shell that make its programs join the emulator that "serve" runs.

\b
sh, bash, zsh:  eval "$(python -m simulator env)"
fish:           python -m simulator env | source
PowerShell:     python -m simulator env | Out-String | Invoke-Expression
"""


@click.command(help=_HELP, short_help="Print a shell's lines for joining what 'serve' runs.")
@click.option("--shell", type=click.Choice(tuple(SHELLS)), help="the shell's language (default: as $SHELL says)")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="of the emulator, if several run")
@click.option(
    "--wait", type=Seconds(0), default=0.0, metavar="SECONDS", help="for it to be started, if it is not there"
)
def env(shell: str | None, port: int | None, wait: float) -> int:
    """Print the lines."""
    from meshsync.discovery import find_emulator, find_emulators
    from meshsync.world import monotonic, sleep

    deadline = monotonic() + wait
    while (left := deadline - monotonic()) > 0 and all(port not in (None, found.port) for found in find_emulators()):
        sleep(min(left, _PAUSE))
    language = shell or shell_of(os.environ, is_windows=os.name == "nt")
    print(script(language, find_emulator(port).env, CLEARED), end="", flush=True)
    return 0


def environment_for(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with an emulator's variables, and without those that would lead elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in CLEARED} | dict(env)
