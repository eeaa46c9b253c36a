"""`meshsync.Lock` and its like on real threads: contention, Ctrl-C anywhere, forks, and CPython's own tests of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from types import FrameType
from typing import Any

import pytest

import meshsync

ROOT = Path(__file__).parents[2]
HELD = [meshsync.Lock, meshsync.RLock, meshsync.Semaphore]
posix = pytest.mark.skipif(os.name != "posix", reason="sends itself signals")


# --- contention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", HELD)
def test_contended_lock_excludes_and_is_fair(make: Callable[[], Any]) -> None:
    """Of four threads that do nothing else, each has it 500 times, and none has it two times more than another."""
    lock, turns, most_apart = make(), [0] * 4, 0
    begin = meshsync.Barrier(4)
    inside: list[int] = []
    violations: list[object] = []

    def work(number: int) -> None:
        nonlocal most_apart
        begin.wait(30)
        for turn in range(500):
            with lock:
                inside.append(number)
                if inside != [number]:
                    violations.append(list(inside))
                turns[number] += 1
                if 10 < turn < 490:
                    most_apart = max(most_apart, max(turns) - min(turns))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert turns == [500] * 4
    assert violations == []


def test_items_of_many_threads_come_once_and_in_order() -> None:
    """Three that put and three that get, with room for two."""
    items: meshsync.Queue[tuple[int, int]] = meshsync.Queue(2)
    got: list[list[tuple[int, int]]] = [[], [], []]

    def put(number: int) -> None:
        for turn in range(300):
            items.put((number, turn), timeout=30)

    def get(into: list[tuple[int, int]]) -> None:
        for _ in range(300):
            into.append(items.get(timeout=30))
            items.task_done()

    threads = [threading.Thread(target=put, args=(number,)) for number in range(3)]
    threads += [threading.Thread(target=get, args=(into,)) for into in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    items.join()
    assert sorted(item for into in got for item in into) == [(n, turn) for n in range(3) for turn in range(300)]
    for into in got:
        for number in range(3):
            turns = [turn for n, turn in into if n == number]
            assert turns == sorted(turns)


def test_first_use_by_many_threads_at_once_binds_once() -> None:
    """All of them lock the same lock."""
    for _ in range(200):
        lock, count = meshsync.Lock(), [0]
        begin = threading.Barrier(3)

        def work(lock: meshsync.Lock = lock, count: list[int] = count, begin: threading.Barrier = begin) -> None:
            begin.wait()
            if lock.acquire(blocking=False):
                count[0] += 1

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert count == [1]


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


class InterruptAnywhere:
    """Raises `KeyboardInterrupt` at the n-th place of the package's code at which a signal could be handled."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        # When a function returns, only Python 3.10 handles them, and the result is lost as in the program's own line.
        if event not in ("call", "c_return") or f"{os.sep}meshsync{os.sep}" not in frame.f_code.co_filename:
            return
        self.left -= 1
        if self.left == 0:
            sys.setprofile(None)
            raise KeyboardInterrupt


def interrupted(at: int, use: Callable[[], object]) -> bool:
    """Call, and interrupt it at the n-th place; return whether there were so many."""
    sys.setprofile(InterruptAnywhere(at))
    try:
        use()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def within(lock: Any) -> None:
    """Take it and leave it."""
    with lock:
        pass


def gets_in_time(lock: Any) -> None:
    """Wait for it, and get it or not."""
    if lock.acquire(timeout=0.02):
        lock.release()


def in_another_thread(use: Callable[[], object]) -> object:
    """Return what a call returns there."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(use()))
    thread.start()
    thread.join(30)
    return results[0]


@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.parametrize("make", HELD)
def test_with_interrupted_anywhere_holds_nothing(make: Callable[[], Any], is_taken: bool) -> None:
    """Whichever place it strikes, also on the way out, another thread can take it, and none is in line."""
    number, struck = 0, True
    while struck:
        number += 1
        lock = make()
        if is_taken:
            holder = threading.Thread(target=lambda lock=lock: [lock.acquire(), time.sleep(0.002), lock.release()])
            holder.start()
        struck = interrupted(number, lambda lock=lock: within(lock))
        if is_taken:
            holder.join(30)
        assert in_another_thread(lambda lock=lock: lock.acquire(timeout=5)) is True, f"held after place {number}"
    assert number > 5


@pytest.mark.parametrize("make", [meshsync.Lock, meshsync.Semaphore])
def test_waiting_in_vain_interrupted_anywhere_leaves_the_line(make: Callable[[], Any]) -> None:
    """Those behind go on."""
    number, struck = 0, True
    while struck:
        number += 1
        lock = make()
        lock.acquire()
        struck = interrupted(number, lambda lock=lock: lock.acquire(timeout=0.002))
        lock.release()
        assert in_another_thread(lambda lock=lock: lock.acquire(timeout=5)) is True, f"in line after place {number}"
    assert number > 20


def test_getting_interrupted_anywhere_loses_no_item() -> None:
    """It was returned, or it is there."""
    number, struck = 0, True
    while struck:
        number += 1
        items: meshsync.Queue[int] = meshsync.Queue()
        for item in range(3):
            items.put(item)
        got: list[int] = []
        struck = interrupted(number, lambda items=items, got=got: got.append(items.get(timeout=5)))
        while True:
            try:
                got.append(items.get_nowait())
            except Empty:
                break
        assert got == [0, 1, 2], f"after place {number}"
    assert number > 5


@pytest.mark.parametrize("wait", ["event", "queue", "barrier"])
def test_other_waits_interrupted_anywhere_can_be_used_again(wait: str) -> None:
    """No condition stays held, and no place in a line."""
    number, struck = 0, True
    while struck:
        number += 1
        event, items, barrier = meshsync.Event(), meshsync.Queue[int](), meshsync.Barrier(1)
        use: dict[str, Callable[[], object]] = {
            "event": lambda event=event: event.wait(0.001),
            "queue": lambda items=items: items.get(timeout=0.001),
            "barrier": barrier.wait,
        }
        try:
            struck = interrupted(number, use[wait])
        except Empty:
            struck = False
        event.set()
        items.put(1)
        assert in_another_thread(lambda event=event: event.wait(5)) is True
        assert in_another_thread(lambda items=items: items.get(timeout=5)) == 1
        barrier.reset()
        assert in_another_thread(barrier.wait) == 0
    assert number > 5


HAIL = """
import random, signal, sys, threading, time, meshsync
make = getattr(meshsync, sys.argv[1])
lock, chance, over = make(), random.Random(1), []
def others():
    while not over:
        with lock:
            pass
thread = threading.Thread(target=others)
thread.start()
struck = 0
def strike(*_):
    global struck
    struck += 1
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, strike)
def work():
    while True:
        with lock:
            pass
for _ in range(300):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.003))
            work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
    assert lock.acquire(timeout=20), f"held after strike {struck}"
    lock.release()
over.append(True)
thread.join(20)
print(struck >= 300, thread.is_alive())
"""


@posix
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_hail_of_interrupts_never_leaves_it_held(kind: str) -> None:
    """A timer's signals know no safe places; another thread wants it all the time."""
    done = subprocess.run(
        [sys.executable, "-c", HAIL, kind], capture_output=True, text=True, timeout=55, check=False, cwd=ROOT
    )
    assert done.stdout == "True False\n", done.stderr


# --- forks ------------------------------------------------------------------------------------------------------------

FORK = """
import os, threading, meshsync
lock, mine, event, items, inner = meshsync.Lock(), meshsync.Lock(), meshsync.Event(), meshsync.Queue(), meshsync.RLock()
event.set()
items.put(5)
mine.acquire()
threading.Thread(target=lambda: (lock.acquire(), threading.Event().wait()), daemon=True).start()
threading.Thread(target=lambda: (items.join()), daemon=True).start()
threading.Thread(target=lambda: (inner.acquire(), mine.acquire()), daemon=True).start()
while not lock.locked() or inner.acquire(blocking=False):
    pass
child = os.fork()
if not child:
    mine.release()
    told = [event.wait(5), items.get(timeout=5), lock.acquire(timeout=0.1), mine.acquire(timeout=5)]
    os._exit(0 if told == [True, 5, False, True] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_child_has_what_the_fork_found() -> None:
    """Flags and items; a lock of the thread that forked can be released, and one of another thread stays held."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=50, check=False, cwd=ROOT
    )
    assert done.stdout == "0\n", done.stderr


# --- CPython's own ----------------------------------------------------------------------------------------------------

PRIVATE = {"test_at_fork_reinit", "test__is_owned", "test_recursion_count", "test_release_save_unacquired"}
"""Tests of methods that begin with an underscore."""
OTHERWISE = {"test_repr", "test_locked_repr", "test_timeout", "test_locked_with_2threads", "test_locked"}
"""How they are printed; that ``1e100`` s overflow, where here it is for ever; what only `RLock` of 3.14 has."""
FACTORIES = {
    "LockTests": ("locktype", meshsync.Lock),
    "RLockTests": ("locktype", meshsync.RLock),
    "EventTests": ("eventtype", meshsync.Event),
    "SemaphoreTests": ("semtype", meshsync.Semaphore),
    "BarrierTests": ("barriertype", meshsync.Barrier),
}


@pytest.mark.parametrize("name", list(FACTORIES))
def test_cpythons_tests_of_its_own_pass(name: str) -> None:
    """What its developers test of `threading`, in the release that runs this."""
    lock_tests = pytest.importorskip("test.lock_tests")
    attribute, make = FACTORIES[name]
    kind = type(name, (getattr(lock_tests, name),), {attribute: staticmethod(make)})
    suite = unittest.TestSuite(
        test
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(kind)
        if test.id().rpartition(".")[2] not in PRIVATE | OTHERWISE
    )
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 3
    assert [str(test) + text for test, text in result.failures + result.errors] == []
