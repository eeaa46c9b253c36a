"""A sweep: jobs go to workers in batches as these are free, and outcomes come back in the order of the jobs.

The first outcome that ends the search is the last that comes, whichever came first from the workers, so that nothing
depends on who they are. What a job does is not this module's business, nor what makes an outcome final.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED as FIRST
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from itertools import islice
from typing import Any, TypeAlias

from meshsync.errors import UsageError
from meshsync.reasons import describe_error
from simulator.errors import SweepBroken
from simulator.exploring.crews import Crew
from simulator.exploring.jobs import Outcome, do_batch, make_batch, read_answer
from simulator.exploring.runs import Symptom

__all__ = ["sweep"]

Progress: TypeAlias = Callable[[int, int], object]
"""Gets the number of jobs that are done, and of final outcomes among them."""

AHEAD = 2
"""Batches that are with the workers, for each of them: one that runs, and one for when that is done."""
BATCH = 0.05
"""Real seconds that a batch should take: much against its journey of about 0.5 ms, and little to wait for."""
_LARGEST = 64
"""Jobs in a batch, at most: what dies with a worker runs again, each alone."""
_PATIENCE = 10.0
"""Real seconds for which a broken executor may take to give up all its jobs."""


def sweep(crew: Crew, jobs: Iterator[str], count_overdue: bool, progress: Progress) -> Generator[Outcome, None, None]:
    """Yield the outcome of each job in the order of the jobs, up to the first final one.

    When workers die, the jobs that were with them run again, each alone. A job that is with a worker that dies twice
    has as its outcome that it died.

    Args:
        jobs: Is asked for the next ones when there is room for a batch, of which there are at most twice as many as
            workers.
        count_overdue: Whether an outcome that is overdue is final, too.
        progress: Is called whenever jobs are done.
    Raises:
        SweepBroken: If the executor is broken and cannot be made anew.
        UsageError: If the workers cannot start, are of another version, or cannot do jobs at all.
    """
    running = _Sweep(crew, jobs, count_overdue, progress)
    try:
        yield from running.outcomes()
    finally:
        running.close()


class _Sweep:
    def __init__(
        self,
        crew: Crew,
        jobs: Iterator[str],
        count_overdue: bool,
        progress: Progress,
    ) -> None:
        self._crew = crew
        self._jobs = enumerate(jobs)
        self._count_overdue = count_overdue
        self._progress = progress
        self._has_more = True
        self._size = 1
        """How many jobs make the next batch."""
        self._texts: dict[int, str] = {}
        """Of the jobs that are not done."""
        self._away: dict[Future[dict[str, Any]], list[int]] = {}
        """The numbers of the jobs that are with workers, by batch."""
        self._suspects: list[int] = []
        """Jobs that were with workers of which one died: they run alone."""
        self._deaths: Counter[int] = Counter()
        self._done: dict[int, Outcome] = {}
        self._last: int | None = None
        """The lowest job whose outcome is final."""
        self._finals = 0
        self._answers = 0

    def outcomes(self) -> Iterator[Outcome]:
        self._greet()
        number = 0
        while True:
            self._fill()
            while number in self._done:
                yield self._done.pop(number)
                if number == self._last:
                    return
                number += 1
            if self._away:
                self._collect()
            elif not self._suspects and (self._last is not None or not self._has_more):
                return

    def close(self) -> None:
        """Take back the jobs that are with workers."""
        for future in self._away:
            future.cancel()
        self._crew.close(is_idle=not self._away and self._last is None)

    def _greet(self) -> None:
        """Wait until a worker answers, so that workers that never start are no fault of a seed."""
        try:
            self._crew.begin().result()
        except Exception as error:
            raise UsageError(
                f"the workers cannot start: {self._crew.cause_of_death(error)}; a script that makes processes has its"
                " code under if __name__ == '__main__', since each of them imports it"
            ) from error

    # --- out ----------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self._suspects:
            if not self._away:
                self._send([self._suspects.pop(0)])
            return
        most = AHEAD * self._crew.workers
        while self._last is None and self._has_more and len(self._away) < most and not self._suspects:
            batch = dict(islice(self._jobs, self._size))
            if not batch:
                self._has_more = False
                return
            self._texts |= batch
            self._send([*batch])

    def _send(self, numbers: list[int]) -> None:
        text = make_batch([self._texts[number] for number in numbers], count_overdue=self._count_overdue)
        try:
            future = self._crew.submit(do_batch, text)
        except Exception as error:  # Whatever an executor raises that takes no more jobs.
            self._suspects[:0] = numbers
            self._recover(error)
            return
        self._away[future] = numbers

    # --- back ---------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        done, _ = wait(self._away, return_when=FIRST)
        broken: BaseException | None = None
        for future in sorted(done, key=self._away.__getitem__):
            error = self._receive(future)
            broken = broken or error
        if broken is not None:
            self._recover(broken)
        self._progress(self._answers, self._finals)

    def _receive(self, future: Future[dict[str, Any]]) -> BaseException | None:
        """Take what came back; return the error if that is of a broken executor, whose job stays away."""
        if future not in self._away:  # another one that came back meanwhile has made it needless
            return None
        numbers = self._away[future]
        error = CancelledError("its jobs were cancelled") if future.cancelled() else future.exception()
        if isinstance(error, (BrokenExecutor, CancelledError)):
            return error
        del self._away[future]
        if error is None:
            self._read(numbers, future.result())
        elif type(error).__name__ == "KilledWorker":  # Dask has other workers, and gave up on this batch.
            for number in numbers:
                self._suspect(number, next(iter(str(error).splitlines()), ""))
        elif isinstance(error, Exception):
            raise UsageError(f"the workers cannot do their jobs: {describe_error(error)}") from error
        else:
            raise error
        return None

    def _read(self, numbers: list[int], answer: dict[str, Any]) -> None:
        """Take the outcomes of a batch; behind the first final one there are none."""
        answers = answer["answers"]
        fitting = int(BATCH * len(answers) / max(answer["seconds"], 1e-9))
        self._size = min(max(1, fitting), 2 * self._size, _LARGEST)
        for number, one in zip(numbers, answers, strict=False):
            self._finish(number, read_answer(one))
        for number in numbers[len(answers) :]:
            del self._texts[number]

    def _finish(self, number: int, outcome: Outcome) -> None:
        del self._texts[number]
        self._done[number] = outcome
        self._answers += 1
        if not outcome.is_final(count_overdue=self._count_overdue):
            return
        self._finals += 1
        if self._last is None or number < self._last:
            self._last = number
            for future, others in list(self._away.items()):
                if others[0] > number:
                    future.cancel()
                    del self._away[future]
            self._suspects = [one for one in self._suspects if one < number]

    # --- what breaks --------------------------------------------------------------------------------------------------

    def _recover(self, error: BaseException) -> None:
        """Have the executor made anew, and keep what was with the workers for later."""
        wait(self._away, timeout=_PATIENCE)
        for future in sorted(self._away, key=self._away.__getitem__):
            if future in self._away and future.done():
                self._receive(future)
        cause = self._crew.cause_of_death(error)
        lost, self._away = sorted(number for numbers in self._away.values() for number in numbers), {}
        if not self._crew.make_anew():
            raise SweepBroken(f"the executor broke: {describe_error(error)}")
        self._greet()
        for number in lost:
            self._suspect(number, cause)

    def _suspect(self, number: int, cause: str) -> None:
        self._deaths[number] += 1
        if self._deaths[number] < 2:
            self._suspects = sorted([*self._suspects, number])
            return
        text = f"the process that ran it died twice, the second time with no other seed beside: {cause}"
        self._finish(number, Outcome(Symptom("WorkerDied", "a process of its own"), text=text, has_died=True))
