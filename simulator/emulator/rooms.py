"""The rooms of an emulator: who is in them, clients and participants without a thread alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.emulator.flushes import Flushes
from simulator.emulator.framing import FramedParcel
from simulator.engine.seeds import Seeds
from simulator.network.network import Network
from simulator.participants import Participant, Surroundings
from simulator.participants.confirming import visible
from simulator.participants.participant import enter, retire
from simulator.room.members import Output, Presence, Rights
from simulator.room.rules import Room
from simulator.room.seat import Account, Held, RoomRules, Seat, SeatedRoom
from simulator.room.watched import WatchedRoom, Watcher

__all__ = ["EmulatedRoom", "NoteFault", "Occupant", "RoomNotes"]

_MOST_NAMES = 1000
"""The names that are kept for a room, the latest ones."""


NoteFault = Callable[[str, str, Sequence[str], str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Occupant:
    """A participant of a room, as it was when it was asked for."""

    id: str
    """Given by the room for this connection."""
    name: str
    """The display name that its token gives."""
    role: str
    attributes: Mapping[str, Any] = field(hash=False)
    """A copy."""
    is_enabled: bool
    """Whether it takes part in messaging."""


class RoomNotes:
    """What faults need to know of a room, also while it is closed: the names of all that were in it or tried to be.

    Args:
        note_fault: Called with each fault that strikes there: the room, its word, its names, its outcome, its members.
    """

    def __init__(self, name: str, note_fault: NoteFault) -> None:
        self.name = name
        self._note_fault = note_fault
        self.room: EmulatedRoom | None = None
        """The room while it is open."""
        self._names: dict[str, None] = {}

    @property
    def participants(self) -> Sequence[Participant]:
        """Those without a thread."""
        return () if self.room is None else self.room.participants

    @property
    def recorder(self) -> RoomNotes:
        """This: it records the room's faults."""
        return self

    def names(self) -> tuple[str, ...]:
        """Return the names of all participants that are or were here, or tried to be; of very many the latest."""
        return tuple(self._names)

    def appeared(self, name: str) -> None:
        """Note that a participant of that name is here, or wants to be."""
        self._names.pop(name, None)
        self._names[name] = None
        if len(self._names) > _MOST_NAMES:
            del self._names[next(iter(self._names))]

    def struck(self, word: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Note that a fault struck, began or ended."""
        self._note_fault(self.name, word, names, outcome, detail)


class KeptParcel(FramedParcel):
    """A message whose value is kept beside its frames, for participants that read no frames."""

    __slots__ = ()

    cost: int

    def __init__(self, output: Output, account: Account, held: Held) -> None:
        super().__init__(output, account, held)
        self.output = output
        self.cost += output.size


class EmulatedRoom(SeatedRoom):
    """A room of an emulator.

    Args:
        plain: Its rules, without faults.
        watchers: Notified of its events.
        notes: Its notes, which outlive it.
        flushes: Writes to its clients.
        vacated: Called each time a participant has left.

    Attributes:
        connections: How many connections of clients it has, those being disconnected included.
        is_kept: Whether it stays open when its last client has left.
    """

    def __init__(
        self,
        plain: Room,
        watchers: Sequence[Watcher],
        notes: RoomNotes,
        *,
        queue_limit: int,
        message_limit: int,
        held: Held,
        flushes: Flushes,
        vacated: Callable[[EmulatedRoom], None],
    ) -> None:
        rules: RoomRules = plain
        for watcher in reversed(watchers):
            rules = WatchedRoom(rules, watcher)
        super().__init__(
            rules,
            queue_limit=queue_limit,
            message_limit=message_limit,
            is_patient=True,
            make_parcel=FramedParcel,
            held=held,
        )
        self.name: str = notes.name
        self.plain = plain
        self.watchers: tuple[Watcher, ...] = tuple(watchers)
        self.connections = 0
        self.is_kept = False
        self._notes = notes
        self._flushes = flushes
        self._vacated = vacated
        self._participants: dict[Participant, None] = {}
        self._surroundings: Surroundings | None = None

    @property
    def participants(self) -> tuple[Participant, ...]:
        """The participants without a thread that were added, those who have left included."""
        return tuple(self._participants)

    @property
    def has_clients(self) -> bool:
        """Whether there is a client, or one that is listed all the same."""
        return self.connections > 0 or len(self._seats) > sum(one.id in self._seats for one in self._participants)

    def occupants(self) -> tuple[Occupant, ...]:
        """Return its participants, in the order of arrival."""
        members = [seat.member for seat in self.seats]
        return tuple(
            Occupant(
                member.id,
                member.name,
                member.role,
                copy.deepcopy(dict(visible(member.attributes))),
                member.presence is Presence.ENABLED,
            )
            for member in members
        )

    def add(self, participants: Iterable[Participant], network: Network, seeds: Seeds) -> None:
        """Let participants without a thread in.

        Raises:
            UsageError: If one of them is in a room already; those before it were let in.
        """
        self._make_parcel = KeptParcel
        if self._surroundings is None:
            self._surroundings = Surroundings(network, self, seeds)
        for participant in participants:
            enter(participant, self._surroundings)
            self._notes.appeared(participant.name)
            self._participants[participant] = None

    def retire(self) -> None:
        """Let all that were added leave, for good."""
        participants, self._participants = self.participants, {}
        for participant in participants:
            retire(participant)

    def take(
        self,
        name: str,
        *,
        wake: Callable[[], None],
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
        token_version: str | None = None,
    ) -> Seat:
        """Seat a participant; see `SeatedRoom.take`."""
        self._notes.appeared(name)
        return super().take(name, wake=wake, role=role, rights=rights, version=version, token_version=token_version)

    def vacate(self, seat: Seat) -> None:
        """Remove a seat that has ended; see `SeatedRoom.vacate`."""
        if not seat.member.departure:
            seat.member.departure = "its connection has ended"
        super().vacate(seat)
        self._vacated(self)

    def _deliver(self, outputs: Iterable[Output], account: Account) -> None:
        """Write a message that came alone to all that are idle, without a way through their queues."""
        flushes = self._flushes
        if not flushes.is_alone:
            super()._deliver(outputs, account)
            return
        outputs = list(outputs)
        if len(outputs) == 2 and len(outputs[1].to) == 1 and outputs[1].to[0] not in outputs[0].to:
            outputs.reverse()  # The sender's reply is written first.
        for output in outputs:
            others = flushes.write_at_once(output)
            if others:
                super()._deliver([replace(output, to=tuple(others))], account)
