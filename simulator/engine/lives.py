"""The end of a life by force: its actors unwind at once, and nothing that they call reaches the world any more.

A *life* is an actor that begins a program, with all actors that it and they spawn. One that is ended unwinds in the
order of its actors, before any other goes on, at the same instant and with no turn counted. While an actor unwinds, the
one that runs is its *ghost*, which no thread belongs to: so each call of the unwinding thread finds that it is not its
turn, and raises `ActorExit`, as when a simulation is over. Not the business of this module: what a life is called, its
connections and its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from meshsync.runtime.holdings import Held
from simulator.engine.actors import Actor, ActorState
from simulator.engine.scheduler import Scheduler
from simulator.errors import ActorExit

__all__ = ["Lives", "ProgramLife", "refuse_doomed"]

__engine__ = True


def refuse_doomed(scheduler: Scheduler) -> None:
    """Raise `ActorExit` in a thread that unwinds, since its life is over; do nothing in all others."""
    running = scheduler.running
    if running.is_doomed and running.thread is not None and running.thread.ident == scheduler.get_ident():
        scheduler.check()


class ProgramLife:
    """One life of a program.

    Args:
        name: The program's, among those of the simulation.
        number: Counted from 1.
    """

    __slots__ = ("is_ended", "name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name: str = name
        self.number: int = number
        self.is_ended: bool = False
        """Whether it was ended by force."""

    def __repr__(self) -> str:
        return f"<ProgramLife {self.number} of {self.name!r}{', ended' if self.is_ended else ''}>"


class Lives:
    """Ends lives of one simulation by force."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.resting: list[Actor] = []
        """The actors that swallowed what ends them so often that their threads were laid to rest."""

    @property
    def present(self) -> ProgramLife | None:
        """The life that the running actor belongs to; None in the creating thread and in a timer's callback."""
        scheduler = self._scheduler
        life = None if scheduler.in_callback else scheduler.running.life
        return life if isinstance(life, ProgramLife) else None

    def actors_of(self, life: ProgramLife) -> list[Actor]:
        """Return the actors of a life that have not ended, in the order of spawning."""
        return [actor for actor in self._scheduler.actors.values() if actor.life is life]

    def clear_the_way(self, call: str) -> None:
        """Let others go on until none of them is in the midst of a condition, whose state is not whole there.

        Raises:
            BlockingRefused: If the caller is inside one, or is a predicate while another actor is.
        """
        scheduler = self._scheduler
        caller = scheduler.check()
        if caller.inside is not None:
            scheduler.refuse_blocking(caller, call)
        while any(actor.inside is not None for actor in scheduler.actors.values()):
            if scheduler.in_callback:
                scheduler.refuse_blocking(caller, call)
            scheduler.yield_turn(caller)
            scheduler.park(caller)

    @contextmanager
    def stillness(self) -> Iterator[None]:
        """Return a context in which no schedule puts another actor in the place of the one that runs."""
        scheduler = self._scheduler
        before, scheduler.in_callback = scheduler.in_callback, True
        try:
            yield
        finally:
            scheduler.in_callback = before

    def doom(self, life: ProgramLife) -> tuple[Sequence[Actor], list[Held]]:
        """Take the actors of a life out of everything that could wake them, and release what they hold.

        To be called in `stillness`, behind `clear_the_way`.

        Returns:
            The actors that have a thread, which has to unwind, and what was released.
        """
        scheduler = self._scheduler
        life.is_ended = True
        actors = self.actors_of(life)
        for actor in actors:
            actor.is_doomed = True
            actor.error = ActorExit(f"{life.name!r} has crashed")
            scheduler.withdraw(actor)
            for place in (actor.waiting, actor.entering):
                if place is not None:
                    place.withdraw(actor)
        released: list[Held] = []
        for actor in actors:
            released += scheduler.holdings.release_all(actor.serial)
        for actor in actors:
            if actor.at_end is not None:
                actor.at_end()
                actor.at_end = None
            if actor.thread is None:
                actor.target = None
                scheduler.end(actor)
        return [actor for actor in actors if actor.state is ActorState.STARTED], released

    def unwind(self, actors: Sequence[Actor], then: Callable[[], None]) -> None:
        """Let the threads of doomed actors end: now, or in a timer's callback as soon as that returns.

        Args:
            then: Called when all have, on whichever thread was the last.
        Raises:
            ActorExit: If the caller is one of them.
        """
        if not actors:
            then()
            return
        scheduler = self._scheduler
        caller = None if scheduler.in_callback else scheduler.running
        left = dict.fromkeys(actors)

        def end(actor: Actor) -> bool:
            del left[actor]
            for place in actor.held:
                place.vacate()
            if actor.state is ActorState.RESTING:
                self.resting.append(scheduler.actors.pop(actor.serial))
            if not left:
                try:
                    then()
                except Exception as error:  # Here it would end a thread that has yet to hand the baton on.
                    scheduler.summon(error)
            return False

        for actor in actors:
            actor.at_end = lambda actor=actor: end(actor)
        # The caller last: it unwinds, if it is one of them, when this call is left.
        scheduler.doomed.extend(_ghosts(actor for actor in actors if actor is not caller))
        if caller is not None:
            scheduler.doomed.extend(_ghosts([caller]) if caller.is_doomed else [caller])
        scheduler.urgent = True
        if caller is not None:
            scheduler.park(caller, scheduler.unwind_next())


def _ghosts(actors: Iterable[Actor]) -> Iterator[Actor]:
    """Yield what runs in an actor's stead while that unwinds: the same baton, and no thread that is let in."""
    for actor in actors:
        ghost = Actor(actor.serial, actor.name, actor.label, actor.path, actor.baton)
        ghost.thread = actor.thread
        ghost.is_doomed = True
        ghost.begin()
        yield ghost
