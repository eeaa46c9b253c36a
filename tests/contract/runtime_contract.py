"""What every `Runtime` promises, whatever its clock; ``test_runtime.py`` runs it on each implementation.

Times are short, since one of the implementations waits them out, and compared from below only: a real machine may be
late, no runtime may be early.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from meshsync.errors import WouldDeadlock
from meshsync.runtime.interfaces import Condition, Runtime, Task
from tests.support.waiting import EARLY

SHORT = 0.02
"""Seconds that a wait in these tests lasts."""
LONG = 30.0
"""Seconds after which what has to come is given up; no test that passes waits so long."""


class Gate:
    """A flag to wait for, as a user would build one from a condition."""

    def __init__(self, runtime: Runtime) -> None:
        self.condition = runtime.condition()
        self.is_open = False

    def open(self) -> None:
        with self.condition:
            self.is_open = True
            self.condition.notify_all()

    def wait(self, timeout: float = LONG) -> bool:
        with self.condition:
            return self.condition.wait_for(lambda: self.is_open, timeout)


def everyone_waits(condition: Condition, waiting: list[int], count: int) -> None:
    """Return when ``count`` tasks have counted themselves in ``waiting`` and released the condition to wait."""
    with condition:
        assert condition.wait_for(lambda: len(waiting) == count, LONG)


class RuntimeContract:
    """The suite; a subclass gives the fixture ``runtime``."""

    # --- the condition as a lock --------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "use",
        [lambda c: c.wait(0), lambda c: c.wait(), lambda c: c.wait_for(lambda: True), lambda c: c.notify_all()],
        ids=["wait", "wait_forever", "wait_for", "notify_all"],
    )
    def test_unheld_use_is_refused(self, runtime: Runtime, use: Callable[[Condition], object]) -> None:
        """Waiting and notifying need the condition to be held, and leave it usable when refused."""
        condition = runtime.condition()
        with pytest.raises(RuntimeError, match="held"):
            use(condition)
        with condition:
            assert condition.wait(0) is False

    def test_condition_held_by_another_task_is_not_held_here(self, runtime: Runtime) -> None:
        """Only the task that entered the condition may use it."""
        condition, refused = runtime.condition(), []
        gate = Gate(runtime)

        def other() -> None:
            gate.wait()
            for use in (lambda: condition.wait(0), condition.notify_all):
                try:
                    use()
                except RuntimeError as error:
                    refused.append(str(error))

        task = runtime.spawn(other, name="other")
        with condition:
            gate.open()
            # The other task may run or not while this one holds the condition; it is refused either way.
        assert task.join(LONG)
        assert len(refused) == 2

    def test_condition_excludes(self, runtime: Runtime) -> None:
        """Tasks that read and write under one condition lose no update."""
        condition = runtime.condition()
        total = [0]

        def add() -> None:
            for _ in range(200):
                with condition:
                    seen = total[0]
                    for _ in range(20):
                        seen += 1
                    total[0] = seen

        tasks = [runtime.spawn(add, name=f"add-{number}") for number in range(5)]
        assert all(task.join(LONG) for task in tasks)
        assert total == [5 * 200 * 20]

    def test_exception_in_the_block_releases_the_condition(self, runtime: Runtime) -> None:
        """An exception passes through ``with`` and leaves the condition free."""
        condition = runtime.condition()
        with pytest.raises(KeyError):
            with condition:
                raise KeyError("passes")
        entered = []

        def enter() -> None:
            with condition:
                entered.append(True)

        assert runtime.spawn(enter, name="enter").join(LONG)
        assert entered == [True]

    def test_waiting_inside_a_second_entry_is_refused(self, runtime: Runtime) -> None:
        """A condition entered twice is refused at the latest when one waits, and is usable afterwards."""
        condition = runtime.condition()
        with pytest.raises(RuntimeError):
            with condition:
                with condition:
                    condition.wait(0)
        with pytest.raises(RuntimeError, match="held"):
            condition.notify_all()
        with condition:
            assert condition.wait(0) is False

    # --- waiting ------------------------------------------------------------------------------------------------------

    def test_wait_ends_after_its_timeout(self, runtime: Runtime) -> None:
        """Without a notification ``wait`` returns False, not early, and holds the condition again."""
        condition = runtime.condition()
        with condition:
            start = runtime.monotonic()
            assert condition.wait(SHORT) is False
            assert runtime.monotonic() - start >= SHORT - EARLY
            condition.notify_all()

    @pytest.mark.parametrize("seconds", [-1.0, -math.inf, math.nan, "1", True], ids=str)
    def test_what_is_no_time_is_refused_by_name(self, runtime: Runtime, seconds: Any) -> None:
        """Waiting, joining and sleeping refuse it, and nothing has changed."""
        refused = (TypeError, ValueError)
        condition = runtime.condition()
        with condition:
            with pytest.raises(refused, match="timeout"):
                condition.wait(seconds)
            with pytest.raises(refused, match="timeout"):
                condition.wait_for(lambda: False, seconds)
            assert condition.wait(0) is False
        task = runtime.spawn(lambda: None, name="task")
        with pytest.raises(refused, match="timeout"):
            task.join(seconds)
        with pytest.raises(refused, match="seconds"):
            runtime.sleep(seconds)
        assert task.join(LONG)

    @pytest.mark.parametrize("timeout", [0, 0.0])
    def test_no_time_polls(self, runtime: Runtime, timeout: float) -> None:
        """A timeout of zero does not wait."""
        condition = runtime.condition()
        with condition:
            assert condition.wait(timeout) is False
            assert condition.wait_for(lambda: False, timeout) is False
            assert condition.wait_for(lambda: True, timeout) is True

    @pytest.mark.parametrize("timeout", [None, LONG, math.inf], ids=str)
    def test_notification_ends_a_wait(self, runtime: Runtime, timeout: float | None) -> None:
        """A notified ``wait`` returns True, whatever its timeout."""
        condition, waiting, answers = runtime.condition(), [], []

        def wait() -> None:
            with condition:
                waiting.append(1)
                condition.notify_all()
                answers.append(condition.wait(timeout))

        task = runtime.spawn(wait, name="wait")
        everyone_waits(condition, waiting, 1)
        with condition:
            condition.notify_all()
        assert task.join(LONG)
        assert answers == [True]

    def test_notification_wakes_everyone(self, runtime: Runtime) -> None:
        """All waiters wake at one ``notify_all``."""
        condition, waiting, answers, count = runtime.condition(), [], [], 4
        is_open = [False]

        def wait() -> None:
            with condition:
                waiting.append(1)
                condition.notify_all()
                answers.append(condition.wait_for(lambda: is_open[0], LONG))

        tasks = [runtime.spawn(wait, name=f"wait-{number}") for number in range(count)]
        everyone_waits(condition, waiting, count)
        with condition:
            is_open[0] = True
            condition.notify_all()
        assert all(task.join(LONG) for task in tasks)
        assert answers == [True] * count

    def test_notification_with_nobody_waiting_is_not_kept(self, runtime: Runtime) -> None:
        """A notification wakes those who wait now, not those who wait later."""
        condition = runtime.condition()
        with condition:
            condition.notify_all()
            assert condition.wait(SHORT) is False

    def test_timed_out_waiter_leaves_nothing_behind(self, runtime: Runtime) -> None:
        """After a time-out the next waits and notifications behave as the first."""
        condition, waiting, answers = runtime.condition(), [], []
        with condition:
            for _ in range(3):
                assert condition.wait(SHORT / 10) is False
            condition.notify_all()
            assert condition.wait(SHORT / 10) is False

        def wait() -> None:
            with condition:
                waiting.append(1)
                condition.notify_all()
                answers.append(condition.wait(LONG))

        task = runtime.spawn(wait, name="wait")
        everyone_waits(condition, waiting, 1)
        with condition:
            condition.notify_all()
        assert task.join(LONG)
        assert answers == [True]

    def test_wait_lets_others_enter(self, runtime: Runtime) -> None:
        """While one waits another may hold the condition, and the waiter returns only after it let go."""
        condition, waiting, order = runtime.condition(), [], []

        def wait() -> None:
            with condition:
                waiting.append(1)
                condition.notify_all()
                condition.wait(LONG)
                order.append("woken")

        task = runtime.spawn(wait, name="wait")
        everyone_waits(condition, waiting, 1)
        with condition:
            condition.notify_all()
            order.append("notified")
        assert task.join(LONG)
        assert order == ["notified", "woken"]

    def test_wait_for_returns_when_the_predicate_holds(self, runtime: Runtime) -> None:
        """A predicate made true by another task ends the wait; notifications before that do not."""
        condition, number = runtime.condition(), [0]

        def count() -> None:
            for _ in range(3):
                runtime.sleep(SHORT / 4)
                with condition:
                    number[0] += 1
                    condition.notify_all()

        task = runtime.spawn(count, name="count")
        with condition:
            assert condition.wait_for(lambda: number[0] == 3) is True
            assert number == [3]
        assert task.join(LONG)

    def test_wait_for_gives_up_although_notified(self, runtime: Runtime) -> None:
        """Notifications that do not make the predicate true do not prolong the wait."""
        condition, stop = runtime.condition(), []

        def disturb() -> None:
            while not stop:
                runtime.sleep(SHORT / 10)
                with condition:
                    condition.notify_all()

        task = runtime.spawn(disturb, name="disturb")
        start = runtime.monotonic()
        with condition:
            assert condition.wait_for(lambda: False, SHORT) is False
        assert runtime.monotonic() - start >= SHORT - EARLY
        stop.append(True)
        assert task.join(LONG)

    def test_failing_predicate_passes_its_exception(self, runtime: Runtime) -> None:
        """An exception of the predicate leaves ``wait_for``, with the condition held until the block ends."""
        condition = runtime.condition()
        with condition:
            with pytest.raises(ZeroDivisionError):
                condition.wait_for(lambda: bool(1 // 0), LONG)
            condition.notify_all()

    def test_tasks_hand_a_token_back_and_forth(self, runtime: Runtime) -> None:
        """Two tasks that alternate through one condition never miss a turn."""
        condition, turn, log = runtime.condition(), [0], []

        def play(me: int) -> None:
            for _ in range(100):
                with condition:
                    assert condition.wait_for(lambda: turn[0] == me, LONG)
                    log.append(me)
                    turn[0] = 1 - me
                    condition.notify_all()

        tasks = [runtime.spawn(lambda me=me: play(me), name=f"player-{me}") for me in (0, 1)]
        assert all(task.join(LONG) for task in tasks)
        assert log == [0, 1] * 100

    # --- tasks --------------------------------------------------------------------------------------------------------

    def test_task_runs_once_and_is_done(self, runtime: Runtime) -> None:
        """A task has its name, runs its target once, ends without an error, and can be joined again."""
        ran: list[int] = []
        task = runtime.spawn(lambda: ran.append(1), name="worker")
        assert task.name == "worker"
        assert task.join(LONG) is True
        assert (ran, task.is_done, task.error) == ([1], True, None)
        assert task.join(0) is True
        assert task.join() is True

    def test_join_gives_up_after_its_timeout(self, runtime: Runtime) -> None:
        """A task that goes on makes ``join`` return False, not early."""
        gate = Gate(runtime)
        task = runtime.spawn(lambda: assert_true(gate.wait()), name="patient")
        start = runtime.monotonic()
        assert task.join(0) is False
        assert task.join(SHORT) is False
        assert runtime.monotonic() - start >= SHORT - EARLY
        assert (task.is_done, task.error) == (False, None)
        gate.open()
        assert task.join(LONG) is True

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_error_of_a_task_is_kept_and_not_raised_by_join(self, runtime: Runtime) -> None:
        """What the target raised is the task's ``error``; joining only waits."""
        error = ValueError("of the task")

        def fail() -> None:
            raise error

        task = runtime.spawn(fail, name="fail")
        assert task.join(LONG) is True
        assert task.error is error
        assert task.is_done

    def test_several_tasks_join_one(self, runtime: Runtime) -> None:
        """Everyone who joins a task is told of its end."""
        gate, told = Gate(runtime), []
        first = runtime.spawn(lambda: assert_true(gate.wait()), name="first")
        joiners = [runtime.spawn(lambda: told.append(first.join(LONG)), name=f"joiner-{n}") for n in range(3)]
        gate.open()
        assert all(task.join(LONG) for task in joiners)
        assert told == [True] * 3

    def test_joining_oneself_is_refused(self, runtime: Runtime) -> None:
        """A task that joins itself is told so instead of waiting for ever."""
        gate, told, tasks = Gate(runtime), [], list[Task]()

        def join_myself() -> None:
            gate.wait()
            try:
                tasks[0].join(LONG)
            except WouldDeadlock as error:
                told.append(str(error))

        tasks.append(runtime.spawn(join_myself, name="narcissus"))
        gate.open()
        assert tasks[0].join(LONG)
        assert len(told) == 1
        assert "narcissus" in told[0]

    def test_tasks_spawn_tasks(self, runtime: Runtime) -> None:
        """A task may spawn and join others."""
        depth: list[int] = []

        def descend(level: int) -> None:
            depth.append(level)
            if level < 3:
                assert runtime.spawn(lambda: descend(level + 1), name=f"level-{level + 1}").join(LONG)

        descend(0)
        assert depth == [0, 1, 2, 3]

    def test_current_names_the_task(self, runtime: Runtime) -> None:
        """``current`` is the same within a task and different in tasks that live at once."""
        gate, seen = Gate(runtime), {}

        def look(name: str) -> None:
            before = runtime.current()
            gate.wait()
            seen[name] = (before, runtime.current())

        tasks = [runtime.spawn(lambda name=name: look(name), name=name) for name in "abc"]
        gate.open()
        assert all(task.join(LONG) for task in tasks)
        assert all(before == after for before, after in seen.values())

        everyone = {before for before, _ in seen.values()} | {runtime.current()}
        assert runtime.current() == runtime.current()
        assert runtime.current() not in {before for before, _ in seen.values()}
        assert len(everyone) == 4

    # --- time and chance ----------------------------------------------------------------------------------------------

    def test_sleep_lasts_at_least_as_long_as_asked(self, runtime: Runtime) -> None:
        """The clock advances by the time slept."""
        start = runtime.monotonic()
        runtime.sleep(SHORT)
        assert runtime.monotonic() - start >= SHORT - EARLY

    @pytest.mark.parametrize("seconds", [0, 0.0])
    def test_sleeping_no_time_returns(self, runtime: Runtime, seconds: float) -> None:
        """Zero only yields."""
        task = runtime.spawn(lambda: runtime.sleep(seconds), name="sleep")
        assert task.join(LONG)
        assert task.error is None

    def test_clocks_do_not_go_back(self, runtime: Runtime) -> None:
        """Both clocks are floats; the monotonic one never decreases."""
        readings = [runtime.monotonic() for _ in range(100)]
        assert readings == sorted(readings)
        assert all(isinstance(reading, float) for reading in [*readings, runtime.wall()])
        assert runtime.wall() > 1.5e9  # July 2017

    def test_random_streams_are_one_per_name(self, runtime: Runtime) -> None:
        """A name always gives the same stream, whose numbers differ from another's."""
        jitter = runtime.random("jitter")
        assert isinstance(jitter, Random)
        assert runtime.random("jitter") is jitter
        assert [jitter.random() for _ in range(4)] != [runtime.random("other").random() for _ in range(4)]

    def test_entropy_has_the_size_asked_for(self, runtime: Runtime) -> None:
        """Two draws of entropy differ."""
        assert [len(runtime.entropy(size)) for size in (0, 1, 4, 33)] == [0, 1, 4, 33]
        assert runtime.entropy(16) != runtime.entropy(16)

    def test_main_program_is_not_exiting(self, runtime: Runtime) -> None:
        """Before its end, a program is not ending; neither in a task."""
        seen = [runtime.is_exiting()]
        assert runtime.spawn(lambda: seen.append(runtime.is_exiting()), name="look").join(LONG)
        assert seen == [False, False]


def assert_true(value: bool) -> None:
    """Fail unless ``value`` is true: a lambda cannot assert."""
    assert value
