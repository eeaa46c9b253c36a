"""An executor that runs jobs in this process, when and in which order a test says; and programs for sweeps."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

from simulator.exploring.jobs import do_batch
from simulator.simulation import Simulation

Order = Callable[[int], int]
"""Gets how many jobs wait, and returns which of them is done next."""

MARK = "SWEEPING_MARK"
"""The environment variable with the path of the file that is there once a process has killed itself."""


class KilledWorker(Exception):
    """What Dask has of this name."""


class RecordingExecutor(Executor):
    """Does jobs when the driver waits, one at a time, and keeps what it was asked for.

    Args:
        kills: How often the executor breaks at each seed.
        given_up: How often a cluster gives each seed up, and goes on with others.
        interrupt_after: Jobs after which waiting is interrupted, as by Ctrl-C.
        edit: Changes each job's text.
        answer: Changes each answer.
        seconds: How long each job takes, as the answers tell it.
    """

    def __init__(
        self,
        order: Order = lambda waiting: 0,
        *,
        workers: int = 3,
        kills: Counter[int] | None = None,
        given_up: Counter[int] | None = None,
        interrupt_after: int | None = None,
        edit: Callable[[dict[str, Any]], object] = lambda job: None,
        answer: Callable[[dict[str, Any]], object] = lambda answer: None,
        seconds: float = 1.0,
    ) -> None:
        self._max_workers = workers
        self._order = order
        self._kills = Counter() if kills is None else kills
        self._given_up = Counter() if given_up is None else given_up
        self._interrupt_after = interrupt_after
        self._edit = edit
        self._answer = answer
        self._seconds = seconds
        self.waiting: list[tuple[Future[Any], list[int], str]] = []
        self.submitted: list[tuple[int, int]] = []
        """Of each batch the first seed, and how many waited with it."""
        self.batches: list[list[int]] = []
        """The seeds of each."""
        self.done: list[int] = []
        """Seeds in the order in which they were done."""
        self.is_broken = False
        self.is_shut_down = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Keep a job; do anything else at once."""
        if self.is_broken:
            raise BrokenExecutor("it is broken")
        future: Future[Any] = Future()
        if fn is not do_batch:
            future.set_result(fn(*args))
            return future
        batch = json.loads(args[0])
        for job in batch["jobs"]:
            self._edit(job)
        seeds = [job["case"]["seed"] for job in batch["jobs"]]
        self.batches.append(seeds)
        self.waiting.append((future, seeds, json.dumps(batch)))
        self.submitted.append((seeds[0], len(self.waiting)))
        return future

    def wait(self, futures: Collection[Future[Any]], timeout: float | None = None, return_when: str = "") -> Any:
        """Do one job, in place of `concurrent.futures.wait`."""
        if timeout is None:
            self._do_one()
        done = {future for future in futures if future.done()}
        return done, set(futures) - done

    def _do_one(self) -> None:
        self.waiting = [one for one in self.waiting if not one[0].cancelled()]
        if self._interrupt_after is not None and len(self.done) >= self._interrupt_after:
            raise KeyboardInterrupt
        future, seeds, text = self.waiting.pop(self._order(len(self.waiting)))
        if any(map(self._kills.get, seeds)):
            self._kills -= Counter(seeds)
            self.is_broken = True
            for one in (future, *(other for other, _, _ in self.waiting)):
                one.set_exception(BrokenExecutor("a worker died of SIGSEGV"))
            self.waiting.clear()
            return
        if any(map(self._given_up.get, seeds)):
            self._given_up -= Counter(seeds)
            future.set_exception(KilledWorker("4 workers died of it"))
            return
        result = do_batch(text)
        for answer in result["answers"]:
            self._answer(answer)
        self.done += seeds[: len(result["answers"])]
        future.set_result(result | {"seconds": self._seconds * len(result["answers"])})

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Note it."""
        self.is_shut_down = True


# --- programs ---------------------------------------------------------------------------------------------------------


def passes(sim: Simulation) -> None:
    """Join and sleep."""
    sim.room("demo").join("alice", enable=True)
    sim.sleep(1)


def fails_at_some(sim: Simulation) -> None:
    """Fail with three seeds."""
    sim.sleep(1)
    assert sim.seed not in (17, 20, 23), f"it is {sim.seed}"


def is_overdue_at_times(sim: Simulation) -> None:
    """Fail by a time limit if something is late, and in earnest with one seed."""
    assert sim.seed != 30, "it is 30"
    sim.sleep(1)
    if sim.now > 1:
        raise TimeoutError("it took longer than a second")


def overtakes(sim: Simulation) -> None:
    """Fail if what takes a second ends behind what takes three, and is not a second late for that."""
    ended: dict[float, float] = {}

    def take(seconds: float) -> None:
        sim.sleep(seconds)
        ended[seconds] = sim.now

    for task in [sim.spawn(take, seconds) for seconds in (1.0, 3.0)]:
        task.join()
    assert not 0 < ended[1.0] - ended[3.0] < 1, f"they ended at {ended[1.0]} s and {ended[3.0]} s"


def dies_at_twelve(sim: Simulation) -> None:
    """Kill the process with one seed."""
    sim.sleep(1)
    if sim.seed == 12:
        os.kill(os.getpid(), signal.SIGKILL)


def dies_once(sim: Simulation) -> None:
    """Kill the process with one seed, the first time; fail with a later one."""
    sim.sleep(1)
    mark = Path(os.environ[MARK])
    if sim.seed == 12 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    assert sim.seed != 30, "it is 30"


def fails_late(sim: Simulation) -> None:
    """Talk, kill the process with one seed of ten thousand, the first time, and fail with one of the last."""
    passes(sim)
    mark = Path(os.environ[MARK])
    if sim.seed == 5000 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    assert sim.seed not in (9973, 9990), f"it is {sim.seed}"


def interrupts_once(sim: Simulation) -> None:
    """Send the driver what Ctrl-C sends, with one seed and the first time; fail with a later one."""
    sim.sleep(1)
    mark = Path(os.environ[MARK])
    if sim.seed == 12 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGINT)
    assert sim.seed != 30, "it is 30"
