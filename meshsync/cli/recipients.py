"""From the names that a person types to the participants that are meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import click

from meshsync.cli.output import plain
from meshsync.errors import ParticipantNotFound, ReceiveTimeout, RoomError
from meshsync.participants import RemoteParticipant
from meshsync.room import RoomClient

__all__ = ["find_recipients", "names_recipients", "wait_for_all"]

F = TypeVar("F", bound=Callable[..., Any])


def names_recipients(command: F) -> F:
    """Give a command the option that names its recipients, at least one, as ``to``."""
    return click.option(
        "--to",
        multiple=True,
        metavar="NAME",
        callback=_at_least_one,
        help="A recipient's name or id; several times. It has to be given.",
    )(command)


def _at_least_one(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    if not value and not ctx.resilient_parsing:
        raise click.UsageError("to whom? give --to NAME", ctx)
    return value


def find_recipients(room: RoomClient, wanted: Iterable[str]) -> list[RemoteParticipant]:
    """Return the participants with these names or ids, each once.

    Raises:
        ParticipantNotFound: If there is none of a name; the text lists who is there.
        RoomError: If there are several; the text lists their ids.
    """
    found = {participant.id: participant for participant in (_find(room, name) for name in wanted)}
    return list(found.values())


def wait_for_all(room: RoomClient, names: Iterable[str], timeout: float | None) -> None:
    """Wait until a participant of each name, or id, is there.

    Raises:
        ReceiveTimeout: If one did not come within ``timeout`` seconds.
    """
    for name in names:
        try:
            room.messaging.wait_for_participant(where=partial(_is_called, name), timeout=timeout)
        except ReceiveTimeout:
            raise ReceiveTimeout(f"{name!r} did not come within {timeout:g} s; in {_who(room)}") from None


def _is_called(name: str, participant: RemoteParticipant) -> bool:
    return name in (participant.id, participant.name)


def _find(room: RoomClient, wanted: str) -> RemoteParticipant:
    others = room.messaging.remote_participants
    found = [other for other in others if other.id == wanted] or [other for other in others if other.name == wanted]
    if not found:
        raise ParticipantNotFound(f"there is no {wanted!r}; in {_who(room)}")
    if len(found) > 1:
        ids = ", ".join(f"{other.id} ({plain(other.role)})" for other in found)
        raise RoomError(f"{len(found)} participants are called {wanted!r}: give the id of one, {ids}")
    return found[0]


def _who(room: RoomClient) -> str:
    """Return the room's name and who is there, for errors."""
    others = room.messaging.remote_participants
    names = ", ".join(f"{plain(other.name) or other.id} ({plain(other.role)})" for other in others)
    return f"{room.room_name!r} " + (f"there are {names}" if names else "there is no other participant")
