"""A simulation: rooms, the production client, participants, a network and its faults, on a virtual clock.

::

    with Simulation(seed=7, latency=latency.lognormal(median=0.040, sigma=0.4)) as sim:
        demo = sim.room("demo")
        alice = demo.join("alice", enable=True)
        demo.add(participants.Echo("bot", delay=0.2))
        sim.plan(faults.at(12, faults.reset("alice")))
        sim.sleep(60)
    print(demo.transcript.digest())

This module assembles the parts: it decides nothing about time (``engine``), delays (``network``) or the meaning of
requests (``room``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import meshsync
from meshsync.arguments import hinted_call
from meshsync.dispatch.reports import Failure, unwatch_failures, watch_failures
from meshsync.errors import ConnectFailed, MeshsyncError, UsageError
from meshsync.notebook import grid
from meshsync.room import RoomClient
from meshsync.runtime.interfaces import Runtime, Task
from meshsync.transport.interfaces import Endpoint
from meshsync.world import World, close_real_world, install_world
from simulator import faults
from simulator.admission import Credentials, admit, check_room_name, name_in
from simulator.dropped_streams import DroppedStreams
from simulator.engine.invariants import Claim
from simulator.engine.kernel import Kernel
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.schedules import Schedule
from simulator.engine.seeds import entropy
from simulator.failing_receivers import RAISE, FailingReceivers, receiver_failed
from simulator.faults import Fault, plans
from simulator.faults.injection import FaultInjector
from simulator.latency import Latency, Law
from simulator.lives.programs import Crashed, Programs
from simulator.network.bandwidths import Bandwidth, Bandwidths
from simulator.network.connector import SimulatedConnector
from simulator.network.frames import ControlFrame, Frame
from simulator.network.links import WINDOW, Link
from simulator.network.network import Guest, Heartbeats, Network, SimulatedConnection
from simulator.network.programs import StruckProgramsOf
from simulator.network.traffic import Traffic
from simulator.participants import Participant, Surroundings
from simulator.participants.participant import enter
from simulator.record.link_recorder import Line, LinkRecorder
from simulator.record.transcript import Transcript
from simulator.room.faulty import FaultyRoom
from simulator.room.rules import Output, Room
from simulator.room.seat import QUEUE_LIMIT, SeatedRoom
from simulator.settings import as_delays, as_instant, as_services, check_positive
from simulator.spellings import HintedRoom, HintedSimulation

__all__ = ["SimulatedRoom", "Simulation", "current", "is_open"]

_HOST = "simulation"
_STRANGER = (
    "this thread belongs to no simulation, while one is open, since {}, so it would join the real world: start threads"
    " and pools inside the simulation, or by meshsync.spawn; a real client beside it is given"
    " runtime=meshsync.runtime.threads.ThreadRuntime()"
)
_now_of = attrgetter("now")

_SECRET = "a secret that signs the tokens of a simulation"
_ENVIRON = {
    "MESHAGENT_API_URL": f"ws://{_HOST}",
    "MESHAGENT_PROJECT_ID": "simulation",
    "MESHAGENT_KEY_ID": "simulation",
    "MESHAGENT_SECRET": _SECRET,
}

_current: Simulation | None = None


def current() -> Simulation:
    """Return the simulation that is open in this process.

    Raises:
        UsageError: If none is.
    """
    if _current is None:
        raise UsageError("no simulation is open in this process: with Simulation(seed=0) as sim: …")
    return _current


def is_open() -> bool:
    """Return whether a simulation is open in this process."""
    return _current is not None


class Simulation(HintedSimulation, FailingReceivers):
    """A world of its own, open from construction; ``close`` it, or use it as a context manager.

    Every event in it follows from the program, the seed and the versions of this library. The thread that makes it is
    one of its actors: virtual time passes while it waits, in ``sleep`` or in any call of a client.

    Args:
        seed: The number or text that chance follows from.
        latency: The law of delays of every connection, in each direction; a number is a constant, in seconds. Or a
            `latency.matrix`, of laws by region or participant.
        schedule: The choice among actors that can run: ``"fifo"``, ``"random"``, ``"pct"``, or a `Schedule`.
        horizon: Virtual seconds after which the run is stopped with `HorizonReached`; None for never.
        pin: Whether to keep all its threads on one processor, which makes switching several times faster.
        start: The wall clock's beginning, as ISO 8601; UTC if it names no zone.
        stall_after: Real seconds for which an actor may block outside the simulation before `WorldStalled`; None for
            ever, as for a debugger. So may the creating thread within ``with`` and within a test.
        latency_down: The law of delays from rooms to participants, if it is another than ``latency``.
        bandwidth: Bytes per second that each connection carries in each direction; None for no limit. Or ``{"up": …,
            "down": …}``; or either by the name of a participant or of its region, with ``"*"`` for all others.
        window: Bytes that each direction of a connection accepts before its reader has read.
        service: The law of the time that a room takes to handle a message, or seconds, while others wait; or one for
            ``"room"`` and one for ``"participants"``, whose readers take it for each message that arrives. None for no
            time at all. See ``docs/latency.md``.
        heartbeat: Seconds of silence after which either end of a connection pings, and ends it half as many later; None
            for never.
        failing_receivers: What becomes of an exception that a receiver, a hook or another callback of a client raises,
            besides being logged: ``"raise"``, `ReceiverFailed` at the end of the simulation; ``"log"``, nothing. It is
            an attribute, too, for programs that are given their simulation.
    Raises:
        SimulationNested: If another one is open in this process; the text names the line that opened it.
        ValueError: If an argument is invalid; no simulation is open.
    """

    @hinted_call
    def __init__(
        self,
        seed: int | str = 0,
        *,
        latency: Latency | float = 0.0,
        schedule: str | Schedule = "fifo",
        horizon: float | None = None,
        pin: bool = True,
        start: str = "2026-01-01T00:00:00Z",
        stall_after: float | None = 5.0,
        latency_down: Law | float | None = None,
        bandwidth: Bandwidth = None,
        window: int = WINDOW,
        heartbeat: float | None = 30.0,
        service: Law | float | Mapping[str, Law | float] | None = None,
        failing_receivers: str = RAISE,
    ) -> None:
        global _current
        self.seed = seed
        self.failing_receivers = failing_receivers
        law, back = as_delays(latency, latency_down)
        services = as_services(service)
        Bandwidths(bandwidth)  # Before anything is open.
        check_positive(window=window, heartbeat=heartbeat, horizon=horizon)
        self.runtime: VirtualRuntime = VirtualRuntime(
            seed,
            schedule=schedule,
            horizon=horizon,
            pin=pin,
            start=as_instant(start),
            stall_after=stall_after,
            scope=self._in_world,
            subject=self,
        )
        self.kernel: Kernel = self.runtime.kernel
        self.network: Network = Network(
            self.kernel,
            self.runtime.seeds,
            up=law,
            down=back,
            bandwidth=bandwidth,
            window=window,
            heartbeats=Heartbeats(heartbeat, (heartbeat or 1) / 2),
            tap=self._tap,
            service=services,
        )
        self.world: World = World(self.runtime, self._connector, _ENVIRON)
        self._rooms: dict[str, SimulatedRoom] = {}
        self._room_of: dict[SeatedRoom, SimulatedRoom] = {}
        self._wires: dict[str, _Wire] = {}
        self._most_wires = 100
        """The number of wires at which unused ones are dropped."""
        self._programs = lives = Programs(self.runtime, self.network, lambda: self.rooms)
        hindered = StruckProgramsOf(self.runtime.hindrances, self.network)
        parts = self.kernel, self.runtime.seeds, self.network, lambda: self.rooms, self._newcomer
        self._faults = FaultInjector(*parts, lifted=self._release, crash=lives.crash_planned, programs=hindered)
        self._before = install_world(self.world)
        close_real_world(_STRANGER.format(self.runtime.opened_at))
        watch_failures(self._receiver_failed)
        self._streams = DroppedStreams(self.runtime)
        _current = self

    # --- rooms --------------------------------------------------------------------------------------------------------

    @hinted_call
    def room(self, name: str, **options: Any) -> SimulatedRoom:
        """Return the room of that name, made now unless it exists.

        Args:
            options: Of `SimulatedRoom`, for a new room: ``acknowledge``, ``queue_limit``.
        Raises:
            UsageError: If no room can have that name, or options are given for a room that exists; nothing is made.
        """
        room = self._rooms.get(name)
        if room is None:
            check_room_name(name)
            room = self._rooms[name] = SimulatedRoom(self, name, **options)
            self._room_of[room.seated] = room
        elif options:
            raise UsageError(f"room {name!r} is there already: its options are given when it is made")
        return room

    @property
    def rooms(self) -> tuple[SimulatedRoom, ...]:
        """Every room so far, in the order of making."""
        return tuple(self._rooms.values())

    # --- time and actors ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        self.runtime.check_alive()
        return self.kernel.now / 1e9

    @hinted_call
    def spawn(self, target: Callable[..., object], *args: Any, name: str | None = None) -> Task:
        """Run ordinary blocking code in an actor of its own; ``meshsync.connect`` in it joins rooms of this simulation.

        It is a program of its own, which `crash` ends with all threads and clients that it starts.

        Args:
            name: For diagnosis, `crash` and `restart`; by default the target's. One that is taken gets a number behind
                it: ``worker``, ``worker#2``.
        """
        return self._programs.spawn(target, args, name)

    def crash(self, name: str, how: str = "process") -> Crashed | None:
        """End a program that `spawn` began, with all threads and clients that it started, at this instant.

        Nothing of it touches the world any more: each of its calls raises `TaskExit` at once, its ``finally`` blocks
        run in no time, and locks that it held are released. See ``docs/lives.md``.

        Args:
            name: The program's.
            how: ``"process"``: its connections end without a close frame. ``"machine"``: they fall silent, and rooms
                notice by their heartbeats; on its disk only what was synchronized is left.
        Returns:
            What was ended; None if the program's life was over already, and nothing has happened.
        Raises:
            UsageError: If no program has that name; the text has those that there are.
            ValueError: If ``how`` is something else.
            BlockingRefused: If the caller is inside a condition.
            TaskExit: If the caller belongs to the program.
        """
        crashed = self._programs.crash(name, how)
        if crashed is not None:
            self._faults.notice("fault", type="crash")
        return crashed

    def restart(self, program: str | Callable[..., object], *args: Any) -> Task:
        """Begin another life of a program that has crashed or ended, as `spawn` did.

        Args:
            program: Its name, or the function that was spawned.
            args: The arguments from now on; without any, those that it had.
        Raises:
            UsageError: If it is alive, or there is no such program, or several run that function.
        """
        return self._programs.restart(program, args)

    @property
    def crashes(self) -> tuple[Crashed, ...]:
        """What has crashed so far, in order, the planned crashes included."""
        return tuple(self._programs.crashes)

    def disk(self, name: str, *, of: str | None = None) -> Path:
        """Return a directory that outlives the lives of programs, until the simulation ends; empty if it is new.

        What is written counts from ``flush`` or ``close`` on, and on the disk of a program whose machine crashes from
        ``os.fsync`` on. See ``docs/lives.md``.

        Args:
            of: The program on whose machine it is; by default the one that has the disk's name.
        Raises:
            ValueError: If the disk is there, and belongs to another program.
        """
        self.runtime.check_alive()
        return self._programs.disks.get(name, of)

    def sleep(self, seconds: float) -> None:
        """Wait, in virtual seconds, while all other actors go on.

        Raises:
            TypeError: If ``seconds`` is no number; `ValueError` if it is negative or NaN.
            BlockingRefused: If the caller holds a condition, or is a timer's callback.
        """
        self.runtime.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let so many virtual seconds pass; another name for ``sleep``, for notebooks."""
        self.runtime.sleep(seconds)

    def step(self) -> bool:
        """Let one actor or timer have its turn; return whether there was one.

        Raises:
            BlockingRefused: If the caller did not make this simulation, holds a condition, or is a timer's callback.
        """
        return self.runtime.step()

    def run(self, seconds: float | None = None, *, speed: float = 1.0) -> None:
        """Let time pass as in real time, or ``speed`` times as fast, for so many virtual seconds or until idle.

        Raises:
            ValueError: If ``speed`` is not above 0; nothing has happened.
            BlockingRefused: As ``step``.
        """
        if callable(seconds):
            raise TypeError("run() lets time pass: sim.spawn(program) runs a function, whose end its join() waits for")
        self.runtime.run(seconds, speed=speed)

    def run_until_idle(self) -> None:
        """Let time pass until no other actor can run and only heartbeats are left.

        Raises:
            BlockingRefused: As ``step``.
        """
        self.runtime.run_until_idle()

    # --- faults -------------------------------------------------------------------------------------------------------

    @hinted_call
    def plan(self, *entries: plans.Planned | Fault) -> None:
        """Plan faults; a fault that is not planned for a time strikes, or holds from, now.

        Raises:
            UsageError: If a fault that strikes now is about an unknown participant. A fault that is planned is checked
                when it strikes.
        """
        self.runtime.check_alive()
        self._faults.add(entries)

    def pause(self, name: str, *, for_: float) -> None:
        """Let a spawned program stand still from now on, for some virtual seconds, as in a suspended machine.

        None of its threads goes on before: one that sleeps or waits does when its time has come *and* the pause is
        over. Nothing is read from its connections nor written to them, and its heartbeats stand still too: rooms end
        the connections if it takes longer than theirs allow. It is a fault: recorded, and left out by `explore` if it
        can be.

        Args:
            name: As it was spawned; it need not be a participant's.
            for_: Seconds; of several pauses the longest counts.
        Raises:
            UsageError: If no program of that name was spawned; nothing has changed.
            ValueError: If ``for_`` is no number of seconds.
        """
        self.plan(faults.pause_program(name, for_))

    def slow(self, name: str, *, factor: float = 1.0, by: float = 0.0) -> None:
        """Let a spawned program be slow from now on, with all of its threads, those of its clients included.

        Args:
            name: As it was spawned.
            factor: How many times as long each of its sleeps lasts that begins from now on, at least 1.
            by: Seconds by which each of its turns begins later: after a sleep or a wait, and that of a new thread.
        Raises:
            UsageError: As `pause`; `ValueError` if ``factor`` or ``by`` is out of range.
        """
        self.plan(faults.slow_program(name, factor=factor, by=by))

    def skew(self, name: str, offset: float = 0.0, *, drift: float = 0.0) -> None:
        """Let the wall clock of a spawned program, ``meshsync.wall_time()``, be wrong from now on.

        Args:
            name: As it was spawned.
            offset: Seconds by which it is ahead; behind, if that is negative.
            drift: Seconds by which it is ahead more for each second from now on.
        Raises:
            UsageError: As `pause`; `ValueError` if an argument is no finite number.
        """
        self.plan(faults.skew_clock(name, offset, drift=drift))

    # --- what holds ---------------------------------------------------------------------------------------------------

    def always(self, predicate: Callable[..., object], name: str | None = None) -> None:
        """End the run with `InvariantViolated` after the first turn of an actor or timer at which a predicate is false.

        It is asked between two turns, so that it sees no change half made that is made without waiting, and costs
        nothing of the run: no virtual time, no turn, no chance. It must only look, and not block.

        Args:
            predicate: Takes no argument, or this simulation; returns whether it holds.
            name: For the report; by default the predicate's name, or a lambda's source line.
        Raises:
            UsageError: If the predicate cannot be asked, such as a coroutine function.
        """
        self.runtime.invariants.add(Claim.ALWAYS, predicate, name)

    def never(self, predicate: Callable[..., object], name: str | None = None) -> None:
        """End the run with `InvariantViolated` after the first turn at which a predicate is true; see `always`."""
        self.runtime.invariants.add(Claim.NEVER, predicate, name)

    def eventually(
        self, predicate: Callable[..., object], within: float | None = None, name: str | None = None
    ) -> None:
        """End the run with `InvariantViolated` unless a predicate becomes true, at least for the end of one turn.

        Args:
            predicate: As of `always`.
            within: Virtual seconds from now until which it has to; None for the end of the simulation.
            name: As of `always`.
        Raises:
            UsageError: If the predicate cannot be asked, such as a coroutine function.
            ValueError: If ``within`` is negative, NaN or infinite.
        """
        self.runtime.invariants.add(Claim.EVENTUALLY, predicate, name, within)

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every actor, running its ``finally`` blocks, and give the calling thread its own world back.

        Closing again does nothing.

        Raises:
            ActorFailed: If an actor had failed and its error was not read; the simulation is closed.
            ReceiverFailed: If a receiver of a client raised, unless ``failing_receivers`` is ``"log"``; likewise.
            ActorsRefuse: If actors did not end; their threads go on as daemons, and the simulation is closed.
            InvariantError: If something claimed does not hold, and no call has raised that; the simulation is closed.
            BlockingRefused: In another thread or a timer's callback; the simulation is open.
        """
        self._streams.warn()
        with self._closing():
            self.runtime.close()

    def _repr_html_(self) -> str:
        rooms = [(room.name, len(room.transcript), ", ".join(room.names())) for room in self.rooms]
        return grid(f"Simulation of seed {self.seed} at {self.now:.3f} s", ("room", "records", "participants"), rooms)

    def __enter__(self) -> Simulation:
        self.runtime.watch_main()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.warn(error)
        with self._closing():
            # If ``error`` is being raised already, failures beside it are warnings.
            self.runtime.__exit__(kind, error, trace)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        global _current
        was_open = self.runtime.is_open
        try:
            yield
        finally:
            # Only once, and not if the wrong thread tried: another thread's world would be taken away.
            if was_open and not self.runtime.is_open:
                unwatch_failures(self._receiver_failed)
                self._streams.close()
                self._programs.disks.close()
                install_world(self._before)
                close_real_world(None)
                if _current is self:
                    _current = None
                for room in self._rooms.values():
                    room.transcript.close()
                self._faults.warn_of_unreached()

    def __repr__(self) -> str:
        state = f"at {self.now:.6f} s" if self.runtime.is_open else "closed"
        return f"<Simulation, seed {self.seed!r}, {state}>"

    # --- called by the parts ------------------------------------------------------------------------------------------

    @contextmanager
    def _in_world(self) -> Iterator[None]:
        before = install_world(self.world)
        try:
            yield
        finally:
            install_world(before)

    def _receiver_failed(self, failure: Failure) -> None:
        if failure.runtime is self.runtime and self.failing_receivers == RAISE:
            self.runtime.add_failure(receiver_failed(failure, 'Simulation(failing_receivers="log")'))

    def _connector(self, endpoint: Endpoint, runtime: Runtime) -> SimulatedConnector:
        if runtime is not self.runtime:
            raise UsageError("a room of the simulation is joined in the simulation's runtime: leave out runtime=")
        self.runtime.check_alive()
        return SimulatedConnector(self.network, endpoint, runtime=self.runtime, door=self._door)

    def _door(self, endpoint: Endpoint, token: str) -> Guest:
        name = urlsplit(endpoint.url).path.rpartition("/rooms/")[2].strip("/")
        try:
            version = endpoint.version or None
            admission = admit(name, Credentials(token), version=version, secret=_SECRET, now=self.runtime.true_wall())
        except ConnectFailed as error:
            if name in self._rooms:
                self._rooms[name].recorder.refused(name_in(token), str(error))
            raise
        room = self.room(name)
        room.recorder.appeared(admission.name)
        self._programs.joined(room.name, admission.name)
        return Guest(admission.name, room.seated, admission.role, admission.rights, admission.version)

    def _newcomer(self, room: str, name: str, role: str) -> None:
        self._rooms[room].add(Participant(name, role))

    def _release(self) -> None:
        for room in self.rooms:
            room.seated.route(room.rules.release())

    def _tap(self, link: Link[Traffic], what: str, frames: Sequence[Frame[Traffic]]) -> None:
        wire = self._wires.get(link.name)
        if wire is None:
            wire = self._wire(link)
            if wire is None:
                return
        connection = wire.connection
        if not wire.member_id:
            if connection.carrier is not None:
                wire.member_id = connection.carrier.seat.member.id
            elif what == "sent" and any(content is ControlFrame.REFUSED for content, _ in frames):
                wire.recorder.refused(connection.name, "nobody answers")
        if wire.member_id:  # From here on nothing about it changes, and its owner need not be looked up.
            link.tap = partial(wire.recorder.tap_of(wire.line), wire.line, wire.member_id)
        wire.recorder.tap(wire.line, wire.member_id, link, what, frames)

    def _wire(self, link: Link[Traffic]) -> _Wire | None:
        """Return the wire of a link; None for a link of a connection that is not let in."""
        if len(self._wires) >= self._most_wires:
            self._wires = {name: wire for name, wire in self._wires.items() if wire.is_in_use}
            self._most_wires = 2 * len(self._wires) + 100
        label, _, direction = link.name.rpartition("/")
        connection = next((one for one in self.network.connections() if one.label == label), None)
        if connection is None or connection.guest is None:
            return None
        name, _, number = label.rpartition("#")
        line = Line(name if number == "1" else f"{name}~{number}", direction == "up", connection)
        recorder = self._room_of[connection.guest.room].recorder
        wire = self._wires[link.name] = _Wire(connection, recorder, line)
        return wire


@dataclass(slots=True)
class _Wire:
    """A link, and its owner."""

    connection: SimulatedConnection
    recorder: LinkRecorder
    line: Line
    member_id: str = ""
    """Empty while no participant is seated."""

    @property
    def is_in_use(self) -> bool:
        """Whether frames may still be sent or arrive on it."""
        connection = self.connection
        return not connection.is_over or bool(connection.up.in_flight or connection.down.in_flight)


class SimulatedRoom(HintedRoom):
    """A room of a simulation, as ``sim.room(name)`` returns it.

    Args:
        acknowledge: When a message to one participant is acknowledged: ``"routed"``, when it is in the recipient's
            queue, or ``"delivered"``, when it has arrived; if it never does, the sender gets error 1003.
        queue_limit: Bytes that may wait in the room for one participant, before that loses its seat.

    Attributes:
        transcript: The records of its events so far.
    """

    @hinted_call
    def __init__(
        self, simulation: Simulation, name: str, *, acknowledge: str = "routed", queue_limit: int = QUEUE_LIMIT
    ) -> None:
        self.name = name
        self.simulation = simulation
        self.transcript: Transcript = Transcript(name, simulation.seed)
        seeds, kernel = simulation.runtime.seeds, simulation.kernel
        self.recorder: LinkRecorder = LinkRecorder(self.transcript, partial(_now_of, kernel), simulation._faults.notice)

        def new_id(who: str) -> str:
            return entropy(seeds.stream(f"rooms/{name}/ids/{who}"), 8).hex()

        self.rules: FaultyRoom = FaultyRoom(
            Room(
                name,
                url=f"ws://{_HOST}/rooms/{name}",
                ids=partial(new_id, ""),
                later=self._later,
                expired=self.recorder.expired,
            ),
            new_id=new_id,
            watcher=self.recorder,
            in_force=simulation._faults.in_force,
            later=self._later,
            chance=lambda purpose: seeds.stream(f"rooms/{name}/{purpose}"),
            acknowledge=acknowledge,
            region_of=simulation.network.region_of,
        )
        if acknowledge == "delivered":
            self.recorder.settled = self.rules.settle
        self.seated: SeatedRoom = SeatedRoom(self.rules, queue_limit=queue_limit)
        self._surroundings = Surroundings(simulation.network, self.seated, seeds)
        self._participants: dict[Participant, None] = {}

    @property
    def participants(self) -> tuple[Participant, ...]:
        """The participants without threads that were added, those who have left included."""
        return tuple(self._participants)

    @hinted_call
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
        Raises:
            ConnectFailed: As ``meshsync.connect``.
        """
        # The thread that made the simulation may have no world here: a notebook may run each cell in another context.
        with self.simulation._in_world():
            room = meshsync.connect(self.name, name=name, role=role, **options)
        try:
            for key, value in (attributes or {}).items():
                room.local_participant.set_attribute(key, value)
            if enable:
                room.messaging.enable()
        except MeshsyncError:
            room.close(0)
            raise
        return room

    @hinted_call
    def add(self, *participants: Participant) -> None:
        """Let participants without threads in; they are members at once, with messaging enabled.

        Raises:
            UsageError: If one of them is in a room already; those before it were let in.
        """
        for participant in participants:
            enter(participant, self._surroundings)
            self._participants[participant] = None

    def names(self) -> tuple[str, ...]:
        """Return the names of all participants that are or were here, or wanted to be."""
        return tuple(self.recorder.names)

    def _later(self, seconds: float, outputs: Callable[[], Iterable[Output]]) -> Callable[[], None]:
        return self.simulation.kernel.after(seconds, lambda: self.seated.route(outputs())).cancel

    def __repr__(self) -> str:
        return f"<SimulatedRoom {self.name!r}: {len(self.seated.seats)} participants>"
