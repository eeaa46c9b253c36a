"""``send`` and ``broadcast``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshsync.cli.access import Access, joins
from meshsync.cli.bodies import is_body, read_bodies
from meshsync.cli.output import Output, plain, plural
from meshsync.cli.recipients import find_recipients, names_recipients, wait_for_all
from meshsync.participants import RemoteParticipant
from meshsync.room import RoomClient

__all__ = ["broadcast", "send"]

_BODIES = "[ROOM] MESSAGE..."

_Way = tuple[Callable[[dict[str, Any]], None], dict[str, Any]]
"""Delivers a message to one recipient or to all, and the members of its record besides the number."""


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


@click.command(options_metavar="--to NAME [OPTIONS]")
@_message_options
@names_recipients
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

    def ways(room: RoomClient, attachment: bytes) -> list[_Way]:
        def way(recipient: RemoteParticipant) -> _Way:
            def deliver(body: dict[str, Any]) -> None:
                room.messaging.send_message(recipient, type, body, attachment, confirm=confirm)

            return deliver, {"type": type, "to": recipient.name, "to_id": recipient.id, "confirmed": confirm}

        return [way(recipient) for recipient in find_recipients(room, to)]

    names = ", ".join(map(plain, dict.fromkeys(to)))
    _send_all(access, output, arguments, wait_for, attach, ways, f"sent to {names}")


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

    def ways(room: RoomClient, attachment: bytes) -> list[_Way]:
        return [(lambda body: room.messaging.broadcast_message(type, body, attachment), {"type": type})]

    _send_all(access, output, arguments, wait_for, attach, ways, "broadcast")


def _send_all(
    access: Access,
    output: Output,
    arguments: tuple[str, ...],
    wait_for: tuple[str, ...],
    attach: Path | None,
    ways: Callable[[RoomClient, bytes], list[_Way]],
    done: str,
) -> None:
    """Join, send each message, and say how many there were.

    Args:
        ways: Called in the room with the attachment; returns the ways that each message goes.
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
            found = ways(room, attachment)
            for number, body in enumerate(bodies, 1):
                for place, (deliver, members) in enumerate(found, 1):
                    deliver(body)
                    sent += place == len(found)  # Before it is printed, which Ctrl-C may follow at once.
                    output.record({"number": number, **members})
    except Exception:
        if sent or (total or 0) > 1:
            output.note(output.reached())
        raise
    if not sent:
        output.note("nothing was sent: standard input had no message")
    output.text(f"{plural(sent, 'message')} {done}")
