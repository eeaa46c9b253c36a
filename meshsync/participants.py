"""Participants as the program sees them: this client's own, and the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["LocalParticipant", "Participant", "RemoteParticipant"]


class Participant:
    """Somebody in a room.

    Attributes:
        id: Given by the room, for as long as the participant's connection lasts.
        role: ``user``, ``agent`` or another; what its token said.
    """

    __slots__ = ("__weakref__", "_attributes", "id", "role")

    def __init__(self, id: str, role: str, attributes: Mapping[str, Any]) -> None:
        self.id = id
        self.role = role
        self._attributes: Mapping[str, Any] = MappingProxyType(dict(attributes))

    @property
    def name(self) -> str:
        """The display name; not unique, and empty if the room gives none."""
        name = self._attributes.get("name")
        return name if isinstance(name, str) else ""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes as last known: a snapshot that never changes."""
        return self._attributes

    def get_attribute(self, name: str, default: Any = None) -> Any:
        """Return one attribute, or ``default`` where it is not set."""
        return self._attributes.get(name, default)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.role} {self.id}>"


class RemoteParticipant(Participant):
    """Another participant. There is one object per id while it is here; afterwards it stays offline for good."""

    __slots__ = ("_online",)

    def __init__(self, id: str, role: str, attributes: Mapping[str, Any]) -> None:
        super().__init__(id, role, attributes)
        self._online = True

    @property
    def online(self) -> bool:
        """Whether it can be reached."""
        return self._online

    def _went_offline(self) -> None:
        self._online = False

    def _has_attributes(self, attributes: Mapping[str, Any]) -> None:
        # Replaced as a whole: readers on other threads see the old ones or the new ones.
        self._attributes = MappingProxyType(dict(attributes))


class LocalParticipant(Participant):
    """This client's own participant."""

    __slots__ = ("_send", "_values")

    def __init__(
        self, id: str, role: str, attributes: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
    ) -> None:
        super().__init__(id, role, attributes)
        # Changed in place, by one operation: several tasks may set attributes at once, and none may be lost.
        self._values = dict(attributes)
        self._attributes = MappingProxyType(self._values)
        self._send = send

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes as set by now: a snapshot that never changes."""
        return MappingProxyType(self._values.copy())

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute for all to see; None is a value like others, since the room knows no removal.

        Returns when the connection has accepted it: the room does not acknowledge attributes.

        Raises:
            InvalidMessage: If JSON cannot carry the value.
            ConnectionLost: If the connection has ended; the attribute is unchanged.
        """
        self._send({name: value})
        self._values[name] = value
