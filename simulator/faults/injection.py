"""Makes faults strike and end at the times of a plan, in every room of a simulation.

The effect of a fault is its kind's business, and carrying it out is the network's and the rooms'. This module decides
the time, checks that the participants of a fault are known, and records the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol

from meshsync.errors import UsageError
from meshsync.places import warn_program
from meshsync.runtime.deadlines import seems_milliseconds
from simulator.engine.clock import Clock
from simulator.engine.kernel import SECOND, Timer
from simulator.engine.seeds import Seeds
from simulator.faults import plans
from simulator.faults.asking import hinder, strike_simulation
from simulator.faults.fault import Fault, LastingFault
from simulator.faults.kinds.crash import Crash
from simulator.faults.layers import (
    ConnectionFault,
    NetworkFault,
    ProgramFault,
    RoomFault,
    SimulationFault,
    StruckNetwork,
    StruckPrograms,
    StruckRoom,
)
from simulator.faults.registry import KINDS

__all__ = ["FaultInjector", "FaultRecorder", "InjectedNetwork", "InjectedRoom", "check_entries"]

_SHORTEST_INTERVAL = 1e-6
"""Seconds: a law may draw zero every time, and the clock has to move."""


_ENTRIES: tuple[type, ...] = (Fault, plans.At, plans.During, plans.Every, plans.On, plans.Quiet)


def check_entries(entries: Iterable[plans.Planned | Fault]) -> tuple[plans.Planned | Fault, ...]:
    """Return the entries of a fault plan.

    Raises:
        UsageError: If one is no fault, or of no registered kind.
    """
    given = tuple(entries)
    strange = next((entry for entry in given if not isinstance(entry, _ENTRIES)), None)
    if strange is not None:
        hint = ": on(…) needs .do(fault)" if hasattr(strange, "do") else ""
        raise UsageError(f"a plan is made of faults, not of {type(strange).__name__}{hint}")
    for entry in given:
        fault = getattr(entry, "fault", entry)
        if isinstance(fault, Fault) and fault.word not in KINDS:
            raise UsageError(f"{type(fault).__name__} is no registered kind of fault; put @register above it")
    return given


def _knows_regions(fault: Fault) -> bool:
    """Return whether a fault may name regions: not if it is about what a room does with requests of participants."""
    if isinstance(fault, RoomFault):
        return type(fault).on_passage is not RoomFault.on_passage
    return isinstance(fault, (ConnectionFault, NetworkFault))


def refuse_programs(entries: Iterable[plans.Planned | Fault]) -> None:
    """Raise `UsageError` for a fault of a program, where programs are processes outside."""
    for fault in (getattr(entry, "fault", entry) for entry in entries):
        if isinstance(fault, Fault) and fault.is_of_programs:
            raise UsageError(
                f"{fault.word} is about a program of a simulation; a client of an emulator is a process of its own,"
                " which is stopped and slowed by its own system"
            )


class InjectedNetwork(StruckNetwork, Protocol):
    """The part of a network that an injector uses."""

    @property
    def in_force(self) -> tuple[NetworkFault, ...]:
        """The lasting faults that are in force, in the order in which they struck."""

    @property
    def regions(self) -> Mapping[str, Sequence[str]]:
        """The participants of each region, by which faults may name them all."""

    def strike(self, fault: ConnectionFault | NetworkFault) -> int:
        """Strike with a one-off fault, or put a lasting one in force; return how many connections it met."""

    def lift(self, fault: NetworkFault) -> None:
        """End a lasting fault."""

    def lift_all(self) -> None:
        """End all lasting faults, pauses and a restart included."""


class FaultRecorder(Protocol):
    """The part of a room's recorder that an injector uses."""

    def struck(self, word: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Record that a fault of that kind struck, began or ended."""


class InjectedRoom(StruckRoom, Protocol):
    """The part of a room that an injector uses."""

    @property
    def recorder(self) -> FaultRecorder: ...


@dataclass(slots=True)
class _Pending:
    """A fault that waits for an event."""

    trigger: plans.Trigger
    left: int
    """The number of matching events still to happen."""
    fault: Fault


class FaultInjector:
    """The faults of a simulation: those in force, and those to come.

    Args:
        rooms: Returns all rooms, in the order of making.
        newcomer: Lets a new participant without a program join: given the room's name, the participant's, its role.
        unknown: Called with a planned fault about a participant that no room knows, and a text that says so; a lasting
            one is in force all the same, since the participant may come. None to raise `UsageError` there.
        lifted: Called when faults of rooms have ended.
        crash: Ends the life of a program: given its name, how, and the seconds until its next life or None. None where
            programs are processes of their own.
        programs: Those that faults hinder; None where programs are processes of their own.

    Attributes:
        in_force: The rooms' lasting faults that are in force, in the order in which they struck; every room reads it.
    """

    def __init__(
        self,
        kernel: Clock,
        seeds: Seeds,
        network: InjectedNetwork,
        rooms: Callable[[], Sequence[InjectedRoom]],
        newcomer: Callable[[str, str, str], None],
        unknown: Callable[[Fault, str], object] | None = None,
        lifted: Callable[[], object] = lambda: None,
        crash: Callable[[str, str, float | None], None] | None = None,
        programs: StruckPrograms | None = None,
    ) -> None:
        self.in_force: list[RoomFault] = []
        self._kernel = kernel
        self._seeds = seeds
        self._network = network
        self._rooms = rooms
        self._newcomer = newcomer
        self._unknown = unknown
        self._lifted = lifted
        self._crash = crash
        self._programs = programs
        self._hindering: list[ProgramFault] = []
        self._timers: dict[Timer, float] = {}
        """With the planned time that is due then, in seconds; 0 for the end of a fault, and for what follows."""
        self._pending: list[_Pending] = []
        self._count = 0

    def add(self, entries: Iterable[plans.Planned | Fault], begin: int = 0) -> None:
        """Add the entries of a fault plan; a bare fault strikes now.

        Args:
            begin: The instant that the plan's times count from, in nanoseconds.
        Raises:
            UsageError: If one is no fault, or of no registered kind, or is about programs where there are none; none is
                added then. Or if a bare one names a participant that no room knows; the entries before it are added.
        """
        given = check_entries(entries)
        if self._crash is None and any(isinstance(getattr(entry, "fault", entry), Crash) for entry in given):
            raise UsageError("crash: by a plan only programs in a simulation crash; here, end the program's process")
        if self._programs is None:
            refuse_programs(given)
        for entry in given:
            self._add(entry, begin)

    def notice(
        self, event: str, /, *, sender: str | None = None, to: str | None = None, type: str | None = None
    ) -> None:
        """Schedule the faults that follow an event."""
        if not self._pending:
            return
        for pending in tuple(self._pending):
            if pending.trigger.matches(event, sender=sender, to=to, type=type):
                pending.left -= 1
                if not pending.left:
                    self._pending.remove(pending)
                    # Right after the event, not during it.
                    self._at(self._kernel.now, partial(self._strike, pending.fault))

    # --- when ---------------------------------------------------------------------------------------------------------

    def _add(self, entry: plans.Planned | Fault, begin: int) -> None:
        match entry:
            case Fault():
                self._check(entry)
                self._strike_known(entry)
            case plans.At(time, fault):
                self._at(begin + round(time * SECOND), partial(self._strike, fault), time)
            case plans.During(start, end, fault):
                self._at(begin + round(start * SECOND), partial(self._strike, fault), start)
                self._at(begin + round(end * SECOND), partial(self._lift, fault))
            case plans.Every():
                self._count += 1
                self._wait(entry, f"faults/every/{self._count}")
            case plans.On(trigger, nth, fault):
                self._pending.append(_Pending(trigger, nth, fault))
            case plans.Quiet(after):
                self._at(begin + round(after * SECOND), self._quiet, after)

    def _wait(self, entry: plans.Every, stream: str) -> None:
        """Let a fault strike after one interval, and then wait for the next."""

        def strike() -> None:
            self._strike(entry.fault)
            self._wait(entry, stream)

        seconds = max(entry.interval.draw(self._seeds.stream(stream)), _SHORTEST_INTERVAL)
        # In the background, as it never ends: it must not hide that a program is stuck.
        self._at(self._kernel.instant(seconds), strike, seconds, background=True)

    def _at(self, when: int, action: Callable[[], None], planned: float = 0, *, background: bool = False) -> None:
        timer: Timer

        def act() -> None:
            self._timers.pop(timer, None)
            action()

        timer = self._kernel.at(when, act, background=background)
        self._timers[timer] = planned

    def warn_of_unreached(self) -> None:
        """Warn, at the end of a run, of times that it did not reach, and that seem to be in milliseconds."""
        end = self._kernel.now / SECOND
        for time in self._timers.values():
            if seems_milliseconds(time) and time / 1000 <= end < time / 20:
                warn_program(
                    f"nothing came of what was planned for {time:g} s, since the run ended at {end:.3g} s: for "
                    f"{time:g} ms give {time / 1000:g}"
                )

    # --- what ---------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        try:
            self._check(fault)
        except UsageError as error:
            if self._unknown is None:
                raise
            self._unknown(fault, str(error))
            if not isinstance(fault, LastingFault):
                return
        self._strike_known(fault)

    def _strike_known(self, fault: Fault) -> None:
        if not (isinstance(fault, SimulationFault) and fault.is_recorded_by_itself):
            self._record(fault, "began" if isinstance(fault, LastingFault) else "struck")
        match fault:
            case RoomFault():
                self.in_force.append(fault)
            case ConnectionFault() | NetworkFault():
                self._network.strike(fault)
            case ProgramFault():
                hinder(fault, self.programs)
                self._hindering.append(fault)
            case SimulationFault():
                strike_simulation(fault, self)
        self.notice("fault", to=fault.names[0] if len(fault.names) == 1 else None, type=fault.word)

    def _lift(self, fault: Fault) -> None:
        if isinstance(fault, RoomFault) and fault in self.in_force:
            self.in_force.remove(fault)
            self._lifted()
        elif isinstance(fault, NetworkFault) and fault in self._network.in_force:
            self._network.lift(fault)
        elif isinstance(fault, ProgramFault) and fault in self._hindering:
            self._hindering.remove(fault)
            self.programs.relieve(fault)
        else:
            return
        self._record(fault, "ended")

    def _quiet(self) -> None:
        """Lift all lasting faults, and drop all planned entries."""
        self._drop_planned()
        for room in self._rooms():
            room.recorder.struck("quiet", (), "struck", {})
        for fault in (*self.in_force, *self._network.in_force, *self._hindering):
            self._record(fault, "ended")
        self.in_force.clear()
        self._lifted()
        self._network.lift_all()
        if self._programs is not None:
            self._hindering.clear()
            self._programs.relieve_all()

    def stop(self) -> None:
        """End all faults without a record, since the rooms are being closed."""
        self._drop_planned()
        self.in_force.clear()
        self._lifted()
        self._network.lift_all()

    def _drop_planned(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()

    def _check(self, fault: Fault) -> None:
        known = dict.fromkeys(name for room in self._rooms() for name in room.names())
        if _knows_regions(fault):
            known.update(dict.fromkeys(self._network.regions))
        for name in fault.names:
            if name not in known:
                there_are = ", ".join(known) or "none"
                raise UsageError(f"{fault.word} is about {name!r}, which no room knows; there are {there_are}")

    def _record(self, fault: Fault, outcome: str) -> None:
        detail = plans.to_json([fault])[0]
        regions = self._network.regions
        if in_regions := {name: regions[name] for name in fault.names if name in regions}:
            # A region is no participant of a room: the record has those that are.
            struck = (in_regions.get(name, (name,)) for name in fault.names)
            detail["struck"] = list(dict.fromkeys(chain.from_iterable(struck)))
        for room in self._rooms():
            if not fault.names or in_regions or not set(fault.names).isdisjoint(room.names()):
                room.recorder.struck(fault.word, fault.names, outcome, detail)

    # --- for faults of the simulation ---------------------------------------------------------------------------------

    @property
    def network(self) -> StruckNetwork:
        """See `StruckSimulation`, as for the others below."""
        return self._network

    @property
    def programs(self) -> StruckPrograms:
        assert self._programs is not None  # As `add` has seen to.
        return self._programs

    @property
    def rooms(self) -> Sequence[StruckRoom]:
        return self._rooms()

    def join(self, room: StruckRoom, name: str, role: str) -> None:
        self._newcomer(room.name, name, role)

    def crash(self, who: str, how: str, restart_after: float | None) -> None:
        assert self._crash is not None  # as `add` has seen to
        self._crash(who, how, restart_after)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._kernel.after(seconds, action)
