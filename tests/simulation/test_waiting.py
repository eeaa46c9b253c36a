"""Locks, events and queues of whole programs on virtual time: held across calls, reported, released, begun anew."""

from __future__ import annotations

import inspect
import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import meshsync
from meshsync import RoomMessageEvent
from meshsync.errors import UsageError
from meshsync.runtime.interfaces import TaskExit
from simulator import Simulation, participants
from simulator.errors import BlockingRefused, SimulationDeadlock
from tests.support.worlds import simulated

LOCK, READY, ITEMS, GATE = meshsync.Lock(), meshsync.Event(), meshsync.Queue[int](), meshsync.Barrier(2)
HELD = [meshsync.Lock, meshsync.RLock, meshsync.Semaphore]


def line_of(function: Callable[..., object], text: str) -> str:
    """Return where in this file a function says something, as errors name it."""
    lines, first = inspect.getsourcelines(function)
    number = next(number for number, line in enumerate(lines, first) if text in line)
    return f"{__file__}:{number} in {function.__name__}"


# --- held across calls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct", "late"])
@pytest.mark.parametrize("make", [*HELD, lambda: LOCK])
def test_lock_is_held_across_requests(make: Callable[[], Any], schedule: str) -> None:
    """A request and its answer of 100 ms each, one at a time, whichever order the tasks take."""
    lock, order = make(), list[str]()

    def client(room: meshsync.RoomClient, name: str) -> None:
        for _ in range(2):
            with lock:
                order.append(f"{name} enters")
                room.messaging.broadcast_message("memo", {})
                order.append(f"{name} leaves")

    with simulated(latency=0.05, schedule=schedule) as sim:
        room = sim.room("demo").join("alice", enable=True)
        began = sim.now
        for task in [sim.spawn(client, room, name) for name in ("one", "two", "three")]:
            task.join()
        assert sim.now - began >= 0.6 - 1e-9
    assert [text.split()[0] for text in order[::2]] == [text.split()[0] for text in order[1::2]]
    assert [text.split()[1] for text in order] == ["enters", "leaves"] * 6


def test_queue_passes_from_a_receiver_to_a_task() -> None:
    """The receiver runs on the client's own task."""
    inbox: meshsync.Queue[str] = meshsync.Queue()
    with simulated(latency=0.05) as sim:
        alice, bob = (sim.room("demo").join(name, enable=True) for name in ("alice", "bob"))

        @bob.messaging.on_message("memo")
        def receive(event: RoomMessageEvent) -> None:
            inbox.put(event.message.message["text"])

        peer = alice.messaging.wait_for_participant(name="bob")
        sim.spawn(alice.messaging.send_message, peer, "memo", {"text": "hi"})
        began = sim.now
        assert inbox.get(timeout=5) == "hi"
        assert round(sim.now - began, 9) == 0.1
        with pytest.raises(queue.Empty):
            inbox.get(timeout=5)
        assert round(sim.now - began, 9) == 5.1


def test_item_belongs_to_the_first_in_line() -> None:
    """One who comes when it is there, and before the first has had a turn, does not get it."""
    got: list[int] = []
    with simulated() as sim:
        sim.spawn(lambda: got.append(ITEMS.get()))
        sim.sleep(1)
        ITEMS.put(1)
        with pytest.raises(queue.Empty):
            ITEMS.get_nowait()
        sim.sleep(1)
    assert got == [1]


def test_same_program_gives_the_same_run() -> None:
    """Waiting in line is part of what follows from the seed."""

    def digest() -> str:
        with simulated(3, latency=0.05, schedule="random") as sim:
            room = sim.room("demo")

            def client(name: str) -> None:
                member = room.join(name, enable=True)
                for number in range(3):
                    with LOCK:
                        member.messaging.broadcast_message("memo", {"n": number})

            for name in ("a", "b", "c"):
                sim.spawn(client, name)
            sim.sleep(60)
        return room.transcript.digest()

    assert digest() == digest()


def test_inside_a_condition_a_lock_that_is_taken_is_refused() -> None:
    """Waiting for it would keep all others out of the condition."""
    with simulated() as sim:
        sim.spawn(LOCK.acquire)
        sim.sleep(1)
        with pytest.raises(BlockingRefused, match="while holding another condition"), meshsync.condition():
            LOCK.acquire()


# --- begun anew -------------------------------------------------------------------------------------------------------


def leaves_everything_behind() -> None:
    """Take and fill what the module has, and end."""
    LOCK.acquire()
    READY.set()
    ITEMS.put(1)
    GATE.abort()


def test_objects_of_a_module_begin_anew_in_each_run() -> None:
    """In the next simulation and in the real world; what the real world had is there again."""
    ITEMS.put(7)
    for _ in range(2):
        with simulated() as sim:
            assert LOCK.acquire(blocking=False)
            LOCK.release()
            assert (READY.is_set(), ITEMS.qsize(), GATE.broken) == (False, 0, False)
            sim.spawn(leaves_everything_behind).join()
            assert not LOCK.acquire(timeout=5)
            assert (READY.is_set(), ITEMS.qsize(), GATE.broken) == (True, 1, True)
        assert not LOCK.locked()
        assert (READY.is_set(), GATE.broken) == (False, False)
    assert ITEMS.get_nowait() == 7


def test_waiting_in_line_when_the_simulation_ends_leaves_nothing() -> None:
    """Neither a holder nor a place in the line is there in the next run."""

    def holds() -> None:
        with LOCK:
            meshsync.sleep(100)

    for _ in range(3):
        with simulated() as sim:
            tasks = [sim.spawn(holds) for _ in range(3)]
            sim.sleep(1)
            assert LOCK.locked()
        assert all(isinstance(task.error, TaskExit) for task in tasks)
        with LOCK:
            pass


def test_thread_without_a_world_is_refused_while_a_simulation_is_open() -> None:
    """It would share the lock with nobody."""
    errors: list[BaseException] = []
    start = threading.Semaphore(0)

    def stranger() -> None:
        start.acquire()
        try:
            LOCK.acquire()
        except UsageError as error:
            errors.append(error)

    thread = threading.Thread(target=stranger)
    thread.start()
    with simulated():
        start.release()
        thread.join(20)
    assert len(errors) == 1
    assert not LOCK.locked()


# --- reported ---------------------------------------------------------------------------------------------------------


def takes_both(first: Any, second: Any) -> None:
    """Take two locks in an order of its own."""
    with first:
        meshsync.sleep(1)
        with second:
            pass


@pytest.mark.parametrize("make", HELD)
def test_deadlock_names_the_object_its_holder_and_the_line(make: Callable[[], Any]) -> None:
    """Where it was made, who has it, and where that one took it."""
    with pytest.raises(SimulationDeadlock) as caught, simulated() as sim:
        left, right = make(), make()
        tasks = [sim.spawn(takes_both, left, right, name="one"), sim.spawn(takes_both, right, left, name="two")]
        tasks[0].join()
    place = line_of(takes_both, "with first")
    for waiting, holding in (("one", "two"), ("two", "one")):
        assert f"actor '{waiting}' waits for the {type(left).__name__} of {__file__}:" in str(caught.value)
        assert f", held by '{holding}' since {place}, without a time limit" in str(caught.value)


def test_deadlock_names_a_holder_that_has_ended() -> None:
    """Which is the mistake, then."""
    with pytest.raises(SimulationDeadlock) as caught, simulated() as sim:
        sim.spawn(leaves_everything_behind).join()
        LOCK.acquire()
    place = line_of(leaves_everything_behind, "LOCK.acquire")
    assert f", held by 'leaves_everything_behind', which has ended, since {place}" in str(caught.value)


def test_deadlock_names_each_holder_of_a_semaphore_that_has_not_released_it() -> None:
    """A task that releases gives back its own permit, whoever took one first or last."""
    semaphore = meshsync.Semaphore(2)

    def keeps() -> None:
        semaphore.acquire()
        LOCK.acquire()

    with pytest.raises(SimulationDeadlock) as caught, simulated() as sim:
        with semaphore:
            LOCK.acquire()
            sim.spawn(keeps)
            sim.sleep(1)
        semaphore.acquire()
        semaphore.acquire()
    (report,) = [line for line in str(caught.value).splitlines() if "actor 'main'" in line]
    assert report.count("held by") == 2
    assert "held by 'keeps' since" in report
    assert "held by 'main' since" in report


def test_lock_that_is_acquired_twice_is_reported() -> None:
    """The holder is the one that waits."""
    with pytest.raises(SimulationDeadlock, match=r"actor 'main' waits for the Lock of .*, held by 'main' since"):
        with simulated(), LOCK:
            LOCK.acquire()


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (READY.wait, "waits for the Event of .* to be set, without a time limit"),
        (ITEMS.get, "waits at the Queue of .*, without a time limit"),
        (lambda: (ITEMS.put(1), ITEMS.join()), "waits until all that was put into the Queue of .* is done"),
        (GATE.wait, "waits for all 2 at the Barrier of .*, without a time limit"),
    ],
)
def test_deadlock_names_what_is_awaited(wait: Callable[[], object], text: str) -> None:
    """Events, queues and barriers, and where they were made."""
    with pytest.raises(SimulationDeadlock, match=text), simulated():
        wait()


# --- released ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", HELD)
def test_what_a_task_held_is_released_by_force(make: Callable[[], Any]) -> None:
    """The next in line has it at once, and the report says what it was and where it was taken."""
    lock, log = make(), list[tuple[str, float]]()
    with simulated() as sim:

        def holds() -> None:
            with lock, LOCK:
                meshsync.sleep(1000)

        def waits(name: str) -> None:
            lock.acquire()
            log.append((name, sim.now))
            meshsync.sleep(1)
            lock.release()

        sim.spawn(holds)
        sim.sleep(1)
        for name in ("first", "second", "third"):
            sim.spawn(waits, name, name=name)
            sim.sleep(1)
        assert [one.what.split()[1] for one in _end(sim, "holds")] == [type(lock).__name__, "Lock"]
        assert _end(sim, "holds") == ()
        assert _end(sim, "second") == ()  # It stands in the line, and nothing is handed to it.
        sim.sleep(10)
        assert not LOCK.locked()
    assert log == [("first", 4.0), ("third", 5.0)]


def _end(sim: Simulation, name: str) -> tuple[Any, ...]:
    """Release what a task holds, as for one that is ended by force."""
    (actor,) = (one for one in sim.runtime._scheduler.actors.values() if one.label == name)
    held = sim.runtime.holdings.release_all(actor.serial)
    assert all(one.since.startswith(f"{__file__}:") for one in held)
    return held


def test_one_who_waits_at_a_queue_is_taken_out_by_force() -> None:
    """The item goes to the next one."""
    got: list[str] = []
    with simulated() as sim:
        for name in ("first", "second"):
            sim.spawn(lambda name=name: (ITEMS.get(), got.append(name)), name=name)
            sim.sleep(1)
        assert _end(sim, "first") == ()
        ITEMS.put(1)
        sim.sleep(1)
    assert got == ["second"]


def test_participant_may_set_an_event_after_a_task_has_ended() -> None:
    """Its hooks run on the thread of a task, also of one whose program is over."""

    class Setter(participants.Participant):
        def on_start(self) -> None:
            self.after(1, READY.set)

    with simulated() as sim:
        sim.room("demo").add(Setter("setter"))
        sim.spawn(lambda: None)
        assert READY.wait(5)
        assert sim.now == 1


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
@pytest.mark.parametrize("wait", [LOCK.acquire, ITEMS.get, GATE.wait, READY.wait])
def test_ctrl_c_in_a_wait_leaves_nothing_behind(wait: Callable[[], object]) -> None:
    """The main thread leaves the line, and the next in it goes on."""
    main = threading.get_ident()

    def strikes() -> None:
        with LOCK:
            meshsync.sleep(1)
            signal.pthread_kill(main, signal.SIGINT)
            while not sim.runtime._scheduler.pending_errors:  # Until the main thread has handled it.
                pass
            meshsync.sleep(1)
        ITEMS.put(1)

    with simulated() as sim:
        task = sim.spawn(strikes)
        sim.sleep(0.5)
        with pytest.raises(KeyboardInterrupt):
            wait()
        assert task.join(10)
        with LOCK:
            assert ITEMS.get(timeout=1) == 1
        GATE.reset()
        sim.spawn(GATE.wait)
        assert GATE.wait(5) in (0, 1)
