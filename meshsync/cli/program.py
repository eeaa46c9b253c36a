"""The group of all commands: from its arguments to its exit code, without a traceback for anyone's fault but ours."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from meshsync.cli.exits import ExitCode, Interrupted, Unfinished, exit_code
from meshsync.cli.masking import Mask
from meshsync.cli.output import Output, say
from meshsync.cli.pipes import drop_output
from meshsync.cli.wording import error_text
from meshsync.errors import MeshsyncError

__all__ = ["Program"]


class Program(click.Group):
    """A group whose commands end with a code of `ExitCode`."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:
        """Run a command and exit the process."""
        given = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # What another encoding has no place for is escaped.
                stream.reconfigure(errors="backslashreplace")
        options["standalone_mode"] = False
        try:
            with _termination():
                status = super().main(given, *rest, **options)
        except click.ClickException as error:
            # Their texts may quote any argument.
            hint = getattr(error, "ctx", None)
            if hint is not None and isinstance(error, click.UsageError):
                click.echo(hint.get_usage(), err=True)
            say(Mask(given, os.environ)(error.format_message()))
            status = ExitCode.USAGE
        except click.Abort:
            status = ExitCode.INTERRUPTED
        sys.exit(int(status) if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and return its exit code."""
        # Here and not around it all: click has its own opinion on Ctrl-C and on a reader that has gone.
        try:
            super().invoke(ctx)
        except BrokenPipeError:
            drop_output()  # Its reader has had enough.
        except (MeshsyncError, OSError) as error:
            _output(ctx).note(error_text(error))
            return exit_code(error)
        except Unfinished as error:
            return exit_code(error)
        except KeyboardInterrupt as error:
            output = _output(ctx)
            if output.reached is not None:
                output.note(output.reached())
            return exit_code(error)
        return ExitCode.DONE


def _output(ctx: click.Context) -> Output:
    """Return the command's own output, or one that it might have had."""
    return ctx.obj if isinstance(ctx.obj, Output) else Output(None, Mask([], os.environ))


@contextmanager
def _termination() -> Iterator[None]:
    """Have SIGTERM leave rooms as Ctrl-C does, where it would have ended the process at once."""

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # A second one has its usual effect.
        raise Interrupted

    is_ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    try:
        if is_ours:
            signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # Not the main thread: the command runs inside another program.
        is_ours = False
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
