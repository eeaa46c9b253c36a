"""The other participants, in order of arrival, as the room last reported them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshsync.protocol.envelopes import JsonObject

__all__ = ["Roster", "RosterEntry"]


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One participant as the room describes it."""

    id: str
    role: str
    attributes: JsonObject
    """Never changed in place: an update makes a new member."""


class Roster:
    """The members by id, in order of arrival. Its methods return the changed members, or None for no change."""

    def __init__(self) -> None:
        self._members: dict[str, RosterEntry] = {}

    def __iter__(self) -> Iterator[RosterEntry]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, member_id: str) -> RosterEntry | None:
        """Return the member with that id, or None."""
        return self._members.get(member_id)

    def add(self, member: RosterEntry) -> RosterEntry | None:
        """Add a member that is not there yet; return it if it was not."""
        if member.id in self._members:
            return None
        self._members[member.id] = member
        return member

    def remove(self, member_id: str) -> RosterEntry | None:
        """Remove a member; return it if it was there."""
        return self._members.pop(member_id, None)

    def merge(self, member_id: str, attributes: JsonObject) -> RosterEntry | None:
        """Merge values into a member's attributes; return the new member, or None if it is unknown."""
        member = self._members.get(member_id)
        if member is None:
            return None
        member = replace(member, attributes={**member.attributes, **attributes})
        self._members[member_id] = member
        return member

    def clear(self) -> list[RosterEntry]:
        """Remove all; return them in order of arrival."""
        members = list(self._members.values())
        self._members.clear()
        return members
