"""`ThreadRuntime` where it meets the operating system: Ctrl-C, the end of the interpreter, the real clock.

What ends a process or interrupts it runs in a process of its own. The rest of the contract is in ``tests/contract``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from meshsync.runtime.threads import ThreadCondition, ThreadRuntime, ThreadTask
from tests.support.effort import calls_of
from tests.support.waiting import await_waiters, waiters_at

ROOT = Path(__file__).parents[2]
INTERRUPTS = """
import _thread, os, signal, sys, threading, time
from meshsync.runtime.threads import ThreadCondition, ThreadRuntime

def await_waiting():
    # Return when the main thread waits in a function of meshsync, in two looks 50 ms apart.
    seen = 0
    while seen < 2:
        frame = sys._current_frames()[threading.main_thread().ident]
        is_waiting = frame.f_code.co_name in ("wait", "_acquire_heeding_signals", "sleep")
        seen = seen + 1 if is_waiting else 0
        time.sleep(0.05)

def interrupt_waiting():
    # Send the process Ctrl-C when its main thread waits.
    def strike():
        await_waiting()
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=strike, daemon=True).start()
"""
posix = pytest.mark.skipif(os.name != "posix", reason="sends itself signals")


def run(script: str, timeout: float = 50.0) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter that finds this checkout, and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTS + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


@posix
@pytest.mark.parametrize("timeout", ["None", "1000"])
def test_interrupt_ends_a_wait_and_leaves_the_condition_held(timeout: str) -> None:
    """Ctrl-C raises out of ``wait`` with the condition held, the waiter gone and everything usable."""
    outcome = run(f"""
        condition = ThreadCondition()
        interrupt_waiting()
        with condition:
            try:
                condition.wait({timeout})
            except KeyboardInterrupt:
                print("interrupted", condition._is_owned(), condition._waiters)
            condition.notify_all()
            print(condition.wait(0.01))
        print(condition._is_owned())
    """)
    assert outcome.stdout.split("\n") == ["interrupted True []", "False", "False", ""], outcome.stderr


@posix
@pytest.mark.parametrize("timeout", ["None", "1000"])
def test_interrupt_that_another_thread_received_still_ends_a_wait(timeout: str) -> None:
    """A signal that interrupts no system call of the main thread, as one that came just before it, is heeded soon."""
    outcome = run(f"""
        def strike():
            await_waiting()
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            time.sleep(1000)
        threading.Thread(target=strike, daemon=True).start()
        condition = ThreadCondition()
        with condition:
            try:
                condition.wait({timeout})
            except KeyboardInterrupt:
                print("interrupted")
    """)
    assert outcome.stdout == "interrupted\n", outcome.stderr


@posix
def test_interrupt_waits_until_the_condition_is_free_again() -> None:
    """An interrupted waiter returns only once it holds the condition, which another task has meanwhile."""
    outcome = run("""
        condition, order = ThreadCondition(), []
        def hold():
            with condition:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
                order.append("released")
        with condition:
            holder = ThreadRuntime().spawn(hold, name="hold")
            try:
                condition.wait()
            except KeyboardInterrupt:
                order.append("interrupted")
                print(condition._is_owned())
        print(order, condition._is_owned(), holder.join(30))
    """)
    assert outcome.stdout == "True\n['released', 'interrupted'] False True\n", outcome.stderr


@posix
@pytest.mark.parametrize("call", ["runtime.sleep(1000)", "task.join()", "task.join(1000)"])
def test_interrupt_ends_sleeping_and_joining(call: str) -> None:
    """Ctrl-C raises out of ``sleep`` and ``join``, and the task can be joined afterwards."""
    outcome = run(f"""
        runtime, gate = ThreadRuntime(), threading.Event()
        task = runtime.spawn(lambda: gate.wait() and None, name="waits")
        interrupt_waiting()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", task.join(0))
        gate.set()
        print(task.join(30))
    """)
    assert outcome.stdout == "interrupted False\nTrue\n", outcome.stderr


@posix
def test_hail_of_interrupts_never_leaves_the_condition_held() -> None:
    """Two hundred interrupts at arbitrary instructions tear neither entering, leaving, waiting nor notifying."""
    outcome = run("""
        import random
        condition, draw = ThreadCondition(), random.Random(7)
        seen = 0
        def answer():
            while True:
                with condition:
                    condition.notify_all()
                    condition.wait(0.0005)
        ThreadRuntime().spawn(answer, name="answer")
        def hail():
            while True:
                time.sleep(draw.random() * 0.002)
                _thread.interrupt_main()
        armed = False
        def handler(number, frame):
            if armed:
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        ThreadRuntime().spawn(hail, name="hail")
        while seen < 200:
            try:
                armed = True
                while True:
                    with condition:
                        condition.notify_all()
                        condition.wait(0.0003)
                    for _ in range(20):
                        with condition:
                            condition.notify_all()
                            condition.wait(0)
            except KeyboardInterrupt:
                armed = False
                seen += 1
                assert not condition._is_owned(), f"held after interrupt {seen}"
        with condition:
            condition.notify_all()
        print(condition._is_owned())
    """)
    assert outcome.stdout == "False\n", (outcome.stdout, outcome.stderr)


class InterruptAfterCall:
    """Raises `KeyboardInterrupt` when the n-th call made by a method of the condition returns, as Ctrl-C would.

    Python handles signals there and at backward jumps, nowhere else, so counting through the calls tries every place.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self.codes = {getattr(ThreadCondition, name).__code__ for name in ("wait", "_withdraw", "notify_all")}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "c_return" and frame.f_code in self.codes:
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


def interrupted(condition: ThreadCondition, number: int, use: Callable[[], object]) -> bool:
    """Run ``use`` holding the condition, interrupt it after its n-th call; return whether there were so many."""
    sys.setprofile(InterruptAfterCall(number))
    try:
        with condition:
            use()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def sleepers(condition: ThreadCondition, count: int) -> list[ThreadTask]:
    """Start tasks that wait on the condition once, and return when all of them do."""

    def sleep() -> None:
        with condition:
            condition.wait()

    tasks = [ThreadTask(sleep, f"sleeper-{number}") for number in range(count)]
    await_waiters(condition, count)
    return tasks


@pytest.mark.parametrize("timeout", [None, 0.01, 0])
def test_wait_interrupted_anywhere_leaves_the_condition_free(timeout: float | None) -> None:
    """Whichever call inside ``wait`` is the last before Ctrl-C, the block ends released and the next waits work."""
    number = 0
    while True:
        number += 1
        condition = ThreadCondition()
        timer = threading.Timer(0.01, notify, [condition])
        if timeout is None:
            timer.start()
        was_interrupted = interrupted(condition, number, partial(condition.wait, timeout))
        assert not condition._is_owned(), f"held after call {number}"
        assert waiters_at(condition) <= 1
        timer.cancel()
        (task,) = sleepers_after(condition)
        notify(condition)
        assert task.join(30), f"not woken after call {number}"
        assert waiters_at(condition) == 0
        if not was_interrupted:
            break
    assert number > 5


@pytest.mark.parametrize("count", [1, 5])
def test_notify_interrupted_anywhere_wakes_all_or_none(count: int) -> None:
    """Whichever call inside ``notify_all`` is the last before Ctrl-C, either every waiter was woken or none."""
    number = 0
    while True:
        number += 1
        condition = ThreadCondition()
        tasks = sleepers(condition, count)
        was_interrupted = interrupted(condition, number, condition.notify_all)
        with condition:
            asleep = waiters_at(condition)
        assert asleep in (0, count), f"{asleep} of {count} left asleep after call {number}"
        notify(condition)
        assert all(task.join(30) for task in tasks), f"lost after call {number}"
        if not was_interrupted:
            break
    assert number > 2


def notify(condition: ThreadCondition) -> None:
    """Wake everyone."""
    with condition:
        condition.notify_all()


def sleepers_after(condition: ThreadCondition) -> list[ThreadTask]:
    """Start one task that waits on a condition which an interrupted waiter may have left its waiter on."""
    with condition:
        condition._waiters.clear()
    return sleepers(condition, 1)


def test_program_is_exiting_in_handlers_of_atexit_and_not_before() -> None:
    """``is_exiting`` turns true when the main program and every thread that prolongs it have ended."""
    outcome = run("""
        import atexit
        runtime = ThreadRuntime()
        atexit.register(lambda: print("atexit", runtime.is_exiting()))
        def outlive():
            threading.main_thread().join()
            print("outlives", runtime.is_exiting())
        threading.Thread(target=outlive).start()
        print("main", runtime.is_exiting())
    """)
    assert outcome.stdout == "main False\noutlives False\natexit True\n", outcome.stderr


def test_running_task_does_not_keep_the_process() -> None:
    """A program ends although a task of it waits for ever."""
    outcome = run("""
        condition = ThreadCondition()
        def wait():
            with condition:
                condition.wait()
        print(ThreadRuntime().spawn(wait, name="for ever").is_done)
    """)
    assert (outcome.returncode, outcome.stdout) == (0, "False\n"), outcome.stderr


def test_failure_of_a_task_is_printed() -> None:
    """A task that fails says so on the standard error stream, with its name, though no task looks at it."""
    outcome = run("""
        def fail():
            raise ValueError("unseen")
        print(ThreadRuntime().spawn(fail, name="culprit").join(30))
    """)
    assert outcome.stdout == "True\n"
    assert "ValueError: unseen" in outcome.stderr
    assert "culprit" in outcome.stderr


def test_waiters_of_one_condition_sleep_without_using_the_processor() -> None:
    """A wait is no polling loop: each of ten threads that wait half a second makes a few calls and no more."""
    condition = ThreadCondition()
    counts: list[int] = []

    def wait() -> None:
        with condition:
            condition.wait(0.5)

    threads = [threading.Thread(target=lambda: counts.append(calls_of(wait))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 10
    assert max(counts) < 100


def test_spawned_task_is_a_daemon_thread_of_its_name() -> None:
    """What a runtime spawns can be found among the process's threads."""
    runtime, gate, before = ThreadRuntime(), threading.Event(), set(threading.enumerate())
    task = runtime.spawn(lambda: assert_set(gate), name="findable")
    (thread,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "findable"]
    assert thread.daemon
    gate.set()
    assert task.join(30)


def assert_set(gate: threading.Event) -> None:
    """Fail unless the event is set soon."""
    assert gate.wait(30)


def test_ctrl_c_that_the_library_turns_into_another_error_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the wait of `Thread.start`, a lock is then released twice: not for want of threads."""

    def start_interrupted(thread: threading.Thread) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    monkeypatch.setattr("meshsync.runtime.threads._start_thread", start_interrupted)
    with pytest.raises(KeyboardInterrupt):
        ThreadRuntime().spawn(lambda: None, name="struck")
