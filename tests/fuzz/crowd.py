"""A room with a client of every kind, and what must hold there whatever they send.

A participant that errs ends its own connection at most. The others keep their seats, what they are sent can be read and
is what the room meant, their rosters are right, and nothing is remembered of those who have left.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from meshsync.protocol.codec import decode_push, encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Enable, Push, Request
from meshsync.protocol.packets import Reassembler, split
from simulator.room.members import Output, Presence, Rights
from simulator.room.rules import Room, RoomStats
from simulator.room.seat import Seat, SeatedRoom, SeatState
from tests.fuzz.inputs import REQUEST_TYPES, reportable, unpack

__all__ = ["KINDS", "STEPS", "Crowd", "Kind", "room", "seat"]


class Kind(NamedTuple):
    """A kind of client."""

    speaks: str
    """Its dialect."""
    streams: tuple[str, ...] = ()
    """Which it declares, as only clients of ours do."""
    rights: Rights = Rights()


KINDS = {
    "ada": Kind("A3"),
    "ben": Kind("B3"),
    "cid": Kind("B3", ("classic", "duplex")),
    "dot": Kind("A1"),
    "eve": Kind("B2"),
    "fay": Kind("B1", rights=Rights(list=False)),
}
"""Who is in the room, in the order of arrival; the first has the id ``p-0``, the second ``p-2`` and so on."""

_LEAVE, _WAIT = "its connection ends", "time passes until no time limit is left"
STEPS = (*REQUEST_TYPES, "agents.ask", _LEAVE, _WAIT)
"""What one part of an input of `room` may be."""

_EVERYTHING = 1 << 30


class Crowd:
    """The room, its participants, and what each of them was sent."""

    def __init__(self) -> None:
        numbers = itertools.count()
        rules = Room("lab", ids=lambda: f"p-{next(numbers)}", later=self._later)
        self.rules, self.room = rules, SeatedRoom(rules)
        self.seats: dict[str, Seat] = {}
        self.pushes: list[tuple[str, Output]] = []
        """What was sent, and to whom, in order."""
        self._readers: dict[str, Reassembler] = {}
        self._rosters: dict[str, set[str]] = {}
        """Ids of those who take part, as each participant was told; absent before it takes part itself."""
        self._timers: list[Callable[[], Iterable[Output]]] = []
        self._away: set[str] = set()
        """Who has left, or has lost its seat."""
        for name in KINDS:
            self.join(name)

    def _later(self, _: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        self._timers.append(outputs)
        return lambda: self._timers.remove(outputs) if outputs in self._timers else None

    def join(self, name: str) -> None:
        """Have a participant connect and enable messaging."""
        kind = KINDS[name]
        version = dialect(kind.speaks).version
        self.seats[name] = self.room.take(name, wake=lambda: None, rights=kind.rights, version=version)
        self._readers[name] = Reassembler()
        self._rosters.pop(name, None)
        self._away.discard(name)
        self.ask(name, Enable(kind.streams))
        assert self.seats[name].is_taken

    def ask(self, name: str, request: Request, id: int = 1) -> None:
        """Have a participant send a request."""
        self.feed(name, split(id, *encode_request(request, dialect(KINDS[name].speaks))))

    def feed(self, name: str, packets: Iterable[bytes]) -> None:
        """Have a participant send packets; it joins again first if it has lost its seat or left."""
        if not self.seats[name].is_taken:
            self.join(name)
        mine = self.seats[name]
        mine.feed(packets)
        assert (mine.state is SeatState.LOST) == (mine.fault is not None)
        if mine.fault is not None:
            reportable(mine.fault)
        self.settle(name)

    def leave(self, name: str) -> None:
        """End a participant's connection."""
        self.seats[name].leave()
        self.settle(name)

    def wait(self) -> None:
        """Let every time limit pass, also those that begin meanwhile."""
        while self._timers:
            self.room.route(self._timers.pop(0)())
        self.settle("")

    def settle(self, who: str) -> None:
        """Have all read what they were sent, and check that no one but ``who`` has lost anything."""
        for name, seat in self.seats.items():
            parcels = seat.drain(_EVERYTHING)
            assert seat.queued == 0
            if not seat.is_taken:
                assert name == who or name in self._away, (name, seat.fault)
                self._away.add(name)
                continue
            for parcel in parcels:
                (message,) = self._readers[name].feed(parcel.packets())
                what = decode_push(message)
                assert what == parcel.output.what, (name, what, parcel.output.what)
                self.pushes.append((name, parcel.output))
                self._note(name, what)

    def _note(self, name: str, what: object) -> None:
        """Keep a roster as a client does."""
        match what:
            case Push(_, "messaging.enabled", {"participants": list() as listed}):
                self._rosters[name] = {entry["id"] for entry in listed}
            case Push(sender, "participant.enabled", {"id": str() as id}):
                assert sender == id
                assert id not in self._rosters[name]
                self._rosters[name].add(id)
            case Push(sender, "participant.disabled", {"id": str() as id}):
                assert sender == id
                self._rosters[name].remove(id)

    def check(self) -> None:
        """Check that all who take part know of each other, and that nothing is left when all have left."""
        enabled = {member.id for member in self.rules.enabled}
        for name, seat in self.seats.items():
            member = seat.member
            if seat.is_taken and member.presence is Presence.ENABLED and member.rights.list:
                assert self._rosters[name] == enabled - {member.id}, name
        for name in self.seats:
            self.leave(name)
        assert self.room.is_empty
        assert self.rules.stats() == RoomStats(0, 0, 0)
        assert self._timers == []


def seat(data: bytes) -> None:
    """Let one client send any packets among others: the worst that happens is its own end."""
    crowd = Crowd()
    for packet in unpack(data):
        if crowd.seats["ada"].is_taken:
            crowd.feed("ada", [packet])
    crowd.check()


def room(data: bytes) -> None:
    """Let clients of every kind send requests in turn, leave, come back and wait: each can end itself alone."""
    crowd = Crowd()
    for part in unpack(data):
        name = [*KINDS][(part[0] if part else 0) % len(KINDS)]
        step = STEPS[(part[1] if len(part) > 1 else 0) % len(STEPS)]
        if step == _LEAVE:
            crowd.leave(name)
        elif step == _WAIT:
            crowd.wait()
        else:
            crowd.feed(name, split(part[2] if len(part) > 2 else 1, step, part[3:]))
    crowd.check()
