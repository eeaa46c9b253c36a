"""``send`` and ``broadcast``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshsync.cli.access import Access, joins
from meshsync.cli.bodies import is_body, read_bodies
from meshsync.cli.output import Output, plain, plural
from meshsync.cli.recipients import find_recipients, wait_for_all
from meshsync.room import RoomClient

__all__ = ["broadcast", "send"]

_BODIES = "[ROOM] MESSAGE..."


def _message_options(command: Any) -> Any:
    for option in (
        click.argument("arguments", nargs=-1, metavar=_BODIES),
        click.option("--wait-for", multiple=True, metavar="NAME", help="Wait until NAME is there; several times."),
        click.option(
            "--attach",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Bytes beside each message.",
        ),
        click.option("-t", "--type", default="chat", show_default=True, help="The messages' type."),
    ):
        command = option(command)
    return command


@click.command()
@_message_options
@click.option("--to", multiple=True, required=True, metavar="NAME", help="A recipient's name or id; several times.")
@click.option("--confirm", is_flag=True, help="Wait until the recipient's client, one of this package, has it.")
@joins
def send(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    to: tuple[str, ...],
    wait_for: tuple[str, ...],
    type: str,
    attach: Path | None,
    confirm: bool,
) -> None:
    """Send messages to participants, and end when the room has acknowledged them.

    MESSAGE is a JSON object, @FILE for those in a file (one, or one a line), or - for one a line on standard input.
    """

    def begin(room: RoomClient, attachment: bytes) -> Callable[[dict[str, Any], int], None]:
        recipients = find_recipients(room, to)

        def send_one(body: dict[str, Any], number: int) -> None:
            for recipient in recipients:
                room.messaging.send_message(recipient, type, body, attachment, confirm=confirm)
                output.record(
                    {
                        "number": number,
                        "type": type,
                        "to": recipient.name,
                        "to_id": recipient.id,
                        "confirmed": confirm,
                    }
                )

        return send_one

    names = ", ".join(map(plain, dict.fromkeys(to)))
    _send_all(access, output, arguments, wait_for, attach, begin, f"sent to {names}")


@click.command()
@_message_options
@joins
def broadcast(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    wait_for: tuple[str, ...],
    type: str,
    attach: Path | None,
) -> None:
    """Send messages to all others in the room; see send."""

    def begin(room: RoomClient, attachment: bytes) -> Callable[[dict[str, Any], int], None]:
        def send_one(body: dict[str, Any], number: int) -> None:
            room.messaging.broadcast_message(type, body, attachment)
            output.record({"number": number, "type": type})

        return send_one

    _send_all(access, output, arguments, wait_for, attach, begin, "broadcast")


def _send_all(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    wait_for: tuple[str, ...],
    attach: Path | None,
    begin: Callable[[RoomClient, bytes], Callable[[dict[str, Any], int], None]],
    done: str,
) -> None:
    """Join, send each message, and say how many there were.

    Args:
        begin: Called in the room with the attachment; returns what sends a message, given its number from 1 on.
        done: What happened to them, for people.
    """
    if arguments and not is_body(arguments[0]):
        access, arguments = access.of(arguments[0]), arguments[1:]
    bodies, total = read_bodies(arguments)
    attachment = attach.read_bytes() if attach is not None else b""
    sent = 0
    output.reached = lambda: f"{'' if total is None else f'{sent} of '}{plural(total or sent, 'message')} {done}"
    try:
        with access.joined() as room:
            wait_for_all(room, wait_for, access.timeout)
            send_one = begin(room, attachment)
            for body in bodies:
                send_one(body, sent + 1)
                sent += 1
    except Exception:
        if sent or (total or 0) > 1:
            output.note(output.reached())
        raise
    output.text(f"{plural(sent, 'message')} {done}")
