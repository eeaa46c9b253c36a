"""One run of a program: the case it follows from, as frozen data, and its result.

The choice of runs is not this module's business.
"""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from types import FrameType, MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from meshsync.errors import UsageError
from meshsync.notebook import preformatted
from meshsync.reasons import describe_error
from meshsync.room import RoomClient
from simulator import latency as laws
from simulator.dropped_streams import DroppedStreams
from simulator.engine.branches import Branch, BranchSchedule, branch_streams, schedule_after
from simulator.engine.lateness import Lateness, ReplaySchedule, schedule_named
from simulator.engine.marks import is_library
from simulator.engine.results import check_run
from simulator.engine.schedules import Deviation, Late, Schedule
from simulator.engine.seeds import Seeds
from simulator.errors import (
    ActorExit,
    ActorFailed,
    HorizonReached,
    InvariantError,
    InvariantViolated,
    SimulationDeadlock,
)
from simulator.exploring import network_options, run_plot
from simulator.exploring.network_options import NetworkOptions
from simulator.exploring.programs import check_program
from simulator.faults import Fault, plans
from simulator.faults.plans import Planned
from simulator.latency import Latency
from simulator.lives.leftovers import Leftovers
from simulator.record.timeline_marks import Mark
from simulator.record.transcript import Transcript
from simulator.record.wording import clip
from simulator.simulation import Simulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Case", "Program", "Run", "Symptom", "chart", "failure_marks", "run"]

Program: TypeAlias = Callable[[Simulation], object]
"""Acts in a simulation, and raises if an expectation fails."""

START = "2026-01-01T00:00:00Z"
"""The wall clock's beginning, as ISO 8601."""
_NO_DELAY = laws.constant(0)
_LEAVING = RoomClient.__exit__.__code__


@dataclass(frozen=True, slots=True)
class Case:
    """All that a run follows from, besides the program and the version of this library."""

    seed: int | str = 0
    latency: Latency = _NO_DELAY
    schedule: str = "fifo"
    plan: tuple[Planned | Fault, ...] = ()
    """Faults that are planned before the program begins."""
    horizon: float | None = None
    """Virtual seconds after which the run is stopped; None for never."""
    start: str = START
    """The wall clock's beginning, as ISO 8601."""
    left_out: tuple[int, ...] = ()
    """Which faults do not happen, by number from 0 in the order of planning, those that the program plans included."""
    deviations: tuple[Deviation, ...] | None = None
    """Of the schedule from first-in-first-out; None to let the named schedule take its decisions."""
    lates: tuple[Late, ...] = ()
    """The steps that are late, where deviations are given; else those of a schedule that would draw them, if any."""
    lateness: Lateness | None = None
    """Of a schedule that draws which steps are late; None to draw it from the seed."""
    network: NetworkOptions = field(default_factory=NetworkOptions, hash=False)
    """What `Simulation` is given about the network besides the latency."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, which `from_json` reads."""
        value = {
            "seed": self.seed,
            "latency": self.latency.to_json(),
            "schedule": self.schedule,
            "plan": plans.to_json(self.plan),
            "horizon": self.horizon,
            "start": self.start,
            "left_out": list(self.left_out),
            "deviations": None if self.deviations is None else [list(one) for one in self.deviations],
            "lates": [list(one) for one in self.lates],
            "lateness": None if self.lateness is None else list(astuple(self.lateness)),
        }
        return value | ({"network": network_options.to_json(self.network)} if self.network else {})

    @classmethod
    def from_json(cls, value: Any) -> Case:
        """Return the case that `to_json` wrote.

        Raises:
            ValueError: If it is none; the text has the reason.
        """
        try:
            deviations = value["deviations"]
            lateness = value.get("lateness")  # Not in files of before there was lateness.
            return cls(
                seed=value["seed"],
                latency=laws.from_json(value["latency"]),
                schedule=value["schedule"],
                plan=plans.from_json(value["plan"]),
                horizon=value["horizon"],
                start=value["start"],
                left_out=tuple(map(int, value["left_out"])),
                deviations=None if deviations is None else tuple(Deviation(*one) for one in deviations),
                lates=tuple(Late(*one) for one in value.get("lates", ())),
                lateness=None if lateness is None else Lateness(*lateness),
                network=network_options.from_json(value.get("network", {})),
            )
        except KeyError as error:
            raise ValueError(f"{error.args[0]!r} is missing") from None
        except TypeError as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True, eq=False)
class Symptom:
    """How a run failed: two runs fail in the same way if these are equal.

    Of places the functions and the text of the lines are compared, and their numbers only where the text is not known:
    a line that is added above changes nothing.
    """

    kind: str
    """The class of the exception, behind that of `ActorFailed` if it came out of an actor."""
    place: str
    """The program's innermost line in the traceback; of a deadlock, the lines of the actors that cannot go on."""
    source: str = ""
    """The file, function and text of each of those lines; empty if not known."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Symptom):
            return NotImplemented
        if self.source and other.source:
            return (self.kind, self.source) == (other.kind, other.source)
        return (self.kind, self.place) == (other.kind, other.place)

    def __hash__(self) -> int:
        return hash(self.kind)

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}"


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run."""

    case: Case
    """The case it followed from, with the deviations of its schedule: with these it can be repeated."""
    error: Exception | None
    """The exception of the program, an actor of it, or the simulation; None if it ran through."""
    symptom: Symptom | None
    transcripts: Mapping[str, Transcript]
    """By room, in the order of making."""
    planned: tuple[Planned | Fault, ...]
    """Every fault that was planned, those that were left out included, in the order of planning."""
    end: float
    """Virtual seconds at the end."""
    passed_limit: bool = False
    """Whether a time limit that was passed ended a task, and the error may only have followed from that."""
    failed_at: float | None = None
    """Virtual seconds at which the error was raised; None if there was none until the simulation was closed."""
    leftovers: tuple[str, ...] = ()
    """What lives of programs found in globals as earlier ones left it, where that was asked for; a sentence each."""

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each room's transcript."""
        return {room: transcript.digest() for room, transcript in self.transcripts.items()}

    @property
    def plan(self) -> tuple[Planned | Fault, ...]:
        """The faults that were planned and not left out."""
        return tuple(entry for number, entry in enumerate(self.planned) if number not in self.case.left_out)

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """The decisions of the schedule that were not first-in-first-out's."""
        return self.case.deviations or ()

    @property
    def lates(self) -> tuple[Late, ...]:
        """The steps that were late."""
        return self.case.lates

    def _repr_html_(self) -> str:
        end = "ran through" if self.error is None else f"failed: {describe_error(self.error)}"
        head = preformatted(f"seed {self.case.seed} {end}, at {self.end:.3f} s")
        return head + "".join(one._repr_html_() for one in self.transcripts.values())

    def plot(
        self,
        ax: Axes | None = None,
        *,
        room: str | None = None,
        start: float = 0.0,
        end: float | None = None,
        title: str | None = None,
    ) -> Axes:
        """Draw the messages of a room in time, as `Transcript.plot`, and where the run failed.

        Args:
            ax: Where to draw; None makes a figure.
            room: The room's name; None for the one with the most records.
            start: Where to begin, in seconds since the start of the simulation.
            end: Where to end, likewise; None for the last event.
            title: None for the room, the seed and the counts of records.
        Raises:
            ImportError: If matplotlib is missing.
            UsageError: If the run has no such room, or none at all.
        """
        return run_plot.plot(self.transcripts, failure_marks(self), ax, room=room, start=start, end=end, title=title)

    @property
    def cause(self) -> BaseException | None:
        """The error, or the exception of an actor that is behind it."""
        return None if self.error is None else _root(self.error)

    @property
    def is_overdue(self) -> bool:
        """Whether it failed by a time limit that lateness made it pass, which says little about the program."""
        if self.error is None or not self.lates:
            return False
        root = _root(self.error)
        if isinstance(root, InvariantViolated):
            return root.is_overdue
        return self.passed_limit or isinstance(root, (TimeoutError, HorizonReached))


def failure_marks(made: Run) -> list[Mark]:
    """Return the failure of a run as a picture marks it; none if it ran through."""
    if made.cause is None or made.symptom is None:
        return []
    described = describe_error(made.cause).removesuffix(": ")  # of an assertion without a text
    text = f"fails: {clip(described, 80)}, at {made.symptom.place}"
    who = made.error.actor if isinstance(made.error, ActorFailed) else ""
    return [Mark(made.end if made.failed_at is None else made.failed_at, text, who)]


def run(
    program: Program,
    case: Case,
    *,
    schedule: Schedule | None = None,
    stall_after: float | None = 5.0,
    branch: Branch | None = None,
    examines: bool = False,
) -> Run:
    """Run a program to its end, and close the simulation, even if it fails.

    Args:
        schedule: Used instead of the case's; its deviations are in the case of the result.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever.
        branch: Where the environment's chance becomes another one; the case has to have its deviations.
        examines: Whether to find out what a search has no time for: what crashed programs leave in globals of modules,
            and which streams were dropped, for which garbage is collected.
    Raises:
        UsageError: If the program is a coroutine function, or the case's fault plan is invalid. Nothing was run.
        SimulationNested: If another simulation is open. Nothing was run.
    """
    check_program(program)
    if branch is not None:
        after = schedule_after(case.schedule, case.seed, case.lateness, branch)
        schedule = BranchSchedule(case.deviations or (), case.lates, branch, after)
    simulation = _open(case, schedule, stall_after)
    leftovers = simulation.examine() if examines else []
    if isinstance(schedule, BranchSchedule):
        schedule.kernel = simulation.kernel
    if branch is not None:
        branch_streams(simulation.runtime.seeds, case.seed, branch, simulation.kernel)
    error: Exception | None = None
    failed_at: float | None = None
    passed_limit = False
    blocked: list[FrameType] = []
    simulation.runtime.watch_main()
    try:
        check_run(program, program(simulation))
    except Exception as raised:
        error, failed_at = simulation.runtime.invariants.violation or raised, simulation.now
        if isinstance(raised, SimulationDeadlock):
            blocked = simulation.runtime.blocked()
    finally:
        symptom = None if error is None else _symptom(error, blocked)
        blocked.clear()
        has_failed = error is not None
        try:
            simulation.close()
        except Exception as late:  # of an actor, or of closing; the first error is the one reported
            # An actor that the program joined may have failed before the error, which then followed from that.
            passed_limit = has_failed and isinstance(_root(late), TimeoutError)
            error, symptom = (late, _symptom(late, [])) if error is None else (error, symptom)
        passed_limit = passed_limit or (has_failed and any(map(_was_leaving_overdue, simulation.runtime.exits)))
        violation = simulation.runtime.invariants.violation
        if error is None and violation is not None:  # The program has caught it.
            error, symptom = violation, _symptom(violation, [])
    decided = simulation.runtime.schedule
    deviations, lates = (tuple(decided.deviations), tuple(decided.lates)) if decided is not None else ((), ())
    return Run(
        case=replace(case, deviations=deviations, lates=lates),
        error=error,
        symptom=symptom,
        transcripts=MappingProxyType({room.name: room.transcript for room in simulation.rooms}),
        planned=tuple(simulation.planned),
        end=simulation.now,
        passed_limit=passed_limit,
        failed_at=failed_at,
        leftovers=tuple(leftovers),
    )


def _was_leaving_overdue(exit: ActorExit) -> bool:
    """Return whether a task was ended while it closed a client because a time limit was passed in its ``with`` block.

    Its participant leaves meanwhile, so that others may fail before the task does.
    """
    return any(
        frame.f_code is _LEAVING and isinstance(frame.f_locals.get("error"), TimeoutError)
        for frame, _ in _trace(exit.__traceback__)
    )


def chart(transcripts: Iterable[Transcript]) -> str:
    """Return a chart of each room, as lines for a terminal."""
    return "\n\n".join(transcript.to_text(limit=60, width=120) for transcript in transcripts)


def _open(case: Case, schedule: Schedule | None, stall_after: float | None) -> _Rehearsal:
    if schedule is None and case.deviations is not None:
        schedule = ReplaySchedule(case.deviations, case.lates)
    elif schedule is None and (case.lateness is not None or case.lates):
        schedule = schedule_named(case.schedule, Seeds(case.seed), case.lateness, case.lates)
    simulation = _Rehearsal(
        case.seed,
        latency=case.latency,
        schedule=schedule or case.schedule,
        horizon=case.horizon,
        start=case.start,
        stall_after=stall_after,
        **case.network,
    )
    simulation.left_out = frozenset(case.left_out)
    try:
        simulation.plan(*case.plan)
    except BaseException as error:
        simulation.close()
        if isinstance(error, UsageError):
            raise UsageError(f"{error}: a plan made before the program begins says when, as faults.at") from None
        raise
    return simulation


class _Rehearsal(Simulation):
    """A simulation that leaves faults out, and keeps those that were planned."""

    left_out: frozenset[int] = frozenset()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._streams.close()
        self.planned: list[Planned | Fault] = []

    def examine(self) -> list[str]:
        """Find out what takes time; return the list into which what crashed programs leave in globals is put."""
        self._streams = DroppedStreams(self.runtime)
        self._programs.leftovers = leftovers = Leftovers()
        return leftovers.texts

    def plan(self, *entries: Planned | Fault) -> None:
        begin = len(self.planned)
        self.planned += entries
        super().plan(*(entry for number, entry in enumerate(entries, begin) if number not in self.left_out))


# --- how a run failed -------------------------------------------------------------------------------------------------

_INSTALLED = [Path(sysconfig.get_path(key)) for key in ("stdlib", "purelib", "platlib")]
_FOREIGN = ("<frozen", *(f"{path}{os.sep}" for given in _INSTALLED for path in (given, given.resolve())))
"""Prefixes of the files of Python's own library and of installed packages, which are not ours to mark."""


def _symptom(error: Exception, blocked: Iterable[FrameType]) -> Symptom:
    root = _root(error)
    kind = type(root).__name__
    if isinstance(root, InvariantError):  # Whose turn it was, and where, may differ from run to run.
        cause = "" if root.__cause__ is None else f": {type(root.__cause__).__name__}"
        return Symptom(
            kind + cause, f"{root.place}, {root.invariant}", f"{root.place.partition(':')[0]}: {root.invariant}"
        )
    stuck = {_line(point) for point in map(_program_point, map(_stack, blocked)) if point is not None}
    points = _trace(root.__traceback__)
    lines = sorted(stuck, key=_describe) or [_line(_program_point(points) or point) for point in points[:1]]
    return Symptom(
        kind if root is error else f"{type(error).__name__}: {kind}",
        "; ".join(map(_describe, lines)) or "unknown line",
        _source(lines),
    )


def _root(error: BaseException) -> BaseException:
    """Return the exception of an actor that is behind the one raised."""
    while isinstance(error, ActorFailed) and error.__cause__ is not None:
        error = error.__cause__
    return error


_Point: TypeAlias = tuple[FrameType, int]
"""A frame, and the number of the line in it."""
_Line: TypeAlias = tuple[str, int, str]
"""A file, the number of the line, the function."""


def _trace(trace: TracebackType | None) -> list[_Point]:
    """Return the points of a traceback, innermost first."""
    points = []
    while trace is not None:
        points.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return points[::-1]


def _stack(frame: FrameType | None) -> list[_Point]:
    """Return the points of a thread that stands still, innermost first."""
    points = []
    while frame is not None:
        points.append((frame, frame.f_lineno))
        frame = frame.f_back
    return points


def _program_point(points: Iterable[_Point]) -> _Point | None:
    """Return the first point that is the program's."""
    return next((point for point in points if _is_program(point[0])), None)


def _is_program(frame: FrameType) -> bool:
    return not is_library(frame) and not frame.f_code.co_filename.startswith(_FOREIGN)


def _line(point: _Point) -> _Line:
    frame, number = point
    return frame.f_code.co_filename, number, frame.f_code.co_name


def _source(lines: Iterable[_Line]) -> str:
    texts = []
    for file, number, function in lines:
        text = linecache.getline(file, number).strip()
        if not text:
            return ""
        texts.append(f"{Path(file).name} in {function}: {text}")
    return "\n".join(sorted(texts))


def _describe(line: _Line) -> str:
    file, number, function = line
    return f"{Path(file).name}:{number} in {function}"
