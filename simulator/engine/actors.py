"""The state of one actor: a task of the simulation, whose own thread rests unless it has the baton."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from enum import Enum
from functools import partial
from typing import Protocol

from meshsync.runtime.lifecycle import move
from simulator.engine.kernel import Timer

__all__ = ["Actor", "ActorState", "Baton", "Births", "Place", "Thread"]

__engine__ = True


class ActorState(Enum):
    """The life of an actor."""

    NEW = "has no thread yet"
    STARTED = "has a thread, in which its target runs"
    DONE = "its target has ended"
    LOST = "its thread went on for real when the simulation ended, and no thread waits for it"
    RESTING = "raised `ActorExit` so often in vain that its thread was laid to rest for ever"


_MOVES = {
    ActorState.NEW: {ActorState.STARTED, ActorState.DONE, ActorState.LOST},
    ActorState.STARTED: {ActorState.DONE, ActorState.LOST, ActorState.RESTING},
    ActorState.LOST: {ActorState.DONE, ActorState.RESTING},
    ActorState.DONE: set[ActorState](),
    ActorState.RESTING: set[ActorState](),
}
"""An actor may begin or end, in real time, while the main thread leaves the simulation: so a new one may be lost, and a
lost one may end."""

# Each a name of the module: in Python 3.10 every look at a member of an enum calls a function.
_NEW, _STARTED, _DONE, _LOST = ActorState.NEW, ActorState.STARTED, ActorState.DONE, ActorState.LOST


class Baton(Protocol):
    """A lock that the actor's thread acquires to rest, and the thread that chooses this actor releases."""

    def acquire(self, blocking: bool = True) -> bool: ...

    def release(self) -> None: ...


class Thread(Protocol):
    """An actor's thread, as seen outside the runtime."""

    @property
    def ident(self) -> int | None: ...


class Place(Protocol):
    """A condition, as seen by the actors inside it or before it."""

    @property
    def owner(self) -> Actor | None: ...

    outer: Place | None
    """The condition that its owner was inside of before."""

    def withdraw(self, actor: Actor) -> None:
        """Take an actor that is ended by force out of those who wait, for a notification or to enter."""

    def vacate(self) -> None:
        """Let others enter, since its owner never leaves it."""


class Actor:
    """One actor. The scheduler and the conditions keep its fields; nothing here acts by itself."""

    __slots__ = (
        "at_end",
        "baton",
        "children",
        "entering",
        "error",
        "exits",
        "ident",
        "inside",
        "is_doomed",
        "is_forgiven",
        "is_housekeeping",
        "joining",
        "label",
        "life",
        "name",
        "notified",
        "path",
        "serial",
        "state",
        "target",
        "thread",
        "timer",
        "waiting",
        "wake",
    )

    def __init__(self, serial: int, name: str, label: str, path: str, baton: Baton) -> None:
        self.serial: int = serial
        """Its number, from 0 for the creating thread, in the order of spawning: the same in each run."""
        self.name: str = name
        self.label: str = label
        """Its name, made unique among those of one name by a number; random streams are named by it."""
        self.path: str = path
        """Its name behind the path of the actor that spawned it, unique too: hardly any change of the order of turns
        changes it, as it may change ``serial`` and ``label``; decisions of a schedule are recorded by it."""
        self.children: Counter[str] = Counter()
        """How many actors of each name it has spawned."""
        self.baton: Baton = baton
        self.target: Callable[[], None] | None = None
        """The function to run; None once it has begun."""
        self.at_end: Callable[[], bool] | None = None
        """Notifies the actors that join it, on its own thread; returns whether there are any."""
        self.error: BaseException | None = None
        self.is_housekeeping: bool = False
        """Whether its waits are no sign that anything is going to happen; see `Runtime.housekeeping`."""
        self.is_forgiven: bool = False
        """Whether a program has read the error."""
        self.life: Hashable = None
        """The life of a program that it belongs to, see `simulator.engine.lives`; None if it belongs to none."""
        self.is_doomed: bool = False
        """Whether that was ended by force: it unwinds, and each of its calls raises."""
        self.thread: Thread | None = None
        self.ident: int | None = None
        self.state: ActorState = _NEW
        self.exits: int = 0
        """How often `ActorExit` was raised in it."""
        self.wake: Callable[[], None] = _nothing
        """Makes it ready to run; called by its timer."""
        self.timer: Timer | None = None
        """The timer that will wake it, if it sleeps or waits with a time limit."""
        self.notified: bool = False
        """Whether its last wait ended by a notification."""
        self.inside: Place | None = None
        """The condition it entered last and has not left, from which `Place.outer` leads to the others."""
        self.waiting: Place | None = None
        """The condition it waits on."""
        self.entering: Place | None = None
        """The condition it wants to enter and another actor is inside of."""
        self.joining: Actor | None = None
        """The actor whose end it waits for."""

    @property
    def is_done(self) -> bool:
        """Whether its target has ended, or it is ended by force."""
        return self.state is _DONE or self.is_doomed

    def begin(self) -> None:
        """Record that its thread exists; does nothing if it was given up meanwhile."""
        if self.state is _NEW:
            self._move(_STARTED)

    def finish(self) -> None:
        """Record that its target has ended; again does nothing."""
        if self.state is not _DONE:
            self._move(_DONE)

    def lose(self) -> None:
        """Record that its thread goes on for real; does nothing if that has ended or rests."""
        # One step, as in Scheduler.abandon: the thread may end at this moment.
        if self.state is _STARTED:
            self.state = _LOST

    def rest(self) -> None:
        """Record that its thread is laid to rest for ever."""
        self._move(ActorState.RESTING)

    def _move(self, state: ActorState) -> None:
        self.state = move(_MOVES, self.state, state, self)

    @property
    def held(self) -> list[Place]:
        """The conditions it is inside of, innermost first."""
        held, place = [], self.inside
        while place is not None:
            held.append(place)
            place = place.outer
        return held

    def __repr__(self) -> str:
        return f"<Actor {self.label!r}{', done' if self.is_done else ''}>"


class Births:
    """Makes actors, gives each names that no other has, and keeps those that have not ended.

    Args:
        make_baton: Makes a lock.
        ready: Where an actor puts itself by its ``wake``.
    """

    def __init__(self, make_baton: Callable[[], Baton], ready: deque[Actor]) -> None:
        self.actors: dict[int, Actor] = {}
        """Those that have not ended, by serial number."""
        self._make_baton = make_baton
        self._ready = ready
        self._names: Counter[str] = Counter()
        self._serials = 0

    def make(self, name: str, parent: Actor | None, is_in_callback: bool) -> Actor:
        """Return an actor that is not ready yet.

        Args:
            parent: The actor that spawns it, whose life it shares; None for the first of all.
            is_in_callback: Whether a timer's callback spawns it, in the thread of whichever actor that is.
        """
        self._names[name] += 1
        label, path = _numbered(name, self._names[name]), name
        if parent is not None:
            parent.children[name] += 1
            path = f"{parent.path}/{_numbered(name, parent.children[name])}"
        actor = Actor(self._serials, name, label, path, self._make_baton())
        actor.baton.acquire()
        actor.wake = partial(self._ready.append, actor)
        self.actors[self._serials] = actor
        self._serials += 1
        if parent is not None and not is_in_callback:
            actor.life = parent.life
        return actor


def _numbered(name: str, count: int) -> str:
    return name if count == 1 else f"{name}#{count}"


def _nothing() -> None:
    """Stand in for the function that the scheduler has not set yet."""
