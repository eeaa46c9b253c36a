"""The command ``meshsync``, assembled."""

from __future__ import annotations

import click

from meshsync import __version__
from meshsync.cli.asking import ask
from meshsync.cli.chatting import chat
from meshsync.cli.doctor import doctor
from meshsync.cli.listening import listen
from meshsync.cli.presence import attributes, who
from meshsync.cli.program import Program
from meshsync.cli.sending import broadcast, send
from meshsync.cli.starting import demo, emulator
from meshsync.cli.transferring import receive_files, send_file

__all__ = ["main"]


def _version(ctx: click.Context, parameter: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        click.echo(f"meshsync {__version__}")
        ctx.exit()


_EPILOG = """\b
Exit status:
  0    done
  1    failed in the room or with a file: refused, undeliverable
  2    usage: arguments, environment or input make no sense
  3    cannot connect, or the connection was lost for good
  4    the token was rejected or is missing, or does not allow this
  5    a time limit passed
  130  Ctrl-C (143 SIGTERM)
"""


@click.group(
    cls=Program,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def main() -> None:
    """Rooms from a shell: see who is there, send, listen, talk, and find out why it does not work."""


for _command in (who, send, broadcast, ask, listen, chat, send_file, receive_files, attributes, doctor, emulator, demo):
    main.add_command(_command)
