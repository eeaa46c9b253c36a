"""The programs of a simulation by name: their lives, which a crash ends and a restart begins.

How an actor is ended is `simulator.engine.lives`'s business; this module ends its connections, writes down what
happened, and has the disks restored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from meshsync.errors import UsageError
from meshsync.runtime.interfaces import Task
from meshsync.signals import check_callable
from simulator.engine.kernel import SECOND
from simulator.engine.lives import ProgramLife
from simulator.engine.results import check_task
from simulator.engine.runtime import VirtualRuntime
from simulator.faults.injection import FaultRecorder
from simulator.faults.kinds.crash import HOW, Crash
from simulator.lives.disks import Disks
from simulator.lives.leftovers import Leftovers
from simulator.network.network import Network

__all__ = ["Crashed", "Programs"]

_log = logging.getLogger("simulator")


@dataclass(frozen=True, slots=True)
class Crashed:
    """A life that was ended by force."""

    name: str
    """The program's."""
    life: int
    """Which of its lives it was, counted from 1."""
    how: str
    """``"process"`` or ``"machine"``."""
    time: float
    """Virtual seconds since the start."""
    released: tuple[str, ...]
    """The locks and permits that it held, which others can have now, each with the line that took it."""


class RecordedRoom(Protocol):
    """The part of a room that is used here."""

    @property
    def name(self) -> str: ...
    @property
    def recorder(self) -> FaultRecorder: ...


@dataclass(slots=True)
class _Program:
    name: str
    label: str
    """The name that it was given, which another may have too."""
    target: Callable[..., object]
    arguments: tuple[Any, ...]
    life: ProgramLife
    guests: dict[str, dict[str, None]] = field(default_factory=dict)
    """By room, the names of the participants that it was or wanted to be there."""


class Programs:
    """What was spawned in one simulation.

    Args:
        rooms: Returns all rooms, in the order of making.

    Attributes:
        crashes: What crashed so far, in order.
        leftovers: Finds what a life leaves behind in the globals of modules; None to have that not looked for.
    """

    def __init__(self, runtime: VirtualRuntime, network: Network, rooms: Callable[[], Sequence[RecordedRoom]]) -> None:
        self.crashes: list[Crashed] = []
        self.disks: Disks = Disks()
        self.leftovers: Leftovers | None = None
        self._runtime = runtime
        self._network = network
        self._rooms = rooms
        self._programs: dict[str, _Program] = {}

    def spawn(self, target: Callable[..., object], arguments: tuple[Any, ...], name: str | None) -> Task:
        """Begin the first life of a program; see `Simulation.spawn`."""
        check_callable(target, "the arguments given", "a task's target")
        label = name if name is not None else getattr(target, "__name__", type(target).__name__)
        unique, count = label, 1
        while unique in self._programs:
            count += 1
            unique = f"{label}#{count}"
        program = _Program(unique, label, target, arguments, ProgramLife(unique, 1))
        self._programs[unique] = program
        return self._begin(program)

    def joined(self, room: str, name: str) -> None:
        """Note that the running actor's program wants to be a participant of a room."""
        life = self._runtime.lives.present
        if life is not None:
            self._programs[life.name].guests.setdefault(room, {})[name] = None

    def crash(self, name: str, how: str) -> Crashed | None:
        """End the life of a program by force; see `Simulation.crash`."""
        if how not in HOW:
            raise ValueError(f"how must be one of {', '.join(HOW)}, not {how!r:.100}")
        program, lives = self._named(name), self._runtime.lives
        lives.clear_the_way("crash()")
        if not self._is_alive(program):
            return None
        life, is_machine = program.life, how == "machine"
        with lives.stillness():
            actors, held = lives.doom(life)
            self._cut(life, is_silent=is_machine)
        released = tuple(f"{one.what}, taken at {one.since}" for one in held)
        crashed = Crashed(name, life.number, how, self._runtime.kernel.now / SECOND, released)
        self.crashes.append(crashed)
        _log.info("%r has crashed in life %d at %.9f s; released: %s", name, life.number, crashed.time, released)
        self._record(program, "began", {"fault": Crash.word, "who": name, "how": how})
        lives.unwind(actors, self.disks.picture(name, is_machine=is_machine))
        return crashed

    def _cut(self, life: ProgramLife, *, is_silent: bool) -> None:
        """End the connections of a life without a close frame."""
        for connection in self._network.connections():
            if connection.owner is life:
                connection.abort(is_silent=is_silent)

    def crash_planned(self, name: str, how: str, restart_after: float | None) -> None:
        """End the life of a program by force, and begin the next one after some seconds, unless None."""
        program = self._named(name)
        life = program.life
        if self.crash(name, how) is not None and restart_after is not None:
            self._runtime.kernel.after(restart_after, partial(self._come_back, program, life))

    def restart(self, program: str | Callable[..., object], arguments: tuple[Any, ...]) -> Task:
        """Begin another life of a program; see `Simulation.restart`."""
        found = self._named(program) if isinstance(program, str) else self._of_target(program)
        if self._is_alive(found):
            raise UsageError(f"{found.name!r} is alive: it can be restarted when it has crashed or ended")
        if arguments:
            found.arguments = arguments
        return self._restart(found)

    def _come_back(self, program: _Program, life: ProgramLife) -> None:
        if program.life is life:
            self._restart(program)

    def _restart(self, program: _Program) -> Task:
        has_crashed = program.life.is_ended
        program.life = ProgramLife(program.name, program.life.number + 1)
        if self.leftovers is not None:
            self.leftovers.compare(program.name, program.target, program.life.number)
        if has_crashed:
            self._record(program, "ended", {"fault": Crash.word, "who": program.name})
        return self._begin(program)

    def _begin(self, program: _Program) -> Task:
        target, arguments, life = program.target, program.arguments, program.life
        if self.leftovers is not None:
            self.leftovers.note(program.name, target)

        def run() -> None:
            check_task(target, target(*arguments))

        label = program.label if life.number == 1 else f"{program.name}, life {life.number}"
        return self._runtime.spawn(run, name=label, life=life)

    def _is_alive(self, program: _Program) -> bool:
        return not program.life.is_ended and bool(self._runtime.lives.actors_of(program.life))

    def _named(self, name: str) -> _Program:
        program = self._programs.get(name)
        if program is None:
            there_are = ", ".join(map(repr, self._programs)) or "none"
            raise UsageError(f"no program is called {name!r:.100}; those that sim.spawn began are: {there_are}")
        return program

    def _of_target(self, target: Callable[..., object]) -> _Program:
        found = [program for program in self._programs.values() if program.target == target]
        over = [program for program in found if not self._is_alive(program)]
        if len(found) == 1 or len(over) == 1:
            return (over if len(over) == 1 else found)[0]
        names = ", ".join(map(repr, self._programs)) or "none"
        what = "several programs run" if found else "no program runs"
        raise UsageError(f"{what} {target!r:.100}; restart one by its name, of {names}")

    def _record(self, program: _Program, outcome: str, detail: dict[str, Any]) -> None:
        """Write down a crash, or its end, in each room in which the program took part; if in none, in all."""
        rooms = self._rooms()
        for room in [room for room in rooms if room.name in program.guests] or rooms:
            names = tuple(program.guests.get(room.name, ())) or (program.name,)
            room.recorder.struck(Crash.word, names, outcome, detail | {"life": program.life.number})
