"""`VirtualRuntime` beyond the contract: virtual time, who runs, what is diagnosed, how it ends."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import pytest

from simulator.engine.conditions import VirtualCondition
from simulator.engine.lateness import ReplaySchedule
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.schedules import RandomSchedule
from simulator.engine.seeds import Seeds
from simulator.errors import (
    ActorExit,
    ActorFailed,
    ActorsRefuse,
    BlockingRefused,
    ForeignThread,
    HorizonReached,
    SimulationClosed,
    SimulationDeadlock,
    SimulationLivelock,
    SimulationNested,
)
from tests.support.busy import busy_log, give_way
from tests.support.textless import Textless

ROOT = Path(__file__).parents[3]


@pytest.fixture
def runtime() -> Iterator[VirtualRuntime]:
    """Open a simulation, first-in-first-out."""
    with VirtualRuntime(7) as runtime:
        yield runtime


def wait_for_ever(runtime: VirtualRuntime) -> None:
    """Wait for what never comes."""
    condition = runtime.condition()
    with condition:
        condition.wait()


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_year_passes_at_once(runtime: VirtualRuntime) -> None:
    """Sleeping takes virtual time only, on both clocks."""
    wall = runtime.wall()
    runtime.sleep(365 * 86_400)
    assert (runtime.now, runtime.wall() - wall) == (31_536_000.0, 31_536_000.0)


def test_actors_sleep_side_by_side(runtime: VirtualRuntime) -> None:
    """Actors that sleep wake in the order of time, and ties in the order of going to sleep."""
    log: list[tuple[float, str]] = []

    def sleep(name: str, seconds: float) -> None:
        for _ in range(2):
            runtime.sleep(seconds)
            log.append((runtime.now, name))

    tasks = [runtime.spawn(lambda n=n, s=s: sleep(n, s), name=n) for n, s in (("a", 2), ("b", 1), ("c", 2))]
    assert all(task.join() for task in tasks)
    assert log == [(1, "b"), (2, "a"), (2, "c"), (2, "b"), (4, "a"), (4, "c")]


def test_world_stands_still_while_main_is_outside(runtime: VirtualRuntime) -> None:
    """Spawning does not let the actor run; only a blocking call of the main thread does."""
    ran: list[float] = []
    runtime.spawn(lambda: ran.append(runtime.now), name="late")
    before = list(ran)
    runtime.sleep(0)
    assert (before, ran) == ([], [0.0])


def test_timed_waits_are_exact(runtime: VirtualRuntime) -> None:
    """A time-out ends at its instant, a notification at its own."""
    condition = runtime.condition()

    def notify() -> None:
        runtime.sleep(0.25)
        with condition:
            condition.notify_all()

    runtime.spawn(notify, name="notify")
    with condition:
        assert condition.wait(1) is True
        assert runtime.now == 0.25
        assert condition.wait(1) is False
        assert runtime.now == 1.25
        assert condition.wait_for(lambda: False, 0.5) is False
    assert runtime.now == 1.75


def test_timers_call_back_on_time(runtime: VirtualRuntime) -> None:
    """A timer's callback runs at its instant, may notify, and counts as nobody."""
    condition, seen = runtime.condition(), []

    def ring() -> None:
        seen.append((runtime.now, runtime.current()))
        with condition:
            condition.notify_all()

    runtime.kernel.after(3, ring)
    with condition:
        assert condition.wait(10)
    assert seen == [(3.0, -1)]
    assert runtime.current() == 0


# --- who runs ---------------------------------------------------------------------------------------------------------


def test_condition_is_entered_once(runtime: VirtualRuntime) -> None:
    """Entering a condition one is inside of raises at once, and does not leave it."""
    condition = runtime.condition()
    with condition:
        with pytest.raises(RuntimeError, match="reentrant"):
            condition.__enter__()
        condition.notify_all()


def test_condition_forgets_where_it_was_entered(runtime: VirtualRuntime) -> None:
    """An actor that waited on a condition waits again, though another one was inside of two meanwhile."""
    shared, other = runtime.condition(), runtime.condition()
    has_waited = []

    def wait_twice() -> None:
        with shared:
            has_waited.append(shared.wait(5))
            has_waited.append(shared.wait(5))

    task = runtime.spawn(wait_twice, name="waiting")
    runtime.sleep(1)
    with other, shared:
        shared.notify_all()
    assert task.join(10)
    assert (has_waited, task.error) == ([True, False], None)


def test_thread_started_by_an_actor_is_an_actor(runtime: VirtualRuntime) -> None:
    """It begins when it is its turn, sleeps in virtual time, can be joined, and counts as started at once."""
    log: list[object] = []

    def work() -> None:
        runtime.sleep(5)
        log.append(runtime.now)

    thread = threading.Thread(target=work)
    thread.start()
    log.append((runtime.now, thread.is_alive()))
    thread.join(1)
    log.append((runtime.now, thread.is_alive()))
    thread.join()
    assert log == [(0.0, True), (1.0, True), 5.0]
    assert not thread.is_alive()


def test_subclass_of_thread_is_an_actor_too(runtime: VirtualRuntime) -> None:
    """A class that overrides ``run`` is adopted like any other thread; its failure is an actor's."""

    class Worker(threading.Thread):
        def run(self) -> None:
            runtime.sleep(1)
            raise ValueError("in a subclass")

    Worker().start()
    with pytest.raises(ActorFailed, match="actor 'Worker' failed: ValueError: in a subclass"):
        runtime.sleep(10)
    assert runtime.now == 1


def test_foreign_thread_is_refused_with_its_line() -> None:
    """A thread from before the simulation may not block on it."""
    begin, refused = threading.Event(), []
    holder: list[VirtualRuntime] = []

    def intrude() -> None:
        begin.wait(10)
        condition = holder[0].condition()
        for use in (lambda: holder[0].sleep(1), condition.__enter__, lambda: holder[0].spawn(print, name="x")):
            try:
                use()
            except ForeignThread as error:
                refused.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    with VirtualRuntime(7) as runtime:
        holder.append(runtime)
        begin.set()
        threading.Thread.join(thread, 10)
        assert runtime.now == 0
    assert len(refused) == 3
    assert all("test_runtime.py:" in text for text in refused)


def test_only_one_actor_runs() -> None:
    """However actors and their threads come and go, no two run at once."""
    inside, most = [0], [0]

    def work(runtime: VirtualRuntime) -> None:
        for _ in range(30):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            for _ in range(50):
                pass
            inside[0] -= 1
            runtime.sleep(0.001)

    with VirtualRuntime(7) as runtime:
        tasks = [runtime.spawn(lambda: work(runtime), name="work") for _ in range(20)]
        assert all(task.join() for task in tasks)
    assert most == [1]


def test_deep_recursion_in_an_actor_is_an_error_and_no_crash(runtime: VirtualRuntime) -> None:
    """An actor's stack is large enough for Python's limit of recursion."""

    def recur(depth: int) -> int:
        return recur(depth + 1) + 1

    def fail() -> None:
        recur(0)

    task = runtime.spawn(fail, name="recur")
    assert task.join()
    assert isinstance(task.error, RecursionError)


# --- determinism ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct"])
def test_same_seed_gives_the_same_order(schedule: str) -> None:
    """Twice the same seed is twice the same run; another seed is another one."""
    assert busy_log(3, schedule) == busy_log(3, schedule)
    assert busy_log(3, schedule) != busy_log(4, schedule)


def test_order_is_the_same_on_every_python() -> None:
    """The runs of three schedules have the fingerprints they had when this was written."""
    digests = [sha256(repr(busy_log(11, schedule)).encode()).hexdigest()[:16] for schedule in ("fifo", "random", "pct")]
    assert digests == ["331c00996fe3ecd5", "6fc6bfcf29755e35", "e7f6e93e10712abe"]


def test_order_is_the_same_under_every_hash_seed() -> None:
    """Fresh processes with other hash seeds see the same order."""
    program = "from tests.support.busy import busy_log; print(busy_log(11, 'random'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "20260101")
    }
    assert outputs == {f"{busy_log(11, 'random')}\n"}


def test_entropy_of_one_actor_does_not_depend_on_others() -> None:
    """Each actor draws its own bytes; one actor more leaves them alone."""

    def drawn(names: str) -> dict[str, bytes]:
        seen: dict[str, bytes] = {}
        with VirtualRuntime(7) as runtime:
            for name in names:
                task = runtime.spawn(lambda name=name: seen.update({name: runtime.entropy(8)}), name=name)
                assert task.join()
        return seen

    assert drawn("abc")["c"] == drawn("c")["c"]
    assert len(set(drawn("abc").values())) == 3


def lost_update(schedule: RandomSchedule | ReplaySchedule | str) -> int:
    """Return the sum of two actors that read and write without holding the condition in between."""
    with VirtualRuntime(7, schedule=schedule) as runtime:
        condition, total = runtime.condition(), [0]

        def add() -> None:
            with condition:
                seen = total[0]
            with condition:
                total[0] = seen + 1

        tasks = [runtime.spawn(add, name="add") for _ in range(2)]
        assert all(task.join() for task in tasks)
    return total[0]


def test_lost_update_is_found_by_preemption_and_replayed() -> None:
    """First-in-first-out never shows the race; a random schedule does, and its deviations alone show it again."""
    assert lost_update("fifo") == 2
    for seed in range(100):
        schedule = RandomSchedule(Seeds(seed).stream("schedule"))
        if lost_update(schedule) == 1:
            break
    else:
        pytest.fail("100 seeds do not show the race")
    assert lost_update(ReplaySchedule(schedule.deviations)) == 1


# --- diagnosis --------------------------------------------------------------------------------------------------------


def test_deadlock_shows_everyone_and_what_they_wait_for(runtime: VirtualRuntime) -> None:
    """Nobody can run: the main thread learns who waits for what, and where; then it can go on."""
    task = runtime.spawn(lambda: wait_for_ever(runtime), name="patient")
    with pytest.raises(SimulationDeadlock) as caught:
        task.join()
    text = str(caught.value)
    assert "actor 'main' waits for the end of 'patient'" in text
    assert "actor 'patient' waits on a condition, without a time limit" in text
    assert "in wait_for_ever" in text
    assert task.join(5) is False


def nest(runtime: VirtualRuntime, outer: VirtualCondition, inner: VirtualCondition) -> None:
    """Enter two conditions, one inside the other."""
    with outer:
        with inner:
            give_way(runtime)


def test_lock_order_deadlock_is_reported() -> None:
    """Two actors that nest two conditions the other way round block each other under some schedule, and are named."""
    for seed in range(100):
        schedule = RandomSchedule(Seeds(seed).stream("schedule"), probability=0.3)
        with VirtualRuntime(7, schedule=schedule) as runtime:
            a, b = runtime.condition(), runtime.condition()
            tasks = [
                runtime.spawn(partial(nest, runtime, a, b), name="one"),
                runtime.spawn(partial(nest, runtime, b, a), name="two"),
            ]
            try:
                assert all(task.join() for task in tasks)
            except SimulationDeadlock as error:
                assert "actor 'one' wants to enter a condition that 'two' is inside of, inside a condition" in str(
                    error
                )
                return
    pytest.fail("100 seeds do not show the deadlock")


def test_heartbeats_do_not_hide_a_deadlock(runtime: VirtualRuntime) -> None:
    """Background timers that go on for ever count as nothing, after the runtime's patience of 120 s."""

    def beat() -> None:
        runtime.kernel.after(30, beat, background=True)

    beat()
    with pytest.raises(SimulationDeadlock):
        wait_for_ever(runtime)
    assert 90 <= runtime.now <= 150


def test_heartbeat_that_wakes_somebody_is_no_deadlock(runtime: VirtualRuntime) -> None:
    """A background timer gets its chance: one that notices a dead peer after 45 s ends the wait."""
    condition = runtime.condition()

    def notice() -> None:
        with condition:
            condition.notify_all()

    runtime.kernel.after(45, notice, background=True)
    with condition:
        assert condition.wait() is True
    assert runtime.now == 45


def test_yielding_in_a_circle_is_a_livelock() -> None:
    """Much happens and the clock stands still: the main thread is told."""
    with VirtualRuntime(7, max_steps=1000) as runtime:

        def spin() -> None:
            while True:
                runtime.sleep(0)

        runtime.spawn(spin, name="spin")
        with pytest.raises(SimulationLivelock, match="actor 'spin'"):
            runtime.sleep(1)


@pytest.mark.parametrize("kind", ["clock", "condition"])
def test_polling_without_sleeping_is_a_livelock_with_its_line(kind: str) -> None:
    """An actor that looks again and again, and lets nothing happen meanwhile, is named with its line."""
    with VirtualRuntime(7, max_steps=1000) as runtime:
        condition = runtime.condition()

        def poll() -> None:
            while True:
                if kind == "clock":
                    assert runtime.monotonic() < 1
                else:
                    with condition:
                        pass

        runtime.spawn(poll, name="poll")
        with pytest.raises(
            SimulationLivelock, match=r"actor 'poll' polls without sleeping: .*test_runtime.py:\d+ in poll"
        ):
            runtime.sleep(1)


def test_main_that_polls_is_told_itself() -> None:
    """The main thread waiting for the clock without sleeping would wait for ever."""
    with VirtualRuntime(7, max_steps=1000) as runtime:
        with pytest.raises(SimulationLivelock, match="'main' polls"):
            while runtime.now < 1:
                pass


def test_garbage_is_collected_at_the_same_turns_in_each_run() -> None:
    """Finalizers of cyclic garbage run in the same actor at the same instant, however much is allocated besides."""

    class Cycle:
        def __init__(self, log: list[tuple[int, float]], runtime: VirtualRuntime) -> None:
            self.me, self.log, self.runtime = self, log, runtime

        def __del__(self) -> None:
            self.log.append((self.runtime.current(), self.runtime.kernel.now))

    def finalized(ballast: int) -> list[tuple[int, float]]:
        log: list[tuple[int, float]] = []
        with VirtualRuntime(7, max_steps=1000) as runtime:

            def work() -> None:
                for _ in range(300):
                    Cycle(log, runtime)
                    assert len([[] for _ in range(ballast)]) == ballast
                    runtime.sleep(0.01)

            tasks = [runtime.spawn(work, name="work") for _ in range(5)]
            assert all(task.join() for task in tasks)
            return list(log)

    assert finalized(0) == finalized(5000)
    assert len(finalized(0)) > 500


def test_many_messages_at_many_instants_are_no_livelock() -> None:
    """What counts is how much happens at one instant: 5,000 turns at 5,000 instants pass a limit of 1,000."""
    with VirtualRuntime(7, max_steps=1000) as runtime:
        task = runtime.spawn(lambda: [runtime.sleep(0.001) for _ in range(5000)] and None, name="busy")
        assert task.join()


def test_horizon_stops_the_run() -> None:
    """A run that lasts too long is stopped at its horizon, not at the event after it."""
    with VirtualRuntime(7, horizon=10) as runtime:
        runtime.sleep(9)
        with pytest.raises(HorizonReached, match="horizon of 10 s"):
            runtime.sleep(2)
        assert runtime.now == 10


# --- failures ---------------------------------------------------------------------------------------------------------


def fail_after(runtime: VirtualRuntime, seconds: float) -> None:
    """Raise after some virtual seconds."""
    runtime.sleep(seconds)
    raise ValueError("of an actor")


def test_failed_actor_is_raised_in_the_main_thread_at_once(runtime: VirtualRuntime) -> None:
    """The main thread is pulled out of what it waits for, at the instant of the failure, with its cause."""
    runtime.spawn(lambda: fail_after(runtime, 3), name="weak")
    with pytest.raises(ActorFailed, match="actor 'weak' failed: ValueError: of an actor") as caught:
        runtime.sleep(60)
    assert isinstance(caught.value.__cause__, ValueError)
    assert (caught.value.actor, runtime.now) == ("weak", 3)
    runtime.sleep(60)
    assert runtime.now == 63


def test_failure_pulls_main_out_of_a_wait_with_the_condition_held(runtime: VirtualRuntime) -> None:
    """``wait`` in the main thread raises the failure, holding the condition, and leaves no waiter."""
    runtime.spawn(lambda: fail_after(runtime, 3), name="weak")
    condition = runtime.condition()
    with condition:
        with pytest.raises(ActorFailed):
            condition.wait(60)
        assert not condition.has_waiters
    assert runtime.kernel.next_deadline is None


def test_failure_while_main_yields_leaves_no_turn_behind(runtime: VirtualRuntime) -> None:
    """The main thread, pulled out while it was ready to run, does not wake early from what it does next."""
    runtime.spawn(lambda: fail_after(runtime, 0), name="weak")
    with pytest.raises(ActorFailed):
        for _ in range(3):
            runtime.sleep(0)
    runtime.sleep(10)
    assert runtime.now == 10


def test_failure_while_main_enters_a_condition_leaves_no_turn_behind() -> None:
    """The main thread, pulled out while another is inside, does not wake early from what it does next."""
    pulled_out = 0
    for seed in range(60):
        schedule = RandomSchedule(Seeds(seed).stream("schedule"), probability=0.5)
        with contextlib.suppress(ActorFailed), VirtualRuntime(7, schedule=schedule) as runtime:
            condition = runtime.condition()

            def stay(runtime: VirtualRuntime = runtime, condition: VirtualCondition = condition) -> None:
                with condition:
                    for _ in range(5):
                        give_way(runtime)

            def weak() -> None:
                raise ValueError("at once")

            runtime.spawn(stay, name="stay")
            runtime.spawn(weak, name="weak")
            is_entering = False
            with contextlib.suppress(ActorFailed):
                give_way(runtime)
                is_entering = condition.owner is not None
                with condition:
                    is_entering = False
            pulled_out += is_entering
            before = runtime.now
            with contextlib.suppress(ActorFailed):
                runtime.sleep(10)
                assert runtime.now == before + 10
    assert pulled_out > 3


def test_error_that_somebody_looks_at_is_not_raised(runtime: VirtualRuntime) -> None:
    """Joining a task and looking at its error takes care of it, whoever does so."""
    seen: list[object] = []

    def supervise() -> None:
        task = runtime.spawn(lambda: fail_after(runtime, 1), name="weak")
        task.join()
        seen.append(task.error)

    runtime.spawn(supervise, name="supervise")
    runtime.sleep(5)
    assert [type(error) for error in seen] == [ValueError]


def test_error_looked_at_while_its_actor_is_ending_is_not_raised() -> None:
    """Whoever joins may be faster than the actor that failed is in ending, under any schedule."""
    for seed in range(40):
        schedule = RandomSchedule(Seeds(seed).stream("schedule"), probability=0.5)
        with VirtualRuntime(7, schedule=schedule) as runtime:
            task = runtime.spawn(partial(fail_after, runtime, 1), name="weak")
            assert task.join()
            assert isinstance(task.error, ValueError)
            runtime.sleep(1)


def test_joined_failure_that_nobody_looks_at_is_raised_later(runtime: VirtualRuntime) -> None:
    """Joining alone does not take care of a failure: the next blocking call raises it."""
    task = runtime.spawn(lambda: fail_after(runtime, 1), name="weak")
    assert task.join()
    with pytest.raises(ActorFailed):
        runtime.sleep(1)
    runtime.sleep(10)
    assert runtime.now == 11


def test_failure_nobody_was_told_of_is_raised_by_close() -> None:
    """The end of a simulation is the last chance."""
    runtime = VirtualRuntime(7)
    assert runtime.spawn(lambda: fail_after(runtime, 1), name="weak").join()
    with pytest.raises(ActorFailed):
        runtime.close()
    assert not runtime.is_open
    runtime.close()


def test_failing_callback_surfaces_in_the_main_thread_and_kills_nobody(runtime: VirtualRuntime) -> None:
    """Whoever happens to carry a timer's callback goes on; the main thread learns of the failure."""

    def explode() -> None:
        raise ZeroDivisionError("in a timer")

    runtime.kernel.after(1, explode)
    task = runtime.spawn(lambda: runtime.sleep(5), name="carrier")
    with pytest.raises(ActorFailed, match="explode of a timer failed: ZeroDivisionError"):
        runtime.sleep(9)
    assert runtime.now == 1
    assert task.join()
    assert (runtime.now, task.error) == (5, None)


def test_failure_without_text_is_raised_all_the_same(runtime: VirtualRuntime) -> None:
    """Of an actor and of a timer's callback: its class stands for the text, and it is the cause."""

    def fail() -> None:
        raise Textless

    runtime.spawn(fail, name="mute")
    with pytest.raises(ActorFailed, match=r"actor 'mute' failed: Textless: \(Textless without a text\)") as caught:
        runtime.sleep(1)
    assert isinstance(caught.value.__cause__, Textless)
    runtime.kernel.after(1, fail)
    with pytest.raises(ActorFailed, match=r"fail of a timer failed: Textless: \(Textless without a text\)"):
        runtime.sleep(5)


@pytest.mark.parametrize("call", ["sleep", "wait", "join"])
def test_callback_must_not_block(runtime: VirtualRuntime, call: str) -> None:
    """A timer's callback that blocks is refused with its line."""
    condition = runtime.condition()
    task = runtime.spawn(lambda: runtime.sleep(100), name="long")

    def block() -> None:
        if call == "sleep":
            runtime.sleep(1)
        elif call == "join":
            task.join()
        else:
            with condition:
                condition.wait()

    runtime.kernel.after(1, block)
    with pytest.raises(ActorFailed, match=r"block of a timer failed: BlockingRefused: .* in the callback"):
        runtime.sleep(9)
    with condition:
        condition.notify_all()


@pytest.mark.parametrize("call", ["sleep", "wait", "join"])
def test_blocking_while_holding_a_condition_is_refused(runtime: VirtualRuntime, call: str) -> None:
    """Sleeping, joining or waiting elsewhere while inside a condition is refused with its line."""
    held, other = runtime.condition(), runtime.condition()
    task = runtime.spawn(lambda: runtime.sleep(1), name="short")
    with held, pytest.raises(BlockingRefused, match=r"'main' while holding .*test_runtime.py:\d+"):
        if call == "sleep":
            runtime.sleep(1)
        elif call == "join":
            task.join()
        else:
            with other:
                other.wait(1)
    with held, other:
        pass


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_conditions_may_be_left_in_any_order(runtime: VirtualRuntime, order: tuple[int, ...]) -> None:
    """Until the last of three is left, whichever that is, blocking is refused; then it is allowed again."""
    conditions = [runtime.condition() for _ in order]
    for condition in conditions:
        condition.__enter__()
    for number in order:
        with pytest.raises(BlockingRefused, match="while holding"):
            runtime.sleep(1)
        conditions[number].__exit__(None, None, None)
    runtime.sleep(1)
    for condition in conditions:
        with condition:
            assert not condition.wait(1)
    assert runtime.now == 4


# --- the end ----------------------------------------------------------------------------------------------------------


def test_closing_runs_the_finally_blocks_of_blocked_actors() -> None:
    """An actor ends where it is blocked, in the order of spawning, however it is blocked."""
    log: list[object] = []
    with VirtualRuntime(7) as runtime:
        condition = runtime.condition()

        def sleep() -> None:
            try:
                runtime.sleep(100)
            finally:
                log.append("slept")

        def wait() -> None:
            with condition:
                try:
                    condition.wait()
                except ActorExit:
                    log.append("waited")
                    raise

        tasks = [runtime.spawn(sleep, name="sleep"), runtime.spawn(wait, name="wait")]
        runtime.sleep(1)
        never = runtime.spawn(lambda: log.append("begun"), name="never")
    assert log == ["slept", "waited"]
    assert all(task.is_done and isinstance(task.error, ActorExit) for task in tasks)
    assert (never.is_done, never.error) == (True, None)


def test_blocking_in_a_finally_block_does_not_hang_the_end() -> None:
    """What blocks while the simulation ends raises at once, each time."""
    raised: list[type[BaseException]] = []
    with VirtualRuntime(7) as runtime:
        condition = runtime.condition()

        def wait() -> None:
            with condition:
                condition.wait()

        def stubborn() -> None:
            try:
                runtime.sleep(100)
            finally:
                for block in (lambda: runtime.sleep(1), wait, lambda: runtime.spawn(wait, name="late")):
                    try:
                        block()
                    except BaseException as error:
                        raised.append(type(error))

        runtime.spawn(stubborn, name="stubborn")
        runtime.sleep(1)
    assert raised == [ActorExit, ActorExit, SimulationClosed]


def test_waiter_that_cannot_take_its_condition_again_ends_quietly() -> None:
    """An actor told to end inside ``wait`` leaves the block although another, preempted, is inside."""
    with VirtualRuntime(7, schedule=RandomSchedule(Seeds(1).stream("schedule"), probability=1)) as runtime:
        condition, inside = runtime.condition(), []

        def wait() -> None:
            with condition:
                condition.wait()

        def stay() -> None:
            with condition:
                inside.append(True)
                while runtime.now < 1:
                    give_way(runtime)

        waiter = runtime.spawn(wait, name="wait")
        runtime.sleep(0.5)
        runtime.spawn(stay, name="stay")
        while not inside:
            give_way(runtime)
        assert condition.owner is not None
    assert isinstance(waiter.error, ActorExit)


def test_actor_that_refuses_to_end_is_reported() -> None:
    """One that catches everything for ever is laid to rest and named."""
    runtime = VirtualRuntime(7)

    def refuse() -> None:
        while True:
            try:
                runtime.sleep(1)
            except BaseException:
                continue

    runtime.spawn(refuse, name="mule")
    runtime.sleep(10)
    with pytest.raises(ActorsRefuse, match="actor 'mule'") as caught:
        runtime.close()
    assert caught.value.actors == ("mule",)


def test_no_thread_is_left() -> None:
    """After the end all threads of the simulation are gone, also those of actors that ended before."""
    before, threads = set(threading.enumerate()), list[threading.Thread]()

    def live(seconds: float) -> None:
        threads.append(threading.current_thread())
        runtime.sleep(seconds)

    with VirtualRuntime(7) as runtime:
        for number in range(10):
            runtime.spawn(lambda number=number: live(number), name=f"a{number}")
        threading.Thread(target=live, args=(50,)).start()
        runtime.sleep(5)
        # Its threads alone: others of the process begin and end when they like.
        threads += [t for t in threading.enumerate() if t.name == "simulation watchdog" and t not in before]
    assert len(threads) == 10 + 1 + 1
    assert not any(map(threading.Thread.is_alive, threads))


def test_process_gets_back_what_it_lent() -> None:
    """Processors, garbage collection, Ctrl-C and ``Thread.start`` are as before."""

    def lent() -> list[object]:
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
        return [cores, policy, gc.isenabled(), signal.getsignal(signal.SIGINT), threading.Thread.start]

    before = lent()
    with VirtualRuntime(7):
        assert lent() != before
    assert lent() == before


def test_pinning_can_be_declined() -> None:
    """Without ``pin`` the thread may run wherever it might."""
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not pin threads")
    before = os.sched_getaffinity(0)
    with VirtualRuntime(7, pin=False):
        assert os.sched_getaffinity(0) == before
    with VirtualRuntime(7):
        assert len(os.sched_getaffinity(0)) == 1


def test_second_simulation_is_refused_with_the_line_of_the_first(runtime: VirtualRuntime) -> None:
    """One at a time in a process."""
    with pytest.raises(SimulationNested, match=r"since .*:\d+ in "):
        VirtualRuntime(8)


def test_what_is_over_says_so(runtime: VirtualRuntime) -> None:
    """Blocking and spawning after the end raise instead of hanging; a free condition can still be entered."""
    condition = runtime.condition()
    runtime.close()
    with pytest.raises(SimulationClosed):
        runtime.sleep(1)
    with pytest.raises(SimulationClosed, match=r"test_runtime\.py"):
        runtime.spawn(print, name="late")
    with condition:
        condition.notify_all()
        with pytest.raises(SimulationClosed):
            condition.wait(1)


def test_only_the_main_thread_closes(runtime: VirtualRuntime) -> None:
    """An actor cannot end the world it lives in."""
    task = runtime.spawn(runtime.close, name="closer")
    task.join()
    assert isinstance(task.error, BlockingRefused)
    assert runtime.is_open


def test_each_actor_runs_in_its_scope() -> None:
    """What the scope sets up is there in every actor, spawned or adopted, and taken down at its end."""
    log: list[str] = []

    @contextmanager
    def scope() -> Iterator[None]:
        log.append("in")
        yield
        log.append("out")

    with VirtualRuntime(7, scope=scope) as runtime:
        runtime.spawn(lambda: log.append("work"), name="a").join()
        thread = threading.Thread(target=lambda: log.append("thread"))
        thread.start()
        thread.join()
    assert log == ["in", "work", "out", "in", "thread", "out"]


# --- moving the world from outside ------------------------------------------------------------------------------------


def test_step_lets_one_turn_happen(runtime: VirtualRuntime) -> None:
    """Each step is one actor or one timer; when nothing is left it says so."""
    log: list[object] = []

    def work() -> None:
        log.append(runtime.now)
        runtime.sleep(2)
        log.append(runtime.now)

    runtime.spawn(work, name="work")
    steps = []
    while runtime.step():
        steps.append((runtime.kernel.now / 1e9, list(log)))
    assert steps == [(0.0, [0.0]), (2.0, [0.0]), (2.0, [0.0, 2.0])]


def test_running_until_idle_leaves_the_heartbeats(runtime: VirtualRuntime) -> None:
    """The world runs until only background timers are left, and does not wait for them."""

    def beat() -> None:
        runtime.kernel.after(1, beat, background=True)

    beat()
    task = runtime.spawn(lambda: runtime.sleep(7.5), name="work")
    runtime.run_until_idle()
    assert (task.is_done, runtime.now, runtime.is_idle) == (True, 7.5, True)


@pytest.mark.parametrize("call", [VirtualRuntime.step, VirtualRuntime.run_until_idle, VirtualRuntime.run])
def test_actors_do_not_move_the_world(runtime: VirtualRuntime, call: Callable[[VirtualRuntime], object]) -> None:
    """Moving the world belongs to the thread that made it."""
    task = runtime.spawn(lambda: call(runtime) and None, name="actor")
    task.join()
    assert isinstance(task.error, BlockingRefused)
