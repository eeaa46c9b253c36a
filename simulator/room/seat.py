"""One participant's connection to a room, sans-I/O: packets in, packets out, and an end with a reason.

A *carrier* (a real WebSocket, a simulated transport) feeds a `Seat` the packets that arrived and drains those to send.
A `SeatedRoom` seats participants and puts the outputs of requests into its members' queues. A participant that breaks
the protocol, or reads too slowly, loses its seat with a `ProtocolError`; the others are notified that it left.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from itertools import islice
from typing import Any, Protocol

from meshsync.errors import ProtocolError
from meshsync.protocol.codec import read_request
from meshsync.protocol.greeting import GreetingForm, greeting_form
from meshsync.protocol.operations import Request
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, Reassembler
from meshsync.runtime.lifecycle import move
from simulator.room.rules import Member, Output, Rights

__all__ = [
    "CARRIER_MOVES",
    "PACKET_SIZE",
    "QUEUE_LIMIT",
    "Account",
    "CarrierState",
    "Parcel",
    "RoomRules",
    "Seat",
    "SeatState",
    "SeatedRoom",
    "pieces_of",
]

PACKET_SIZE = 64 * 1024
"""Body bytes in a packet to a client. Every release reads any size (PROTOCOL.md, section 4.2); fewer cost less."""

QUEUE_LIMIT = 64 * 1024 * 1024
"""Bytes that may wait for one participant. A client's streams may have up to 32 MiB in transit."""

_PARCEL_COST = 256
"""Bytes added to the size of each queued message, so that very many small ones are bounded too."""

_EFFORT = 1024
"""What a message costs beside its bytes and those that follow from it."""

_DELIVERY_EFFORT = 32
"""What putting a message into a queue, and writing it, costs beside making it."""

_HEADER = struct.Struct(">QI")
_START = struct.Struct(">QII")

Piece = tuple[bytes | bytearray | memoryview, ...]
"""The content of one packet as buffers that follow each other, not yet joined."""


class Account:
    """What one participant caused and others have not drained, by which its carrier may stop reading from it."""

    __slots__ = ("limit", "outstanding", "relieved")

    def __init__(self, limit: int = 0) -> None:
        self.outstanding: int = 0
        """Bytes that wait for participants which read."""
        self.limit: int = limit
        """Bytes at which its carrier, if it waits, is notified."""
        self.relieved: Callable[[], None] | None = None
        """Called once, when no more than the limit is outstanding; None if nobody waits for that."""

    def release(self, size: int) -> None:
        """Note that so many bytes were drained, or wait for a participant that does not read."""
        self.outstanding -= size
        if self.relieved is not None and self.outstanding <= self.limit:
            relieved, self.relieved = self.relieved, None
            relieved()


class Parcel:
    """One message on its way to one or more participants."""

    __slots__ = ("account", "cost", "held", "holders", "output")

    output: Output

    def __init__(self, output: Output, account: Account, held: Held) -> None:
        self.output = output
        self.cost: int = output.size + _PARCEL_COST
        """Its share of a queue's limit, in bytes."""
        self.account: Account = account
        """Of the participant that caused it."""
        self.held: Held = held
        self.holders: int = 0
        """The queues that it waits in, or is about to; each has to drain or to drop it. Counted by `SeatedRoom`."""

    def drop(self, count: int = 1) -> None:
        """Count it no longer, for so many queues that it was in or was to go into."""
        self.holders -= count
        if not self.holders:
            self.held.size -= self.cost
        account = self.account
        if account.relieved is None:
            account.outstanding -= count * self.cost
        else:
            account.release(count * self.cost)

    def packets(self) -> list[bytes]:
        """Return the packets."""
        return [b"".join(piece) for piece in pieces_of(self.output)]


def pieces_of(output: Output) -> list[Piece]:
    """Return the packets of a message, each as buffers to be joined: the body is not copied yet."""
    head, payload, id = output.head, output.payload, output.id
    size = output.size
    count = -(-size // PACKET_SIZE)
    pieces: list[Piece] = [(_START.pack(id, 0, count), output.type.encode())]
    if count == 1:
        pieces.append((_HEADER.pack(id, 1), head, payload))
        return pieces
    first, second, border = memoryview(head), memoryview(payload), len(head)
    for index, start in enumerate(range(0, size, PACKET_SIZE), 1):
        end = start + PACKET_SIZE
        of_payload = second[max(start - border, 0) : max(end - border, 0)]
        pieces.append((_HEADER.pack(id, index), first[start:end], of_payload))
    return pieces


class SeatState(Enum):
    """The life of a seat."""

    TAKEN = "taken"
    LEFT = "left by its participant"
    LOST = "taken away for a fault"


_MOVES = {
    SeatState.TAKEN: {SeatState.LEFT, SeatState.LOST},
    SeatState.LEFT: set[SeatState](),
    SeatState.LOST: set[SeatState](),
}


class CarrierState(Enum):
    """The life of a carrier, at the room's end of a connection."""

    OPEN = "open"
    LEAVING = "the room has sent its close frame; data from the client is dropped"
    ENDED = "ended"


_TAKEN = SeatState.TAKEN  # Not looked up by name at each message: before 3.12 that is a call in Python.

CARRIER_MOVES = {
    CarrierState.OPEN: {CarrierState.LEAVING, CarrierState.ENDED},
    CarrierState.LEAVING: {CarrierState.ENDED},
    CarrierState.ENDED: set[CarrierState](),
}
"""The transitions of every kind of carrier."""


class Held:
    """What the messages in all queues of a process take."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size: int = 0
        """Bytes; a message for several participants counts once."""


class Seat:
    """One participant's place in a room. Made by `SeatedRoom.take`."""

    def __init__(
        self, room: SeatedRoom, member: Member, wake: Callable[[], None], queue_limit: int, message_limit: int
    ) -> None:
        self.member = member
        self.state: SeatState = SeatState.TAKEN
        self.fault: ProtocolError | None = None
        """Why the seat was lost; its text is the close reason, its ``code`` the close code."""
        self.queued: int = 0
        """Bytes that wait to be drained."""
        self._room = room
        self._wake = wake
        self.carrier: Any = None
        """What carries it, for those that know of which kind that is."""
        self._queue_limit = queue_limit
        self.queue: deque[Parcel] = deque()
        """What waits to be drained, which is up to its carrier."""
        self._reassembler = Reassembler(message_limit, yields_faults=True)
        self.account: Account = Account()
        """What this participant caused."""
        self._is_counted = True
        """Whether what is put into its queue counts for the participants that cause it."""
        self.uncounted: int = 0
        """Messages at the head of the queue that do not count."""

    @property
    def is_taken(self) -> bool:
        """Whether its participant is still here."""
        return self.state is SeatState.TAKEN

    @property
    def is_overfull(self) -> bool:
        """Whether more waits for its participant than the limit."""
        return self.queued > self._queue_limit and len(self.queue) > 1

    @property
    def half_received(self) -> int:
        """Bytes of the message that has not come whole."""
        return self._reassembler.held

    def feed(self, packets: Iterable[bytes | memoryview], budget: float = math.inf) -> float:
        """Read packets in order and handle their requests. Packets after the end of the seat are ignored.

        Args:
            packets: Where this is an iterator, what was not read is left in it.
            budget: Effort after which no further message is read: about bytes, of messages and of what follows from
                them, with `_EFFORT` for each message and `_DELIVERY_EFFORT` for each delivery on top.

        Returns:
            What is left of the budget, which may be less than nothing.
        """
        if self.state is not _TAKEN:
            return budget
        try:
            return self._read(packets, budget)
        except ProtocolError as fault:
            self.lose(fault)
            return budget

    def _read(self, packets: Iterable[bytes | memoryview], budget: float) -> float:
        room, member = self._room, self.member
        is_limited = budget != math.inf
        for message in self._reassembler.feed(packets):
            if self.fault is not None:  # The outputs overflowed its own queue.
                break
            if not member.family:
                member.note_request(message.type)
            outputs = room.rules.handle(member, message.id, read_request(message))
            room.route(outputs, self.account)
            if not is_limited:
                continue
            budget -= _EFFORT + len(message.body)
            for output in outputs:
                budget -= output.size + _DELIVERY_EFFORT * len(output.to)
            if budget <= 0:
                break
        return budget

    def ask(self, request: Request) -> None:
        """Handle one request of a participant without packets; see `feed`. Its answers have the id 0."""
        if self.is_taken:
            room = self._room
            try:
                room.route(room.rules.handle(self.member, 0, request), self.account)
            except ProtocolError as fault:
                self.lose(fault)

    def drain(self, size: int) -> list[Parcel]:
        """Remove and return the oldest messages: at least one if any, then as many as ``size`` bytes allow."""
        queue = self.queue
        parcels: list[Parcel] = []
        drained = 0
        account, of_account = self.account, 0  # Messages of one participant often follow each other: counted together.
        while queue and (drained < size or not parcels):
            parcel = queue.popleft()
            parcels.append(parcel)
            cost = parcel.cost
            drained += cost
            parcel.holders -= 1
            if not parcel.holders:
                parcel.held.size -= cost
            if self.uncounted:
                self.uncounted -= 1
                continue
            if parcel.account is not account:
                account.release(of_account)
                account, of_account = parcel.account, 0
            of_account += cost
        account.release(of_account)
        self.queued -= drained
        return parcels

    def count(self, is_counted: bool) -> None:
        """Let what waits here count for the participants that cause it, or not: of one that does not read it must not.

        Once it reads again, what waits already does not count all the same.
        """
        if is_counted is self._is_counted:
            return
        self._is_counted = is_counted
        if is_counted:
            self.uncounted = len(self.queue)
            return
        for parcel in islice(self.queue, self.uncounted, None):
            parcel.account.release(parcel.cost)
        self.uncounted = len(self.queue)

    def leave(self, reason: str = "") -> None:
        """End the seat, since its connection ended; the others are notified. Again does nothing."""
        if self.is_taken:
            self.member.departure = reason
            self._end(SeatState.LEFT)

    def lose(self, fault: ProtocolError) -> None:
        """Take the seat away; queued messages may still be drained. Again does nothing."""
        if self.is_taken:
            self.fault = fault
            self.member.departure = f"error {fault.code}: {fault}"
            self._end(SeatState.LOST)
            self._wake()

    def put(self, parcel: Parcel) -> bool:
        """Queue a message; return False if it does not fit. An empty queue accepts any size."""
        waiting, cost = self.queued, parcel.cost
        total = waiting + cost
        if waiting and total > self._queue_limit:
            if not self._room.is_patient:
                parcel.drop()
                return False
            self._wake()
        self.queue.append(parcel)
        self.queued = total
        if not self._is_counted:
            self.uncounted += 1
            parcel.account.release(cost)
        if not waiting:
            self._wake()
        return True

    def overflow(self) -> None:
        """Take the seat from a participant that does not read, and drop its queue."""
        waiting = self.queued
        self.clear()
        self.lose(ProtocolError(f"reads too slowly: {waiting} bytes are waiting", code=1008))

    def clear(self) -> None:
        """Drop what waits for its participant."""
        while self.queue:
            self.drain(self._queue_limit)

    def _end(self, state: SeatState) -> None:
        self.state = move(_MOVES, self.state, state, "a seat")
        self._reassembler = Reassembler()  # What had come of a message is of no use.
        self._room.vacate(self)


class RoomRules(Protocol):
    """The part of a room that seats use: a `Room`, or a wrapper of one."""

    def join(
        self,
        name: str,
        *,
        form: GreetingForm,
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
    ) -> tuple[Member, list[Output]]: ...
    def leave(self, member: Member) -> list[Output]: ...
    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]: ...


class SeatedRoom:
    """A room and the seats of its participants.

    Args:
        queue_limit: Bytes that may wait for one participant before it loses its seat.
        message_limit: Bytes of a message's body; who sends more is refused.
        is_patient: Whether its carrier, which is woken, decides if a participant loses its seat for that.
        make_parcel: How outputs wait in queues.
        held: Counts what waits in all queues.
    """

    def __init__(
        self,
        rules: RoomRules,
        *,
        queue_limit: int = QUEUE_LIMIT,
        message_limit: int = MAX_MESSAGE_SIZE,
        is_patient: bool = False,
        make_parcel: Callable[[Output, Account, Held], Parcel] = Parcel,
        held: Held | None = None,
    ) -> None:
        self.rules = rules
        self.is_patient = is_patient
        self._queue_limit = queue_limit
        self._message_limit = message_limit
        self._make_parcel = make_parcel
        self._held = held or Held()
        self._own = Account()
        """Of what no participant caused."""
        self._seats: dict[str, Seat] = {}
        self._unrouted: deque[tuple[Iterable[Output], Account]] = deque()
        self._is_routing = False

    @property
    def seats(self) -> tuple[Seat, ...]:
        """All seats that are taken, in the order of arrival."""
        return tuple(self._seats.values())

    @property
    def is_empty(self) -> bool:
        """Whether no seat is taken."""
        return not self._seats

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
        """Seat a participant; the greeting waits in its queue.

        Args:
            wake: Called when an empty queue gets a message, and when the seat is lost. It must not call back into the
                room.
            version: The release that the client states. It alone decides the greeting's form: one form suits every
                client that states none, and no other client.
            token_version: The release that made its token, which is often the client's too.
        Raises:
            InvalidMessage: If the name or role cannot be written; the room is as before.
        """
        form = greeting_form(version)
        known = version or token_version
        member, greeting = self.rules.join(name, form=form, role=role, rights=rights, version=known)
        seat = Seat(self, member, wake, self._queue_limit, self._message_limit)
        self._seats[member.id] = member.seat = seat
        self.route(greeting, seat.account)
        return seat

    def route(self, outputs: Iterable[Output], account: Account | None = None) -> None:
        """Put each message into its recipients' queues; ``account`` is of the participant that caused them, if any."""
        if self._is_routing:  # A participant lost its seat below; its leaving is routed after this message.
            self._unrouted.append((outputs, account or self._own))
            return
        self._is_routing = True
        try:
            self._deliver(outputs, account or self._own)
            while True:
                if not self._unrouted:
                    return
                self._deliver(*self._unrouted.popleft())
        finally:
            self._is_routing = False

    def _deliver(self, outputs: Iterable[Output], account: Account) -> None:
        held = self._held
        for output in outputs:
            to = output.to
            if not to:
                continue
            parcel = self._make_parcel(output, account, held)
            cost, holders = parcel.cost, len(to)
            parcel.holders = holders
            held.size += cost
            account.outstanding += holders * cost
            for member in to:
                seat: Seat | None = member.seat
                if seat is None:
                    parcel.drop()
                elif not seat.queued and seat._is_counted:  # Not in a call each: most are idle, and there are many.
                    seat.queue.append(parcel)
                    seat.queued = cost
                    seat._wake()
                elif not seat.put(parcel):
                    seat.overflow()

    def vacate(self, seat: Seat) -> None:
        """Remove a seat that has ended; called by the seat."""
        del self._seats[seat.member.id]
        seat.member.seat = None
        self.route(self.rules.leave(seat.member), seat.account)
