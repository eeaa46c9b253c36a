"""One participant's connection to a room, sans-I/O: packets in, packets out, and an end with a reason.

A *carrier* (a real WebSocket, a simulated transport) feeds a `Seat` the packets that arrived and drains those to send.
A `SeatedRoom` seats participants and puts the outputs of requests into its members' queues. A participant that breaks
the protocol, or reads too slowly, loses its seat with a `ProtocolError`; the others are notified that it left.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

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
    "CarrierState",
    "Parcel",
    "RoomRules",
    "Seat",
    "SeatState",
    "SeatedRoom",
]

PACKET_SIZE = 64 * 1024
"""Body bytes in a packet to a client. Every release reads any size (PROTOCOL.md, section 4.2); fewer cost less."""

QUEUE_LIMIT = 64 * 1024 * 1024
"""Bytes that may wait for one participant. A client's streams may have up to 32 MiB in transit."""

_PARCEL_COST = 256
"""Bytes added to the size of each queued message, so that very many small ones are bounded too."""

_HEADER = struct.Struct(">QI")
_START = struct.Struct(">QII")

Piece = tuple[bytes | bytearray | memoryview, ...]
"""The content of one packet as buffers that follow each other, not yet joined."""


class Parcel:
    """One message on its way to one or more participants, cut and framed once for all of them."""

    __slots__ = ("cost", "output", "wire")

    def __init__(self, output: Output) -> None:
        self.output = output
        self.cost = output.size + _PARCEL_COST
        """Its share of a queue's limit, in bytes."""
        self.wire: list[bytes] | None = None
        """Its WebSocket frames, made by the gateway, the same for all recipients; None before."""

    def pieces(self) -> list[Piece]:
        """Return the packets, each as buffers to be joined: the body is not copied yet."""
        output = self.output
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

    def packets(self) -> list[bytes]:
        """Return the packets."""
        return [b"".join(piece) for piece in self.pieces()]


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


CARRIER_MOVES = {
    CarrierState.OPEN: {CarrierState.LEAVING, CarrierState.ENDED},
    CarrierState.LEAVING: {CarrierState.ENDED},
    CarrierState.ENDED: set[CarrierState](),
}
"""The transitions of every kind of carrier."""


class Seat:
    """One participant's place in a room. Made by `SeatedRoom.take`."""

    def __init__(
        self, room: SeatedRoom, member: Member, wake: Callable[[], None], queue_limit: int, message_limit: int
    ) -> None:
        self.member = member
        self.state = SeatState.TAKEN
        self.fault: ProtocolError | None = None
        """Why the seat was lost; its text is the close reason, its ``code`` the close code."""
        self.queued = 0
        """Bytes that wait to be drained."""
        self._room = room
        self._wake = wake
        self._queue_limit = queue_limit
        self._queue: deque[Parcel] = deque()
        self._reassembler = Reassembler(message_limit, yields_faults=True)

    @property
    def is_taken(self) -> bool:
        """Whether its participant is still here."""
        return self.state is SeatState.TAKEN

    def feed(self, packets: Iterable[bytes | memoryview]) -> None:
        """Read packets in order and handle their requests. Packets after the end of the seat are ignored."""
        if not self.is_taken:
            return
        room = self._room
        try:
            for message in self._reassembler.feed(packets):
                if self.fault is not None:  # The outputs overflowed its own queue.
                    return
                self.member.note_request(message.type)
                room.route(room.rules.handle(self.member, message.id, read_request(message)))
        except ProtocolError as fault:
            self.lose(fault)

    def ask(self, request: Request) -> None:
        """Handle one request of a participant without packets; see `feed`. Its answers have the id 0."""
        if self.is_taken:
            room = self._room
            try:
                room.route(room.rules.handle(self.member, 0, request))
            except ProtocolError as fault:
                self.lose(fault)

    def drain(self, size: int) -> list[Parcel]:
        """Remove and return the oldest messages: at least one if any, then as many as ``size`` bytes allow."""
        queue = self._queue
        parcels: list[Parcel] = []
        while queue and (size > 0 or not parcels):
            parcel = queue.popleft()
            parcels.append(parcel)
            size -= parcel.cost
            self.queued -= parcel.cost
        return parcels

    def leave(self) -> None:
        """End the seat, since its connection ended; the others are notified. Again does nothing."""
        if self.is_taken:
            self._end(SeatState.LEFT)

    def lose(self, fault: ProtocolError) -> None:
        """Take the seat away; queued messages may still be drained. Again does nothing."""
        if self.is_taken:
            self.fault = fault
            self._end(SeatState.LOST)
            self._wake()

    def put(self, parcel: Parcel) -> bool:
        """Queue a message; return False if it does not fit. An empty queue accepts any size."""
        if not self.is_taken:
            return True
        waiting = self.queued
        if waiting and waiting + parcel.cost > self._queue_limit:
            return False
        self._queue.append(parcel)
        self.queued = waiting + parcel.cost
        if not waiting:
            self._wake()
        return True

    def overflow(self) -> None:
        """Take the seat from a participant that does not read, and drop its queue."""
        waiting = self.queued
        self._queue.clear()
        self.queued = 0
        self.lose(ProtocolError(f"reads too slowly: {waiting} bytes are waiting", code=1008))

    def _end(self, state: SeatState) -> None:
        self.state = move(_MOVES, self.state, state, "a seat")
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
        message_limit: Bytes of a message's body; who sends more loses its seat.
    """

    def __init__(
        self, rules: RoomRules, *, queue_limit: int = QUEUE_LIMIT, message_limit: int = MAX_MESSAGE_SIZE
    ) -> None:
        self.rules = rules
        self._queue_limit = queue_limit
        self._message_limit = message_limit
        self._seats: dict[str, Seat] = {}
        self._unrouted: deque[Output] = deque()
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
        seat = self._seats[member.id] = Seat(self, member, wake, self._queue_limit, self._message_limit)
        self.route(greeting)
        return seat

    def route(self, outputs: Iterable[Output]) -> None:
        """Put each message into its recipients' queues."""
        self._unrouted.extend(outputs)
        if self._is_routing:  # A participant lost its seat below; its leaving is routed after this message.
            return
        self._is_routing = True
        try:
            while True:
                if not self._unrouted:
                    return
                self._deliver(self._unrouted.popleft())
        finally:
            self._is_routing = False

    def _deliver(self, output: Output) -> None:
        parcel = Parcel(output)
        for member in output.to:
            seat = self._seats.get(member.id)
            if seat is not None and not seat.put(parcel):
                seat.overflow()

    def vacate(self, seat: Seat) -> None:
        """Remove a seat that has ended; called by the seat."""
        del self._seats[seat.member.id]
        self.route(self.rules.leave(seat.member))
