"""From the names that a person types to the participants that are meant."""

from __future__ import annotations

from collections.abc import Iterable

from meshsync.cli.output import plain
from meshsync.errors import ParticipantNotFound, RoomError
from meshsync.participants import RemoteParticipant
from meshsync.room import RoomClient

__all__ = ["find_recipients", "wait_for_all"]


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
        room.messaging.wait_for_participant(where=lambda other: name in (other.name, other.id), timeout=timeout)  # noqa: B023


def _find(room: RoomClient, wanted: str) -> RemoteParticipant:
    others = room.messaging.remote_participants
    found = [other for other in others if other.id == wanted] or [other for other in others if other.name == wanted]
    if not found:
        names = ", ".join(f"{plain(other.name) or other.id} ({plain(other.role)})" for other in others)
        there = f"there are {names}" if names else "no other participant is there"
        raise ParticipantNotFound(f"there is no {wanted!r} in {room.room_name!r}: {there}")
    if len(found) > 1:
        ids = ", ".join(f"{other.id} ({plain(other.role)})" for other in found)
        raise RoomError(f"{len(found)} participants are called {wanted!r}: give the id of one, {ids}")
    return found[0]
