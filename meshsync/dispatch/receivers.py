"""The receivers that ``on`` and ``on_message`` register at one client, in order."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from meshsync.messages import RoomMessageEvent
from meshsync.places import warn_program
from meshsync.signals import EVENTS, check_callable, name_of
from meshsync.typed import KINDS, Codec

__all__ = ["Receiver", "Receivers", "Registration", "check_type"]

Receiver = Callable[[RoomMessageEvent], Any]

_NEED_MESSAGING = (
    "message",
    "participant_added",
    "participant_removed",
    "participant_attributes_updated",
    "stream_opened",
    "stream_closed",
)


def check_type(type: object, decorator: str = "") -> None:
    """Check the type of the messages that a receiver or a subscription is for.

    Args:
        decorator: The name of the method if it is one, whose argument is easily forgotten.
    Raises:
        TypeError: If it is no text, so that no message could have it.
    """
    if inspect.isclass(type):
        raise TypeError(f"{type.__qualname__} is no model, which is {KINDS}; nor is it a text, which the type would be")
    _check_text(type, "the type of a message", decorator and f'@{decorator}("a type")')


def _check_event(event: object) -> None:
    _check_text(event, "the name of an event", '@on("an event")')


def _check_text(value: object, what: str, decorator: str) -> None:
    if not isinstance(value, str):
        hint = f"; as a decorator, write {decorator}" if decorator and callable(value) else ""
        raise TypeError(f"{what} is a str, not {value!r:.100}{hint}")


def _warn_of_namesake(registrations: Iterable[Registration], event: str, type: str | None, receiver: Receiver) -> None:
    """Name an earlier definition of a receiver, which goes on being called when its cell is run again."""
    name = name_of(receiver)
    if name.endswith("<lambda>"):
        return
    if any((known.type, name_of(known.receiver)) == (type, name) for known in registrations):
        what = f"{event!r}" if type is None else f"messages of type {type!r}"
        warn_program(
            f"an earlier definition of {name} is registered for {what} and is called, too: call off({event!r}) before, "
            "which removes all receivers of that event"
        )


class Owner(Protocol):
    """Where a receiver is registered."""

    def remove(self, matches: Callable[[Registration], bool], event: str, /) -> object: ...


@dataclass(frozen=True, eq=False, slots=True)
class Registration:
    """One receiver's connection to one event; ``cancel`` undoes it."""

    event: str
    type: str | None
    """The type of messages it is for; None for all, and for other events."""
    receiver: Receiver
    _owner: Owner = field(repr=False)
    _codec: Codec[Any] | None = field(default=None, repr=False)
    """Of the model that it gets the messages as; None for plain ones."""

    def cancel(self) -> None:
        """Call the receiver no more; a call under way is not interrupted. Later calls do nothing."""
        self._owner.remove(lambda registration: registration is self, self.event)


class Receivers:
    """Registrations by event, in order of registering. Needs no lock: each change is one operation of a dict."""

    def __init__(self) -> None:
        self.on_removed: Callable[[], None] = lambda: None
        """Called when any were removed."""
        self._registrations: dict[str, dict[Registration, None]] = {name: {} for name in EVENTS}

    def add(
        self, event: str, receiver: Receiver, type: str | None = None, codec: Codec[Any] | None = None
    ) -> Registration:
        """Register a receiver; again, for the same event, type and model, it changes nothing.

        As with blinker, whose signals these events are, too: a receiver is called once for an event.

        Args:
            codec: Of the model that it gets the messages as; None for plain ones.
        Returns:
            Its registration, the one that there was if it is there already.
        Raises:
            ValueError: If there is no such event.
            TypeError: If the receiver cannot be called, or is a coroutine or generator function; or if the name of the
                event is no text.
        """
        check_callable(receiver, "a RoomMessageEvent", count=1)
        registrations = self._of(event)
        for known in list(registrations):
            if (known.type, known.receiver, known._codec) == (type, receiver, codec):
                return known
        if hasattr(sys, "ps1"):  # In an interactive session, where a cell or a line is run again.
            _warn_of_namesake(registrations, event, type, receiver)
        registration = Registration(event, type, receiver, self, codec)
        registrations[registration] = None
        return registration

    def off(self, event: str, receiver: Receiver | None) -> None:
        """Remove a receiver's registrations for an event; with None, those of all receivers.

        Raises:
            ValueError: If there is no such event, or it has no such receiver.
        """
        if not self.remove(lambda r: receiver is None or r.receiver == receiver, event) and receiver is not None:
            hint = "give off() the very function that was given to on()"
            raise ValueError(f"{name_of(receiver)} is not registered for {event!r}: {hint}")

    def remove(self, matches: Callable[[Registration], bool], event: str) -> bool:
        """Remove the registrations of an event that match, and return whether any did.

        Raises:
            ValueError: If there is no such event.
        """
        registrations = self._of(event)
        matching = [r for r in list(registrations) if matches(r)]
        for registration in matching:
            registrations.pop(registration, None)
        self.on_removed()
        return bool(matching)

    @property
    def is_empty(self) -> bool:
        """Whether none is registered."""
        return not any(self._registrations.values())

    @property
    def need_messaging(self) -> bool:
        """Whether any is registered for an event that does not occur while messaging is not enabled."""
        return any(self._registrations[event] for event in _NEED_MESSAGING)

    def matching(self, event: RoomMessageEvent) -> Iterator[Registration]:
        """Yield the registrations for an event in order of registering; one that is cancelled meanwhile is left out."""
        of_type = event.message.type
        registrations = self._registrations[event.name]
        for registration in list(registrations):
            if registration.type in (None, of_type) and registration in registrations:
                yield registration

    def count(self, event: RoomMessageEvent) -> int:
        """Return how many receivers an event has by now."""
        of_type = event.message.type
        return sum(registration.type in (None, of_type) for registration in list(self._registrations[event.name]))

    def has_any(self, event: str) -> bool:
        """Return whether a receiver is registered for events of that name."""
        return bool(self._registrations[event])

    def has_for(self, type: str) -> bool:
        """Return whether a receiver is registered for messages of a type, and not for all."""
        return any(registration.type == type for registration in list(self._of("message")))

    def check_event(self, event: str) -> None:
        """Check the name of an event; raises as ``add``."""
        self._of(event)

    def _of(self, event: str) -> dict[Registration, None]:
        _check_event(event)
        try:
            return self._registrations[event]
        except KeyError:
            raise ValueError(f"no event {event!r}; there are {', '.join(EVENTS)}") from None
