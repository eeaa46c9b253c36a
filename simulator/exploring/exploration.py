"""Searching for a run that fails, making it smaller, keeping it, and repeating it.

::

    failure = explore(program, range(200), latency=latency.uniform(0.01, 0.05), plan=[faults.at(3, faults.reset("a"))])
    assert failure is None, failure

A failing seed is the beginning: `explore` leaves out parts that the failure does not need, first faults, then
preemptions, and saves the rest, which ``python -m simulator replay FILE`` runs again. All this requires a deterministic
program, which is tested by ``check`` in ``checking.py``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshsync.arguments import hinted_call
from meshsync.errors import UsageError
from meshsync.notebook import preformatted
from simulator.engine.lateness import SCHEDULES
from simulator.engine.runtime import check_none_open
from simulator.engine.schedules import Deviation, Late
from simulator.engine.seeds import seeds_of
from simulator.errors import SweepBroken, WorkerDied, WorkerFailed
from simulator.exploring import run_plot
from simulator.exploring.crews import Workers, crew_of
from simulator.exploring.delays import Delay, delays, late_mark
from simulator.exploring.failure_shrinking import FailureShrinker
from simulator.exploring.halted_search import HaltedSearch
from simulator.exploring.jobs import TURN, first_line
from simulator.exploring.network_options import NetworkOptions, as_network_options
from simulator.exploring.network_options import to_json as network_to_json
from simulator.exploring.programs import load, reference
from simulator.exploring.progress_bar import progress_bar
from simulator.exploring.repeated_records import logged_once
from simulator.exploring.runs import START, Case, Program, Run, Symptom, failure_marks, run
from simulator.exploring.search import GUIDED, MIXED, Plan, Search
from simulator.faults import Fault, plans
from simulator.faults.plans import Planned
from simulator.latency import Latency, as_latency
from simulator.record.transcript import Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack

__all__ = ["Failure", "Plan", "Replay", "explore", "replay"]

FORMAT = 1
"""Version of the saved form."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that fails, as small as it was made. Its text is a report."""

    program: Program
    reference: str | None
    """How another process finds the program; None if it cannot."""
    run: Run
    """The run left after shrinking."""
    found: Run
    """The run found at first, by the seed alone."""
    runs: int
    """How many runs the search and the shrinking took."""
    is_repeatable: bool
    """Whether the run that was found failed in the same way again. If not, `check` may show why."""
    path: Path | None = None
    """Where it was saved."""

    @property
    def seed(self) -> int | str:
        return self.run.case.seed

    @property
    def error(self) -> Exception:
        """The exception raised."""
        assert self.run.error is not None
        return self.run.error

    @property
    def symptom(self) -> Symptom:
        """The class of the exception and the place."""
        assert self.run.symptom is not None
        return self.run.symptom

    @property
    def plan(self) -> tuple[Planned | Fault, ...]:
        """The faults that were left."""
        return self.run.plan

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """The deviations of the schedule that were left."""
        return self.run.deviations

    @property
    def lates(self) -> tuple[Late, ...]:
        """The late steps that were left."""
        return self.run.lates

    @property
    def delays(self) -> tuple[Delay, ...]:
        """The same with their instants, and the events on either side."""
        return delays(self.program, self.run)

    @property
    def transcripts(self) -> Mapping[str, Transcript]:
        """The transcript of each room."""
        return self.run.transcripts

    def plot(
        self,
        ax: Axes | None = None,
        *,
        room: str | None = None,
        start: float = 0.0,
        end: float | None = None,
        title: str | None = None,
    ) -> Axes:
        """Draw the messages of a room in time, where the run failed, and which steps were late by how much.

        A late step has a bar on the lane of its participant, or of the one named like its task, from when it was due
        until it came. All else is as in `Run.plot`.

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
        marks = [*failure_marks(self.run), *map(late_mark, self.delays)]
        return run_plot.plot(self.transcripts, marks, ax, room=room, start=start, end=end, title=title)

    def replay(self) -> Replay:
        """Run it again, in this process."""
        return _repeat(self.program, self.run.case, self.symptom, self.run.digests)

    def save(self, path: str | Path) -> None:
        """Write the data that `replay` needs, as JSON."""
        value = {
            "replay": FORMAT,
            "program": self.reference,
            "case": self.run.case.to_json(),
            "failure": {
                "kind": self.symptom.kind,
                "place": self.symptom.place,
                "source": self.symptom.source,
                "text": first_line(self.error),
            },
            "digests": self.run.digests,
            "found_lates": [list(late) for late in self.found.lates],
        }
        Path(path).write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _repr_html_(self) -> str:
        return preformatted(str(self)) + "".join(one._repr_html_() for one in self.transcripts.values())

    def __str__(self) -> str:
        lines = [f"seed {self.seed} fails: {self.symptom}", f"  {first_line(self.error)}"]
        if not self.is_repeatable:
            lines.append("  a second run did not: the program depends on something outside the simulation, see check()")
        before, after = self.found, self.run
        lines += _needed("faults", len(before.plan), [*map(_described, after.plan)])
        lines += _needed("changes of order among tasks", len(before.deviations), after.deviations)
        lines += _needed("late steps", len(before.lates), self.delays)
        if not isinstance(self.error, WorkerFailed) and not (after.plan or after.deviations or after.lates):
            lines.append("  needs no fault, nothing late and no order but first in, first out")
        if self.path is not None:
            lines.append(f"python -m simulator replay {shlex.quote(str(self.path))}")
        elif self.reference is None:
            lines.append(
                "the program has no name that another process could find it by; failure.replay() runs it again here"
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of running a kept failure again."""

    run: Run
    expected: Symptom
    is_identical: bool
    """Whether also every transcript is the same, to the byte."""

    @property
    def is_same(self) -> bool:
        """Whether it failed in the same way: the same exception at the same place."""
        return self.run.symptom == self.expected

    def __str__(self) -> str:
        if self.run.symptom is None:
            return f"does not fail any more; it did with {self.expected}"
        if not self.is_same:
            return f"fails in another way: {self.run.symptom}; it did with {self.expected}"
        return f"fails as it did: {self.expected}" + ("" if self.is_identical else ", on another way there")


@hinted_call
def explore(
    program: Program,
    seeds: int | Iterable[int | str] = range(100),
    *,
    schedule: str = MIXED,
    latency: Latency | float = 0.0,
    plan: Plan = (),
    horizon: float | None = None,
    start: str = START,
    shrinking: int = 1000,
    save: str | Path | None = ".",
    report: Callable[[str], object] | None = print,
    stall_after: float | None = 5.0,
    count_overdue: bool = False,
    executor: Workers | None = None,
    resume: str | Path | None = None,
    **network: Unpack[NetworkOptions],
) -> Failure | None:
    """Run a program with seed after seed until one fails; return that run made small, or None if none fails.

    A run fails by an exception: of the program, of an actor, or of the simulation, as for a deadlock. What the program
    returns decides nothing, so that True and False are errors, too. A run that fails only by a time limit which
    lateness made it pass is *overdue*: it is counted apart and does not end the search.

    Args:
        program: A callable that takes the `Simulation`. It must not keep any state from one run to the next.
        seeds: How many, from 0 on, or which ones.
        schedule: What changes from seed to seed besides the draws of latency: ``"random"`` or ``"pct"``, which of the
            actors that can run at one instant goes on; ``"late"``, which steps come late, alone or with one of them
            (``"late+random"``, ``"late+pct"``); ``"fifo"`` for neither; ``"mixed"`` for lateness in three seeds of
            four and another order in half of them; ``"guided"``, as ``"late"``, and of each seed up to 16 mutants,
            runs that differ in five choices from one that had a new order of arrivals.
        latency: A law, seconds, or a `latency.matrix`.
        plan: Faults to begin with, beside those that the program plans; or a callable that draws them for each seed.
        horizon: Virtual seconds after which a run is stopped, which counts as failing; None for never.
        start: The wall clock's beginning, as ISO 8601.
        shrinking: The most runs to spend on making the failing one smaller.
        save: Where to keep the failure: a directory, a path with another suffix than none, or None for not at all.
        report: Gets the failure's text, whose last line replays it; or that there is none and some seeds were overdue.
            None for no report.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever.
        count_overdue: Whether a run that is overdue counts as failing.
        executor: Runs seeds beside each other, each in a process of its workers; the result is that of running them in
            order, here. ``"processes"``, as many as there are processors; an executor of processes from
            ``concurrent.futures`` or alike, a client of Dask, or a callable that makes one. The program has to be a
            function that a worker can import. None to run all seeds in this process.
        resume: A file. If it exists, the search that was interrupted goes on, whose other arguments have to be the
            same; when the search is through, it is removed. Where an interrupted search is kept; None for beside
            ``save``.
        network: Other arguments of `Simulation` about the network, such as ``service``; see `NetworkOptions`.
    Raises:
        KeyboardInterrupt: With Ctrl-C, after the search was kept in a file and reported.
        SweepBroken: If the executor broke and cannot be made anew, likewise. Executors that are made here, and loky's,
            are; of other ones the caller knows.
        UsageError: If the program is a coroutine function, there is no seed, the plan is invalid, the executor is one
            of threads, or a worker cannot find the program, or is of another version; nothing is saved.
        ValueError: If there is no such schedule; nothing was run.
        TypeError: If ``seeds`` are none; nothing was run.
        SimulationNested: If another simulation is open; nothing was run.
    """
    seeds = seeds_of(seeds)
    if schedule not in (known := (MIXED, GUIDED, *SCHEDULES)):
        raise ValueError(f"no schedule is named {schedule!r}: there are {', '.join(map(repr, known))}")
    check_none_open()  # Before anything is started: the threads of an executor would become actors.
    options = as_network_options(network)
    base = Case(latency=as_latency(latency), schedule=schedule, horizon=horizon, start=start, network=options)
    plan = plan if callable(plan) else tuple(plan)
    name = reference(program)
    search = Search(program, base, plan, stall_after, count_overdue, name)
    kept_as = None if save is None else str(save)
    others = {"shrinking": shrinking, "save": kept_as, "stall_after": stall_after, "count_overdue": count_overdue}
    settings = partial(_settings, base, plan, others)
    halted = _halted_path(resume, save, program)
    if resume is not None and Path(resume).exists():
        HaltedSearch.load(Path(resume)).restore(search, name, seeds, settings())
    try:
        with logged_once():
            found = _find(search, seeds, executor, name)
            with TURN if executor is not None else nullcontext():  # A worker may be a thread of this process.
                failure = None if found is None else _shrunk(program, search, found, shrinking, stall_after)
    except (KeyboardInterrupt, SweepBroken) as error:
        text = _keep(HaltedSearch.of(search, name, seeds, settings()), halted)
        if report is not None:
            report(text)
        if isinstance(error, SweepBroken):
            raise SweepBroken(f"{error}; {text}") from error.__cause__
        raise
    if resume is not None:
        Path(resume).unlink(missing_ok=True)
    if failure is None:
        if report is not None and search.overdue:
            report(search.overdue_text)
        return None
    if save is not None and failure.reference is not None:
        failure = _saved(failure, Path(save))
    if report is not None:
        report(str(failure))
    return failure


def _find(search: Search, seeds: Iterable[int | str], executor: Workers | None, name: str | None) -> Run | None:
    """Return the first run that fails, found by workers if there are any."""
    with progress_bar(seeds) as progress:
        if executor is None:
            return search.find(seeds, progress)
        if name is None:
            raise UsageError("a worker could not find the program: it has to be a function of a module, with a name")
        crew = crew_of(executor, len(seeds) if isinstance(seeds, Sized) else None)
        crew.begin()  # Before the pilot runs here, for its threads would end that this process can be copied.
        try:
            return search.find(seeds, progress, crew)
        finally:
            crew.close(is_idle=False)


def _settings(base: Case, plan: Plan, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a search goes on with, as JSON; only those of one that does must have that form."""
    return {
        "schedule": base.schedule,
        "latency": base.latency.to_json(),
        "plan": None if callable(plan) else plans.to_json(plan),
        "horizon": base.horizon,
        "start": base.start,
        **({"network": network_to_json(base.network)} if base.network else {}),
        **others,
    }


def _halted_path(resume: str | Path | None, save: str | Path | None, program: Program) -> Path | None:
    """Return where an interrupted search is kept; None for nowhere."""
    if resume is not None or save is None:
        return None if resume is None else Path(resume)
    directory = Path(save) if Path(save).is_dir() or not Path(save).suffix else Path(save).parent
    name = re.sub(r"[^\w.-]+", "-", getattr(program, "__qualname__", type(program).__name__))
    return directory / f"search-{name}.json"


def _keep(halted: HaltedSearch, path: Path | None) -> str:
    """Save an interrupted search; return what is to be said of it."""
    overdue = f", {len(halted.overdue)} were late for a time limit" if halted.overdue else ""
    text = f"interrupted: none of the first {halted.done} seeds fails{overdue}"
    if path is None:
        return text
    halted.save(path)
    if halted.can_resume:
        return f"{text}\npython -m simulator explore --resume {shlex.quote(str(path))}"
    return f"{text}; explore(…, resume={str(path)!r}) with the same arguments goes on"


def _shrunk(program: Program, search: Search, found: Run, budget: int, stall_after: float | None) -> Failure:
    """Return a failure made small, within a budget of runs."""
    name = reference(program)
    if isinstance(found.error, WorkerFailed):  # There is nothing to make smaller that fails in this process.
        is_repeatable = isinstance(found.error, WorkerDied)
        return Failure(program, name, found, found, search.runs, is_repeatable)
    shrinker = FailureShrinker(program, found, budget, stall_after)
    run_left = shrinker.shrink()
    return Failure(program, name, run_left, found, search.runs + shrinker.runs, shrinker.is_repeatable)


def replay(path: str | Path, *, program: Program | None = None, stall_after: float | None = 5.0) -> Replay:
    """Run a kept failure again, in this process.

    Args:
        path: The file that `explore` or `Failure.save` wrote.
        program: Instead of the one that the file names; needed if it names none.
        stall_after: Real seconds for which an actor may block outside the simulation; None to sit in a debugger.
    Raises:
        UsageError: If the file is no kept failure, or its program cannot be found; nothing was run.
    """
    kept = read_kept(path, program)
    return _repeat(kept.program, kept.case, kept.symptom, kept.digests, stall_after)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file has of a failure."""

    program: Program
    case: Case
    symptom: Symptom
    digests: Mapping[str, str]
    found_lates: tuple[Late, ...] = ()
    """The steps that were late when it was found, before it was made smaller."""


def read_kept(path: str | Path, program: Program | None = None) -> Kept:
    """Return what a file has of a failure; see `replay`."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if value["replay"] != FORMAT:
            raise ValueError(f"it is of version {value['replay']!r}")
        named, digests = value["program"], dict(value["digests"])
        if program is None and named is not None:
            program = load(named)  # Before the case: the kinds of faults in its plan may be the program's own.
        case = Case.from_json(value["case"])
        failure = value["failure"]
        expected = Symptom(failure["kind"], failure["place"], failure.get("source", ""))
        found_lates = tuple(Late(*one) for one in value.get("found_lates", ()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no failure kept by version {FORMAT} of this library: {error}") from None
    if program is None:
        raise UsageError(f"{path} names no program, for it had no name: replay(path, program=…) in its own process")
    return Kept(program, case, expected, digests, found_lates)


def _repeat(
    program: Program, case: Case, expected: Symptom, digests: Mapping[str, str], stall_after: float | None = 5.0
) -> Replay:
    again = run(program, case, stall_after=stall_after)
    return Replay(again, expected, again.digests == digests)


def _saved(failure: Failure, where: Path) -> Failure:
    if where.is_dir() or not where.suffix:
        name = re.sub(r"[^\w.-]+", "-", f"{(failure.reference or '').rpartition(':')[2]}-{failure.seed}")
        where = where / f"replay-{name}.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    failure.save(where)
    return replace(failure, path=where)


def _described(entry: Planned | Fault) -> str:
    """Return a fault in one line: ``at time=3 reset name=alice``."""
    return _flat(plans.to_json([entry])[0])


def _flat(value: Mapping[str, Any]) -> str:
    words = {"when", "fault", "law"}  # these identify it, and need no name
    return " ".join(
        _flat(member) if isinstance(member, Mapping) else str(member) if name in words else f"{name}={member}"
        for name, member in value.items()
    )


def _needed(what: str, found: int, left: Sequence[Any]) -> list[str]:
    """Return the line about what is left of so many; none if there was nothing."""
    return [f"  needs {len(left) or 'none'} of {found} {what}{_listed(left)}"] if found else []


def _listed(texts: Iterable[Any]) -> str:
    shown = list(texts)
    rest = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return f": {'; '.join(map(str, shown[:10]))}{rest}" if shown else ""
