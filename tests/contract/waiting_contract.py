"""What `meshsync.Lock` and its like promise in each world; ``test_waiting.py`` runs it in both.

Times are short, since one of the worlds waits them out, and compared from below only.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from queue import Empty, Full
from threading import BrokenBarrierError
from typing import Any

import pytest

import meshsync
from meshsync.runtime.interfaces import Task

SHORT = 0.03
LONG = 30.0

HELD = [meshsync.Lock, meshsync.RLock, meshsync.Semaphore]
ALL: list[Callable[[], Any]] = [*HELD, meshsync.Event, meshsync.Queue, lambda: meshsync.Barrier(2)]
AT_MODULE_LEVEL = meshsync.Lock()


def together(*targets: Callable[[], object]) -> None:
    """Run functions in tasks, and return when all have returned."""
    done = [meshsync.spawn(target) for target in targets]
    assert all(task.join(LONG) for task in done)
    assert [task.error for task in done] == [None] * len(done)


class Behind:
    """A task that is certain to have asked for something before the next one does."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.tasks: list[Task] = []

    def ask(self, number: int, take: Callable[[], object], give: Callable[[], object]) -> None:
        def run() -> None:
            take()
            self.order.append(number)
            give()

        self.tasks.append(meshsync.spawn(run))
        meshsync.sleep(SHORT)

    def join(self) -> list[int]:
        assert all(task.join(LONG) for task in self.tasks)
        return self.order


@pytest.mark.usefixtures("world")
class WaitingContract:
    """The suite; a subclass gives the fixture ``world``."""

    # --- what can be held ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("make", HELD)
    def test_it_excludes_others_while_its_holder_sleeps(self, make: Callable[[], Any]) -> None:
        """No task is inside together with another, though each waits there."""
        lock, inside, most = make(), [0], [0]

        def work() -> None:
            for _ in range(3):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    meshsync.sleep(0.002)
                    inside[0] -= 1

        begun = meshsync.monotonic()
        together(work, work, work)
        assert most == [1]
        assert meshsync.monotonic() - begun > 9 * 0.0019

    @pytest.mark.parametrize("make", HELD)
    def test_first_come_first_served(self, make: Callable[[], Any]) -> None:
        """Those who wait have it in the order in which they asked, also before one who asks when it is free."""
        lock, behind = make(), Behind()
        lock.acquire()
        for number in range(5):
            behind.ask(number, lock.acquire, lock.release)
        lock.release()
        with lock:
            behind.order.append(5)
        assert behind.join() == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize("make", HELD)
    def test_time_limits(self, make: Callable[[], Any]) -> None:
        """What is taken is not got in time, and who gave up leaves nothing behind."""
        lock, results = make(), []
        lock.acquire()

        def attempts() -> None:
            begun = meshsync.monotonic()
            results.append(lock.acquire(timeout=SHORT))
            results.append(meshsync.monotonic() - begun >= SHORT - 0.001)
            results.append(lock.acquire(blocking=False))
            results.append(lock.acquire(timeout=0))

        together(attempts)
        assert results == [False, True, False, False]
        lock.release()
        together(lambda: results.append(lock.acquire(timeout=LONG)))
        assert results[-1] is True

    @pytest.mark.parametrize("make", HELD)
    def test_arguments_are_those_of_threading(self, make: Callable[[], Any]) -> None:
        """A limit for what does not wait is refused, and what is no number."""
        lock = make()
        for arguments, error in [
            ((False, 1), ValueError),
            ((True, float("nan")), ValueError),
            ((True, "1"), TypeError),
        ]:
            with pytest.raises(error):
                lock.acquire(*arguments)
        assert lock.acquire(False)

    @pytest.mark.parametrize("make", [meshsync.Lock, meshsync.RLock])
    def test_releasing_what_is_free_is_refused(self, make: Callable[[], Any]) -> None:
        """With the error of `threading`, and it can be used."""
        lock = make()
        with pytest.raises(RuntimeError, match="release un"):
            lock.release()
        with lock, pytest.raises(ZeroDivisionError), ExitStack() as stack:
            stack.enter_context(make())
            stack.callback(lambda: 1 // 0)
        together(lock.acquire)

    def test_lock_may_be_released_by_another_task(self) -> None:
        """As one of `threading`; a task that acquires it twice waits until then."""
        lock = meshsync.Lock()
        lock.acquire()
        assert lock.locked()
        task = meshsync.spawn(lambda: (meshsync.sleep(SHORT), lock.release()))
        assert lock.acquire(timeout=LONG)
        assert task.join(LONG)
        lock.release()
        assert not lock.locked()

    def test_reentrant_lock_belongs_to_its_holder(self) -> None:
        """It may take it again, must release it as often, and no other task can."""
        lock, errors = meshsync.RLock(), []

        def other() -> None:
            errors.append(lock.acquire(blocking=False))
            with pytest.raises(RuntimeError, match="un-acquired"):
                lock.release()

        with lock, lock:
            together(other)
            assert lock.acquire(timeout=0)
            lock.release()
        together(lambda: errors.append(lock.acquire(blocking=False)))
        assert errors == [False, True]

    def test_reentrant_lock_is_taken_again_before_those_who_wait(self) -> None:
        """They would wait for one who waits behind them."""
        lock, behind = meshsync.RLock(), Behind()
        with lock:
            behind.ask(1, lock.acquire, lock.release)
            with lock:
                behind.order.append(0)
        assert behind.join() == [0, 1]

    def test_semaphore_has_so_many_permits(self) -> None:
        """Two may be inside, and what is released beyond is there, too."""
        semaphore = meshsync.Semaphore(2)
        assert [semaphore.acquire(blocking=False) for _ in range(3)] == [True, True, False]
        semaphore.release(3)
        assert [semaphore.acquire(timeout=0) for _ in range(4)] == [True, True, True, False]
        assert meshsync.Semaphore(0).acquire(timeout=-1) is False
        for wrong in (lambda: meshsync.Semaphore(-1), lambda: semaphore.release(0)):
            with pytest.raises(ValueError, match="must be"):
                wrong()

    # --- events -------------------------------------------------------------------------------------------------------

    def test_event_wakes_all_who_wait(self) -> None:
        """Also if it is cleared at once."""
        event, woken = meshsync.Event(), []
        tasks = [meshsync.spawn(lambda: woken.append(event.wait(LONG))) for _ in range(3)]
        meshsync.sleep(SHORT)
        event.set()
        event.clear()
        assert all(task.join(LONG) for task in tasks)
        assert woken == [True] * 3
        assert not event.is_set()

    def test_event_is_waited_for_so_long(self) -> None:
        """A loop with a stop event has its period."""
        stop, begun = meshsync.Event(), meshsync.monotonic()
        assert [stop.wait(SHORT), stop.wait(0), stop.wait(-1)] == [False] * 3
        assert meshsync.monotonic() - begun >= SHORT - 0.001
        stop.set()
        assert stop.wait() is stop.wait(0) is stop.is_set() is True

    # --- queues -------------------------------------------------------------------------------------------------------

    def test_queue_hands_items_on_in_order(self) -> None:
        """As much as it holds; who puts more waits for room."""
        queue: meshsync.Queue[int] = meshsync.Queue(2)
        got: list[int] = []
        together(lambda: [queue.put(n) for n in range(20)], lambda: [got.append(queue.get()) for _ in range(20)])
        assert got == list(range(20))

    def test_queue_is_first_come_first_served(self) -> None:
        """For those who wait for items, and for those who wait for room."""
        queue: meshsync.Queue[int] = meshsync.Queue(1)
        getters, putters = Behind(), Behind()
        for number in range(4):
            getters.ask(number, queue.get, lambda: None)
        for number in range(4):
            queue.put(number, timeout=LONG)
        assert getters.join() == [0, 1, 2, 3]
        queue.put(-1)
        for number in range(4):
            putters.ask(number, lambda number=number: queue.put(number), lambda: None)
        assert [queue.get(timeout=LONG) for _ in range(5)] == [-1, 0, 1, 2, 3]
        putters.join()

    def test_queue_that_is_empty_or_full(self) -> None:
        """Raises the errors of `queue`, at once or in time, and no later call waits behind who gave up."""
        queue: meshsync.Queue[int] = meshsync.Queue(1)
        begun = meshsync.monotonic()
        for attempt in (lambda: queue.get(timeout=SHORT), queue.get_nowait, lambda: queue.get(False, 9)):
            with pytest.raises(Empty):
                attempt()
        assert meshsync.monotonic() - begun >= SHORT - 0.001
        queue.put_nowait(1)
        for attempt in (lambda: queue.put(2, timeout=SHORT), lambda: queue.put_nowait(2)):  # type: ignore[assignment]
            with pytest.raises(Full):
                attempt()
        assert (queue.qsize(), queue.empty(), queue.full(), queue.get()) == (1, False, True, 1)
        with pytest.raises(ValueError, match="non-negative"):
            queue.get(timeout=-1)

    def test_queue_is_joined_when_all_is_done(self) -> None:
        """And not before; more than was put cannot be done."""
        queue: meshsync.Queue[int] = meshsync.Queue()
        queue.put(1)
        done: list[bool] = []

        def work() -> None:
            queue.get()
            meshsync.sleep(SHORT)
            done.append(True)
            queue.task_done()

        task = meshsync.spawn(work)
        queue.join()
        assert done == [True]
        assert task.join(LONG)
        with pytest.raises(ValueError, match="too many"):
            queue.task_done()

    # --- barriers -----------------------------------------------------------------------------------------------------

    def test_barrier_lets_all_pass_together(self) -> None:
        """Round by round, each with an index, the action before any of them, which may wait."""
        passed: list[object] = []

        def action() -> None:
            meshsync.sleep(0.001)
            passed.append("action")

        barrier, indices = meshsync.Barrier(3, action), []

        def work() -> None:
            for turn in range(3):
                indices.append(barrier.wait(LONG))
                passed.append(turn)
                barrier.wait(LONG)

        together(work, work, work)
        assert [passed[at] for at in range(0, 15, 5)] == ["action"] * 3
        assert [passed[at + 1 : at + 4] for at in range(0, 15, 5)] == [[0] * 3, [1] * 3, [2] * 3]
        assert sorted(indices) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)

    @pytest.mark.parametrize("breaks", ["late", "abort", "reset", "action"])
    def test_barrier_breaks(self, breaks: str) -> None:
        """By a time limit, by `abort`, by an action that fails, and for those who wait by `reset`."""
        barrier = meshsync.Barrier(2, (lambda: 1 // 0) if breaks == "action" else None)
        errors: list[type[BaseException]] = []

        def wait() -> None:
            try:
                barrier.wait(SHORT if breaks == "late" else LONG)
            except (BrokenBarrierError, ZeroDivisionError) as error:
                errors.append(type(error))

        task = meshsync.spawn(wait)
        meshsync.sleep(2 * SHORT)
        if breaks == "action":
            wait()
        elif breaks != "late":
            getattr(barrier, breaks)()
        assert task.join(LONG)
        assert set(errors) == {BrokenBarrierError} | ({ZeroDivisionError} if breaks == "action" else set())
        assert barrier.broken is (breaks != "reset")
        if barrier.broken:
            with pytest.raises(BrokenBarrierError):
                barrier.wait()
            barrier.reset()
        barrier = meshsync.Barrier(2)
        together(barrier.wait, barrier.wait)

    # --- all of them --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("make", ALL)
    def test_it_is_neither_copied_nor_pickled(self, make: Callable[[], Any]) -> None:
        """A copy would guard nothing."""
        thing = make()
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither pickled nor copied"):
                attempt(thing)
        assert f"meshsync.{type(thing).__name__} of {__file__}:" in repr(thing)

    def test_one_of_a_module_begins_free_in_each_world(self) -> None:
        """What an earlier test in another world left locked is not locked here."""
        assert not AT_MODULE_LEVEL.locked()
        AT_MODULE_LEVEL.acquire()
        assert AT_MODULE_LEVEL.locked()
        self.tidy()

    def tidy(self) -> None:
        """Leave it locked, unless there is only one such world."""
