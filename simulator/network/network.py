"""The connections of a simulation: whose they are, and what happens to them.

A `Network` knows all connections by participant, from the first packet of the handshake on, and does to them what a
fault says. Faults of the room itself, such as `reject_streams`, are not its business, nor is when anything strikes.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from meshsync.errors import ConnectFailed, RoomUnavailable
from meshsync.protocol import heartbeat, send_buffer
from meshsync.protocol.codec import encode_push
from meshsync.protocol.operations import Push
from meshsync.protocol.packets import split
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import Endpoint
from simulator.engine.kernel import Kernel
from simulator.engine.seeds import Seeds
from simulator.faults import kinds
from simulator.latency import Law, as_law
from simulator.network.links import WINDOW, Link, Tap
from simulator.network.room_end import SeatCarrier
from simulator.network.traffic import Traffic
from simulator.room.rules import Rights
from simulator.room.seat import PACKET_SIZE, Seat, SeatedRoom

__all__ = ["ClientEnd", "Connection", "Door", "Guest", "Heartbeats", "Network"]


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is let in, and where."""

    name: str
    room: SeatedRoom
    role: str = "user"
    rights: Rights | None = None
    """All of them if None."""
    version: str | None = None
    """The release of its SDK, as far as it can be known."""


Door = Callable[[Endpoint, str], Guest]
"""Takes where somebody wants to go and the token presented; raises `ConnectFailed` if it is not let in."""


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """How both ends find out that the other is gone, in seconds."""

    interval: float | None = heartbeat.INTERVAL
    timeout: float = heartbeat.TIMEOUT


class ClientEnd(Protocol):
    """A participant's end of a connection, as far as faults have to do with it."""

    def broke(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Connection:
    """One connection, from the first packet of its handshake until both ends have done with it."""

    def __init__(self, network: Network, name: str, label: str, up: Link[Traffic], down: Link[Traffic]) -> None:
        self.name = name
        """The participant's; empty if it is not known."""
        self.label = label
        """What tells it from the participant's other ones."""
        self.up = up
        self.down = down
        self.guest: Guest | None = None
        """Who is on it, if the door lets them in."""
        self.refuse: Callable[[ConnectFailed], None] | None = None
        """Ends the attempt, while it is one."""
        self.transport: ClientEnd | None = None
        """The client's end, once it is there."""
        self.carrier: SeatCarrier | None = None
        """The room's end, once it is there."""
        self.paused_until = 0
        """When the client's end goes on, in nanoseconds; past if it is not paused."""
        self.is_client_gone = False
        """Whether the client has done with it: what arrives there from now on reaches nobody."""
        self._is_room_gone = False
        self._network = network

    @property
    def is_over(self) -> bool:
        """Whether both ends have done with it. Something may still be in flight."""
        return self.is_client_gone and self._is_room_gone

    def client_ended(self) -> None:
        """Take note that the client has done with it."""
        self.is_client_gone = True
        self._forget()

    def room_ended(self) -> None:
        """Take note that the room has done with it."""
        self._is_room_gone = True
        self._forget()

    def _forget(self) -> None:
        if self.is_over:
            self._network.forget(self)

    def reset(self, *, leaves: bool = True) -> None:
        """Break it: what is in flight is lost, and both ends learn of it at once.

        Args:
            leaves: Whether the room takes the participant for gone.
        """
        self.up.reset()
        self.down.reset()
        if self.carrier is not None:
            self.carrier.broke(leaves=leaves)
        self.room_ended()
        if self.transport is not None:
            self.transport.broke()
        elif self.refuse is not None:
            self.refuse(RoomUnavailable("the connection was reset during the handshake"))


class Network:
    """All connections of a simulation.

    Args:
        door: Decides who is let in where. Called in the task that connects; it must not block.
        up: The law of delays from participants to rooms, or seconds.
        down: The law of delays from rooms to participants; the same if None.
        bandwidth: Bytes per second that each connection carries in each direction; None for no limit.
        window: Bytes that each link takes before its reader has read.
        send_buffer: The most bytes accepted and unwritten by a transport.
        heartbeats: Of both ends of every connection.
        tap: Told of every frame that is sent, arrives or is lost.
    """

    def __init__(
        self,
        kernel: Kernel,
        runtime: Runtime,
        seeds: Seeds,
        *,
        door: Door,
        up: Law | float = 0.0,
        down: Law | float | None = None,
        bandwidth: float | None = None,
        window: int = WINDOW,
        send_buffer: int = send_buffer.LIMIT,
        heartbeats: Heartbeats | None = None,
        tap: Tap[Traffic] | None = None,
    ) -> None:
        self.kernel = kernel
        self.runtime = runtime
        self.door = door
        self.heartbeats = heartbeats or Heartbeats()
        self.send_buffer = send_buffer
        self._seeds = seeds
        self._up = as_law(up)
        self._down = as_law(up if down is None else down)
        self._bandwidth = bandwidth
        self._window = window
        self._tap = tap
        self._connections: dict[Connection, None] = {}
        """In the order of connecting."""
        self._count: Counter[str] = Counter()
        self._in_force: list[kinds.Fault] = []
        self._up_again_at = 0
        """When a server that went down is back, in nanoseconds."""

    # --- connections --------------------------------------------------------------------------------------------------

    def connections(self, name: str | None = None) -> tuple[Connection, ...]:
        """Return the live connections of a participant, or all, in the order of connecting; attempts included."""
        return tuple(connection for connection in self._connections if name in (None, connection.name))

    def open(self, name: str) -> Connection:
        """Make the links of a new connection."""
        self._count[name] += 1
        # A token may give a name with half a surrogate pair, which nobody can encode.
        label = f"{name}#{self._count[name]}".encode("utf-8", "backslashreplace").decode()
        up, down = (
            Link[Traffic](
                self.kernel,
                self._seeds.new_stream(f"network/{label}/{direction}"),
                delay=self._up,
                name=f"{label}/{direction}",
                window=self._window,
                tap=self._tap,
            )
            for direction in ("up", "down")
        )
        connection = Connection(self, name, label, up, down)
        self._connections[connection] = None
        self._settle(connection)
        return connection

    def forget(self, connection: Connection) -> None:
        """Take note that a connection has ended at both ends."""
        self._connections.pop(connection, None)

    def is_refusing(self, name: str) -> bool:
        """Return whether nobody would answer an attempt of that participant at this moment."""
        return self.kernel.now < self._up_again_at or any(
            isinstance(fault, kinds.RefuseConnect) and fault.name == name for fault in self._in_force
        )

    def connect_delay(self, name: str) -> int:
        """Return by how much an attempt of that participant is delayed, in nanoseconds."""
        laws = [fault.delay for fault in self._in_force if isinstance(fault, kinds.DelayConnect) and fault.name == name]
        return sum(law.draw_us(self._seeds.stream(f"network/{name}/connect")) * 1000 for law in laws)

    # --- faults -------------------------------------------------------------------------------------------------------

    @property
    def in_force(self) -> tuple[kinds.Fault, ...]:
        """The conditions that hold, in the order in which they struck."""
        return tuple(self._in_force)

    @staticmethod
    def knows(fault: kinds.Fault) -> bool:
        """Return whether a fault is the network's to do, and not the room's."""
        return type(fault) in _BLOWS or type(fault) in _CONDITIONS

    def strike(self, fault: kinds.Fault) -> int:
        """Do what a fault says, or let a condition hold from now on; return how many connections it met.

        Raises:
            ValueError: If it is not the network's to do.
        """
        if type(fault) in _CONDITIONS:
            self._in_force.append(fault)
            self._settle_all()
            return sum(1 for one in self._connections if not fault.names or one.name in fault.names)
        if type(fault) not in _BLOWS:
            raise ValueError(f"{fault.word} is nothing that happens to a network")
        if isinstance(fault, kinds.Restart):
            return self._restart(fault)
        struck = [one for one in self._connections if one.name in fault.names]
        for connection in struck:
            self._blow(fault, connection)
        return len(struck)

    def lift(self, fault: kinds.Fault) -> None:
        """End a condition; of equal ones, one. If it does not hold, since `lift_all` came first, that is no error."""
        if fault in self._in_force:
            self._in_force.remove(fault)
            self._settle_all()

    def lift_all(self) -> None:
        """End all conditions, pauses and a restart included: from here on the network is as it was made."""
        self._in_force.clear()
        self._up_again_at = self.kernel.now
        self._settle_all()
        for connection in tuple(self._connections):
            connection.paused_until = self.kernel.now
            self._resume(connection)

    def _settle_all(self) -> None:
        for connection in tuple(self._connections):
            self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Make the links of a connection as the conditions in force want them."""
        up, down = self._up, self._down
        limits: dict[str, list[float]] = {"up": [], "down": []}
        if self._bandwidth is not None:
            limits = {"up": [self._bandwidth], "down": [self._bandwidth]}
        is_cut_off = False
        for fault in self._in_force:
            if isinstance(fault, kinds.Partition):
                is_cut_off = is_cut_off or connection.name in fault.cut_off
            elif isinstance(fault, kinds.ChangedLatency) and fault.name in (None, connection.name):
                up = fault.delay if fault.direction != "down" else up
                down = fault.delay if fault.direction != "up" else down
            elif isinstance(fault, kinds.Throttle) and fault.name == connection.name:
                for direction in ("up", "down"):
                    if fault.direction in (direction, "both"):
                        limits[direction].append(fault.bandwidth)
        connection.up.change_delay(up, down)
        connection.down.change_delay(down, up)
        connection.up.change_bandwidth(min(limits["up"], default=None))
        connection.down.change_bandwidth(min(limits["down"], default=None))
        for link in (connection.up, connection.down):
            if is_cut_off:
                link.freeze()
            else:
                link.thaw()

    def _blow(self, fault: kinds.Fault, connection: Connection) -> None:
        carrier = connection.carrier
        if isinstance(fault, kinds.Reset):
            connection.reset()
        elif isinstance(fault, kinds.HalfOpen):
            connection.up.silence()
            connection.down.silence()
        elif isinstance(fault, kinds.Pause):
            self._pause(connection, fault.seconds)
        elif carrier is not None:
            if isinstance(fault, kinds.Leave):
                carrier.end(1001, "the room ended this participant's connection")
            elif isinstance(fault, kinds.MalformedPush):
                carrier.push_raw(_MALFORMED[fault.kind])
            elif isinstance(fault, kinds.OversizedPush):
                carrier.push_raw(split(0, _PUSH_TYPE, bytes(fault.size), PACKET_SIZE))

    def _pause(self, connection: Connection, seconds: float) -> None:
        if connection.transport is not None:
            end = self.kernel.instant(seconds)
            connection.paused_until = max(connection.paused_until, end)
            connection.transport.pause()
            self.kernel.at(end, partial(self._resume, connection))

    def _resume(self, connection: Connection) -> None:
        if connection.transport is not None and self.kernel.now >= connection.paused_until:
            connection.transport.resume()

    def _restart(self, fault: kinds.Restart) -> int:
        back = self.kernel.instant(fault.down)
        self._up_again_at = max(self._up_again_at, back)
        struck = tuple(self._connections)
        ghosts: list[Seat] = []
        for connection in struck:
            if connection.carrier is not None and not fault.forgets:
                ghosts.append(connection.carrier.seat)
            connection.reset(leaves=fault.forgets)
        if ghosts and self.heartbeats.interval is not None:
            patience = self.heartbeats.interval + self.heartbeats.timeout
            self.kernel.after(fault.down + patience, partial(_leave_all, ghosts))
        return len(struck)


_BLOWS = frozenset(
    {
        kinds.Reset,
        kinds.HalfOpen,
        kinds.Pause,
        kinds.Restart,
        kinds.Leave,
        kinds.MalformedPush,
        kinds.OversizedPush,
    }
)
_CONDITIONS = frozenset(
    {
        kinds.Partition,
        kinds.RefuseConnect,
        kinds.DelayConnect,
        kinds.ChangedLatency,
        kinds.Throttle,
    }
)


def _leave_all(seats: Iterable[Seat]) -> None:
    for seat in seats:
        seat.leave()


_PUSH_TYPE = encode_push(Push("", "", {}))[0]

_MALFORMED: dict[str, list[bytes]] = {
    "packet": [struct.pack(">QI", 1, 1) + b"a body packet, where a message has to start"],
    "text": [struct.pack(">QII", 1, 0, 0) + b"\xff"],
    "json": split(0, _PUSH_TYPE, struct.pack(">Q", 5) + b"{nope"),
}
"""Packets that break the protocol, one list for each of `kinds.MALFORMATIONS`."""
