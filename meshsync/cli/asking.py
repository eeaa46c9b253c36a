"""``ask``."""

from __future__ import annotations

from pathlib import Path

import click

from meshsync.cli.access import Access, joins, split_room
from meshsync.cli.arrivals import describe_attachment, describe_message, store_attachment
from meshsync.cli.bodies import read_bodies
from meshsync.cli.directories import creates_directories, open_directory
from meshsync.cli.output import Output, compact, plain
from meshsync.cli.recipients import find_recipients, wait_for_all

__all__ = ["ask"]


@click.command()
@click.argument("arguments", nargs=-1, metavar="[ROOM] TO TYPE MESSAGE")
@click.option("--to", metavar="NAME", help="In the place of TO.")
@click.option("--reply-type", metavar="TYPE", help="The answer's type; needed where TO is no client of this package.")
@click.option("--attach", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Bytes beside it.")
@click.option("--wait-for", multiple=True, metavar="NAME", help="Wait until NAME is there; several times.")
@click.option(
    "--save-attachments",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Store the answer's attachment there, under its SHA-256.",
)
@creates_directories
@joins
def ask(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    to: str | None,
    reply_type: str | None,
    attach: Path | None,
    wait_for: tuple[str, ...],
    directory: Path | None,
    is_made: bool,
) -> None:
    """Ask a participant, and print its answer.

    TO is its name or id, which --to NAME may give in its place. MESSAGE is a JSON object, @FILE for the one in a file,
    or - for one on standard input. The longest wait for the answer is that of --timeout, or 30 s.
    """
    if to is None:
        room, (to, type, message) = split_room(arguments, 3, "[ROOM] TO TYPE MESSAGE")
    else:
        room, (type, message) = split_room(arguments, 2, "[ROOM] TYPE MESSAGE beside --to")
    bodies, total = read_bodies([message])
    if total not in (1, None):
        raise click.UsageError(f"which message? {message} has {total}")
    open_directory(directory, is_made)
    attachment = attach.read_bytes() if attach is not None else b""
    body = next(bodies, None)
    if body is None:
        raise click.UsageError("which message? there is none on standard input")
    with access.of(room).joined() as joined:
        wait_for_all(joined, wait_for, access.timeout)
        (recipient,) = find_recipients(joined, [to])
        output.reached = lambda: f"asked {plain(to)}, which has not answered"
        answer = joined.messaging.ask(recipient, type, body, attachment, reply_type=reply_type)
    members = describe_message(answer)
    if members["attachment"] is not None and directory is not None:
        members["attachment"]["path"] = store_attachment(directory, members, answer.attachment)
    output.record(members, f"{plain(answer.type)}  {compact(members['message'])}{describe_attachment(members)}")
