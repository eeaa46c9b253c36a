"""What a schedule can do to actors at one instant: let timers and other actors overtake them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.engine.lateness import ReplaySchedule
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.schedules import TIMER, Deviation, RandomSchedule
from simulator.engine.seeds import Seeds
from tests.support.busy import give_way


def order(*deviations: Deviation, inside: bool = False) -> list[str]:
    """Return the order in which actors `a` and `b`, which sleep until the same instant, do two things each.

    Args:
        inside: Whether each does them inside a condition of its own, with a notification in between.
    """
    done: list[str] = []
    with VirtualRuntime(7, schedule=ReplaySchedule(deviations)) as runtime:

        def act(name: str) -> None:
            runtime.sleep(1)
            if not inside:
                done.append(f"{name}1")
                give_way(runtime)
                done.append(f"{name}2")
                return
            with runtime.condition() as held:
                done.append(f"{name}1")
                held.notify_all()
                done.append(f"{name}2")

        tasks = [runtime.spawn(lambda name=name: act(name), name=name) for name in "ab"]
        assert all(task.join() for task in tasks)
    return done


def test_without_deviations_a_timer_comes_after_the_actors_that_are_ready() -> None:
    """The order of first-in-first-out."""
    assert order() == ["a1", "a2", "b1", "b2"]


def test_a_timer_that_is_due_may_come_before_an_actor_that_is_ready() -> None:
    """The actor is set back, and goes on when nothing else is left to happen at that instant."""
    assert order(Deviation("main/a", False, 2, TIMER)) == ["b1", "b2", "a1", "a2"]


def test_a_timer_that_is_due_may_come_in_the_midst_of_an_actor() -> None:
    """One preemption is enough for the other actor to be woken, and to overtake in all its steps."""
    assert order(Deviation("main/a", True, 1, TIMER)) == ["a1", "b1", "b2", "a2"]


@pytest.mark.parametrize(("visit", "expected"), [(2, ["a1", "a2", "b1", "b2"]), (1, ["b1", "b2", "a1", "a2"])])
def test_no_timer_comes_while_an_actor_is_inside_a_condition(visit: int, expected: list[str]) -> None:
    """Its callback must find every condition free: before entering is fine, at the notification is not."""
    assert order(Deviation("main/a", True, visit, TIMER), inside=True) == expected


@pytest.mark.parametrize("seed", range(20))
def test_who_polls_does_not_keep_back_who_was_set_back(seed: int) -> None:
    """Giving up the turn puts an actor behind those that were set back, so that what it polls for can happen."""
    schedule = RandomSchedule(Seeds(seed).stream("schedule"), probability=0.5)
    with VirtualRuntime(7, schedule=schedule, max_steps=10_000) as runtime:
        seen: list[int] = []

        def add() -> None:
            give_way(runtime)
            seen.append(1)

        def poll() -> None:
            while not seen:
                runtime.sleep(0)

        tasks = [runtime.spawn(target, name="actor") for target in (poll, add, poll)]
        assert all(task.join() for task in tasks)


def test_paths_name_an_actor_by_who_spawned_it() -> None:
    """Two of one name are numbered among those of one parent, whatever others spawn."""
    paths: list[str] = []
    with VirtualRuntime(7) as runtime:

        def spawn(target: Callable[[], None], name: str) -> None:
            task = runtime.spawn(target, name=name)
            paths.append(task.actor.path)
            assert task.join()

        for _ in range(2):
            spawn(lambda: spawn(lambda: None, "child"), "parent")
    assert paths == ["main/parent", "main/parent/child", "main/parent#2", "main/parent#2/child"]
