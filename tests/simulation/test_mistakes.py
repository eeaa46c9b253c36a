"""The mistakes people make are caught, and the text names the line that made them."""

from __future__ import annotations

import inspect
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import meshsync
from meshsync import ClientClosed, ConnectionLost, NotSent, RoomMessageEvent, UsageError, WouldDeadlock
from meshsync.runtime.threads import ThreadRuntime
from meshsync.world import REAL_WORLD, current_world
from simulator import Simulation, participants
from simulator.errors import (
    ActorFailed,
    BlockingRefused,
    ForeignThread,
    SimulationClosed,
    SimulationDeadlock,
    SimulationLivelock,
    SimulationNested,
    WorldStalled,
)
from simulator.exploring.runs import Case, run
from tests.support.worlds import simulated

pytestmark = pytest.mark.filterwarnings("ignore:ActorsRefuse:RuntimeWarning")


def line_of(function: Callable[..., object], text: str) -> str:
    """Return where in this file a function says something, as errors name it: ``file:line in function``."""
    lines, first = inspect.getsourcelines(function)
    number = next(number for number, line in enumerate(lines, first) if text in line)
    return f"{__file__}:{number} in {function.__name__}"


# --- blocking for real ------------------------------------------------------------------------------------------------


def sleeps_for_real() -> None:
    """Wait in real time."""
    time.sleep(5)


def waits_on_a_queue() -> None:
    """Wait for what no actor can give."""
    queue.Queue().get(timeout=5)


def keeps_a_lock(lock: threading.Lock) -> None:
    """Wait in virtual time with a real lock taken."""
    with lock:
        meshsync.sleep(1)


@pytest.mark.parametrize(("program", "text"), [(sleeps_for_real, "time.sleep"), (waits_on_a_queue, ".get(")])
def test_blocking_for_real_stalls_the_world(program: Callable[[], None], text: str) -> None:
    """An actor that waits outside the simulation holds everyone up."""
    with pytest.raises(WorldStalled) as caught, Simulation(0, stall_after=0.4) as sim:
        sim.spawn(program)
        sim.sleep(1)
    assert line_of(program, text) in str(caught.value)


def test_a_lock_held_while_waiting_stalls_whoever_wants_it() -> None:
    """The second actor waits for real for what the first one has; both are in the report."""
    with pytest.raises(WorldStalled) as caught, Simulation(0, stall_after=0.4) as sim:
        lock = threading.Lock()
        for _ in range(2):
            sim.spawn(keeps_a_lock, lock)
        sim.sleep(5)
    assert f"{line_of(keeps_a_lock, 'with lock')}" in str(caught.value)
    assert "actor 'keeps_a_lock' sleeps until" in str(caught.value)


# --- waiting for what never comes -------------------------------------------------------------------------------------


def test_waiting_on_oneself_is_refused() -> None:
    """A task that joins itself, and a receiver that waits for the receivers to end."""
    with simulated() as sim:
        tasks: list[meshsync.runtime.interfaces.Task] = []

        def waits() -> None:
            tasks[0].join()

        tasks.append(sim.spawn(waits))
        with pytest.raises(ActorFailed, match="WouldDeadlock: task 'waits' joins itself"):
            sim.sleep(1)
        alice = sim.room("demo").join("alice", enable=True)
        caught: list[WouldDeadlock] = []

        def receiver(event: RoomMessageEvent) -> None:
            with pytest.raises(WouldDeadlock) as refused:
                alice.close(wait=True)
            caught.append(refused.value)

        alice.messaging.on_message("memo", receiver)
        alice.messaging.send_message(alice.local_participant, "memo", {})
        sim.sleep(1)
        assert len(caught) == 1


def waits_for_nobody(room: meshsync.RoomClient) -> None:
    """Wait for what never comes."""
    room.messaging.wait_for_message("never")


def test_waiting_for_ever_is_a_deadlock_with_everybodys_stack() -> None:
    """The report has each actor, what it waits for and where."""
    with simulated() as sim:
        alice = sim.room("demo").join("alice", enable=True)
        sim.spawn(waits_for_nobody, alice)
        with pytest.raises(SimulationDeadlock) as caught:
            alice.wait_closed()
    report = str(caught.value)
    assert "actor 'waits_for_nobody' waits on a condition, without a time limit" in report
    assert 'room.messaging.wait_for_message("never")' in report
    assert "actor 'main' waits for the end of 'meshsync dispatcher of alice in demo'" in report


# --- polling ----------------------------------------------------------------------------------------------------------


def polls_the_clock() -> None:
    """Wait without waiting."""
    while meshsync.monotonic() < 5:
        pass


def test_polling_the_clock_is_a_livelock() -> None:
    """Time stands still while somebody runs. The line is the program's, not that of meshsync's it calls."""
    with simulated() as sim:
        sim.spawn(polls_the_clock)
        with pytest.raises(SimulationLivelock) as caught:
            sim.sleep(10)
    assert f"polls without sleeping: {line_of(polls_the_clock, 'while')}" in str(caught.value)


# --- waiting where nobody may -----------------------------------------------------------------------------------------


def sends_inside(room: meshsync.RoomClient) -> None:
    """Block inside a condition."""
    condition = meshsync.condition()
    with condition:
        room.messaging.broadcast_message("chat", {})


def test_blocking_with_a_condition_held_is_refused() -> None:
    """Nobody could enter it meanwhile."""
    with simulated() as sim:
        alice = sim.room("demo").join("alice", enable=True)
        with pytest.raises(BlockingRefused) as caught:
            sends_inside(alice)
    assert "while holding another condition" in str(caught.value)
    assert line_of(sends_inside, "broadcast_message") in str(caught.value)


class Waiting(participants.Participant):
    """A participant that blocks."""

    def on_start(self) -> None:
        meshsync.sleep(1)


def test_blocking_in_a_participant_is_refused() -> None:
    """It has no thread that could wait."""
    with simulated() as sim:
        sim.room("demo").add(Waiting("waiting"))
        with pytest.raises(ActorFailed) as caught:
            sim.sleep(1)
    assert "in the callback of a timer" in str(caught.value)
    assert line_of(Waiting.on_start, "sleep(1)") in str(caught.value)


def test_a_foreign_thread_is_kept_out() -> None:
    """When it arrives depends on real time."""
    errors: list[BaseException] = []
    start, done = threading.Event(), threading.Event()

    def stranger() -> None:
        start.wait()
        try:
            sim.sleep(1)
        except ForeignThread as error:
            errors.append(error)
        done.set()

    thread = threading.Thread(target=stranger, daemon=True)
    thread.start()
    with simulated() as sim:
        start.set()
        done.wait(5)
    assert line_of(stranger, "sim.sleep") in str(errors[0])


# --- after the end, and two at once -----------------------------------------------------------------------------------


def test_a_client_used_after_the_end_says_so() -> None:
    """Everything that would need the room raises at once, with the reason; closing does nothing."""
    with simulated() as sim:
        alice, bob = (sim.room("demo").join(name, enable=True) for name in ("alice", "bob"))
        peer = alice.messaging.wait_for_participant(name="bob")
        waiting = alice.messaging.messages()
        bob.close()
    over = "the simulation that this client lived in is over"
    with pytest.raises(NotSent, match=over):
        alice.messaging.send_message(peer, "chat", {})
    with pytest.raises(ConnectionLost, match=over):
        waiting.get()
    with pytest.raises(ConnectionLost, match=over):
        alice.messaging.wait_for_participant(name="carol")
    with pytest.raises(ClientClosed):
        bob.messaging.broadcast_message("chat", {})
    alice.close()
    assert not alice.is_connected
    with pytest.raises(ConnectionLost, match=over):
        alice.wait_closed()


def test_a_simulation_used_after_the_end_says_so() -> None:
    """Nothing in it waits or moves any more; what it has recorded can be read."""
    with simulated() as sim:
        room = sim.room("demo")
        room.join("alice")
    for use in (lambda: sim.sleep(1), lambda: sim.spawn(print), sim.step, sim.run_until_idle):
        with pytest.raises(SimulationClosed):
            use()
    assert len(room.transcript) == 1


def opens_one() -> Simulation:
    """Open a simulation."""
    return Simulation(0)


def test_two_simulations_at_once_are_refused_with_the_line_of_the_first() -> None:
    """Threads, garbage and Ctrl-C are the process's, which has one of each."""
    with opens_one() as sim:
        with pytest.raises(SimulationNested) as caught:
            Simulation(1)
        sim.sleep(1)
    assert line_of(opens_one, "Simulation(0)") in str(caught.value)


# --- the thread that made it, and others ------------------------------------------------------------------------------


def waits_in_a_pool() -> None:
    """Wait for workers, which became actors, outside the simulation."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(abs, range(4)))


@pytest.mark.parametrize(
    ("program", "text"), [(sleeps_for_real, "time.sleep"), (waits_on_a_queue, ".get("), (waits_in_a_pool, "with Thr")]
)
def test_the_creating_thread_may_block_no_more_than_others(program: Callable[[], None], text: str) -> None:
    """Within ``with`` its waiting is cut, and the line is named, like an actor's."""
    with pytest.raises(WorldStalled) as caught, Simulation(0, stall_after=0.4):
        program()
    assert "the thread that made the simulation blocks for real, for 0.4 s" in str(caught.value)
    assert program is waits_in_a_pool or line_of(program, text) in str(caught.value)


def test_the_creating_thread_of_a_program_is_watched() -> None:
    """A program that is run may not block for real either."""
    made = run(lambda sim: sleeps_for_real(), Case(), stall_after=0.4)
    assert isinstance(made.error, WorldStalled)


def test_between_two_cells_of_a_notebook_the_creating_thread_may_wait() -> None:
    """Without ``with`` nothing tells that the program goes on."""
    simulation = Simulation(0, stall_after=0.05)
    simulation.spawn(meshsync.sleep, 1)
    threading.Event().wait(0.3)
    simulation.sleep(2)
    simulation.close()
    assert simulation.now == 2


def test_thread_from_before_the_simulation_does_not_reach_the_real_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is older would join a hosted room; it is told why it cannot, until the simulation is over."""
    monkeypatch.setenv("MESHAGENT_API_URL", "ws://127.0.0.1:9")
    monkeypatch.setenv("MESHAGENT_TOKEN", "e30.e30.e30")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(abs, 1).result()
        with Simulation(0):
            attempts = [pool.submit(call) for call in (lambda: meshsync.connect("lab"), lambda: meshsync.sleep(0))]
            errors = [attempt.exception(timeout=20) for attempt in attempts]
        assert [type(error) for error in errors] == [UsageError, UsageError]
        assert all("belongs to no simulation, while one is open, since" in str(error) for error in errors)
        assert all(f"{__file__}:" in str(error) for error in errors)
        pool.submit(meshsync.sleep, 0).result(timeout=20)


def test_real_task_beside_a_simulation_is_left_alone() -> None:
    """What a real client runs, as its receivers, lives in the real world."""
    said: list[object] = []
    with Simulation(0):
        task = ThreadRuntime().spawn(lambda: said.append(current_world() is REAL_WORLD), name="receiver")
        assert task.join(20)
    assert said == [True]


@pytest.mark.parametrize("of", ["json.loads('[' * 100_000)", "deep(0)"])
def test_actor_may_recurse_as_deeply_as_any_thread(of: str) -> None:
    """It gets its `RecursionError`, and the process goes on: in one of its own, which a fault would end."""
    program = f"""
import json, simulator
def deep(n):
    return sorted([n], key=deep)
with simulator.Simulation() as sim:
    task = sim.spawn(lambda: {of})
    task.join()
    print(type(task.error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout.strip(), done.returncode) == ("RecursionError", 0), done.stderr
