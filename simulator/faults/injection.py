"""Makes faults strike and end when a plan says so, in every room of a simulation.

What a fault does to connections is the network's business, what it does to requests the room's. Here it is decided
when, and whom it is about; and written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from meshsync.errors import UsageError
from simulator.engine.kernel import SECOND, Kernel, Timer
from simulator.engine.seeds import Seeds
from simulator.faults import plans
from simulator.faults.kinds import Fault, Join, Restart
from simulator.network.network import Network
from simulator.participants import Participant
from simulator.record.recorder import Recorder
from simulator.room.faulty import CONDITIONS

__all__ = ["Plan", "PlannedRoom"]

_SHORTEST_INTERVAL = 1e-6
"""Seconds: a law may draw zero again and again, and the clock has to move."""


_ENTRIES: tuple[type, ...] = (Fault, plans.At, plans.During, plans.Every, plans.On, plans.Quiet)


class PlannedRoom(Protocol):
    """What a plan has to do with a room."""

    @property
    def recorder(self) -> Recorder: ...
    @property
    def participants(self) -> Sequence[Participant]: ...
    def add(self, *participants: Participant) -> None: ...


@dataclass(slots=True)
class _Pending:
    """A fault that waits for an event."""

    trigger: plans.Trigger
    left: int
    """How many of those events have still to happen."""
    fault: Fault


class Plan:
    """The faults of a simulation: those that hold, and those to come.

    Args:
        rooms: Returns the rooms there are, in the order of making.

    Attributes:
        in_force: The rooms' conditions that hold, in the order in which they struck; every room looks here.
    """

    def __init__(
        self, kernel: Kernel, seeds: Seeds, network: Network, rooms: Callable[[], Sequence[PlannedRoom]]
    ) -> None:
        self.in_force: list[Fault] = []
        self._kernel = kernel
        self._seeds = seeds
        self._network = network
        self._rooms = rooms
        self._timers: dict[Timer, None] = {}
        self._pending: list[_Pending] = []
        self._count = 0

    def add(self, entries: Iterable[plans.Planned | Fault]) -> None:
        """Take entries of a fault plan; a bare fault strikes now.

        Raises:
            UsageError: If one is no fault, in which case none is taken; or a bare one is about somebody nobody knows.
        """
        taken = tuple(entries)
        strange = next((entry for entry in taken if not isinstance(entry, _ENTRIES)), None)
        if strange is not None:
            hint = ": on(…) needs .do(fault)" if hasattr(strange, "do") else ""
            raise UsageError(f"a plan is made of faults, not of {type(strange).__name__}{hint}")
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
        self._tell(fault, "began" if fault.is_condition else "struck")
        if isinstance(fault, CONDITIONS):
            self.in_force.append(fault)
        elif isinstance(fault, Join):
            self._join(fault)
        elif isinstance(fault, Restart):
            self._restart(fault)
        else:
            self._network.strike(fault)
        self.notice("fault", to=fault.names[0] if len(fault.names) == 1 else None, type=fault.word)

    def _lift(self, fault: Fault) -> None:
        if fault in self.in_force:
            self.in_force.remove(fault)
        elif fault in self._network.in_force:
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

    def _join(self, fault: Join) -> None:
        """Have somebody join: in the room that knows the name, or else in the first one."""
        rooms = self._rooms()
        if not rooms:
            raise UsageError(f"{fault.name!r} cannot join: there is no room yet")
        for room in rooms:
            for participant in room.participants:
                if participant.name == fault.name and not participant.is_here:
                    participant.come_back()
                    return
        room = next((room for room in rooms if fault.name in room.recorder.names), rooms[0])
        room.add(Participant(fault.name, fault.role))

    def _restart(self, fault: Restart) -> None:
        """Take the server down. Participants without a client come back with it: nothing else would bring them."""
        here = [participant for room in self._rooms() for participant in room.participants if participant.is_here]
        self._network.strike(fault)
        if here:
            self._kernel.after(fault.down, partial(_come_back, here))

    def _check(self, fault: Fault) -> None:
        known = dict.fromkeys(name for room in self._rooms() for name in room.recorder.names)
        for name in fault.names:
            if name not in known:
                there_are = ", ".join(known) or "none"
                raise UsageError(f"{fault.word} is about {name!r}, whom nobody has heard of; there are {there_are}")

    def _tell(self, fault: Fault, outcome: str) -> None:
        detail = plans.to_json([fault])[0]
        for room in self._rooms():
            if not fault.names or any(name in room.recorder.names for name in fault.names):
                room.recorder.struck(fault.word, fault.names, outcome, detail)


def _come_back(participants: Iterable[Participant]) -> None:
    for participant in participants:
        participant.come_back()
