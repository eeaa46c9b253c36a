"""``who`` and ``attributes``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from meshsync.cli.access import Access, joins, split_room
from meshsync.cli.durations import SECONDS
from meshsync.cli.output import Output, compact, plain
from meshsync.cli.recipients import find_recipients, wait_for_all
from meshsync.participants import RoomParticipant

__all__ = ["attributes", "who"]


@click.command()
@click.argument("room", required=False)
@click.option("--wait-for", multiple=True, metavar="NAME", help="Wait until NAME is there; several times.")
@joins
def who(access: Access, output: Output, room: str | None, wait_for: tuple[str, ...]) -> None:
    """List the other participants, in order of arrival."""
    with access.of(room).joined() as joined:
        wait_for_all(joined, wait_for, access.timeout)
        rows = [
            {"name": other.name, "role": other.role, "id": other.id, "attributes": dict(other.attributes)}
            for other in joined.messaging.remote_participants
        ]
    if not output.is_json:  # It has a column of its own.
        rows = [{**row, "attributes": _without_name(row["attributes"])} for row in rows]
    output.table(["name", "role", "id", "attributes"], rows, "no other participant is there")


def _without_name(attributes: Any) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "name"}


@click.group()
def attributes() -> None:
    """Show the attributes of participants, or set those of your own."""


@attributes.command()
@click.argument("room", required=False)
@click.option("--of", "names", multiple=True, metavar="NAME", help="Only those of this participant; several times.")
@click.option("--wait-for", multiple=True, metavar="NAME", help="Wait until NAME is there; several times.")
@joins
def show(access: Access, output: Output, room: str | None, names: tuple[str, ...], wait_for: tuple[str, ...]) -> None:
    """Show the attributes of the other participants."""
    with access.of(room).joined() as joined:
        wait_for_all(joined, wait_for, access.timeout)
        others = find_recipients(joined, names) if names else joined.messaging.remote_participants
        rows = [row for other in others for row in _rows(other, other.attributes)]
    output.table(["participant", "attribute", "value"], rows, "no attributes are set")


def _rows(participant: RoomParticipant, attributes: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    about = {"participant": participant.name, "participant_id": participant.id}
    return [{**about, "attribute": name, "value": value} for name, value in attributes.items()]


@attributes.command("set")
@click.argument("arguments", nargs=-1, metavar="[ROOM] NAME=VALUE...")
@click.option("--for", "seconds", type=SECONDS, metavar="SECONDS", help="Leave after this time; else at Ctrl-C.")
@joins
def set_(access: Access, output: Output, arguments: tuple[str, ...], seconds: float | None) -> None:
    """Join, set attributes of your own, and stay, since they end with you.

    VALUE is JSON, or else a text.
    """
    if arguments and "=" not in arguments[0]:
        access, arguments = access.of(arguments[0]), arguments[1:]
    values: dict[str, Any] = {}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not (name and separator):
            raise click.UsageError(f"not an attribute: {argument!r}; write NAME=VALUE")
        values[name] = _value(value)
    if not values:
        raise click.UsageError("which attribute? write NAME=VALUE")
    _set_all(access, output, values, seconds)


@attributes.command()
@click.argument("arguments", nargs=-1, metavar="[ROOM] NAME")
@click.option("--for", "seconds", type=SECONDS, metavar="SECONDS", help="Leave after this time; else at Ctrl-C.")
@joins
def remove(access: Access, output: Output, arguments: tuple[str, ...], seconds: float | None) -> None:
    """Join, set an attribute of your own to null, and stay: rooms know no other removal."""
    room, (name,) = split_room(arguments, 1, "[ROOM] NAME")
    _set_all(access.of(room), output, {name: None}, seconds)


def _set_all(access: Access, output: Output, values: Mapping[str, Any], seconds: float | None) -> None:
    output.reached = lambda: "no attribute was set"
    with access.joined() as room:
        own = room.local_participant
        for row in _rows(own, values):
            own.set_attribute(row["attribute"], row["value"])
            output.record(row, f"{plain(row['attribute'])} = {compact(row['value'])}")
        output.reached = lambda: f"left, and with {own.name!r} went its attributes"
        output.note(f"{own.name!r} has them while it is in {room.room_name!r}{access.until(seconds)}")
        room.wait_closed(seconds)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
