"""Participants as the program sees them: this client's own, the others, and the directory of the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, NoReturn, TypeAlias
from zlib import crc32

from meshsync.errors import UsageError
from meshsync.hints import Hinted
from meshsync.protocol.envelopes import copy_json
from meshsync.protocol.roster import RosterEntry
from meshsync.runtime.interfaces import Runtime

__all__ = ["LocalParticipant", "ParticipantDirectory", "RemoteParticipant", "RoomParticipant", "id_of"]


Refusing: TypeAlias = Callable[..., NoReturn]
"""A method that is there to raise."""


class Attributes(dict[str, Any]):
    """The attributes of a participant at one moment: a dict to read, of which every copy is a plain dict."""

    __slots__ = ()

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        raise TypeError("attributes are read-only; this client's own are set by local_participant.set_attribute")

    __setitem__: Refusing = _refuse
    __delitem__: Refusing = _refuse
    __ior__: Refusing = _refuse
    clear: Refusing = _refuse
    pop: Refusing = _refuse
    popitem: Refusing = _refuse
    setdefault: Refusing = _refuse
    update: Refusing = _refuse

    def __reduce_ex__(self, protocol: object) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


@dataclass
class Described:
    """The fields that ``dataclasses.asdict`` finds in a participant, whose class cannot be generated from them."""

    id: str
    role: str
    attributes: Mapping[str, Any]


@dataclass
class DescribedRemote(Described):
    """Those of another participant."""

    online: bool


class RoomParticipant(Hinted):
    """A participant. It can be pickled, copied deeply and turned into a dict; a copy stays as it was then.

    Attributes:
        id: Given by the room, for as long as the participant's connection lasts.
        role: ``user``, ``agent`` or another; from its token.
    """

    __slots__ = ("__weakref__", "_attributes", "id", "role")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = Described.__dataclass_fields__
    __dataclass_params__: ClassVar[object] = vars(Described)["__dataclass_params__"]

    def __init__(self, id: str, role: str, attributes: Mapping[str, Any]) -> None:
        self.id: str = id
        self.role: str = role
        self._attributes = dict(attributes)

    @property
    def name(self) -> str:
        """The display name; not unique, and empty if the room gives none."""
        name = self._attributes.get("name")
        return name if isinstance(name, str) else ""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes as last known: a snapshot that never changes."""
        # What is nested is the caller's own: a change of it is seen nowhere else.
        return Attributes(copy_json(self._attributes.copy()))

    def get_attribute(self, name: str, default: Any = None) -> Any:
        """Return one attribute, or ``default`` where it is not set."""
        attributes = self._attributes  # Another task may replace it.
        return copy_json(attributes[name]) if name in attributes else default

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.role} {self.id}>"

    def _repr_html_(self) -> str:
        from meshsync.notebook import participant_html  # Programs need it in notebooks alone.

        return participant_html(self)


class RemoteParticipant(RoomParticipant):
    """Another participant. There is one object per id while it is here; afterwards it stays offline for good."""

    __slots__ = ("_hash", "_identity", "_online", "_resumes")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = DescribedRemote.__dataclass_fields__

    def __init__(self, id: str, role: str, attributes: Mapping[str, Any], identity: Hashable = None) -> None:
        super().__init__(id, role, attributes)
        self._hash = crc32(id.encode("utf-8", "surrogatepass"))
        self._online = True
        self._identity = identity
        """Who it claims to be beyond this id; None for one that becomes a stranger when it reconnects."""
        self._resumes = False
        """Whether it says that its streams outlive losses."""

    def __hash__(self) -> int:
        # Of the id, and not of an address or a seed: the order of a set of participants is the same in every process.
        return self._hash

    def __eq__(self, other: object) -> bool:
        return True if self is other else NotImplemented

    @property
    def online(self) -> bool:
        """Whether it can be reached."""
        return self._online

    def _went_offline(self) -> None:
        self._online = False

    def _has_attributes(self, attributes: Mapping[str, Any]) -> None:
        # Replaced as a whole: readers on other threads see the old ones or the new ones.
        self._attributes = dict(attributes)


class LocalParticipant(RoomParticipant):
    """This client's own participant: one object, whose ``id`` changes when the client reconnects."""

    __slots__ = ("_send",)

    id: str

    def __init__(
        self, id: str, role: str, attributes: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
    ) -> None:
        super().__init__(id, role, attributes)
        self._send = send

    def _greeted(self, id: str, attributes: Mapping[str, Any]) -> None:
        """Take the id and the attributes that a connection begins with."""
        self.id, self._attributes = id, dict(attributes)

    def __reduce__(self) -> tuple[Callable[..., LocalParticipant], tuple[object, ...]]:
        return type(self), (self.id, self.role, self._attributes.copy(), _refuse_to_send)

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute for all to see; None is a value like others, since the room knows no removal.

        Returns when the connection has accepted it: the room does not acknowledge attributes. While the client is
        offline, it is set when it is back, and this returns at once.

        Raises:
            InvalidMessage: If JSON cannot carry the value.
            SendTimeout: If the connection had no room in time; the attribute is unchanged.
            ConnectionLost: If the connection has ended; the attribute is unchanged.
            UsageError: If this is a copy, which has no connection.
        """
        self._send({name: value})
        # In place, by one operation: several tasks may set attributes at once, and none may be lost.
        self._attributes[name] = copy_json(value)


def _refuse_to_send(attributes: Mapping[str, Any]) -> None:
    raise UsageError("this participant is a copy: set attributes by the local_participant of a room")


def id_of(participant: object) -> str:
    """Return the id of a participant, given as the object or as the id itself.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(participant, RoomParticipant):
        return participant.id
    if isinstance(participant, str):
        return participant
    if hasattr(participant, "local_participant"):
        raise TypeError("a RoomClient is no participant: give its .local_participant")
    hint = ""
    if participant is None:
        hint = ": a lookup such as get_participant_by_name gives None where none is found; wait_for_participant waits"
    elif isinstance(participant, (list, tuple, set, frozenset)):
        hint = ": send to one after the other, or to all by broadcast_message"
    elif isinstance(participant, (int, float)):
        hint = ": a time limit is given as timeout="
    raise TypeError(f"give a participant or the id of one, not {participant!r:.100}{hint}")


class ParticipantDirectory:
    """The other participants as objects, one per id while it is here, and whether this client takes part in messaging.

    Changed by the reader alone, read and waited on by any task.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._condition = runtime.condition()
        self._participants: dict[str, RemoteParticipant] = {}
        self.participants: tuple[RemoteParticipant, ...] = ()
        """A snapshot in order of arrival, replaced at each arrival and departure."""
        self.is_enabled: bool = False
        self.enablings: int = 0
        """How often this client came to take part: another task may end that before a waiting one has looked."""
        self.has_ended: bool = False
        """Whether the connection has ended, so that nothing here changes any more."""
        self.changes: int = 0
        """Counts the changes to all of the above and to attributes, for tasks that wait for one."""

    def get(self, id: str) -> RemoteParticipant | None:
        """Return the participant with that id, or None."""
        return self._participants.get(id)

    def by_name(self, name: str) -> RemoteParticipant | None:
        """Return the earliest participant with that name, or None."""
        return next((p for p in self.participants if p.name == name), None)

    def enter(self, member: RosterEntry, identity: Hashable = None) -> RemoteParticipant:
        """Return the object of a member, made now unless it is there already.

        Args:
            identity: Who a new one claims to be.
        """
        participant = self._participants.get(member.id)
        if participant is None:
            participant = RemoteParticipant(member.id, member.role, member.attributes, identity)
            self._participants[member.id] = participant
            self.participants = (*self.participants, participant)
            self._changed()
        return participant

    def leave(self, id: str) -> RemoteParticipant:
        """Remove a participant, offline from now on."""
        participant = self._participants.pop(id)
        participant._went_offline()
        self.participants = tuple(self._participants.values())
        self._changed()
        return participant

    def change(self, member: RosterEntry) -> RemoteParticipant:
        """Give a participant the attributes that its member has now."""
        participant = self._participants[member.id]
        participant._has_attributes(member.attributes)
        self._changed()
        return participant

    def clear(self) -> tuple[RemoteParticipant, ...]:
        """Remove all, offline from now on, and return them."""
        removed, self._participants, self.participants = self.participants, {}, ()
        for participant in removed:
            participant._went_offline()
        self._changed()
        return removed

    def set_enabled(self, is_enabled: bool) -> None:
        """Note that this client takes part, or no longer does."""
        self.is_enabled = is_enabled
        self.enablings += is_enabled
        self._changed()

    def end(self) -> None:
        """Note that the connection has ended."""
        self.is_enabled, self.has_ended = False, True
        self._changed()

    def look_again(self) -> None:
        """Have tasks that wait look again: something they wait for has changed elsewhere."""
        self._changed()

    def _changed(self) -> None:
        with self._condition:
            self.changes += 1
            self._condition.notify_all()

    def wait(self, is_over: Callable[[], bool], timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds until ``is_over()``, called again after each change; it must not wait."""
        with self._condition:
            return self._condition.wait_for(is_over, timeout)
