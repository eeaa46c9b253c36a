"""What is claimed of a run: asked at every step, at no cost to the schedule, and named when it is violated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import meshsync
from meshsync.errors import UsageError
from simulator import Simulation, latency, participants
from simulator.engine.invariants import Claim
from simulator.engine.runtime import VirtualRuntime
from simulator.errors import (
    BlockingRefused,
    ConditionOccupied,
    InvariantViolated,
    PredicateFailed,
    SimulationLivelock,
)
from simulator.exploring.exploration import explore, replay
from simulator.exploring.runs import Case, run
from tests.support.worlds import simulated

LAW = latency.lognormal(median=0.02, sigma=0.4)


def conversation(sim: Simulation) -> None:
    """Two clients and an echo talk for a while."""
    room = sim.room("demo")
    room.add(participants.Echo("bot", delay=latency.exponential(0.05)))
    alice, bob = room.join("alice", enable=True), room.join("bob", enable=True)

    def talk(client: meshsync.RoomClient) -> None:
        bot = client.messaging.wait_for_participant(name="bot")
        with client.messaging.messages("ask") as answers:
            for number in range(5):
                client.messaging.send_message(bot, "ask", {"number": number})
                answers.get(timeout=10)

    tasks = [sim.spawn(talk, client, name=client.local_participant.id) for client in (alice, bob)]
    for task in tasks:
        task.join()


@pytest.mark.parametrize("schedule", ["fifo", "random", "pct", "late", "late+random"])
def test_a_run_with_invariants_is_the_run_without(schedule: str) -> None:
    """Also where predicates read a client's state, which they may find in the midst of a change."""
    asked = {"times": 0, "seen": 0}

    def watched(sim: Simulation) -> None:
        clients: list[meshsync.RoomClient] = []

        def looks() -> bool:
            asked["times"] += 1
            for client in clients:
                asked["seen"] += len(client.messaging.remote_participants) + (client.stats() is not None)
            return True

        sim.always(looks)
        sim.never(lambda: sim.now < 0)
        sim.eventually(lambda: sim.now > 0.01, within=100)
        join = sim.room("demo").join
        sim.room("demo").join = lambda *given, **options: clients.append(join(*given, **options)) or clients[-1]  # type: ignore[method-assign]
        conversation(sim)

    case = Case(seed=3, latency=LAW, schedule=schedule)
    plain, with_them = run(conversation, case), run(watched, case)
    assert repr(plain.error) == repr(with_them.error) == "None"
    assert with_them.digests == plain.digests
    assert (with_them.deviations, with_them.lates, with_them.end) == (plain.deviations, plain.lates, plain.end)
    assert asked["times"] > 100 and asked["seen"] > 100


def balance_is_kept(sim: Simulation) -> bool:
    """Return whether money is neither made nor lost, in the program below."""
    return sum(ACCOUNTS.values()) == 30


ACCOUNTS = {"ann": 30, "tom": 0}


def transfer(sim: Simulation) -> None:
    """Move money with a pause in between."""
    ACCOUNTS.update(ann=30, tom=0)
    sim.always(balance_is_kept)

    def move() -> None:
        sim.sleep(2)
        ACCOUNTS["ann"] -= 10
        meshsync.sleep(0.5)  # here it is broken
        ACCOUNTS["tom"] += 10

    sim.spawn(move, name="teller")
    sim.sleep(10)


def test_a_violation_names_predicate_instant_actor_and_line() -> None:
    """The line is where the actor was when its turn ended."""
    with simulated() as sim, pytest.raises(InvariantViolated) as violated:
        transfer(sim)
    error = violated.value
    assert (error.invariant, error.time, error.is_overdue) == ("always balance_is_kept", 2.0, False)
    text = str(error)
    assert "always balance_is_kept (test_invariants.py:" in text
    assert "is violated at 2.000000000 s: false after a turn of 'teller', at " in text
    line = next(number for number, one in enumerate(SOURCE, 1) if "here it is broken" in one and "meshsync" in one)
    assert f"test_invariants.py:{line} in move" in text
    assert isinstance(error, AssertionError)


with open(__file__, encoding="utf-8") as _file:
    SOURCE = _file.read().splitlines()


def test_nothing_goes_on_after_a_violation() -> None:
    """A program that swallows the error gets it again from its next call, and the run counts as failed."""
    seen = []

    def program(sim: Simulation) -> None:
        sim.never(lambda: sim.now >= 1)
        sim.spawn(lambda: (sim.sleep(5), seen.append("an actor")), name="other")
        for _ in range(2):
            with pytest.raises(InvariantViolated):
                sim.sleep(2)
        seen.append("swallowed")

    result = run(program, Case())
    assert seen == ["swallowed"]
    assert isinstance(result.error, InvariantViolated)
    assert result.error.invariant == "never sim.never(lambda: sim.now >= 1)"


def test_an_actor_that_has_ended_is_said_to_have() -> None:
    """There is no line to be named then."""
    state = {"fine": True}
    with simulated() as sim:
        sim.always(lambda: state["fine"], name="all is fine")
        sim.spawn(lambda: state.update(fine=False), name="vandal")
        with pytest.raises(InvariantViolated, match=r"always all is fine .*after a turn of 'vandal', which has ended"):
            sim.sleep(1)


def test_a_timer_is_named_by_what_it_calls() -> None:
    """Scripted participants, links and faults act in turns of timers."""
    moods = []
    with simulated() as sim:
        sim.room("demo").add(participants.Scripted("bot", [(3, lambda one: moods.append("bad"))]))
        sim.never(lambda: bool(moods), name="a mood")
        with pytest.raises(InvariantViolated, match=r"at 3\.0.* s: true after a turn of the timer \S+"):
            sim.sleep(10)


@pytest.mark.parametrize(
    ("within", "true_at", "found"),
    [(5.0, 4.0, ""), (5.0, 5.0, ""), (5.0, 6.0, "is violated at 5.0"), (None, 6.0, ""), (None, 60.0, "at the end")],
)
def test_what_has_to_become_true_has_time_until_its_limit(within: float | None, true_at: float, found: str) -> None:
    """The limit counts as in time; without one the end of the simulation is it."""
    state = {"done": False}

    def program(sim: Simulation) -> None:
        sim.eventually(lambda: state["done"], within=within, name="done")

        def act() -> None:
            meshsync.sleep(true_at)
            state["done"] = True
            meshsync.sleep(1)
            state["done"] = False  # It was true once, which is enough.

        sim.spawn(act, name="worker")
        sim.sleep(20)

    error = run(program, Case()).error
    if not found:
        assert error is None
    else:
        assert isinstance(error, InvariantViolated) and found in str(error) and "still false" in str(error)
        assert error.is_overdue is (within is not None)


def test_a_time_limit_that_nothing_passes_is_over_with_the_horizon() -> None:
    """Nothing happens between the limit and the horizon; what failed is the limit."""

    def program(sim: Simulation) -> None:
        sim.eventually(lambda: False, within=5, name="never true")
        sim.sleep(100)

    error = run(program, Case(horizon=50.0)).error
    assert isinstance(error, InvariantViolated) and error.time == 5.0


def test_the_end_asks_once_more() -> None:
    """What the creating thread did since it last waited is its last turn."""
    state = {"fine": True}
    sim = Simulation()
    sim.always(lambda: state["fine"], name="fine")
    state["fine"] = False
    with pytest.raises(InvariantViolated, match="a turn of 'main', at "):
        sim.close()


def test_a_failing_program_is_not_blamed_for_what_it_left_undone() -> None:
    """Its own error is the one raised."""
    with pytest.raises(ZeroDivisionError), Simulation() as sim:
        sim.eventually(lambda: False)
        raise ZeroDivisionError


async def _later() -> bool:
    return True


def _yields() -> object:
    yield True


@pytest.mark.parametrize(
    ("predicate", "text"),
    [
        (lambda: 1 // 0 == 0, "raised ZeroDivisionError"),
        (lambda sim: sim.sleep(1) is None, r"blocks, which a predicate must not: sleep\(\)"),
        (lambda: _later() or True, "returned <coroutine"),
        (lambda: _yields() or True, "returned <generator"),
        (lambda: None, "returned None, which is neither true nor false"),
    ],
)
@pytest.mark.parametrize("schedule", ["fifo", "random"])
def test_a_predicate_that_cannot_be_asked_is_reported(
    predicate: Callable[..., object], text: str, schedule: str
) -> None:
    """It ends the run, and is told from a violation."""
    with Simulation(schedule=schedule) as sim:
        sim.always(predicate, name="bad")
        with pytest.raises(PredicateFailed, match=f"the predicate of always bad .* {text}") as failed:
            sim.sleep(1)
    assert not isinstance(failed.value, AssertionError)


@pytest.mark.parametrize(
    "predicate", [_later, _yields, True, lambda one, two: True, lambda *, needed: True], ids=lambda one: repr(one)[:12]
)
def test_what_is_no_predicate_is_refused(predicate: object) -> None:
    """At once, and not when it is asked."""
    with simulated() as sim, pytest.raises(UsageError):
        sim.always(predicate)  # type: ignore[arg-type]


def test_a_blocking_predicate_leaves_the_world_as_it_was() -> None:
    """A call that waits for a room's answer is refused too."""
    with Simulation() as sim:
        ada = sim.room("demo").join("ada", enable=True)
        sim.never(lambda: ada.messaging.wait_for_participant(name="bob"))
        with pytest.raises(PredicateFailed) as failed:
            sim.sleep(1)
    assert isinstance(failed.value.__cause__, BlockingRefused)


def test_in_exploring_the_predicate_is_the_symptom(tmp_path) -> None:
    """It is found, made small and repeated, whichever turn breaks it."""
    failure = explore(racing, range(50), schedule="random", save=tmp_path, report=None)
    assert failure is not None and failure.is_repeatable
    assert str(failure.symptom) == f"InvariantViolated at test_invariants.py:{LINE}, never both_inside"
    assert len(failure.deviations) <= 3
    again = replay(failure.path)
    assert again.is_same and again.is_identical


INSIDE: list[str] = []


def both_inside() -> bool:
    """Return whether two are where one may be."""
    return len(INSIDE) > 1


LINE = both_inside.__code__.co_firstlineno


def racing(sim: Simulation) -> None:
    """Two look, and go in: at one instant, so that the order decides."""
    INSIDE.clear()
    sim.never(both_inside)
    lock = meshsync.condition()

    def visit(name: str) -> None:
        with lock:
            is_free = not INSIDE
        if is_free:
            with lock:
                INSIDE.append(name)
            with lock:
                INSIDE.remove(name)

    for name in ("ann", "tom"):
        sim.spawn(visit, name, name=name)
    sim.sleep(1)


def test_a_time_limit_passed_by_lateness_is_overdue() -> None:
    """As any other time limit that lateness made a run pass."""

    def program(sim: Simulation) -> None:
        state = {"done": False}
        sim.eventually(lambda: state["done"], within=0.2, name="done")

        def act() -> None:
            for _ in range(10):
                meshsync.sleep(0.01)
            state["done"] = True

        sim.spawn(act, name="worker")
        sim.sleep(5)

    said: list[str] = []
    assert explore(program, range(40), schedule="late", save=None, report=said.append) is None
    assert "passed a time limit by lateness" in said[0]
    assert explore(program, range(40), schedule="late", save=None, report=None, count_overdue=True) is not None


def test_a_predicate_waits_for_no_condition() -> None:
    """It is asked again after the next turn, where an actor is inside of the condition that it would enter."""
    asked = {"answered": 0, "occupied": 0}

    def program(sim: Simulation, is_watched: bool) -> None:
        lock, count = meshsync.condition(), [0]

        def count_up() -> None:
            for _ in range(20):
                with lock:
                    count[0] += 1
                    lock.notify_all()

        def looks() -> bool:
            try:
                with lock:
                    asked["answered"] += 1
                    return count[0] >= 0
            except ConditionOccupied:
                asked["occupied"] += 1
                raise

        if is_watched:
            sim.always(looks)
        tasks = [sim.spawn(count_up, name=name) for name in ("ann", "tom")]
        with lock:
            lock.wait_for(lambda: count[0] == 40)
        for task in tasks:
            task.join()

    case = Case(seed=1, schedule="random")
    plain, watched = run(lambda sim: program(sim, False), case), run(lambda sim: program(sim, True), case)
    assert watched.error is None
    assert watched.deviations == plain.deviations
    assert min(asked.values()) > 5


def test_what_predicates_ask_is_not_counted_as_polling() -> None:
    """Neither of the actor whose turn ended, nor of the turns of timers in a row; 60 is more than the limit of 50."""
    asked = []
    with VirtualRuntime(max_steps=50) as runtime:
        runtime.invariants.add(Claim.ALWAYS, lambda: asked.append(sum(runtime.monotonic() for _ in range(60))) or True)
        for number in range(100):
            runtime.kernel.after(number, lambda: None)
        runtime.sleep(200)
        for _ in range(45):
            runtime.monotonic()
    assert len(asked) > 100


def test_actors_that_poll_are_found_as_early_as_without() -> None:
    """What an actor has polled stays counted when it is preempted."""

    def polls(is_watched: bool) -> int:
        with VirtualRuntime(3, schedule="random", max_steps=300) as runtime:
            lock, count = runtime.condition(), [0]

            def poll() -> None:
                while True:
                    with lock:
                        count[0] += 1

            if is_watched:
                runtime.invariants.add(Claim.ALWAYS, lambda: True)
            for name in ("ann", "tom"):
                runtime.spawn(poll, name=name)
            with pytest.raises(SimulationLivelock):
                runtime.sleep(1)
            return count[0]

    assert polls(True) == polls(False) < 400
