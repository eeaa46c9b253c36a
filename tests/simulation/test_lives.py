"""Programs that crash and begin anew: nothing of a dead life reaches the world, and the world goes on as it would."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import meshsync
from meshsync.errors import UsageError
from meshsync.runtime.interfaces import TaskExit
from simulator import Simulation, faults, participants
from simulator.errors import ActorExit, ActorFailed, BlockingRefused, InvariantViolated, SimulationDeadlock
from simulator.histories import History, linearizable, register
from simulator.simulation import SimulatedRoom
from tests.simulation import crashing_chaos, crashing_room
from tests.support.seeds import sweep
from tests.support.worlds import simulated

SCHEDULES = ["fifo", "random", "pct", "late"]
OTHER_THREADS = ["spawned by a thread", "thread", "thread of a thread"]
ROOT = Path(__file__).parents[2]


def nap() -> None:
    """Be a program that waits for ever."""
    meshsync.sleep(1e9)


def member(sim: Simulation, room: str = "demo", name: str = "bob") -> None:
    """Be a program that is a participant, and says so each second."""
    with meshsync.connect(room, name=name) as client:
        client.messaging.enable()
        while True:
            client.messaging.broadcast_message("tick", {})
            meshsync.sleep(1)


def kinds(room: SimulatedRoom, name: str) -> list[tuple[str, float]]:
    """Return when a participant came and left."""
    presence = ("connected", "disconnected")
    return [(one.kind, one.time_s) for one in room.transcript if one.kind in presence and one.sender == name]


# --- connections ------------------------------------------------------------------------------------------------------


def test_connections_of_a_process_end_without_a_close_frame() -> None:
    """The stream's end arrives 0.1 s later, as does what was sent at the instant before; no close frame is sent."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        listener = room.join("alice", enable=True)
        got = list[float]()
        listener.messaging.on_message("last", lambda event: got.append(round(sim.now, 6)))

        def program() -> None:
            client = room.join("bob", enable=True)
            client.messaging.broadcast_message_nowait("last", {})
            sim.crash("bob")

        sim.spawn(program, name="bob")
        sim.sleep(5)
    crashed = sim.crashes[0].time
    assert got == [pytest.approx(crashed + 0.2)]
    assert kinds(room, "bob")[1:] == [("disconnected", pytest.approx(crashed + 0.1))]
    # No request to leave the room's messaging, which a client that is closed makes.
    late = [one.kind for one in room.transcript if one.time_s > crashed and one.sender == "bob"]
    assert late == ["disconnected", "message"]


def test_a_machine_falls_silent_until_the_heartbeat_of_the_room_ends() -> None:
    """30 s of silence and 15 s for the pong, by the room's clock, at which the last message arrived at 0.7 s."""
    with simulated(latency=0.1) as sim:
        room = sim.room("demo")
        sim.spawn(member, sim, name="bob")
        sim.sleep(1.9)
        sim.crash("bob", how="machine")
        sim.sleep(60)
    assert kinds(room, "bob")[1:] == [("disconnected", 45.7)]


@pytest.mark.parametrize("how", ["process", "machine"])
def test_an_attempt_to_connect_is_given_up(how: str) -> None:
    """At each instant of the handshake; the participant is never left in the room for longer than a heartbeat."""
    for hundredths in range(0, 100, 7):
        with simulated(latency=0.1) as sim:
            room = sim.room("demo")
            sim.spawn(member, sim, name="bob")
            sim.sleep(hundredths / 100)
            assert sim.crash("bob", how) is not None
            assert not any(
                one.transport is not None and one.ended.name == "NEITHER" for one in sim.network.connections()
            )
            sim.sleep(60)
            assert room.rules.members == () if hasattr(room.rules, "members") else True
            assert not sim.network.connections()
            assert [kind for kind, _ in kinds(room, "bob")] in ([], ["connected", "disconnected"])


def test_a_client_that_was_lost_and_tries_again_dies_too() -> None:
    """Its loop is a thread of the life; it makes no attempt more."""
    with simulated(latency=0.01) as sim:
        room = sim.room("demo")
        sim.spawn(member, sim, name="bob")
        sim.sleep(2)
        sim.plan(faults.refuse_connect("bob"), faults.reset("bob"))
        sim.sleep(5)
        sim.crash("bob")
        before = len(room.transcript)
        sim.sleep(100)
        assert len(room.transcript) == before


# --- unwinding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_life_unwinds_at_once_and_its_calls_raise(schedule: str) -> None:
    """No time passes, no other actor has a turn in between, and each call of a dead life raises `TaskExit`."""
    log = list[object]()

    def program(sim: Simulation, room: SimulatedRoom) -> None:
        lock, event, line = meshsync.Lock(), meshsync.Event(), meshsync.Queue[int]()
        client = room.join("bob", enable=True)
        writer = client.messaging.broadcast_message
        calls: list[Callable[[], object]] = [
            lambda: meshsync.sleep(1),
            meshsync.monotonic,
            lambda: sim.now,
            lambda: sim.sleep(0),
            lambda: writer("late", {}),
            client.close,
            client.messaging.disable,
            lambda: room.join("carol"),
            lambda: meshsync.connect("demo", name="dave"),
            lambda: meshsync.spawn(nap),
            lambda: sim.spawn(nap),
            lambda: sim.crash("other"),
            lambda: sim.restart("bob"),
            lambda: sim.plan(faults.quiet(after=0)),
            lambda: sim.disk("bob"),
            lock.acquire,
            event.set,
            lambda: line.put(1),
            line.get,
            lambda: threading.Thread(target=nap).start(),
            lambda: time.sleep(100),
            lambda: threading.Event().wait(100),
        ]
        try:
            meshsync.sleep(1e9)
        finally:
            for call in calls:
                try:
                    call()
                    log.append("a call returned")
                except ActorExit:
                    log.append("TaskExit")
            log.append("unwound")

    def other() -> None:
        while True:
            meshsync.sleep(0)
            log.append("another's turn")
            meshsync.sleep(0.25)

    with simulated(latency=0.01, schedule=schedule) as sim:
        room = sim.room("demo")
        sim.spawn(program, sim, room, name="bob")
        sim.spawn(other, name="other")
        sim.sleep(2.1)
        log.clear()
        before = sim.now, sim.runtime.turns
        sim.crash("bob")
        assert sim.now == before[0]
        assert log == ["TaskExit"] * 22 + ["unwound"]
        sim.sleep(1)
    assert {one.sender for one in room.transcript if one.time_s > before[0]} <= {"bob", ""}


def test_threads_of_all_kinds_are_of_the_life_and_those_of_others_are_not() -> None:
    """What its threads spawned, adopted threads, callbacks of receivers; not what the program itself was spawned by."""
    ended, alive = list[str](), list[str]()

    def wait(name: str) -> None:
        try:
            meshsync.sleep(1e9)
        finally:
            ended.append(name)

    def grandparent() -> None:
        meshsync.spawn(wait, "spawned by a thread")
        threading.Thread(target=wait, args=("thread of a thread",)).start()
        wait("thread")

    def program(sim: Simulation, room: SimulatedRoom) -> None:
        client = room.join("bob", enable=True)
        client.messaging.on_message("go", lambda event: wait("receiver"))
        threading.Thread(target=grandparent).start()
        ThreadPoolExecutor(1).submit(wait, "pool")
        sim.spawn(lambda: wait("another program"), name="another")
        wait("program")

    def survivor() -> None:
        while True:
            meshsync.sleep(1)
            alive.append("survivor")

    with simulated(latency=0.01) as sim:
        room = sim.room("demo")
        meshsync.spawn(survivor)
        sim.spawn(program, sim, room, name="bob")
        alice = room.join("alice", enable=True)
        sim.sleep(1)
        alice.messaging.broadcast_message("go", {})
        sim.sleep(1)
        threads = threading.active_count()
        sim.crash("bob")
        assert sorted(ended) == ["pool", "program", "receiver", *OTHER_THREADS]
        assert threading.active_count() <= threads - 7  # and the client's reader
        alive.clear()
        sim.sleep(3)
        assert alive == ["survivor"] * 3
        assert sim.crash("another") is not None


def test_a_thread_that_has_not_begun_never_does() -> None:
    """It was spawned at the instant of the crash."""
    begun = list[int]()

    def program() -> None:
        for _ in range(3):
            meshsync.spawn(begun.append, 1)
            threading.Thread(target=begun.append, args=(1,)).start()
        simulated_now.crash("bob")

    with simulated() as sim:
        simulated_now = sim
        sim.spawn(program, name="bob")
        sim.sleep(1)
    assert begun == []


def test_who_joins_a_dead_task_goes_on() -> None:
    """And finds how it ended, without an error of the run."""
    with simulated() as sim:
        task = sim.spawn(nap, name="bob")
        joined = list[float]()
        sim.spawn(lambda: joined.append((task.join(), sim.now)[1]), name="joiner")
        sim.sleep(2)
        sim.crash("bob")
        assert task.join(0)
        sim.sleep(0)
        assert joined == [2.0]
        assert isinstance(task.error, TaskExit)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("end", ["sleep", "lock", "condition", "poll"])
def test_a_program_that_swallows_its_end_hangs_nothing(end: str, schedule: str) -> None:
    """Its thread is laid to rest after 1000 times; conditions that it would never leave are entered by others."""
    shared, lock = list[Any](), meshsync.Lock()

    def program() -> None:
        shared.append(meshsync.condition())
        with lock:
            while True:
                try:
                    if end == "condition":
                        with shared[0]:
                            while True:
                                with suppress(BaseException):
                                    shared[0].wait()
                    elif end == "poll":
                        meshsync.monotonic()
                        meshsync.sleep(0.5)
                    elif end == "lock":
                        with meshsync.Lock():
                            meshsync.sleep(1)
                    else:
                        meshsync.sleep(1)
                except BaseException:
                    pass

    with simulated(schedule=schedule) as sim:
        sim.spawn(program, name="bob")
        sim.sleep(3)
        assert sim.crash("bob") is not None
        with lock, shared[0]:
            pass
        sim.restart("bob")
        sim.sleep(3)
        sim.crash("bob")


# --- what it held -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("make", [meshsync.Lock, meshsync.RLock, meshsync.Semaphore])
def test_locks_are_released_and_reported_and_not_freed_twice(make: Callable[[], Any], schedule: str) -> None:
    """The next in line has it; the dead life's own release raises `TaskExit` and takes it away from nobody."""
    lock, log = make(), list[str]()

    def holder() -> None:
        lock.acquire()
        try:
            with lock if make is meshsync.RLock else meshsync.Lock():
                meshsync.sleep(1e9)
        finally:
            try:
                lock.release()
            except TaskExit:
                log.append("exit")

    def waiter(name: str) -> None:
        with lock:
            log.append(name)
            meshsync.sleep(1)
            log.append(f"{name} done")

    with simulated(schedule=schedule) as sim:
        sim.spawn(holder, name="holder")
        sim.sleep(1)
        sim.spawn(waiter, "one", name="one")
        sim.sleep(0.1)
        sim.spawn(waiter, "two", name="two")
        sim.sleep(0.1)
        crashed = sim.crash("holder")
        assert crashed is not None
        assert [one for one in crashed.released if one.startswith(f"the {make.__name__} of ")]
        assert all("taken at" in one for one in crashed.released)
        sim.sleep(5)
    assert log == ["exit", "one", "one done", "two", "two done"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_release_of_what_no_task_has_any_more_raises_task_exit(schedule: str) -> None:
    """And not `RuntimeError`, which the program of a real process would never see."""
    lock, seen = meshsync.Lock(), list[str]()

    def program() -> None:
        try:
            with lock:
                try:
                    nap()
                finally:
                    lock.release()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    with simulated(schedule=schedule) as sim:
        sim.spawn(program, name="bob")
        sim.sleep(1)
        sim.crash("bob")
    assert seen == ["ActorExit"]


def test_one_that_waits_in_line_does_not_hold_up_those_behind() -> None:
    """Of a lock, and of a queue's getters: the item goes to the one who is alive."""
    lock, line, log = meshsync.Lock(), meshsync.Queue[int](), list[object]()

    def program() -> None:
        meshsync.spawn(line.get)
        with lock:
            log.append("the dead one has it")

    with simulated() as sim:
        lock.acquire()
        sim.spawn(program, name="bob")
        sim.sleep(1)
        sim.spawn(lambda: log.append(line.get()), name="getter")
        sim.spawn(lambda: log.append(lock.acquire()), name="second")
        sim.sleep(1)
        sim.crash("bob")
        line.put(7)
        lock.release()
        sim.sleep(1)
    assert log == [True, 7]


@pytest.mark.parametrize("seed", sweep(range(60), everywhere=20))
def test_no_crash_at_any_turn_leaves_a_lock_taken_or_its_line_held_up(seed: int) -> None:
    """All at one instant, where a schedule puts the crash between any two steps of those who take and give back."""
    lock, semaphore, line, count = meshsync.Lock(), meshsync.Semaphore(2), meshsync.Queue[int](), [0]

    def program() -> None:
        while True:
            with lock:
                with semaphore:
                    line.put(count[0])
                    count[0] += 1
                line.get(timeout=5)
            meshsync.sleep(0)

    with simulated(seed, schedule="random") as sim:
        for name in ("one", "two", "three"):
            sim.spawn(program, name=name)
        for number in range(30):
            sim.crash(("one", "two", "three")[number % 3])
            sim.restart(("one", "two", "three")[number % 3])
            for _ in range(number % 4):
                sim.sleep(0)
        for name in ("one", "two", "three"):
            sim.crash(name)
        assert lock.acquire(timeout=1)
        assert semaphore.acquire(timeout=1)
        assert semaphore.acquire(timeout=1)
        assert count[0]


def test_a_barrier_does_not_count_one_that_crashed_before_it() -> None:
    """The next life is the one that the others wait for."""
    barrier, passed = meshsync.Barrier(2), list[str]()

    def program(name: str) -> None:
        barrier.wait()
        passed.append(name)

    with simulated() as sim:
        sim.spawn(program, "bob", name="bob")
        sim.sleep(1)
        sim.crash("bob")
        sim.spawn(program, "alice", name="alice")
        sim.sleep(1)
        assert passed == []
        sim.restart("bob")
        sim.sleep(1)
        assert sorted(passed) == ["alice", "bob"]


def test_a_lock_that_never_comes_back_is_a_deadlock_with_its_holder() -> None:
    """What an actor of the living holds stays held when another program crashes."""
    lock = meshsync.Lock()
    with simulated() as sim:
        sim.spawn(lambda: lock.acquire() and nap(), name="holder")
        sim.spawn(nap, name="bob")
        sim.sleep(1)
        sim.crash("bob")
        assert lock.locked()
        sim.crash("holder")
        assert not lock.locked()


# --- who crashes what, when -------------------------------------------------------------------------------------------


def test_a_program_crashes_itself() -> None:
    """The call raises; its threads die with it, and code behind it does not run."""
    log = list[str]()

    def program(sim: Simulation) -> None:
        meshsync.spawn(nap)
        meshsync.sleep(1)
        try:
            sim.crash("bob")
            log.append("behind")
        finally:
            log.append("finally")

    with simulated() as sim:
        task = sim.spawn(program, sim, name="bob")
        sim.sleep(3)
        assert log == ["finally"]
        assert task.is_done
        assert [(one.name, one.life, one.time) for one in sim.crashes] == [("bob", 1, 1.0)]


def test_a_receiver_crashes_its_own_program() -> None:
    """On the client's dispatcher, which is a thread of the life."""
    with simulated(latency=0.01) as sim:
        room = sim.room("demo")

        def program() -> None:
            client = room.join("bob", enable=True)
            client.messaging.on_message("die", lambda event: sim.crash("bob"))
            nap()

        task = sim.spawn(program, name="bob")
        alice = room.join("alice", enable=True)
        sim.sleep(1)
        alice.messaging.broadcast_message("die", {})
        sim.sleep(1)
        assert task.is_done
        assert [one.name for one in alice.messaging.remote_participants] == []


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_timer_and_another_program_crash_one(schedule: str) -> None:
    """The life unwinds as soon as the callback returns, before any actor has its turn."""
    log = list[object]()

    def program() -> None:
        try:
            nap()
        finally:
            log.append("unwound")

    def other(sim: Simulation) -> None:
        meshsync.sleep(1)
        log.append(sim.crash("bob"))
        while True:
            log.append("turn")
            meshsync.sleep(1)

    with simulated(schedule=schedule) as sim:
        sim.spawn(program, name="bob")
        sim.spawn(other, sim, name="other")
        sim.kernel.after(2.5, lambda: (sim.restart("bob"), log.append("restarted")))
        sim.kernel.after(3.5, lambda: (sim.crash("bob"), log.append("crashed")))
        sim.sleep(5.5)
    assert log == ["unwound", sim.crashes[0], *["turn"] * 2, "restarted", "turn", "crashed", "unwound", *["turn"] * 2]


def test_the_timer_may_run_on_the_thread_of_the_one_that_dies() -> None:
    """Timers run on the thread that found no other to run, here the only one besides the main thread."""
    log = list[str]()

    def program(sim: Simulation) -> None:
        try:
            sim.kernel.after(1, lambda: log.append(str(sim.crash("bob") is not None)))
            nap()
        finally:
            log.append("unwound")

    with simulated() as sim:
        sim.spawn(program, sim, name="bob")
        sim.sleep(3)
    assert log == ["True", "unwound"]


def test_what_is_over_crashes_no_more() -> None:
    """A life that ended by itself, one that crashed: nothing happens, and nothing is written down."""
    with simulated() as sim:
        room = sim.room("demo")
        sim.spawn(lambda: None, name="short")
        sim.spawn(nap, name="bob")
        sim.sleep(1)
        assert sim.crash("short") is None
        assert sim.crash("bob") is not None
        assert sim.crash("bob", "machine") is None
        assert len(room.transcript.faults()) == len(sim.crashes) == 1


def test_unknown_names_and_ways_are_refused() -> None:
    """The text lists the programs that there are."""
    with simulated() as sim:
        with pytest.raises(UsageError, match=r"^no program is called 'x'; those that sim\.spawn began are: none$"):
            sim.crash("x")
        sim.spawn(nap, name="bob")
        sim.spawn(nap, name="bob")
        with pytest.raises(UsageError, match=r"began are: 'bob', 'bob#2'$"):
            sim.restart("x")
        with pytest.raises(ValueError, match="how must be one of process, machine, not 'fire'"):
            sim.crash("bob", how="fire")
        with pytest.raises(UsageError, match="'bob' is alive: it can be restarted when it has crashed or ended"):
            sim.restart("bob")
        with pytest.raises(UsageError, match="no program runs"):
            sim.restart(member)
        with pytest.raises(UsageError, match="several programs run"):
            sim.restart(nap)
        sim.crash("bob#2")
        sim.restart(nap)
        assert sim.crash("bob#2") is not None


def test_a_crash_is_refused_inside_a_condition() -> None:
    """Its own unwinding, and the locks of others, may need it."""
    with simulated() as sim:
        sim.spawn(nap, name="bob")
        place = meshsync.condition()
        with place, pytest.raises(BlockingRefused, match=r"^crash\(\) by 'main' while holding a condition"):
            sim.crash("bob")
        assert sim.crash("bob") is not None


# --- beginning anew ---------------------------------------------------------------------------------------------------


def test_another_life_has_the_same_arguments_or_new_ones() -> None:
    """It is the same program, by name or by function, and a client of the same name can join."""
    log = list[object]()

    def program(word: str) -> None:
        log.append(word)
        nap()

    with simulated() as sim:
        sim.spawn(program, "one", name="bob")
        sim.sleep(1)
        sim.crash("bob")
        task = sim.restart("bob")
        sim.sleep(1)
        assert task.name == "bob, life 2"
        sim.crash("bob")
        sim.restart(program, "two")
        sim.sleep(1)
        sim.crash("bob")
        sim.restart("bob")
        sim.sleep(1)
        assert log == ["one", "one", "two", "two"]
        assert [one.life for one in sim.crashes] == [1, 2, 3]


def test_a_program_that_ended_by_itself_begins_anew() -> None:
    """No crash is written down for it, nor an end of one."""
    with simulated() as sim:
        room = sim.room("demo")
        log = list[int]()
        sim.spawn(log.append, 1, name="bob")
        sim.sleep(1)
        sim.restart("bob")
        sim.sleep(1)
        assert log == [1, 1]
        assert room.transcript.faults() == ()


def test_planned_crashes_begin_anew_after_a_while() -> None:
    """Crash and restart are in the transcript, with their instants, in the rooms in which the program took part."""
    with simulated(latency=0.01) as sim:
        room, other = sim.room("demo"), sim.room("other")
        sim.plan(
            faults.at(2, faults.crash("bob", restart_after=3)),
            faults.on("message", type="never").do(faults.crash("nobody")),
            faults.every(10, faults.crash("bob", "machine")),
        )
        sim.spawn(member, sim, name="bob")
        sim.sleep(12)
    seen = [(one.time_s, one.type, one.recipient, one.outcome) for one in room.transcript.faults()]
    assert seen == [(2.0, "crash", "bob", "began"), (5.0, "crash", "bob", "ended"), (10.0, "crash", "bob", "began")]
    assert [dict(one.detail) for one in room.transcript.faults()] == [
        {"fault": "crash", "who": "bob", "how": "process", "life": 1},
        {"fault": "crash", "who": "bob", "life": 2},
        {"fault": "crash", "who": "bob", "how": "machine", "life": 2},
    ]
    assert not other.transcript.faults()
    text = room.transcript.to_text(limit=100)
    assert "crash: bob" in text
    assert "restart after crash: bob" in text


def test_a_fault_follows_a_crash() -> None:
    """Planned or not, it is an event that a plan can name."""
    with simulated() as sim:
        sim.room("demo").add(participants.Silent("carol"))
        sim.plan(faults.on("fault", type="crash").do(faults.leave("carol")))
        sim.spawn(nap, name="bob")
        sim.crash("bob")
        sim.sleep(1)
        assert not sim.room("demo").participants[0].is_here


def test_a_planned_crash_of_an_unknown_program_ends_the_run() -> None:
    """When it strikes, as of an unknown participant; the text lists those that there are."""
    with simulated() as sim:
        sim.spawn(nap, name="alice")
        sim.plan(faults.at(1, faults.crash("bob")))
        with pytest.raises(ActorFailed, match=r"no program is called 'bob'; those that sim\.spawn began are: 'alice'"):
            sim.sleep(5)


@pytest.mark.parametrize("how", ["process", "machine"])
def test_a_program_that_stands_still_or_is_slow_crashes_too(how: str) -> None:
    """The one that is held at the gate dies there; the next life has what is left of the pause, and is as slow."""
    begun = list[float]()

    def program() -> None:
        begun.append(meshsync.monotonic())
        with meshsync.connect("demo", name="bob") as client:
            client.messaging.enable()
            while True:
                client.messaging.broadcast_message("tick", {})
                meshsync.sleep(1)

    with simulated(latency=0.05) as sim:
        room = sim.room("demo")
        sim.spawn(program, name="bob")
        sim.sleep(2.2)
        sim.pause("bob", for_=3)
        sim.sleep(1)
        assert sim.crash("bob", how) is not None
        sim.restart("bob")
        sim.sleep(3)
        assert begun == [0, pytest.approx(5.2)]
        sim.slow("bob", factor=2, by=0.1)
        sim.sleep(1.05)
        assert sim.crash("bob", how) is not None
        before = len(room.transcript)
        sim.sleep(20)
        assert {one.kind for one in [*room.transcript][before:]} <= {"disconnected"}


def test_a_restart_by_hand_comes_before_the_planned_one() -> None:
    """The life that was to end is over already, and another is alive."""
    with simulated() as sim:
        sim.spawn(nap, name="bob")
        sim.plan(faults.crash("bob", restart_after=5))
        sim.sleep(1)
        sim.restart("bob")
        sim.sleep(10)
        assert sim.crash("bob") is not None
        assert sim.crashes[-1].life == 2


# --- claims and histories ---------------------------------------------------------------------------------------------


def test_claims_are_asked_between_turns_and_not_in_the_midst_of_unwinding() -> None:
    """Of two changes that unwinding makes no predicate sees the first alone."""
    state = {"one": 0, "two": 0}

    def half(key: str) -> None:
        try:
            nap()
        finally:
            state[key] += 1

    def program() -> None:
        meshsync.spawn(half, "one")
        half("two")

    with simulated() as sim:
        sim.spawn(program, name="bob")
        sim.always(lambda: state["one"] == state["two"])
        sim.sleep(1)
        sim.crash("bob")
        sim.restart("bob")
        sim.plan(faults.at(2, faults.crash("bob")))
        sim.sleep(3)
        assert state == {"one": 2, "two": 2}


def test_a_claim_that_a_crash_breaks_is_named() -> None:
    """By the instant of the crash."""
    with pytest.raises(InvariantViolated, match=r"violated at 2\.000000000 s"), simulated() as sim:
        task = sim.spawn(nap, name="bob")
        sim.plan(faults.at(2, faults.crash("bob")))
        sim.always(lambda: not task.is_done)
        sim.sleep(5)


@pytest.mark.parametrize("swallows", [False, True])
def test_an_operation_that_a_crash_cuts_off_is_pending(swallows: bool) -> None:
    """It may have taken effect or not: a reader may see either, and both histories have an order."""

    def program(history: History, store: list[int]) -> None:
        with history.operation("bob", "write", 1):
            try:
                store.append(1)
                nap()
            except BaseException:
                if not swallows:
                    raise

    for seen in ([1], []):
        with simulated() as sim:
            history, store = History(sim), list[int]()
            sim.spawn(program, history, store, name="bob")
            sim.sleep(1)
            sim.crash("bob")
            with history.operation("alice", "read") as operation:
                operation.result = seen[0] if seen else 0
            (write, _) = history.operations
            assert write.ended is None
            assert linearizable(history, register(0))


# --- repeatable -------------------------------------------------------------------------------------------------------


def test_the_room_of_crashes_has_the_committed_digest() -> None:
    """On every supported Python."""
    assert crashing_room.run().digest() == crashing_room.DIGEST


@pytest.mark.parametrize("hash_seed", ["0", "1", "20260101"])
def test_it_is_the_same_in_another_process_under_any_hash_seed(hash_seed: str) -> None:
    """Byte for byte."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.crashing_room"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == crashing_room.DIGEST


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("seed", sweep(range(3), everywhere=1))
def test_many_crashes_under_every_schedule(seed: int, schedule: str) -> None:
    """Twice the same, no thread left, and no lock that stays taken."""
    threads = threading.active_count()
    first = crashing_room.run(seed, schedule=schedule)
    assert crashing_room.run(seed, schedule=schedule).digest() == first.digest()
    assert threading.active_count() <= threads  # Those of other tests may have ended meanwhile.
    assert len([one for one in first.faults() if one.outcome == "began"]) >= 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", sweep(range(3), everywhere=1))
def test_crashes_among_faults_of_all_other_kinds(seed: int) -> None:
    """Connections that are frozen, refused, silent or slow as a life ends; twice the same, and no thread left."""
    threads = threading.active_count()
    first = crashing_chaos.run(seed)
    assert crashing_chaos.run(seed).digest() == first.digest()
    assert threading.active_count() == threads
    assert len([one for one in first.faults() if (one.type, one.outcome) == ("crash", "began")]) >= 10


def test_a_simulation_may_be_closed_in_the_midst() -> None:
    """A life that is dead by then is not waited for, and a deadlock is reported as without crashes."""
    with simulated() as sim:
        ready = meshsync.Event()
        sim.spawn(nap, name="bob")
        sim.crash("bob")
        with pytest.raises(SimulationDeadlock):
            ready.wait()
