"""``exec``: a command with rooms of its own, or with those of an emulator that runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from simulator.cli.emulating import emulator_options, open_emulator
from simulator.cli.finding import environment_for
from simulator.cli.options import SectionedCommand

if TYPE_CHECKING:
    from meshsync.discovery import RunningEmulator

__all__ = ["execute"]

_OWN = f"{__name__}.own"
"""Where a context keeps what stands after ``--``."""

_ALWAYS_PASSED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_PASSED_UNLESS_TYPED = ("SIGINT", "SIGQUIT")
"""A terminal sends these to the command as well as to this process; a program sends them to this process alone."""


class _Execute(SectionedCommand):
    """A command whose own arguments begin after the first ``--``, which no option takes for its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        border = args.index("--") if "--" in args else len(args)
        ctx.meta[_OWN] = tuple(args[border + 1 :])
        return super().parse_args(ctx, args[:border])


@click.command(cls=_Execute, short_help="Run a command with rooms of its own.", options_metavar="[OPTIONS] --")
@click.option(
    "--join", "is_joining", is_flag=True, help='with the rooms of the "serve" that runs (--port if several do)'
)
@emulator_options(0, "warning")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENT]...")
def execute(command: tuple[str, ...], is_joining: bool, **asked: Any) -> int:
    """Run a command with MESHAGENT_* set so that it connects to an emulator, and exit as it does.

    The emulator is one for this command alone, which others do not find; or with --join the one that runs.
    """
    command += click.get_current_context().meta[_OWN]
    if not command:
        raise click.UsageError("which command? give it after --")
    if is_joining:
        return _run(command, environment_for(_find(asked).env))
    from meshsync.discovery import only

    with open_emulator(asked) as emulator:
        return _run(command, environment_for(emulator.env) | only(emulator.url, emulator.env))


def _find(asked: Mapping[str, Any]) -> RunningEmulator:
    """Return the emulator to join.

    Raises:
        UsageError: If there is none, or it cannot be told which.
        click.UsageError: If there are options for an emulator that would be opened.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        is_given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if is_given and parameter.name in asked and parameter.name != "port":
            option = max(parameter.opts, key=len)
            raise click.UsageError(f'{option}: the emulator that --join joins has its own; give it to "serve"')
    from meshsync.discovery import find_emulator

    return find_emulator(asked["port"] or None)


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command, pass signals on to it, and return its exit status, or 128 and the signal that ended it."""
    early: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif signal.Signals(number).name in _ALWAYS_PASSED or not _is_typed():
            process.send_signal(number)

    # Before the command is started, so that no signal ends this process and leaves it behind.
    names = [name for name in (*_ALWAYS_PASSED, *_PASSED_UNLESS_TYPED) if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), pass_on) for name in names}
    try:
        process = subprocess.Popen(command, env=environment)
        for number in early:
            process.send_signal(number)
        status = process.wait()
    except OSError as error:
        click.echo(f"simulator: cannot run {command[0]!r}: {error.strerror}", err=True)
        return 127 if isinstance(error, FileNotFoundError) else 126
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
    return status if status >= 0 else 128 - status


def _is_typed() -> bool:
    """Return whether this process is in the foreground of a terminal."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (AttributeError, OSError):
        return not hasattr(os, "tcgetpgrp")
