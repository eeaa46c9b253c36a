"""docs/virtual-time.md: its programs run, and what its table says of each row is so."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import inspect
import logging
import os
import queue
import random
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from time import sleep
from typing import Any

import pytest

import meshsync
from simulator import Simulation, participants
from simulator.errors import ActorFailed, BlockingRefused, WorldStalled
from tests.support.worlds import simulated

PAGE = (Path(__file__).parents[2] / "docs" / "virtual-time.md").read_text(encoding="utf-8")
OLD_LOCK = threading.Lock()
TICK = 0.02
"""Real seconds for which each misuse waits."""


def blocks() -> list[tuple[str, str]]:
    """Return the programs of the page, each with the output that stands below it."""
    return re.findall(r"^```python\n(.*?)^```\n+^```text\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("program", "output"), blocks(), ids=["lock", "event"])
def test_program_of_the_page_prints_what_the_page_shows(
    program: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there."""
    exec(compile(program, "docs/virtual-time.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == output


# --- the rows of the table --------------------------------------------------------------------------------------------


def wait_for_an_event() -> None:
    """Wait for an event."""
    threading.Event().wait(TICK)


def wait_on_a_condition() -> None:
    """Wait on a condition."""
    condition = threading.Condition()
    with condition:
        condition.wait_for(lambda: False, TICK)


def wait_at_a_barrier() -> None:
    """Wait at a barrier."""
    threading.Barrier(2).wait(TICK)


def wait_for_a_semaphore() -> None:
    """Wait for a semaphore."""
    threading.Semaphore(0).acquire(timeout=TICK)


def wait_for_a_lock() -> None:
    """Wait for a lock."""
    lock = threading.Lock()
    with lock:
        lock.acquire(timeout=TICK)


def wait_for_a_lock_imported_by_name() -> None:
    """Wait for a lock imported by name."""
    lock = Lock()
    lock.acquire()
    lock.acquire(True, TICK)


def wait_for_a_reentrant_lock() -> None:
    """Wait for a reentrant lock."""
    lock = threading.RLock()
    meshsync.spawn(lambda: lock.acquire() and meshsync.sleep(9))
    meshsync.sleep(1)
    lock.acquire(timeout=TICK)


def wait_for_an_item() -> None:
    """Wait for an item."""
    queue.Queue().get(timeout=TICK)


def wait_for_room() -> None:
    """Wait for room."""
    full: queue.PriorityQueue[int] = queue.PriorityQueue(1)
    full.put(1)
    full.put(2, timeout=TICK)


def wait_at_a_simple_queue() -> None:
    """Wait at a simple queue."""
    queue.SimpleQueue().get(timeout=TICK)


def wait_at_a_simple_queue_imported_by_name() -> None:
    """Wait at a simple queue imported by name."""
    SimpleQueue().get(True, TICK)


def wait_for_a_future() -> None:
    """Wait for a future."""
    concurrent.futures.Future().result(timeout=TICK)


def wait_for_futures() -> None:
    """Wait for futures."""
    concurrent.futures.wait([concurrent.futures.Future()], timeout=TICK)


def wait_in_an_event_loop() -> None:
    """Wait in an event loop."""
    asyncio.run(asyncio.sleep(TICK))


def sleep_for_real() -> None:
    """Sleep for real."""
    time.sleep(TICK)


def sleep_by_an_imported_name() -> None:
    """Sleep by an imported name."""
    sleep(TICK)


def start_a_timer() -> None:
    """Start a timer."""
    threading.Timer(3, print).start()


def swallow_the_error() -> None:
    """Swallow the error."""
    while True:
        try:
            queue.Queue().get(timeout=TICK)
        except Exception:
            meshsync.sleep(1)


def wait_for_a_lock_of_the_module() -> None:
    """Wait for a lock that is older than the simulation."""
    with OLD_LOCK:
        OLD_LOCK.acquire(timeout=TICK)


Misuse = Callable[[], None]
REFUSED: dict[str, list[tuple[Misuse, str]]] = {
    "`threading.Timer`": [(start_a_timer, "meshsync.spawn and meshsync.sleep")],
    "`threading.Event`, `Condition`, `Barrier`, `Semaphore`": [
        (wait_for_an_event, "meshsync.Event"),
        (wait_on_a_condition, "meshsync.condition"),
        (wait_at_a_barrier, "meshsync.Barrier"),
        (wait_for_a_semaphore, "meshsync.Semaphore"),
    ],
    "`threading.Lock`, `RLock`": [
        (wait_for_a_lock, "meshsync.Lock"),
        (wait_for_a_lock_imported_by_name, "meshsync.Lock"),
        (wait_for_a_lock_of_the_module, "meshsync.Lock"),
        (wait_for_a_reentrant_lock, "meshsync.RLock"),
    ],
    "`queue.Queue`, `LifoQueue`, `PriorityQueue`, `SimpleQueue`": [
        (wait_for_an_item, "meshsync.Queue"),
        (wait_for_room, "meshsync.Queue"),
        (wait_at_a_simple_queue, "meshsync.Queue"),
        (wait_at_a_simple_queue_imported_by_name, "meshsync.Queue"),
        (swallow_the_error, "meshsync.Queue"),
    ],
    "`concurrent.futures`": [
        (wait_for_a_future, "meshsync.spawn and meshsync.Queue"),
        (wait_for_futures, "meshsync.Event"),
    ],
    "`asyncio`, `selectors`": [(wait_in_an_event_loop, "meshsync.sleep, outside of asyncio")],
    "`time.sleep`": [(sleep_for_real, "meshsync.sleep"), (sleep_by_an_imported_name, "meshsync.sleep")],
}


@pytest.mark.parametrize(("misuse", "portable"), [pair for row in REFUSED.values() for pair in row])
def test_real_wait_that_runs_out_is_refused(misuse: Misuse, portable: str) -> None:
    """In the thread that made the simulation, with the line and what to write instead."""
    with pytest.raises(BlockingRefused) as caught, simulated() as sim:
        sim.spawn(misuse)
        sim.sleep(60)
    lines, first = inspect.getsourcelines(misuse)
    place = re.search(rf"{re.escape(__file__)}:(\d+) in {misuse.__name__}", str(caught.value))
    assert place is not None
    assert first < int(place[1]) < first + len(lines)
    assert f" is {portable}, see docs/virtual-time.md" in str(caught.value)


def threads_are_virtual(sim: Simulation) -> None:
    """A thread that sleeps for an hour is joined an hour later."""
    thread = threading.Thread(target=meshsync.sleep, args=(3600,))
    thread.start()
    thread.join()
    assert sim.now == 3600


def clocks_are_real(sim: Simulation) -> None:
    """Neither moves with virtual time."""
    before = time.time(), time.monotonic()
    meshsync.sleep(3600)
    assert time.time() - before[0] < 3000
    assert time.monotonic() - before[1] < 3000
    assert meshsync.monotonic() == 3600


def dates_are_real(sim: Simulation) -> None:
    """They do not move with virtual time."""
    before = datetime.datetime.now(datetime.timezone.utc)
    meshsync.sleep(86_400)
    assert datetime.datetime.now(datetime.timezone.utc) - before < datetime.timedelta(hours=20)


def chance_is_the_process_s(sim: Simulation) -> None:
    """It does not follow from the seed, and a generator of the program does."""
    assert len({uuid.uuid4() for _ in range(9)} | {os.urandom(16) for _ in range(9)}) == 18
    state = random.getstate()
    with_seed = random.Random(sim.seed).random()
    assert random.Random(sim.seed).random() == with_seed
    assert random.getstate() == state


def logs_work(sim: Simulation) -> None:
    """Their times are real."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("a program")
    logger.addHandler(handler)
    try:
        logger.error("said")
    finally:
        logger.removeHandler(handler)
    assert abs(records[0].created - time.time()) < 3000


def sockets_are_real(sim: Simulation) -> None:
    """They work, and virtual time stands still."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(TICK)
        with pytest.raises(TimeoutError):
            one.recv(1)
        other.send(b"x")
        assert one.recv(1) == b"x"
    assert sim.now == 0


def processes_are_real(sim: Simulation) -> None:
    """Their time limits are, too: Python polls with `time.sleep`, and that is no sleep of the program's."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=TICK)
        process.communicate(b"\n", timeout=30)
    done = subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True, timeout=30, check=True)
    assert (done.stdout.strip(), sim.now) == (b"5", 0)


OTHERS: dict[str, tuple[str, Callable[[Simulation], None]]] = {
    "`threading.Thread`": ("virtual", threads_are_virtual),
    "`time.time`, `time.monotonic`": ("left alone", clocks_are_real),
    "`datetime`": ("left alone", dates_are_real),
    "`random`, `uuid`, `os.urandom`": ("left alone", chance_is_the_process_s),
    "`logging`": ("left alone", logs_work),
    "`socket`": ("left alone", sockets_are_real),
    "`subprocess`": ("left alone", processes_are_real),
}


@pytest.mark.parametrize("row", [row for _, row in OTHERS.values()])
def test_what_is_virtual_or_left_alone_works(row: Callable[[Simulation], None]) -> None:
    """In a task as in the thread that made the simulation."""
    with simulated() as sim:
        row(sim)
    with simulated() as sim:
        sim.spawn(row, sim).join()


def test_the_table_has_these_rows() -> None:
    """Each row of the page has its test here, of what it says."""
    rows = dict(re.findall(r"^\| (`[^|]*?`) \| (virtual|refused|left alone) \|", PAGE, flags=re.MULTILINE))
    assert rows == dict.fromkeys(REFUSED, "refused") | {row: status for row, (status, _) in OTHERS.items()}


# --- what is not refused ----------------------------------------------------------------------------------------------


def test_a_wait_that_gets_what_it_waits_for_is_left_alone() -> None:
    """No result depends on the clock then; nor where a limit is zero."""
    with concurrent.futures.ThreadPoolExecutor(1) as older:
        older.submit(abs, 1).result()
        with simulated() as sim:

            def program() -> None:
                event, items = threading.Event(), queue.SimpleQueue[int]()
                event.set()
                items.put(1)
                assert event.wait(5)
                assert items.get(timeout=5) == 1
                assert older.submit(abs, -2).result(timeout=30) == 2
                event.clear()
                assert not event.wait(0)
                time.sleep(0)
                asyncio.run(asyncio.sleep(0))
                lock = threading.Lock()
                with lock:
                    assert not lock.acquire(blocking=False)
                    assert not lock.acquire(timeout=0)

            task = sim.spawn(program)
            task.join()
            assert task.error is None


def test_a_wait_behind_the_end_is_left_alone() -> None:
    """A task that is ended may wait for real on its way out: no time is simulated any more."""
    waited: list[bool] = []

    def program() -> None:
        try:
            meshsync.sleep(60)
        finally:
            waited.append(threading.Event().wait(TICK))

    with simulated() as sim:
        sim.spawn(program)
        sim.sleep(1)
    assert waited == [False]


def test_a_wait_in_a_participant_is_refused() -> None:
    """It has no thread of its own, and time stands still in its hooks."""

    class Sleeper(participants.Participant):
        def on_start(self) -> None:
            time.sleep(TICK)

    with pytest.raises(ActorFailed, match=r"time\.sleep of 0\.02 s"), simulated() as sim:
        sim.room("demo").add(Sleeper("sleeper"))
        sim.sleep(1)


@pytest.mark.filterwarnings("ignore:ActorsRefuse:RuntimeWarning")
def test_a_pool_whose_threads_are_tasks_is_a_stall() -> None:
    """They wait for work without a limit, which only others could give them."""

    def program() -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(abs, 1).result()

    with pytest.raises(WorldStalled, match=r"takes virtual time is in docs/virtual-time\.md"):
        with simulated(stall_after=0.4) as sim:
            sim.spawn(program)
            sim.sleep(1)


def names() -> list[Any]:
    """Return what stands in Python's modules, and in this one."""
    return [
        time.sleep,
        threading.Lock,
        threading.RLock,
        queue.SimpleQueue,
        threading.Condition.wait,
        sleep,
        Lock,
        OLD_LOCK,
    ]


def test_everything_is_restored_when_the_simulation_is_closed() -> None:
    """And other threads have the real thing meanwhile."""
    before = names()
    with simulated():
        assert all(now is not then for now, then in zip(names(), before, strict=True))
        assert isinstance(before[1](), threading.Lock if isinstance(threading.Lock, type) else object)
    assert names() == before
