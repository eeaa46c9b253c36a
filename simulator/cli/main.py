"""``python -m simulator``: serve rooms, run a command against them, run programs in a simulation, see a demonstration.

The commands that run programs are in ``programs.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from meshsync.errors import MeshsyncError
from simulator.cli.emulating import add_options, make_emulator
from simulator.cli.programs import add_commands

if TYPE_CHECKING:
    from simulator.emulator import Emulator

__all__ = ["main"]

DEFAULT_PORT = 6374
"""The TCP port of ``serve``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse(given)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if error.name != "aiohttp":
            raise
        print(error, file=sys.stderr)
        return 1
    except MeshsyncError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Rooms without the hosted service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve rooms until Ctrl-C")
    add_options(serve, DEFAULT_PORT)
    serve.add_argument("--json", action="store_true", help="print one line of JSON for programs")
    serve.set_defaults(run=_serve)

    execute = commands.add_parser(
        "exec",
        help="run a command with rooms of its own",
        usage="%(prog)s [options] -- COMMAND [ARGUMENT ...]",
        description="Run a command with MESHAGENT_* set so that it connects to an emulator, and exit as it does.",
    )
    add_options(execute, 0)
    execute.add_argument("command", nargs="*", metavar="COMMAND", help="what to run, after --")
    execute.set_defaults(run=_execute)

    add_commands(commands)

    demo = commands.add_parser("demo", help="a simulated room, several participants and their conversation")
    demo.add_argument("--seed", type=int, default=7, help="what chance follows from (default: %(default)s)")
    demo.set_defaults(run=_demonstrate)

    # The command's own arguments are kept from argparse, whose releases disagree on the treatment of "--".
    if arguments[:1] == ["exec"] and "--" in arguments:
        border = arguments.index("--")
        options = parser.parse_args(arguments[:border])
        options.command += arguments[border + 1 :]
    else:
        options = parser.parse_args(arguments)
    if options.run is _execute and not options.command:
        execute.error("which command? give it after --")
    return options


# --- serve ------------------------------------------------------------------------------------------------------------

_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals after which all clients are told, and the process ends."""


def _serve(options: argparse.Namespace) -> int:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for name in _STOPS:
        number = getattr(signal, name, None)
        # What was started with nohup goes on when its terminal is closed.
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, stop)
    emulator = make_emulator(options)
    from simulator.emulator.emulator import has_failed

    with emulator:
        print(_as_json(emulator) if options.json else _as_text(emulator, options.secret is None), flush=True)
        while True:
            # Not without a time limit: Windows would not notice Ctrl-C.
            if stopped.wait(1.0) or not emulator.is_open:
                break
    return int(has_failed(emulator))


def _as_json(emulator: Emulator) -> str:
    return json.dumps(
        {
            "url": emulator.url,
            "room_url_template": f"{emulator.url}/rooms/{{room}}",
            "secret": emulator.secret,
            "env": dict(emulator.env),
        }
    )


def _as_text(emulator: Emulator, is_chosen: bool) -> str:
    """Return what people read.

    Args:
        is_chosen: Whether the emulator chose its secret.
    """
    from simulator.emulator import CLEARED, DEVELOPMENT_SECRET

    exports = [f"export {name}={shlex.quote(value)}" for name, value in emulator.env.items()]
    lines = [
        f"Rooms at {emulator.url}/rooms/{{room}} until Ctrl-C.",
        "",
        "For official SDKs and meshsync to connect here:",
        "",
        *exports,
        f"unset {' '.join(CLEARED)}",
        "",
    ]
    if is_chosen and emulator.secret != DEVELOPMENT_SECRET:
        lines += ["The secret was made for this run, since other machines can reach it; --secret sets one.", ""]
    return "\n".join(lines)


# --- exec -------------------------------------------------------------------------------------------------------------

_ALWAYS_PASSED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_PASSED_UNLESS_TYPED = ("SIGINT", "SIGQUIT")
"""A terminal sends these to the command as well as to this process; a program sends them to this process alone."""


def _execute(options: argparse.Namespace) -> int:
    with make_emulator(options) as emulator:
        from simulator.emulator import CLEARED

        environment = dict(os.environ)
        for name in CLEARED:
            environment.pop(name, None)
        return _run(options.command, environment | dict(emulator.env))


def _run(command: list[str], environment: dict[str, str]) -> int:
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
        print(f"simulator: cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
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


# --- demo -------------------------------------------------------------------------------------------------------------


def _demonstrate(options: argparse.Namespace) -> int:
    from simulator.cli.demo import run

    run(sys.stdout, options.seed)
    return 0
