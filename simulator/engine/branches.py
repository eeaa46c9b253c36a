"""Another future of a run: up to an instant all is as it was recorded, from then on the environment's chance is anew.

The environment is who goes on, what is late, and how long deliveries and the handling of messages take. What the
program draws stays as it is, and so do names and faults. What is late, and by how much, is a fact of the instant at
which the step was due: a sleep that had begun before may come to another end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from simulator.engine.kernel import Kernel
from simulator.engine.lateness import Lateness, Pilot, ReplaySchedule, schedule_named
from simulator.engine.schedules import Deviation, Late, Schedule
from simulator.engine.seeds import Seeds

__all__ = ["Branch", "BranchSchedule", "branch_streams", "lateness_of", "schedule_after"]

__engine__ = True


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a run leaves the recorded one, and into which of its futures."""

    instant: int
    """Nanoseconds: what is drawn for this instant and later ones is drawn anew."""
    number: int = 0
    """Each number is another future; one has the same chance whatever the instant."""

    def seeds(self, seed: int | str) -> Seeds:
        """Return the streams of that future, of a run with that seed."""
        return Seeds(f"{seed}/branch {self.number}")


class BranchSchedule(ReplaySchedule):
    """Repeats recorded deviations and lateness up to the instant of a branch, and then follows another schedule.

    Args:
        branch: None to repeat all.
        after: The schedule that it follows then.

    Attributes:
        kernel: The clock of the run; set before it begins.
    """

    kernel: Kernel

    def __init__(
        self,
        deviations: Iterable[Deviation],
        lates: Iterable[Late],
        branch: Branch | None = None,
        after: Schedule | None = None,
    ) -> None:
        super().__init__(deviations, lates)
        self._after = after or Schedule()
        self._instant = None if branch is None else branch.instant
        self.is_late: bool = self.is_late or self._after.is_late
        self.decided: list[int] = []
        """The instant of each of the deviations that were repeated, in nanoseconds."""

    def choose(self, candidates: Sequence[str], *, is_preemption: bool, set_back: int = 0) -> int:
        now = self.kernel.now
        if self._instant is not None and now >= self._instant:
            return self._after.choose(candidates, is_preemption=is_preemption, set_back=set_back)
        index = super().choose(candidates, is_preemption=is_preemption, set_back=set_back)
        if index:
            self.decided.append(now)
        return index

    def yielded(self, actor: str) -> None:
        self._after.yielded(actor)

    def late(self, who: str, due: int, limit: int = 0, kind: str = "step") -> int:
        if self._instant is None or due < self._instant:
            return super().late(who, due, limit, kind)
        # An end that is due earlier may be asked about later.
        self._steps[who, kind] = self._steps.get((who, kind), 0) + 1
        return self._after.late(who, due, limit, kind)


class _BranchedStream(Random):
    """Draws from one stream up to an instant, and from then on from another one."""

    kernel: Kernel
    instant: int
    before: Random
    after: Random

    def random(self) -> float:
        """Return the next number of the stream of this instant."""
        return (self.before if self.kernel.now < self.instant else self.after).random()


def branch_streams(seeds: Seeds, seed: int | str, branch: Branch, kernel: Kernel) -> None:
    """Let the streams of deliveries and service times change at the instant of a branch; before any of them is made."""
    others = branch.seeds(seed)

    def changed(name: str, before: Random) -> Random:
        if not name.startswith(("network/", "service/")):
            return before
        stream = _BranchedStream(0)
        stream.kernel, stream.instant = kernel, branch.instant
        stream.before, stream.after = before, others.new_stream(name)
        return stream

    seeds.changed = changed


def lateness_of(seed: int | str) -> Lateness:
    """Return the lateness of a run with that seed and without a pilot."""
    return Pilot((), ()).draw(Seeds(seed).stream("lateness"))


def schedule_after(name: str, seed: int | str, lateness: Lateness | None, branch: Branch) -> Schedule | None:
    """Return the schedule of that name, as likely as at first, on the streams of a branch."""
    if "late" in name and lateness is None:
        lateness = lateness_of(seed)
    return schedule_named(name, branch.seeds(seed), lateness)
