"""Whether this client takes part in messaging, and who else does: the objects behind ``remote_participants``.

Changed by the reader alone, read and waited on by any task.
"""

from __future__ import annotations

from collections.abc import Callable

from meshsync.participants import RemoteParticipant
from meshsync.protocol.roster import Member
from meshsync.world import Runtime

__all__ = ["Presence"]


class Presence:
    """The participants as objects, one per id while it is here."""

    def __init__(self, runtime: Runtime) -> None:
        self._condition = runtime.condition()
        self._participants: dict[str, RemoteParticipant] = {}
        self.participants: tuple[RemoteParticipant, ...] = ()
        """A snapshot in order of arrival, replaced at each arrival and departure."""
        self.is_enabled = False
        self.enablings = 0
        """How often this client came to take part: another task may end that before one that waits has looked."""
        self.has_ended = False
        """Whether the connection has ended, so that nothing here changes any more."""
        self.changes = 0
        """Counts the changes to all of the above and to attributes, for those who wait for one."""

    def get(self, id: str) -> RemoteParticipant | None:
        """Return the participant with that id, or None."""
        return self._participants.get(id)

    def by_name(self, name: str) -> RemoteParticipant | None:
        """Return the earliest participant with that name, or None."""
        return next((p for p in self.participants if p.name == name), None)

    def enter(self, member: Member) -> RemoteParticipant:
        """Return the object of a member, made now unless it is there already."""
        participant = self._participants.get(member.id)
        if participant is None:
            participant = RemoteParticipant(member.id, member.role, member.attributes)
            self._participants[member.id] = participant
            self.participants = (*self.participants, participant)
            self._changed()
        return participant

    def leave(self, member: Member) -> RemoteParticipant:
        """Take a member out, offline from now on."""
        participant = self._participants.pop(member.id)
        participant._went_offline()
        self.participants = tuple(self._participants.values())
        self._changed()
        return participant

    def change(self, member: Member) -> RemoteParticipant:
        """Give a participant the attributes that its member has now."""
        participant = self._participants[member.id]
        participant._has_attributes(member.attributes)
        self._changed()
        return participant

    def set_enabled(self, is_enabled: bool) -> None:
        """Note that this client takes part, or no longer does."""
        self.is_enabled = is_enabled
        self.enablings += is_enabled
        self._changed()

    def end(self) -> None:
        """Note that the connection has ended."""
        self.is_enabled, self.has_ended = False, True
        self._changed()

    def _changed(self) -> None:
        with self._condition:
            self.changes += 1
            self._condition.notify_all()

    def wait(self, is_over: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until ``is_over()``, which is asked again after each change and must not wait itself."""
        with self._condition:
            return self._condition.wait_for(is_over, timeout)
