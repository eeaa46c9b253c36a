"""Where a failure came from: its probability over virtual time, and the event with which that rises most.

The failing run is repeated up to an instant, and from then on the environment has another chance: who goes on, what is
late, how long deliveries take. Repeated many times, that is the probability of the failure at this instant. Before what
decides it the probability is that of any run, and behind it near 1.

Source: "causality analysis" of Antithesis; the probabilities are by re-execution, since threads cannot be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshsync.errors import UsageError
from simulator.engine.branches import Branch, BranchSchedule
from simulator.exploring.checking import RunsDiffer
from simulator.exploring.delays import described
from simulator.exploring.estimates import Estimate
from simulator.exploring.exploration import Failure, Kept, read_kept
from simulator.exploring.moments import Event, Point
from simulator.exploring.repeated_records import logged_once
from simulator.exploring.runs import Case, Program, Run, Symptom, run
from simulator.record.records import first_difference_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Origin", "why"]

_BAR = 20
"""The characters of a bar for 100 %."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The probability of a failure over virtual time. Its text is a table."""

    seed: int | str
    symptom: Symptom
    points: tuple[Point, ...]
    """In the order of time, each as it was measured."""
    events: tuple[Event, ...]
    """All of the failing run, the beginning and the end included."""
    runs: int
    """How many were made."""

    @property
    def jump(self) -> tuple[Point, Point] | None:
        """The two points next to each other between which the probability rises most; None if it does not rise.

        By the factor: how improbable a failure is, is the product of what each event adds to that, and 3 % that become
        50 % say more about where it came from than 50 % that become 100 %.
        """
        rises = [
            (before.estimate.factor_to(after.estimate), before, after)
            for before, after in pairwise(self.points)
            if before.probability < after.probability and before.estimate.differs(after.estimate)
        ]
        return max(rises, key=lambda rise: rise[0])[1:] if rises else None

    @property
    def merged(self) -> tuple[Point, ...]:
        """The points, of which those next to each other that do not differ are one."""
        result = [self.points[0]]
        for point in self.points[1:]:
            last = result[-1]
            if point.estimate.differs(last.estimate):
                result.append(point)
            else:
                result[-1] = Point(point.event, last.estimate + point.estimate, last.first)
        return tuple(result)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object: probabilities in [0, 1], times in seconds."""
        jump = self.jump
        return {
            "seed": self.seed,
            "symptom": str(self.symptom),
            "runs": self.runs,
            "events": len(self.events),
            "points": [_as_json(point) for point in self.points],
            "jump": None if jump is None else [_as_json(point) for point in jump],
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the probability over virtual time, with its intervals, and the jump with its event.

        Args:
            ax: Where to draw; None makes a figure.
        Raises:
            ImportError: If matplotlib is missing.
        """
        from simulator.exploring import origin_plot

        return origin_plot.plot(f"seed {self.seed}: {self.symptom}", self.events, self.points, self.jump, ax)

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed} fails: {self.symptom}",
            "the probability of that failure if all is as it was up to an event, and then has another chance:",
        ]
        lines += map(_row, self.merged)
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """The jump in a sentence."""
        jump = self.jump
        if jump is None:
            return "it does not rise: what leads to the failure is in every run, or in nothing that chance decides"
        before, after = jump
        text = (
            f"it rises most, from {before.probability:.0%} to {after.probability:.0%}, between {before.time:.6f} s and"
            f" {after.time:.6f} s: {after.event.text}"
        )
        between = after.event.number - before.event.number - 1
        return text + (f" or one of {between} events before it" if between else "")


def why(
    failure: Failure | str | Path,
    *,
    runs: int = 32,
    points: int = 12,
    program: Program | None = None,
    stall_after: float | None = 5.0,
    progress: Callable[[int], object] | None = None,
) -> Origin:
    """Find out with which event a run came to fail, by running it again many times with another chance.

    Up to an instant such a run is the failing one, to the byte. From then on the schedule, what is late (as often, as
    much and of the same steps as in the search that found it) and the delays of deliveries are drawn anew; what the
    program draws stays. The instants are found by halving, where the probability changes. Steps that are late are so by
    as much as when it was found, if it fails so: the least lateness that fails is at the edge.

    Args:
        failure: What `explore` returned, or the file that it kept.
        runs: How many runs for each instant.
        points: The most instants, at least 2.
        program: Instead of the one that the file names; needed if it names none.
        stall_after: Real seconds for which an actor may block outside the simulation; None for ever.
        progress: Is called with the number of runs so far.
    Raises:
        RunsDiffer: If a run is not the failing one up to the instant: the program depends on something outside the
            simulation. The text has the first difference.
        UsageError: If the file is no kept failure, its program cannot be found, or it does not fail any more.
        ValueError: If ``runs`` or ``points`` is too small; nothing was run.
        SimulationNested: If another simulation is open; nothing was run.
    """
    if runs < 1 or points < 2:
        raise ValueError(f"at least 1 run and 2 points, not {runs} and {points}")
    if isinstance(failure, Failure):
        kept = Kept(failure.program, failure.run.case, failure.symptom, failure.run.digests, failure.found.lates)
    else:
        kept = read_kept(failure, program)
    with logged_once():
        futures = _Futures(kept, runs, stall_after, progress)
        measured = dict(_measured(futures, points))
    found = tuple(
        Point(futures.events[number], measured[number], futures.events[number]) for number in sorted(measured)
    )
    return Origin(kept.case.seed, kept.symptom, found, futures.events, futures.made)


def _measured(futures: _Futures, points: int) -> Iterator[tuple[int, Estimate]]:
    """Yield the numbers of events and the estimates there, halving where the probability changes most."""
    last = len(futures.events) - 1
    # Where nothing is left to be drawn each run is the failing one.
    found = {0: futures.estimate(0), last: Estimate(futures.runs, futures.runs)}
    while len(found) < points:
        pairs = [
            (max(found[before].factor_to(found[after]), found[after].factor_to(found[before])), after - before, before)
            for before, after in pairwise(sorted(found))
            if after - before > 1 and found[before].differs(found[after])
        ]
        if not pairs:
            break
        _, width, before = max(pairs)
        middle = before + width // 2
        found[middle] = futures.estimate(middle)
    yield from found.items()


def _as_late_as_found(kept: Kept) -> Case:
    """Return the case with its late steps as late as when it was found.

    The least lateness that fails hardly does: with deliveries a little quicker or slower it would not.
    """
    found = {(late.who, late.kind, late.step): late.by for late in kept.found_lates}
    lates = [late._replace(by=max(late.by, found.get((late.who, late.kind, late.step), 0))) for late in kept.case.lates]
    return replace(kept.case, lates=tuple(lates))


class _Futures:
    """The failing run, and others that begin as it does."""

    def __init__(
        self, kept: Kept, runs: int, stall_after: float | None, progress: Callable[[int], object] | None
    ) -> None:
        self._program, self._symptom = kept.program, kept.symptom
        self.runs = runs
        self._stall_after = stall_after
        self._progress = progress
        self.made = 0
        for case in dict.fromkeys((_as_late_as_found(kept), kept.case)):
            self._case = case
            schedule = BranchSchedule(case.deviations or (), case.lates)
            self._first = self._run(schedule)
            if self._first.symptom == kept.symptom:
                self.events = _events(self._first, schedule)
                return
        raise UsageError(f"it does not fail any more as it did, with {kept.symptom}, but: {self._first.symptom}")

    def estimate(self, number: int) -> Estimate:
        """Return how often it fails if all is as it was up to an event, that included; 0 for nothing."""
        instant = self.events[number].time_ns + 1 if number else 0
        count = 0
        for future in range(self.runs):
            made = self._run(branch=Branch(instant, future))
            self._check(made, instant)
            count += made.symptom == self._symptom
        return Estimate(count, self.runs)

    def _run(self, schedule: BranchSchedule | None = None, branch: Branch | None = None) -> Run:
        made = run(self._program, self._case, schedule=schedule, stall_after=self._stall_after, branch=branch)
        self.made += 1
        if self._progress is not None:
            self._progress(self.made)
        return made

    def _check(self, made: Run, instant: int) -> None:
        """Raise `RunsDiffer` if a run is not the failing one up to an instant."""
        ours = self._first.transcripts
        for room, transcript in ours.items():
            other = made.transcripts.get(room)
            difference = "it was not made" if other is None else first_difference_before(transcript, other, instant)
            # A room that was made later than that has nothing in it.
            if difference and (other is not None or any(record.time_ns < instant for record in transcript)):
                raise RunsDiffer(
                    f"a run does not begin as the failing one does, up to {instant / 1e9:.9f} s, so that its chance"
                    f" says nothing, see check(); in room {room!r}, {difference}"
                )


def _events(made: Run, schedule: BranchSchedule) -> tuple[Event, ...]:
    """Return what happened at each instant, the beginning first and the end last."""
    texts: dict[int, list[str]] = {}
    for late, due in zip(schedule.lates, schedule.instants, strict=True):
        texts.setdefault(due, []).append(str(late))
    for deviation, instant in zip(schedule.deviations, schedule.decided, strict=True):
        texts.setdefault(instant, []).append(str(deviation))
    for transcript in made.transcripts.values():
        for record in transcript:
            texts.setdefault(record.time_ns, []).append(described(record).rpartition(" at ")[0])
    end = round(made.end * 1e9)
    texts.setdefault(end, []).append("the end")
    happened = [
        Event(number, instant, _counted(said)) for number, (instant, said) in enumerate(sorted(texts.items()), 1)
    ]
    return (Event(0, 0, "the beginning"), *(one for one in happened if one.time_ns <= end))


def _counted(texts: list[str]) -> str:
    return texts[0] + (f" and {len(texts) - 1} more" if len(texts) > 1 else "")


def _row(point: Point) -> str:
    low, high = point.interval
    eighths = round(point.probability * _BAR * 8)
    bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]
    begin, end = point.first.time, point.time
    span = f"{begin:.6f}" if begin == end else f"{begin:.6f} to {end:.6f}"
    share = f"{point.probability:4.0%} ({low:.0%} to {high:.0%})"
    return f"{span:>22} s  {share:20} {bar:<{_BAR}}  {point.first.text}"


def _as_json(point: Point) -> dict[str, Any]:
    return {
        "time_s": point.time,
        "event": point.event.text,
        "number": point.event.number,
        "probability": point.probability,
        "interval": list(point.interval),
        "fails": point.estimate.count,
        "runs": point.estimate.runs,
    }
