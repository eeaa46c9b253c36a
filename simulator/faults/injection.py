"""Makes faults strike and end when a plan says so, in every room of a simulation.

What a fault does is its kind's business, how that is done the network's and the rooms'. Here it is decided when, and
checked that the participants whom it is about are known; and it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from meshsync.errors import UsageError
from simulator.engine.kernel import SECOND, Kernel, Timer
from simulator.engine.seeds import Seeds
from simulator.faults import plans
from simulator.faults.fault import Fault, LastingFault
from simulator.faults.layers import (
    ConnectionFault,
    NetworkFault,
    RoomFault,
    SimulationFault,
    StruckNetwork,
    StruckRoom,
)
from simulator.faults.registry import KINDS

__all__ = ["FaultInjector", "FaultRecorder", "InjectedNetwork", "InjectedRoom"]

_SHORTEST_INTERVAL = 1e-6
"""Seconds: a law may draw zero again and again, and the clock has to move."""


_ENTRIES: tuple[type, ...] = (Fault, plans.At, plans.During, plans.Every, plans.On, plans.Quiet)


class InjectedNetwork(StruckNetwork, Protocol):
    """What an injector needs of a network."""

    @property
    def in_force(self) -> tuple[NetworkFault, ...]:
        """The lasting faults that are in force, in the order in which they struck."""

    def strike(self, fault: ConnectionFault | NetworkFault) -> int:
        """Do what a one-off fault says, or put a lasting one in force; return how many connections it met."""

    def lift(self, fault: NetworkFault) -> None:
        """End a lasting fault."""

    def lift_all(self) -> None:
        """End all lasting faults, pauses and a restart included."""


class FaultRecorder(Protocol):
    """What an injector needs of the recorder of a room."""

    def struck(self, word: str, names: Sequence[str], outcome: str, detail: dict[str, Any]) -> None:
        """Record that a fault of that kind struck, began or ended."""


class InjectedRoom(StruckRoom, Protocol):
    """What an injector needs of a room."""

    @property
    def recorder(self) -> FaultRecorder: ...


@dataclass(slots=True)
class _Pending:
    """A fault that waits for an event."""

    trigger: plans.Trigger
    left: int
    """How many of those events have still to happen."""
    fault: Fault


class FaultInjector:
    """The faults of a simulation: those in force, and those to come.

    Args:
        rooms: Returns the rooms there are, in the order of making.
        newcomer: Has a new participant without a program join a room: the room's name, the participant's, its role.

    Attributes:
        in_force: The rooms' lasting faults that are in force, in the order in which they struck; every room looks here.
    """

    def __init__(
        self,
        kernel: Kernel,
        seeds: Seeds,
        network: InjectedNetwork,
        rooms: Callable[[], Sequence[InjectedRoom]],
        newcomer: Callable[[str, str, str], None],
    ) -> None:
        self.in_force: list[RoomFault] = []
        self._kernel = kernel
        self._seeds = seeds
        self._network = network
        self._rooms = rooms
        self._newcomer = newcomer
        self._timers: dict[Timer, None] = {}
        self._pending: list[_Pending] = []
        self._count = 0

    def add(self, entries: Iterable[plans.Planned | Fault]) -> None:
        """Take entries of a fault plan; a bare fault strikes now.

        Raises:
            UsageError: If one is no fault, or of no registered kind, in which case none is taken; or a bare one is
                about a participant that no room knows.
        """
        taken = tuple(entries)
        strange = next((entry for entry in taken if not isinstance(entry, _ENTRIES)), None)
        if strange is not None:
            hint = ": on(…) needs .do(fault)" if hasattr(strange, "do") else ""
            raise UsageError(f"a plan is made of faults, not of {type(strange).__name__}{hint}")
        for entry in taken:
            fault = getattr(entry, "fault", entry)
            if isinstance(fault, Fault) and fault.word not in KINDS:
                raise UsageError(f"{type(fault).__name__} is no registered kind of fault; put @register above it")
        for entry in taken:
            self._take(entry)

    def notice(
        self, event: str, /, *, sender: str | None = None, to: str | None = None, type: str | None = None
    ) -> None:
        """Take note of an event that a fault may follow."""
        if not self._pending:
            return
        for pending in tuple(self._pending):
            if pending.trigger.matches(event, sender=sender, to=to, type=type):
                pending.left -= 1
                if not pending.left:
                    self._pending.remove(pending)
                    # Right after the event, and not in the midst of it.
                    self._at(self._kernel.now, partial(self._strike, pending.fault))

    # --- when ---------------------------------------------------------------------------------------------------------

    def _take(self, entry: plans.Planned | Fault) -> None:
        match entry:
            case Fault():
                self._strike(entry)
            case plans.At(time, fault):
                self._at(round(time * SECOND), partial(self._strike, fault))
            case plans.During(start, end, fault):
                self._at(round(start * SECOND), partial(self._strike, fault))
                self._at(round(end * SECOND), partial(self._lift, fault))
            case plans.Every():
                self._count += 1
                self._wait(entry, f"faults/every/{self._count}")
            case plans.On(trigger, nth, fault):
                self._pending.append(_Pending(trigger, nth, fault))
            case plans.Quiet(after):
                self._at(round(after * SECOND), self._quiet)

    def _wait(self, entry: plans.Every, stream: str) -> None:
        """Have a fault strike after one interval, and wait for the next one."""

        def strike() -> None:
            self._strike(entry.fault)
            self._wait(entry, stream)

        seconds = max(entry.interval.draw(self._seeds.stream(stream)), _SHORTEST_INTERVAL)
        # In the background, as it goes on for ever: it must not hide that a program is stuck.
        self._at(self._kernel.instant(seconds), strike, background=True)

    def _at(self, when: int, action: Callable[[], None], *, background: bool = False) -> None:
        timer: Timer

        def act() -> None:
            self._timers.pop(timer, None)
            action()

        timer = self._kernel.at(when, act, background=background)
        self._timers[timer] = None

    # --- what ---------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self._check(fault)
        self._tell(fault, "began" if isinstance(fault, LastingFault) else "struck")
        match fault:
            case RoomFault():
                self.in_force.append(fault)
            case ConnectionFault() | NetworkFault():
                self._network.strike(fault)
            case SimulationFault():
                fault.strike(self)
        self.notice("fault", to=fault.names[0] if len(fault.names) == 1 else None, type=fault.word)

    def _lift(self, fault: Fault) -> None:
        if isinstance(fault, RoomFault) and fault in self.in_force:
            self.in_force.remove(fault)
        elif isinstance(fault, NetworkFault) and fault in self._network.in_force:
            self._network.lift(fault)
        else:
            return
        self._tell(fault, "ended")

    def _quiet(self) -> None:
        """End everything that holds, and forget what was planned so far."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()
        for room in self._rooms():
            room.recorder.struck("quiet", (), "struck", {})
        for fault in (*self.in_force, *self._network.in_force):
            self._tell(fault, "ended")
        self.in_force.clear()
        self._network.lift_all()

    def _check(self, fault: Fault) -> None:
        known = dict.fromkeys(name for room in self._rooms() for name in room.names())
        for name in fault.names:
            if name not in known:
                there_are = ", ".join(known) or "none"
                raise UsageError(f"{fault.word} is about {name!r}, whom nobody has heard of; there are {there_are}")

    def _tell(self, fault: Fault, outcome: str) -> None:
        detail = plans.to_json([fault])[0]
        for room in self._rooms():
            if not fault.names or not set(fault.names).isdisjoint(room.names()):
                room.recorder.struck(fault.word, fault.names, outcome, detail)

    # --- what a fault of the simulation has before it -----------------------------------------------------------------

    @property
    def network(self) -> StruckNetwork:
        """See `StruckSimulation`, as for the others below."""
        return self._network

    @property
    def rooms(self) -> Sequence[StruckRoom]:
        return self._rooms()

    def join(self, room: StruckRoom, name: str, role: str) -> None:
        self._newcomer(room.name, name, role)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._kernel.after(seconds, action)
