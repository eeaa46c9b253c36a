"""What an emulator has of a simulation: participants without a thread, latency and faults, on a real clock.

Its network is a simulation's. Participants without a thread are on it from the first on; connections of clients are put
on it, each by a `Wire`, once there is a law of latency or a fault that concerns more than the room, and rooms ask for
the verdicts of faults from the first plan on. Until then a connection is its socket alone, and a room a plain one.

Times of a plan count from the call that adds it. All methods run in the gateway's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from meshsync.dispatch.reports import Failure, note_failure
from meshsync.errors import ConnectFailed, UsageError
from simulator.emulator.events import EventWatcher
from simulator.emulator.loop_clock import LoopClock
from simulator.emulator.rooms import EmulatedRoom, NoteFault, RoomNotes
from simulator.emulator.settings import Settings
from simulator.emulator.wire import Wire, reset
from simulator.engine.seeds import Seeds
from simulator.failing_receivers import method_in
from simulator.faults import plans
from simulator.faults.fault import Fault, LastingFault
from simulator.faults.injection import FaultInjector
from simulator.faults.layers import RoomFault
from simulator.network.frames import ControlFrame, frame
from simulator.network.links import Link
from simulator.network.network import Carrier, Heartbeats, Network, SimulatedConnection
from simulator.network.traffic import Traffic
from simulator.participants import Participant
from simulator.record.recorder import Recorder
from simulator.room.faulty import FaultyRoom
from simulator.room.members import Output
from simulator.room.watched import Watchers

__all__ = ["Stage", "Staged"]

_log = logging.getLogger("simulator.emulator")

_MOST_ROOMS = 1000
"""The rooms of which notes are kept, beside those that are open."""


class Staged(Carrier, Protocol):
    """A client's connection, as it is put on the network."""

    name: str
    place: SimulatedConnection | None

    @property
    def is_open(self) -> bool: ...
    def reroute(self, wire: Callable[[asyncio.Transport], Wire]) -> None:
        """Be carried by a wire from now on."""


class Stage:
    """The network, the faults and the participants without a thread of one gateway.

    Args:
        room: Returns the open room of that name, made now unless there is one.
        note_fault: See `RoomNotes`.
    """

    def __init__(self, settings: Settings, room: Callable[[str], EmulatedRoom], note_fault: NoteFault) -> None:
        loop = asyncio.get_running_loop()
        heartbeat = settings.limits.heartbeat
        self.clock: LoopClock = LoopClock(loop, _report)
        self.seeds: Seeds = Seeds(settings.seed)
        self.network: Network = Network(
            self.clock,
            self.seeds,
            up=settings.latency or 0.0,
            heartbeats=Heartbeats(heartbeat, heartbeat / 2),
        )
        self.faults: FaultInjector = FaultInjector(
            self.clock,
            self.seeds,
            self.network,
            lambda: self.notes,
            self._newcomer,
            unknown=_note_unknown,
            lifted=self._release,
        )
        self.is_wired: bool = settings.latency is not None
        """Whether connections of clients are on the network."""
        self._is_faulty = False
        """Whether rooms ask for the verdicts of faults."""
        self._limits = settings.limits
        self._room = room
        self._note_fault = note_fault
        self._notes: dict[str, RoomNotes] = {}
        self._wires: dict[Wire, None] = {}
        if settings.plan:
            # Not yet known are the participants of a plan from the start.
            self.plan([plans.At(0.0, entry) if isinstance(entry, Fault) else entry for entry in settings.plan], (), ())

    # --- rooms --------------------------------------------------------------------------------------------------------

    @property
    def notes(self) -> Sequence[RoomNotes]:
        """Those of all rooms, of very many the latest."""
        return tuple(self._notes.values())

    def notes_of(self, name: str) -> RoomNotes:
        """Return the notes of a room."""
        notes = self._notes.get(name)
        if notes is None:
            notes = self._notes[name] = RoomNotes(name, self._note_fault)
            closed = [other for other, about in self._notes.items() if about.room is None]
            for other in closed[: max(len(closed) - _MOST_ROOMS, 0)]:
                del self._notes[other]
        return notes

    def put_under_faults(self, room: EmulatedRoom) -> None:
        """Let a room ask for the verdicts of faults, if there is a plan."""
        if not self._is_faulty:
            return
        name, watchers = room.name, room.watchers
        if not any(isinstance(watcher, Recorder) for watcher in watchers):
            watchers = (EventWatcher(room.plain.members, lambda: self.clock.now, self.faults.notice), *watchers)
        room.rules = FaultyRoom(
            room.plain,
            watcher=Watchers(watchers),
            in_force=self.faults.in_force,
            later=partial(self._later, name),
            chance=lambda purpose: self.seeds.stream(f"rooms/{name}/{purpose}"),
            region_of=self.network.region_of,
        )

    def _release(self) -> None:
        for notes in self.notes:
            room = notes.room
            if room is not None and isinstance(room.rules, FaultyRoom):
                room.route(room.rules.release())

    def _later(self, name: str, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        def route() -> None:
            room = self.notes_of(name).room
            if room is not None:
                room.route(outputs())

        return self.clock.after(seconds, route).cancel

    # --- participants and faults --------------------------------------------------------------------------------------

    def add(self, room: EmulatedRoom, participants: Iterable[Participant]) -> None:
        """Let participants without a thread into a room.

        Raises:
            UsageError: If one of them is in a room already; those before it were let in.
        """
        room.add(participants, self.network, self.seeds)

    def _newcomer(self, room: str, name: str, role: str) -> None:
        self.add(self._room(room), [Participant(name, role)])

    def plan(
        self,
        entries: Iterable[plans.Planned | Fault],
        rooms: Iterable[EmulatedRoom],
        connections: Iterable[Staged],
    ) -> None:
        """Add the entries of a fault plan; see `FaultInjector.add`.

        Args:
            rooms: All that are open.
            connections: All that there are.
        """
        given = tuple(entries)
        if not self._is_faulty:
            self._is_faulty = True
            for room in rooms:
                self.put_under_faults(room)
        if not self.is_wired and any(_concerns_more_than_rooms(entry) for entry in given):
            self.is_wired = True
            for connection in connections:
                self._put_on(connection)
        self.faults.add(given, self.clock.now)

    # --- connections --------------------------------------------------------------------------------------------------

    def appeared(self, name: str, room: str) -> None:
        """Note that a participant wants to join a room."""
        self.notes_of(room).appeared(name)
        self.faults.notice("connect", sender=name)

    async def attempt(self, name: str, transport: asyncio.Transport) -> SimulatedConnection | None:
        """Let an attempt to connect take its time, over the links that the connection then keeps.

        Returns:
            None if it comes to nothing; its socket is reset then.
        """
        network, deadline = self.network, self.clock.instant(self._limits.handshake)
        connection = network.open(name)
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def conclude(is_through: bool) -> None:
            if not outcome.done():
                outcome.set_result(is_through)

        def refuse(error: ConnectFailed) -> None:
            conclude(False)

        def arrived_down() -> None:
            connection.down.read(1)
            conclude(True)

        def arrived_up() -> None:
            connection.up.read(1)
            if network.is_refusing(name):
                conclude(False)
                return
            connection.down.on_arrival = arrived_down
            _put(connection.down, ControlFrame.ADMITTED)

        connection.refuse = refuse
        connection.up.on_arrival = arrived_up
        self.clock.at(self.clock.now + network.connect_delay(name), lambda: _put(connection.up, ControlFrame.REQUEST))
        giving_up = self.clock.at(deadline, lambda: conclude(False))
        is_through = await outcome
        giving_up.cancel()
        connection.refuse = None
        if is_through:
            return connection
        self.abandon(connection)
        reset(transport)
        return None

    def abandon(self, connection: SimulatedConnection) -> None:
        """Forget an attempt."""
        connection.client_ended()
        connection.room_ended()

    def carry(
        self, transport: asyncio.Transport, connection: SimulatedConnection | None, name: str
    ) -> tuple[asyncio.Transport, SimulatedConnection | None]:
        """Return the transport for a new connection: its own, or a wire, and its place on the network."""
        if connection is None and not self.is_wired:
            return transport, None
        place = connection or self.network.open(name)
        return self._wire(transport, place), place

    async def parted(self, connection: Staged) -> None:
        """Wait until the socket of a connection that has ended is closed, too."""
        if connection.place is not None and isinstance(connection.place.transport, Wire):
            await connection.place.transport.closed

    def _wire(self, transport: asyncio.Transport, connection: SimulatedConnection) -> Wire:
        wire = Wire(transport, connection, self._limits.linger)
        self._wires[wire] = None
        wire.closed.add_done_callback(lambda _: self._wires.pop(wire, None))
        return wire

    def _put_on(self, connection: Staged) -> None:
        if connection.is_open:
            connection.place = place = self.network.open(connection.name)
            place.carrier = connection
            connection.reroute(lambda transport: self._wire(transport, place))

    # --- the end ------------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """End all faults and let what is in transit arrive, since the emulator is being closed."""
        self.faults.stop()
        self.network.calm()
        for wire in tuple(self._wires):
            wire.cut(if_left=True)

    def close(self) -> None:
        """Close the sockets that are left."""
        self.clock.stop()
        for wire in tuple(self._wires):
            wire.cut()


def _put(link: Link[Traffic], control: ControlFrame) -> None:
    link.put((frame(control, is_masked=False),))


def _concerns_more_than_rooms(entry: plans.Planned | Fault) -> bool:
    return not isinstance(entry, plans.Quiet) and not isinstance(getattr(entry, "fault", entry), RoomFault)


def _note_unknown(fault: Fault, text: str) -> None:
    if isinstance(fault, LastingFault):
        _log.info("%s; it holds all the same", text)
    else:
        _log.warning("nothing is struck: %s", text)


def _report(error: Exception) -> None:
    participant, method = method_in(error.__traceback__, Participant)
    if isinstance(participant, Participant):
        name, receiver = participant.name, f"{type(participant).__qualname__}.{method}"
        who = f"the scripted participant {name!r}, in {receiver},"
    else:
        name, method, receiver = "the emulator", "a timer", "a callback"
        who = "a planned fault or a scripted participant"
    if isinstance(error, UsageError):
        _log.error("%s failed: %s", who, error)
    else:
        _log.error("%s failed", who, exc_info=error)
    note_failure(Failure(error, receiver, method, name, None))
