"""The placing of confirmed messages: where nothing drops them any more, in order, and as soon as there is room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from meshsync.confirming.bodies import OWN_PREFIX
from meshsync.confirming.exchange import Arrival, Exchange
from meshsync.connection.budget import ByteBudget
from meshsync.dispatch.router import Router
from meshsync.messages import RoomMessage, RoomMessageEvent, marked
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol.session import ROOM_TYPES
from meshsync.protocol.stream_messages import STREAM_TYPES
from meshsync.runtime.interfaces import Condition

__all__ = ["Marking", "Placement", "is_of_programs"]


def is_of_programs(type: str) -> bool:
    """Return whether programs send messages of a type; others are this package's own, of streams or of the room."""
    return bool(type) and not type.startswith(OWN_PREFIX) and type not in STREAM_TYPES and type not in ROOM_TYPES


class Marking(Protocol):
    """Questions and answers among the confirmed messages."""

    def mark(self, arrival: Arrival, sender: RemoteParticipant | None) -> object:
        """Return the mark of the event of a confirmed message; None for one that neither asks nor answers."""


class Receiving(Protocol):
    """The client, as the placing needs it."""

    router: Router
    budget: ByteBudget

    @property
    def participants(self) -> ParticipantDirectory: ...
    @property
    def answering(self) -> Marking: ...


class Placement:
    """Places what an exchange has got.

    Args:
        condition: Guards the exchange; notified when there may be room.
        wake: Called, without the condition, when something waits for room.
    """

    def __init__(self, client: Receiving, exchange: Exchange, condition: Condition, wake: Callable[[], None]) -> None:
        self._client = client
        self._exchange = exchange
        self._condition = condition
        self._wake = wake
        self._is_placing = False
        self._is_room_there = False
        self._has_ended = False

    @property
    def is_due(self) -> bool:
        """Whether there may be room for what waits for it. To be asked with the condition held."""
        return self._is_room_there and self._exchange.first is not None

    def place(self) -> None:
        """Place what came, in order, as far as there is room. Never waits; one task at a time does it."""
        while True:
            with self._condition:
                arrival = self._exchange.first
                if arrival is None or self._is_placing or self._has_ended:
                    return  # The other task looks again before it ends.
                self._is_placing, self._is_room_there = True, False
            is_placed = False
            try:
                is_placed = self._publish(arrival)
            finally:
                with self._condition:
                    self._is_placing = False
                    if is_placed:
                        self._exchange.place()
            if not is_placed:
                self._wake()
                return

    def end(self) -> None:
        """Place nothing any more."""
        self._has_ended = True
        self._client.budget.ignore(self._room_freed)

    def _publish(self, arrival: Arrival) -> bool:
        """Hand a message to the program; return False if there is no room for it."""
        client, type = self._client, arrival.type
        if not is_of_programs(type):
            client.budget.warn(
                "confirmed type", "dropped a confirmed message of the type %r, which is no program's", type
            )
            return True
        id = arrival.participant_id
        sender = client.participants.get(id)
        if sender is None:  # It has waited for room, and its sender is back under another id meanwhile.
            with self._condition:
                id = self._exchange.find(arrival.identity) or id
            sender = client.participants.get(id)
        message = RoomMessage(type, arrival.message, arrival.attachment, id, sender)
        event = RoomMessageEvent("message", message, sender)
        if arrival.mark is not None:
            event = marked(event, client.answering.mark(arrival, sender))
        if client.router.publish_kept(event, arrival.size):
            client.budget.ignore(self._room_freed)
            return True
        client.budget.listen(self._room_freed)
        return client.router.publish_kept(event, arrival.size)  # There may have been room just before it listened.

    def _room_freed(self) -> None:
        with self._condition:
            self._is_room_there = True
            self._condition.notify_all()
