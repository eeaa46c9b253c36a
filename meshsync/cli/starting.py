"""``emulator`` and ``demo``: the package ``simulator``, which this one never imports, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Any

import click

from meshsync.cli.exits import ExitCode, Unfinished
from meshsync.cli.output import say

__all__ = ["demo", "emulator"]

_PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Nothing behind the command's name is ours, ``--help`` included."""


@click.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> None:
    """Serve rooms on this machine until Ctrl-C; takes the options of python -m simulator serve."""
    _start("serve", arguments)


@click.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Show a simulated room and its participants; takes the options of python -m simulator demo."""
    _start("demo", arguments)


_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")


def _start(command: str, arguments: tuple[str, ...]) -> None:
    """Run a command of ``simulator``, pass signals on to it, and end with its exit status.

    Raises:
        Unfinished: If that is not 0, or there is no ``simulator``.
    """
    # Asked of the finders, since importing it would be an import.
    if not any(finder.find_spec("simulator", None) for finder in sys.meta_path):
        missing = "needs the package simulator, which is not installed here: pip install 'meshsync-client[emulator]'"
        say(f"{command} {missing}")
        raise Unfinished(ExitCode.USAGE)
    early: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif not (number in (getattr(signal, "SIGINT", 0), getattr(signal, "SIGQUIT", 0)) and _is_typed()):
            process.send_signal(number)

    # Before it is started, so that no signal ends this process and leaves it behind.
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {
        number: signal.signal(number, pass_on) for number in numbers if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        process = subprocess.Popen([sys.executable, "-m", "simulator", command, *arguments])
        for number in early:
            process.send_signal(number)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status:
        raise Unfinished(status if status > 0 else 128 - status)


def _is_typed() -> bool:
    """Return whether this process is in the foreground of a terminal, which sends its signals to the other one too."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (AttributeError, OSError):
        return not hasattr(os, "tcgetpgrp")
