"""``python -m simulator``, the script ``meshsync-simulator``: the table of its commands, and what they all do alike.

Exit status 0: done; 1: it failed, or cannot be done; 2: the command line makes no sense; 130: Ctrl-C. Commands may
have others.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from meshsync.cli.wording import with_options
from meshsync.errors import MeshsyncError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "serve": "serving:serve",
    "exec": "executing:execute",
    "env": "finding:env",
    "run": "programs:run",
    "check": "programs:check",
    "explore": "programs:explore",
    "replay": "programs:replay",
    "why": "programs:why",
    "diff": "replaying:diff",
    "replay-room": "replaying:replay_room",
    "as-test": "replaying:as_test",
    "demo": "programs:demo",
}
"""Each command by its name: the module of this package that has it, and the `click.Command` there.

A module is imported when its command is run, or the help of all is asked for. What takes long to import, it imports in
the command's function, so that no command waits for what another needs.
"""


_OPTIONS = {"host": "--host", "port": "--port"}
"""By an argument that an error names, the option that gives it."""


class _Commands(click.Group):
    """The commands of `COMMANDS`, and the statuses with which their errors end the process."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"simulator.cli.{module}"), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Of which click would make an empty line and status 1.
            return 130

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r:.100}; one of {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.pass_context
def _commands(context: click.Context) -> None:
    """Rooms without the hosted service."""
    if context.invoked_subcommand is None:
        context.fail(f"which command? one of {', '.join(COMMANDS)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: By default those of the process.
    Raises:
        SystemExit: With status 2, if they make no sense; what is wrong is printed.
    """
    # Given as a list, since click would otherwise expand patterns in a command's own arguments on Windows.
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(_commands.main(given, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, click.Abort):
        return 130
    except ImportError as error:
        if error.name != "aiohttp":
            raise
        click.echo(error, err=True)
        return 1
    except MeshsyncError as error:
        click.echo(f"simulator: {with_options(str(error), _OPTIONS)}", err=True)
        return 1
