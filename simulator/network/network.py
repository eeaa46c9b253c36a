"""The connections of a simulation, by participant, and the faults that strike them.

A `Network` knows all connections by participant, from the first packet of the handshake on. One-off faults strike them,
and lasting ones give verdicts on their links and on attempts; see `simulator.faults.layers`. Faults of the room itself,
such as ``reject_streams``, are not its business, nor is the time of faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol, TypeVar

from meshsync.errors import ConnectFailed, RoomUnavailable
from meshsync.protocol import heartbeat, send_buffer
from meshsync.runtime.lifecycle import move
from simulator.engine.clock import Clock
from simulator.engine.seeds import Seeds
from simulator.faults.asking import ask, strike_connection
from simulator.faults.fault import Fault
from simulator.faults.layers import ConnectionFault, Delay, Hold, Limit, NetworkFault, Pass, Refuse
from simulator.latency import Latency, Law, Matrix, as_latency, as_law
from simulator.network.bandwidths import Bandwidth, Bandwidths
from simulator.network.desks import Desk
from simulator.network.links import WINDOW, Link, Tap
from simulator.network.traffic import Traffic
from simulator.room.rules import Rights
from simulator.room.seat import Seat, SeatedRoom

__all__ = ["CLIENT_GONE", "Carrier", "ClientEnd", "Ended", "Guest", "Heartbeats", "Network", "SimulatedConnection"]


Verdict = TypeVar("Verdict")


@dataclass(frozen=True, slots=True)
class Guest:
    """A participant that is admitted, and its room."""

    name: str
    room: SeatedRoom
    role: str = "user"
    rights: Rights | None = None
    """All of them if None."""
    version: str | None = None
    """The release of its SDK, as far as it can be known."""


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """The heartbeats of both ends of a connection, in seconds; see `HeartbeatTimer`."""

    interval: float | None = heartbeat.INTERVAL
    timeout: float = heartbeat.TIMEOUT


class Ended(Enum):
    """The ends of a connection at which it has ended. Frames may still be in flight."""

    NEITHER = "neither end"
    CLIENT = "the client's end: frames that arrive there from now on are not read"
    ROOM = "the room's end"
    BOTH = "both ends"


_MOVES = {
    Ended.NEITHER: {Ended.CLIENT, Ended.ROOM},
    Ended.CLIENT: {Ended.BOTH},
    Ended.ROOM: {Ended.BOTH},
}

CLIENT_GONE = (Ended.CLIENT, Ended.BOTH)
ROOM_GONE = (Ended.ROOM, Ended.BOTH)


class ClientEnd(Protocol):
    """The part of a participant's end of a connection that faults use."""

    def broke(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Carrier(Protocol):
    """The part of the room's end of a connection that faults use."""

    @property
    def seat(self) -> Seat: ...
    def broke(self, *, leaves: bool = True, at_once: bool = True) -> None: ...
    def end(self, code: int, reason: str) -> object: ...
    def push_raw(self, packets: Sequence[bytes]) -> None: ...


class SimulatedConnection:
    """One connection, from the first packet of its handshake until it has ended at both ends."""

    def __init__(self, network: Network, name: str, label: str, up: Link[Traffic], down: Link[Traffic]) -> None:
        self.name = name
        """The participant's name; empty if it is not known."""
        self.label = label
        """Unique among the participant's connections."""
        self.up = up
        self.down = down
        self.guest: Guest | None = None
        """Its participant; None if the door admits none."""
        self.opener = ""
        """The path of the actor that made it; empty if none did."""
        self.refuse: Callable[[ConnectFailed], None] | None = None
        """Ends the attempt; None once that is over."""
        self.owner: object = None
        """The life of a program that made it; None if it was made by none."""
        self.aborted: Callable[[], None] | None = None
        """Ends it, or the attempt, at the client's end without a close frame; None if that has no program."""
        self.transport: ClientEnd | None = None
        """The client's end; None until it is there."""
        self.carrier: Carrier | None = None
        """The room's end; None until it is there."""
        self.paused_until: int = 0
        """When the client's end resumes, in nanoseconds; past if it is not paused."""
        self.ended: Ended = Ended.NEITHER
        """The ends at which it has ended; a plain attribute, since it is read for all frames that arrive."""
        self._network = network

    @property
    def is_over(self) -> bool:
        """Whether it has ended at both ends. Frames may still be in flight."""
        return self.ended is Ended.BOTH

    def client_ended(self) -> None:
        """Note that it has ended at the client's end. Again does nothing."""
        if self.ended not in CLIENT_GONE:
            self._move(Ended.BOTH if self.ended is Ended.ROOM else Ended.CLIENT)

    def room_ended(self) -> None:
        """Note that it has ended at the room's end. Again does nothing."""
        if self.ended not in ROOM_GONE:
            self._move(Ended.BOTH if self.ended is Ended.CLIENT else Ended.ROOM)

    def _move(self, ended: Ended) -> None:
        self.ended = move(_MOVES, self.ended, ended, f"connection {self.label}")
        if self.is_over:
            self.up.abandon()
            self.down.abandon()
            self._network.forget(self)

    def reset(self, *, leaves: bool = True) -> None:
        """Break it: what is in flight is lost, and both ends are notified at once.

        Args:
            leaves: Whether the participant leaves the room.
        """
        self.up.reset()
        self.down.reset()
        if self.carrier is not None:
            self.carrier.broke(leaves=leaves)
        self.room_ended()
        if self.transport is not None:
            self.transport.broke()
        elif self.refuse is not None:
            cut = RoomUnavailable("the connection was reset during the handshake")
            cut._was_cut = True
            self.refuse(cut)

    def drop(self) -> None:
        """End it at the room's end without a close frame: the client's end gets the end (FIN) behind what is in flight.

        An attempt is reset.
        """
        if self.carrier is None:
            self.reset()
        else:
            self.carrier.broke(at_once=False)

    def abort(self, *, is_silent: bool) -> None:
        """End it at the client's end without a close frame, since the program there has ended.

        Args:
            is_silent: Whether that does not arrive, since its machine has ended.
        """
        if self.ended in CLIENT_GONE:
            return
        if is_silent:
            self.silence()
        if self.aborted is not None:
            self.aborted()

    def silence(self) -> None:
        """Let nothing arrive any more at either end, without notifying them."""
        self.up.silence()
        self.down.silence()
        self.count(False)

    def pause(self, seconds: float) -> None:
        """Pause the client's end, if it is there, for some seconds; of several pauses the longest counts."""
        if self.transport is not None:
            kernel = self._network.kernel
            end = kernel.instant(seconds)
            self.paused_until = max(self.paused_until, end)
            self.transport.pause()
            self.count(False)
            kernel.at(end, self._resume)

    def end_pause(self) -> None:
        """Resume the client's end, however long the pause was to be."""
        self.paused_until = self._network.kernel.now
        self._resume()

    def _resume(self) -> None:
        if self.transport is not None and self._network.kernel.now >= self.paused_until:
            self.transport.resume()
            self.count(True)

    def count(self, is_counted: bool) -> None:
        """Let what waits for the participant hold up those that cause it; not while a fault keeps it waiting."""
        if self.carrier is not None:
            self.carrier.seat.count(is_counted)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame from the room's end, if it is there."""
        if self.carrier is not None:
            self.carrier.end(code, reason)

    def push(self, packets: Sequence[bytes]) -> None:
        """Send packets from the room's end, if it is there, unchecked."""
        if self.carrier is not None:
            self.carrier.push_raw(packets)


class Network:
    """All connections of a simulation.

    Args:
        up: The law of delays from participants to rooms, or seconds; or a matrix, which has both directions.
        down: The law of delays from rooms to participants; the same if None. Not beside a matrix.
        bandwidth: Bytes per second that connections carry; see `Bandwidths`.
        window: Bytes that each link accepts before its reader has read.
        send_buffer: The most bytes accepted and unwritten by a transport.
        heartbeats: Of both ends of every connection.
        tap: Called for the frames that are sent, that arrive and that are lost.
        service: The law of the time that each message takes to be handled by a room (``"room"``), and by a participant
            (``"participants"``); one that is missing takes none.
    """

    def __init__(
        self,
        kernel: Clock,
        seeds: Seeds,
        *,
        up: Latency | float = 0.0,
        down: Law | float | None = None,
        bandwidth: Bandwidth = None,
        window: int = WINDOW,
        send_buffer: int = send_buffer.LIMIT,
        heartbeats: Heartbeats | None = None,
        tap: Tap[Traffic] | None = None,
        service: Mapping[str, Law] | None = None,
    ) -> None:
        self.kernel = kernel
        self._service = service or {}
        self._desks: dict[SeatedRoom, Desk] = {}
        self.heartbeats: Heartbeats = heartbeats or Heartbeats()
        self.send_buffer = send_buffer
        self._seeds = seeds
        latency = as_latency(up)
        self._matrix = latency if isinstance(latency, Matrix) else None
        self._laws = None if isinstance(latency, Matrix) else (latency, latency if down is None else as_law(down))
        """Those of all connections; None for those of the matrix."""
        self._bandwidths = Bandwidths(bandwidth)
        self._window = window
        self._tap = tap
        self._connections: dict[SimulatedConnection, None] = {}
        """In the order of connecting."""
        self._count: Counter[str] = Counter()
        self._in_force: list[NetworkFault] = []
        self._up_again_at = 0
        """When a server that went down is back, in nanoseconds; past if none is down."""

    # --- connections --------------------------------------------------------------------------------------------------

    def connections(self, name: str | None = None) -> tuple[SimulatedConnection, ...]:
        """Return the live connections of a participant, or all, in the order of connecting; attempts included."""
        return tuple(connection for connection in self._connections if name in (None, connection.name))

    def open(self, name: str) -> SimulatedConnection:
        """Make the links of a new connection.

        Raises:
            UsageError: If a matrix of delays has nothing about that participant; there is no connection.
        """
        delay, _ = self._delays(name)
        self._count[name] += 1
        # A token may give a name with half a surrogate pair, which has no encoding.
        label = f"{name}#{self._count[name]}".encode("utf-8", "backslashreplace").decode()
        up, down = (
            Link[Traffic](
                self.kernel,
                self._seeds.new_stream(f"network/{label}/{direction}"),
                delay=delay,
                name=f"{label}/{direction}",
                window=self._window,
                tap=self._tap,
            )
            for direction in ("up", "down")
        )
        connection = SimulatedConnection(self, name, label, up, down)
        self._connections[connection] = None
        self._settle(connection)
        return connection

    def admit(self, connection: SimulatedConnection, guest: Guest) -> None:
        """Note whose connection it is."""
        connection.guest = guest
        if "room" in self._service:
            desk = self._desks.get(guest.room)
            if desk is None:
                # Rooms are told apart by the order in which they are joined.
                stream = self._seeds.new_stream(f"service/room {len(self._desks)}")
                desk = self._desks[guest.room] = Desk(self._service["room"], stream)
            connection.up.service = desk
        if "participants" in self._service:
            stream = self._seeds.new_stream(f"service/{connection.label}")
            connection.down.service = Desk(self._service["participants"], stream)

    def forget(self, connection: SimulatedConnection) -> None:
        """Remove a connection that has ended at both ends."""
        self._connections.pop(connection, None)

    def is_refusing(self, name: str) -> bool:
        """Return whether an attempt of that participant would be refused at this moment."""
        return self.kernel.now < self._up_again_at or any(
            isinstance(verdict, Refuse) for verdict in self._verdicts(NetworkFault.on_attempt, name)
        )

    def connect_delay(self, name: str) -> int:
        """Return by how much an attempt of that participant is delayed, in nanoseconds."""
        verdicts = self._verdicts(NetworkFault.on_attempt, name)
        laws = [verdict.law for verdict in verdicts if isinstance(verdict, Delay)]
        return sum(law.draw_us(self._seeds.stream(f"network/{name}/connect")) * 1000 for law in laws)

    # --- faults -------------------------------------------------------------------------------------------------------

    @property
    def in_force(self) -> tuple[NetworkFault, ...]:
        """The lasting faults that are in force, in the order in which they struck."""
        return tuple(self._in_force)

    def strike(self, fault: ConnectionFault | NetworkFault) -> int:
        """Strike with a one-off fault, or put a lasting one in force; return how many connections it met."""
        if isinstance(fault, NetworkFault):
            self._in_force.append(fault)
            self._settle_all()
            return sum(1 for one in self._connections if not fault.names or self._is_struck(one, fault))
        struck = [one for one in self._connections if self._is_struck(one, fault)]
        for connection in struck:
            strike_connection(fault, connection)
        return len(struck)

    def restart(self, down: float, *, forgets: bool) -> int:
        """Reset every connection, refuse attempts for ``down`` seconds, and return how many connections there were.

        Args:
            forgets: Whether the participants leave at once; else they are listed until heartbeats would fail.
        """
        self._up_again_at = max(self._up_again_at, self.kernel.instant(down))
        struck = tuple(self._connections)
        ghosts: list[Seat] = []
        for connection in struck:
            if connection.carrier is not None and not forgets:
                ghosts.append(connection.carrier.seat)
            connection.reset(leaves=forgets)
        if ghosts and self.heartbeats.interval is not None:
            patience = self.heartbeats.interval + self.heartbeats.timeout
            self.kernel.after(down + patience, partial(_leave_all, ghosts))
        return len(struck)

    def lift(self, fault: NetworkFault) -> None:
        """End a lasting fault; of equal ones, one. Does nothing if it has ended, as by `lift_all`."""
        if fault in self._in_force:
            self._in_force.remove(fault)
            self._settle_all()

    def lift_all(self) -> None:
        """End all lasting faults, pauses and a restart included: from here on the network is as it was made."""
        self._in_force.clear()
        self._up_again_at = self.kernel.now
        self._settle_all()
        for connection in tuple(self._connections):
            connection.end_pause()

    def calm(self) -> None:
        """End all faults and delays: what is in flight arrives now, and later frames at once."""
        self._laws = (as_law(0), as_law(0))
        self.lift_all()
        for connection in tuple(self._connections):
            connection.up.flush()
            connection.down.flush()

    # --- places -------------------------------------------------------------------------------------------------------

    @property
    def regions(self) -> Mapping[str, Sequence[str]]:
        """The participants of each region, by which faults may name them all."""
        return {} if self._matrix is None else self._matrix.participants

    def region_of(self, name: str) -> str | None:
        """Return the region of a participant; None if it has none."""
        return None if self._matrix is None else self._matrix.region_of(name)

    def _delays(self, name: str) -> tuple[Law, Law]:
        if self._laws is not None:
            return self._laws
        assert self._matrix is not None
        return self._matrix.laws_of(name)

    def _is_struck(self, connection: SimulatedConnection, fault: Fault) -> bool:
        return connection.name in fault.names or self.region_of(connection.name) in fault.names

    def _verdicts(self, question: Callable[[NetworkFault, str], Verdict], name: str) -> list[Verdict | Pass]:
        """Return the verdicts of the faults in force on a participant, or else on its region."""
        region = self.region_of(name)
        verdicts: list[Verdict | Pass] = []
        for fault in self._in_force:
            verdict: Verdict | Pass = ask(question, fault, name)
            if region is not None and isinstance(verdict, Pass):
                verdict = ask(question, fault, region)
            verdicts.append(verdict)
        return verdicts

    def _settle_all(self) -> None:
        for connection in tuple(self._connections):
            self._settle(connection)

    def _settle(self, connection: SimulatedConnection) -> None:
        """Set a connection's links by the verdicts of the faults in force."""
        name = connection.name
        up, down = self._delays(name)
        limits = self._bandwidths.of(name, self.region_of(name))
        held: set[str] = set()
        for verdict in self._verdicts(NetworkFault.on_link, name):
            match verdict:
                case Hold(direction):
                    held |= {"up", "down"} if direction == "both" else {direction}
                case Delay(law, direction):
                    up = law if direction != "down" else up
                    down = law if direction != "up" else down
                case Limit(bandwidth, direction):
                    for way in ("up", "down"):
                        if direction in (way, "both"):
                            limits[way].append(bandwidth)
        connection.up.change_delay(up, down)
        connection.down.change_delay(down, up)
        connection.up.change_bandwidth(min(limits["up"], default=None))
        connection.down.change_bandwidth(min(limits["down"], default=None))
        for link, way, other in ((connection.up, "up", "down"), (connection.down, "down", "up")):
            # What acknowledges the bytes of one direction travels in the other.
            link.hold_echoes(is_held=other in held and way not in held)
            if way in held:
                link.freeze()
            else:
                link.thaw()
        connection.count(not held)


def _leave_all(seats: Iterable[Seat]) -> None:
    for seat in seats:
        seat.leave()
