"""The receivers of one client: what ``on`` and ``on_message`` register, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshsync.messages import RoomMessageEvent
from meshsync.signals import EVENTS

__all__ = ["Receiver", "Receivers", "Registration"]

Receiver = Callable[[RoomMessageEvent], Any]


@dataclass(frozen=True, eq=False, slots=True)
class Registration:
    """One receiver's connection to one event; ``cancel`` undoes it."""

    event: str
    type: str | None
    """Of the messages it is for; None for all, and for the other events."""
    receiver: Receiver
    _owner: Receivers = field(repr=False)

    def cancel(self) -> None:
        """Call the receiver no more; a call under way is not interrupted. More than once does nothing."""
        self._owner.remove(lambda registration: registration is self, self.event)


class Receivers:
    """Registrations by event, in order of registering. Needs no lock: each change is one operation of a dict."""

    def __init__(self) -> None:
        self._registrations: dict[str, dict[Registration, None]] = {name: {} for name in EVENTS}

    def add(self, event: str, receiver: Receiver, type: str | None = None) -> Registration:
        """Register a receiver.

        Raises:
            ValueError: If there is no such event.
            TypeError: If the receiver cannot be called.
        """
        if not callable(receiver):
            raise TypeError(f"a receiver is called with a RoomMessageEvent; {receiver!r} cannot be called")
        registration = Registration(event, type, receiver, self)
        self._of(event)[registration] = None
        return registration

    def remove(self, matches: Callable[[Registration], bool], event: str) -> None:
        """Remove the registrations of an event that match."""
        registrations = self._of(event)
        for registration in [r for r in list(registrations) if matches(r)]:
            registrations.pop(registration, None)

    def matching(self, event: RoomMessageEvent) -> list[Receiver]:
        """Return the receivers of an event in order of registering."""
        of_type = event.message.type
        return [r.receiver for r in list(self._of(event.name)) if r.type is None or r.type == of_type]

    def _of(self, event: str) -> dict[Registration, None]:
        try:
            return self._registrations[event]
        except KeyError:
            raise ValueError(f"no event {event!r}; there are {', '.join(EVENTS)}") from None
