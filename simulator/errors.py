"""The errors of a simulation itself, as one tree. Failures *in* it raise the client's errors.

::

    MeshsyncError
    └── SimulationError
        ├── SimulationDeadlock      no actor can run and no timer is left
        ├── SimulationLivelock      too many turns at one instant: the clock stands still
        ├── HorizonReached          the run lasted longer than it was allowed to
        ├── WorldStalled            an actor blocks for real, outside the simulation
        ├── ActorFailed             an actor, or a timer's callback, raised
        │   └── ReceiverFailed      a receiver, or another callback of a client, raised
        ├── ActorsRefuse            actors that did not end when the simulation was closed
        ├── InvariantError          a run was ended by what was claimed of it
        │   ├── InvariantViolated   (AssertionError) what had to hold did not, or the reverse
        │   └── PredicateFailed     a predicate raised, blocked, or returned no truth value
        ├── BlockingRefused         (RuntimeError) the call would block where it must not
        │   └── ConditionOccupied   a callback would enter a condition that an actor is in
        ├── ReplayFailed            a conversation could not be replayed
        │   └── ReplayStalled       (TimeoutError) what a participant waited for did not come
        ├── SweepBroken             the workers of a search are gone
        ├── WorkerFailed            a seed fails on a worker, and not here
        │   └── WorkerDied          the process that ran a seed died of it
        ├── ForeignThread           (RuntimeError) a thread that is no actor used it
        ├── SimulationClosed        (RuntimeError) the simulation is over
        └── SimulationNested        (RuntimeError) another simulation is open in this process

    BaseException
    └── ActorExit                 ends an actor: the simulation closes, or it crashes
"""

from __future__ import annotations

from meshsync.errors import MeshsyncError
from meshsync.runtime.interfaces import TaskExit

__all__ = [
    "ActorExit",
    "ActorFailed",
    "ActorsRefuse",
    "BlockingRefused",
    "ConditionOccupied",
    "ForeignThread",
    "HorizonReached",
    "InvariantError",
    "InvariantViolated",
    "PredicateFailed",
    "ReceiverFailed",
    "ReplayFailed",
    "ReplayStalled",
    "SimulationClosed",
    "SimulationDeadlock",
    "SimulationError",
    "SimulationLivelock",
    "SimulationNested",
    "SweepBroken",
    "WorkerDied",
    "WorkerFailed",
    "WorldStalled",
]


class SimulationError(MeshsyncError):
    """The root of the errors of a simulation itself.

    What to do: read which of them it is; failures of the program under test are no such errors.
    """


class SimulationDeadlock(SimulationError):
    """No actor can run and nothing is left that could wake one; the text has each with its stack.

    Raised in the main thread, out of the call that blocked it. The simulation can go on.

    What to do: read what each actor waits for: one of them waits for what no other will do.
    """


class SimulationLivelock(SimulationError):
    """Too many turns at one instant: an actor polls without sleeping, or some yield in a circle.

    Raised in the main thread. The simulation can go on.

    What to do: have the actor that polls sleep, or wait for a condition.
    """


class HorizonReached(SimulationError):
    """The clock reached the horizon that the run was given. Raised in the main thread.

    What to do: allow a later ``horizon``, or find what never ends.
    """


class WorldStalled(SimulationError):
    """An actor holds up all others by blocking for real; the text names the line. Raised in the main thread.

    The simulation is over: that actor cannot be stopped from outside.

    What to do: wait with what ``meshsync`` offers at the line that the text names; with ``stall_after=None`` a debugger
    may hold it.
    """


class ActorFailed(SimulationError):
    """An actor raised, which is the ``__cause__``. Raised in the main thread, once for each.

    What to do: repair what the ``__cause__`` says; a failure that is expected is caught in the actor.

    Attributes:
        actor: The name of the actor, or of the timer's callback, that failed.
    """

    def __init__(self, text: str, *, actor: str) -> None:
        super().__init__(text)
        self.actor = actor


class ReceiverFailed(ActorFailed):
    """A receiver of events, a hook or another callback of a client raised, which is the ``__cause__``.

    In production that is logged and signalled as ``receiver_failed``, and the client goes on. So it does here; the
    failure is raised at the end of the simulation, once: the text has the first, and how many there were.

    What to do: repair what the ``__cause__`` says; where it is meant, ``Simulation(failing_receivers="log")``, or
    ``failing_receivers = "log"`` of a simulation, or of an emulator in a test.

    Attributes:
        actor: The name of the client's participant.
        receiver: The name of the function that raised first, with its module.
        event: At which event.
        count: How many failures there were.
    """

    def __init__(self, text: str, *, actor: str, receiver: str, event: str, remedy: str = "") -> None:
        super().__init__(text, actor=actor)
        self.receiver = receiver
        self.event = event
        self.count = 1
        self._remedy = remedy

    def __str__(self) -> str:
        more = self.count - 1
        others = f"; and {more} more failure{'s' if more > 1 else ''} of receivers" if more else ""
        return f"{super().__str__()}{others}{self._remedy}"


class ActorsRefuse(SimulationError):
    """Actors did not end when the simulation was closed; the text has each with its stack.

    What to do: let these actors end: they catch `ActorExit`, or block outside the simulation.

    Attributes:
        actors: Their names. Their threads go on, and are daemons.
    """

    def __init__(self, text: str, *, actors: tuple[str, ...]) -> None:
        super().__init__(text)
        self.actors = actors


class BlockingRefused(SimulationError, RuntimeError):
    """A call would block where it must not: in a timer's callback, or while holding a condition.

    What to do: do it in an actor, or before or after holding the condition; the text names the portable call.
    """


class ConditionOccupied(BlockingRefused):
    """A callback, or a predicate, would enter a condition that an actor is inside of, and would have to wait for it.

    What to do: ask again later, or in an actor.
    """


class InvariantError(SimulationError):
    """A run was ended by what was claimed of it. Raised in the main thread, out of the call that blocked it.

    The simulation is over: later calls raise it again.

    What to do: look at ``invariant``, ``place`` and ``time``.

    Attributes:
        invariant: The claim, and the predicate's name or source line: ``always balance_is_right``.
        place: The file and line of the predicate.
        time: When it was violated, in virtual seconds since the start.
    """

    def __init__(self, text: str, *, invariant: str, place: str, time: float) -> None:
        super().__init__(text)
        self.invariant = invariant
        self.place = place
        self.time = time


class InvariantViolated(InvariantError, AssertionError):
    """A predicate was false that had to be true, or true that never was to be, or never became true in time.

    The text names the predicate, the instant, and the actor or timer whose turn ended then, with the actor's line.

    What to do: repair the program, or the claim; ``transcript.to_text()`` shows what led to it.

    Attributes:
        is_overdue: Whether a time limit passed, before which it had to become true.
    """

    def __init__(self, text: str, *, invariant: str, place: str, time: float, is_overdue: bool = False) -> None:
        super().__init__(text, invariant=invariant, place=place, time=time)
        self.is_overdue = is_overdue


class PredicateFailed(InvariantError):
    """A predicate raised, which is the ``__cause__``, or would have blocked, or returned no truth value.

    What to do: have the predicate only look, and return whether it holds.
    """


class ReplayFailed(SimulationError):
    """A recorded conversation could not be replayed; the text has who failed, at which step.

    What to do: read who failed, at which step; ``chart`` shows how far it came.

    Attributes:
        chart: What had happened until then, as lines for a terminal; empty if nothing had.
    """

    chart = ""


class ReplayStalled(ReplayFailed, TimeoutError):
    """In a conversation that is replayed nothing happened for too long; the text has who waited for what.

    What to do: see whether the program under test answers at all, or allow a longer ``stall``.
    """


class SweepBroken(SimulationError):
    """The executor of a search broke and cannot be made anew; the text has how far the search was, and how to go on.

    What to do: see why the workers ended, and go on with the file that the text names.
    """


class WorkerFailed(SimulationError):
    """A seed failed on a worker, and not in this process; the text is that of the error there.

    What to do: run ``simulator.check`` with that seed: the run depends on something outside the simulation.
    """


class WorkerDied(WorkerFailed):
    """The process that ran a seed died, twice, the second time with no other seed beside; the text has how.

    It is not run in this process, which would die too.

    What to do: run that seed in a process of its own; the program, or a library in C, ends its process.
    """


class ForeignThread(SimulationError, RuntimeError):
    """A thread that is no actor used the simulation; its arrival would depend on real time.

    What to do: start threads inside the simulation, or by ``meshsync.spawn``.
    """


class SimulationClosed(SimulationError, RuntimeError):
    """The simulation is over; no call in it waits or moves its clock any more.

    What to do: use it within its ``with`` block.
    """


class SimulationNested(SimulationError, RuntimeError):
    """Another simulation is open in this process; the text names the line that opened it.

    What to do: close the other one, which the text names; in a notebook the cell that opened it.
    """


class ActorExit(TaskExit):
    """Raised in an actor out of its blocked call, and at each call after that, when the simulation or its life is over.

    Not an `Exception`, so that ``except Exception`` does not keep the actor; ``finally`` blocks run.

    What to do: let it pass; tidy up in ``finally``.
    """
