"""A simulation: rooms, the production client, people and agents, a network and its faults, on a virtual clock.

::

    with Simulation(seed=7, latency=latency.lognormal(median=0.040, sigma=0.4)) as sim:
        demo = sim.room("demo")
        alice = demo.join("alice", enable=True)
        demo.add(participants.Echo("bot", delay=0.2))
        sim.plan(faults.at(12, faults.reset("alice")))
        sim.sleep(60)
    print(demo.transcript.digest())

This module assembles what the others are: it decides nothing about time (``world``), delays (``network``) or what
requests mean (``room``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import meshsync
from meshsync.errors import ConnectFailed, UsageError
from meshsync.room import RoomClient
from meshsync.runtime import Task, World, install_world
from meshsync.transport import Endpoint
from simulator.emulator.admission import Credentials, admit
from simulator.network import faults as plans
from simulator.network.connector import SimulatedConnector
from simulator.network.latency import Law, as_law
from simulator.network.links import Frame, Link
from simulator.network.mishaps import Fault, HalfOpen, Join, Leave, Partition, Pause, Reset
from simulator.network.network import Connection, Guest, Network
from simulator.record.recorder import Recorder
from simulator.record.transcript import Transcript
from simulator.room.faulty import CONDITIONS, FaultyRoom
from simulator.room.participants import Participant, Surroundings
from simulator.room.rules import Output
from simulator.room.seat import SeatedRoom
from simulator.world.kernel import Kernel
from simulator.world.runtime import VirtualRuntime
from simulator.world.schedules import Schedule
from simulator.world.seeds import entropy

__all__ = ["SimulatedRoom", "Simulation", "current"]

_HOST = "simulation"
_SECRET = "a secret that signs the tokens of a simulation"

_current: Simulation | None = None


def current() -> Simulation:
    """Return the simulation that is open in this process.

    Raises:
        UsageError: If none is.
    """
    if _current is None:
        raise UsageError("no simulation is open in this process: with Simulation(seed=0) as sim: …")
    return _current


class Simulation:
    """A world of its own, open from construction; ``close`` it, or use it as a context manager.

    Everything that happens in it follows from the program, the seed and the versions of this library. The thread that
    makes it is one of its actors: the world moves while it waits, in ``sleep`` or in any call of a client.

    Args:
        seed: What chance follows from.
        latency: The law of delays of every connection, in each direction; a number is a constant, in seconds.
        schedule: Who runs when several can: ``"fifo"``, ``"random"``, ``"pct"``, or a `Schedule`.
        horizon: Virtual seconds after which the run is stopped with `HorizonReached`; None for never.
        pin: Whether to keep all its threads on one processor, which makes switching several times faster.
        start: The wall clock's beginning, as ISO 8601.
        stall_after: Real seconds for which an actor may block outside the simulation before `WorldStalled`.
    Raises:
        SimulationNested: If another one is open in this process.
    """

    def __init__(
        self,
        seed: int | str = 0,
        *,
        latency: Law | float = 0.0,
        schedule: str | Schedule = "fifo",
        horizon: float | None = None,
        pin: bool = True,
        start: str = "2026-01-01T00:00:00Z",
        stall_after: float | None = 5.0,
    ) -> None:
        global _current
        self.seed = seed
        self._law = as_law(latency)
        # 3.10 does not read the Z.
        begin = datetime.fromisoformat(start.replace("Z", "+00:00")).timestamp()
        self.runtime = VirtualRuntime(
            seed,
            schedule=schedule,
            horizon=horizon,
            pin=pin,
            start=begin,
            stall_after=stall_after,
            scope=self._in_world,
        )
        self.kernel: Kernel = self.runtime.kernel
        self.network = Network(
            self.kernel, self.runtime, self.runtime.seeds, door=self._door, up=self._law, tap=self._tap
        )
        environ = {
            "MESHAGENT_API_URL": f"ws://{_HOST}",
            "MESHAGENT_PROJECT_ID": "simulation",
            "MESHAGENT_KEY_ID": "simulation",
            "MESHAGENT_SECRET": _SECRET,
        }
        self.world = World(self.runtime, self._connector, environ)
        self._rooms: dict[str, SimulatedRoom] = {}
        self._room_of: dict[SeatedRoom, SimulatedRoom] = {}
        self._connections: dict[str, Connection] = {}
        self._plan = _Plan(self)
        self._before = install_world(self.world)
        _current = self

    # --- rooms --------------------------------------------------------------------------------------------------------

    def room(self, name: str) -> SimulatedRoom:
        """Return the room of that name, made now unless it is there."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = SimulatedRoom(self, name)
            self._room_of[room.seated] = room
        return room

    @property
    def rooms(self) -> tuple[SimulatedRoom, ...]:
        """Every room so far, in the order of making."""
        return tuple(self._rooms.values())

    # --- time and actors ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.kernel.now / 1e9

    def spawn(self, target: Callable[..., object], *args: Any, name: str | None = None) -> Task:
        """Run ordinary blocking code in an actor of its own; ``meshsync.connect`` in it joins rooms of this simulation.

        Args:
            name: For diagnosis; by default the target's.
        """
        with self._in_world():
            return meshsync.spawn(target, *args, name=name)

    def sleep(self, seconds: float) -> None:
        """Wait, in virtual seconds, while everybody else goes on."""
        self.runtime.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let the world move on by so many virtual seconds; another word for ``sleep``, for notebooks."""
        self.runtime.sleep(seconds)

    def step(self) -> bool:
        """Let one actor or timer have its turn; return whether there was one."""
        return self.runtime.step()

    def run(self, seconds: float | None = None, *, speed: float = 1.0) -> None:
        """Let the world move as in real time, or ``speed`` times as fast, for so many virtual seconds or until idle."""
        self.runtime.run(seconds, speed=speed)

    def run_until_idle(self) -> None:
        """Let the world move until nobody can run and only heartbeats are left."""
        self.runtime.run_until_idle()

    # --- faults -------------------------------------------------------------------------------------------------------

    def plan(self, *entries: plans.Planned | Fault) -> None:
        """Let things go wrong; a fault that is not planned for a time strikes, or holds from, now.

        Raises:
            UsageError: If a fault that strikes now is about somebody nobody has heard of. One that is planned is
                checked when it strikes.
        """
        self._plan.add(entries)

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor, running its ``finally`` blocks, and give the calling thread its own world back.

        Raises:
            ActorFailed: If an actor had failed and nobody had been told.
            ActorsRefuse: If actors did not end.
        """
        global _current
        if not self.runtime.is_open:
            return
        try:
            self.runtime.close()
        finally:
            install_world(self._before)
            if _current is self:
                _current = None

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _current
        if not self.runtime.is_open:
            return
        try:
            # It keeps quiet about what failed besides, if something is on its way out already.
            self.runtime.__exit__(kind, error, trace)
        finally:
            install_world(self._before)
            if _current is self:
                _current = None

    def __repr__(self) -> str:
        state = f"at {self.now:.6f} s" if self.runtime.is_open else "closed"
        return f"<Simulation, seed {self.seed!r}, {state}>"

    # --- what the parts ask for ---------------------------------------------------------------------------------------

    @contextmanager
    def _in_world(self) -> Iterator[None]:
        before = install_world(self.world)
        try:
            yield
        finally:
            install_world(before)

    def _connector(self, endpoint: Endpoint) -> SimulatedConnector:
        return SimulatedConnector(self.network, endpoint)

    def _door(self, endpoint: Endpoint, token: str) -> Guest:
        name = urlsplit(endpoint.url).path.rpartition("/rooms/")[2].strip("/")
        room = self.room(name)
        try:
            version = endpoint.version or None
            admission = admit(name, Credentials(token), version=version, secret=_SECRET, now=self.runtime.wall())
        except ConnectFailed as error:
            room.recorder.refused("", str(error))
            raise
        return Guest(admission.name, room.seated, admission.role, admission.rights, admission.version)

    def _tap(self, link: Link, what: str, frames: Sequence[Frame]) -> None:
        label, _, direction = link.name.rpartition("/")
        connection = self._connections.get(label)
        if connection is None:
            connection = next(one for one in self.network.connections() if one.label == label)
            self._connections[label] = connection
        if connection.guest is None:
            return
        room = self._room_of[connection.guest.room]
        member_id = connection.carrier.seat.member.id if connection.carrier is not None else ""
        room.recorder.tap(link, member_id, direction, what, frames)


class SimulatedRoom:
    """A room of a simulation, as ``sim.room(name)`` returns it.

    Attributes:
        transcript: What has happened in it.
    """

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name = name
        self.simulation = simulation
        self.transcript = Transcript(name, simulation.seed)
        seeds, kernel = simulation.runtime.seeds, simulation.kernel
        self.recorder = Recorder(self.transcript, lambda: kernel.now, simulation._plan.notice)
        self.rules = FaultyRoom(
            name,
            url=f"ws://{_HOST}/rooms/{name}",
            ids=lambda: entropy(seeds.stream(f"rooms/{name}/ids"), 8).hex(),
            watcher=self.recorder,
            later=self._later,
            stream=lambda purpose: seeds.stream(f"rooms/{name}/{purpose}"),
        )
        self.seated = SeatedRoom(self.rules)
        self._participants: dict[Participant, None] = {}

    @property
    def participants(self) -> tuple[Participant, ...]:
        """The participants without threads that were added, those who have left included."""
        return tuple(self._participants)

    def join(
        self,
        name: str,
        role: str = "user",
        attributes: Mapping[str, Any] | None = None,
        enable: bool = False,
        **options: Any,
    ) -> RoomClient:
        """Return a client, the production class, connected to this room.

        Args:
            attributes: Set before messaging is enabled.
            enable: Whether to enable messaging.
            options: Of ``meshsync.connect``.
        """
        # The thread that made the simulation may have no world here: a notebook runs each cell as it likes.
        with self.simulation._in_world():
            room = meshsync.connect(self.name, name=name, role=role, **options)
        for key, value in (attributes or {}).items():
            room.local_participant.set_attribute(key, value)
        if enable:
            room.messaging.enable()
        return room

    def add(self, *participants: Participant) -> None:
        """Let participants without threads in; they are there at once, with messaging enabled."""
        simulation = self.simulation
        law = simulation._law
        for participant in participants:
            here = Surroundings(
                simulation.kernel, self.seated, self.recorder, simulation.runtime.seeds, up=law, down=law
            )
            self._participants[participant] = None
            participant.enter(here)

    def names(self) -> tuple[str, ...]:
        """Return the names of all who are or were here."""
        return tuple(self.recorder.names)

    def _later(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> None:
        self.simulation.kernel.after(seconds, lambda: self.seated.route(outputs()))

    def __repr__(self) -> str:
        return f"<SimulatedRoom {self.name!r}: {len(self.seated.seats)} participants>"


class _Plan:
    """Makes faults strike and end when they have to."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._is_quiet = False
        self._pending: list[_Pending] = []
        self._count = 0

    def add(self, entries: Iterable[plans.Planned | Fault]) -> None:
        """Take entries of a fault plan."""
        for entry in entries:
            self._take(entry)

    def _take(self, entry: plans.Planned | Fault) -> None:
        kernel = self._simulation.kernel
        match entry:
            case Fault():
                self._strike(entry)
            case plans.At(time, fault):
                self._at(time, lambda: self._strike(fault))
            case plans.During(start, end, fault):
                self._at(start, lambda: self._strike(fault))
                self._at(end, lambda: self._lift(fault))
            case plans.Every(interval, fault):
                self._count += 1
                stream = self._simulation.runtime.seeds.stream(f"faults/every/{self._count}")

                def strike() -> None:
                    self._strike(fault)
                    wait()

                def wait() -> None:
                    # At least a microsecond: a law may draw zero, again and again.
                    self._at(kernel.now / 1e9 + max(interval.draw(stream), 1e-6), strike)

                wait()
            case plans.On(trigger, nth, fault):
                self._pending.append(_Pending(trigger, nth, fault))
            case plans.Quiet(after):
                self._at(after, self._quiet)

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        kernel = self._simulation.kernel

        def act() -> None:
            if not self._is_quiet:
                action()

        kernel.at(max(kernel.now, round(seconds * 1e9)), act)

    def notice(self, event: str, sender: str | None, to: str | None, type: str | None) -> None:
        """Take note of an event that a fault may follow."""
        for pending in tuple(self._pending):
            if pending.trigger.matches(event, sender=sender, to=to, type=type):
                pending.left -= 1
                if not pending.left:
                    self._pending.remove(pending)
                    # Right after the event, and not in the midst of it.
                    self._at(self._simulation.now, lambda fault=pending.fault: self._strike(fault))  # type: ignore[misc]

    def _check(self, fault: Fault) -> None:
        known = [name for room in self._simulation.rooms for name in room.names()]
        for name in fault.names:
            if name not in known:
                raise UsageError(
                    f"{fault.word} is about {name!r}, whom nobody has heard of; there are {', '.join(known) or 'none'}"
                )

    def _strike(self, fault: Fault) -> None:
        self._check(fault)
        self._tell(fault, "began" if fault.is_condition else "struck")
        network = self._simulation.network
        if isinstance(fault, CONDITIONS):
            for room in self._simulation.rooms:
                room.rules.in_force.append(fault)
        elif isinstance(fault, Join):
            rooms = self._simulation.rooms
            if rooms:
                rooms[0].add(Participant(fault.name, fault.role))
        elif network.knows(fault):
            network.strike(fault)
        for participant in self._hit(fault):
            if isinstance(fault, Partition):
                participant.cut_off(True)
            elif isinstance(fault, Pause):
                participant.cut_off(True)
                self._simulation.kernel.after(fault.seconds, lambda p=participant: p.cut_off(False))  # type: ignore[misc]
            elif isinstance(fault, (Reset, HalfOpen, Leave)):
                participant.leave()

    def _hit(self, fault: Fault) -> list[Participant]:
        return [
            participant
            for room in self._simulation.rooms
            for participant in room.participants
            if participant.name in fault.names
        ]

    def _lift(self, fault: Fault) -> None:
        self._tell(fault, "ended")
        if isinstance(fault, CONDITIONS):
            for room in self._simulation.rooms:
                if fault in room.rules.in_force:
                    room.rules.in_force.remove(fault)
            return
        self._simulation.network.lift(fault)
        if isinstance(fault, Partition):
            for participant in self._hit(fault):
                participant.cut_off(False)

    def _quiet(self) -> None:
        self._is_quiet = True
        self._pending.clear()
        self._simulation.network.lift_all()
        for room in self._simulation.rooms:
            room.rules.in_force.clear()
            room.recorder.struck("quiet", (), "struck", {})
            for participant in room.participants:
                participant.cut_off(False)

    def _tell(self, fault: Fault, outcome: str) -> None:
        detail = plans.to_json([fault])[0]
        for room in self._simulation.rooms:
            room.recorder.struck(fault.word, fault.names, outcome, detail)
        self.notice("fault", None, None, None)


class _Pending:
    """A fault that waits for an event."""

    __slots__ = ("fault", "left", "trigger")

    def __init__(self, trigger: plans.Trigger, nth: int, fault: Fault) -> None:
        self.trigger = trigger
        self.left = nth
        self.fault = fault
