"""Lateness: drawn, recorded, repeated; and its scales, from a pilot."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from simulator.engine.aiming import Step
from simulator.engine.kernel import SECOND
from simulator.engine.lateness import (
    AimedSchedule,
    Lateness,
    LateSchedule,
    Pilot,
    PilotSchedule,
    ReplaySchedule,
    schedule_named,
)
from simulator.engine.runtime import VirtualRuntime
from simulator.engine.schedules import Late, RandomSchedule
from simulator.engine.seeds import Seeds


def test_steps_are_late_with_their_probability_by_up_to_one_and_a_half_scales() -> None:
    """Of 10,000 steps about a tenth, by up to 3 s at a scale of 2 s, 1.5 s on average; all of it is recorded."""
    schedule = LateSchedule(Random(1), Lateness(0.1, 2 * SECOND))
    drawn = [schedule.late("main/ada", 0) for _ in range(10_000)]
    late = [by for by in drawn if by]
    assert 900 < len(late) < 1100
    assert min(late) > 0 and 2.9 * SECOND < max(late) <= 3 * SECOND
    assert 1.4 * SECOND < sum(late) / len(late) < 1.6 * SECOND
    assert schedule.lates == [Late("main/ada", step, by) for step, by in enumerate(drawn, 1) if by]


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        ("all", {"main/ada", "main/ada/meshsync reader of ada", "ada#1/up", "bot"}),
        ("program", {"main/ada", "bot"}),
        ("links", {"ada#1/up"}),
        ("bot", {"bot"}),
    ],
)
def test_only_those_in_focus_are_late(focus: str, expected: set[str]) -> None:
    """A reader of a client runs none of the program's code."""
    schedule = LateSchedule(Random(1), Lateness(0.5, SECOND, focus))
    for _ in range(50):
        for who in ("main/ada", "main/ada/meshsync reader of ada", "ada#1/up", "bot"):
            schedule.late(who, 0)
    assert {one.who for one in schedule.lates} == expected


def test_recorded_lateness_is_repeated_at_the_same_steps_and_no_others() -> None:
    """By who and the number of the step, whatever the others do."""
    schedule = ReplaySchedule(lates=[Late("a", 2, 500), Late("b", 9, 100)])
    assert [schedule.late(who, due) for who, due in (("a", 10), ("c", 11), ("a", 12), ("a", 13), ("b", 14))] == [
        0,
        0,
        500,
        0,
        0,
    ]
    assert (schedule.lates, schedule.instants) == ([Late("a", 2, 500)], [12])


def test_scales_are_gaps_between_events_and_time_limits() -> None:
    """Of three events 1 s and 10 s apart, and a limit of 30 s."""
    pilot = Pilot((0, SECOND, 11 * SECOND), (30 * SECOND,), ("main/ada",))
    stream = Random(5)
    drawn = [pilot.draw(stream) for _ in range(3000)]
    scales = Counter(one.scale // SECOND for one in drawn)
    assert set(scales) == {1, 10, 11, 30}
    assert 0.17 < scales[30] / 3000 < 0.23
    assert {one.focus for one in drawn} == {"main/ada", "program", "links", "all"}
    assert {one.probability for one in drawn} == {0.02, 0.1, 0.5}


def test_pilot_keeps_instants_once_and_limits_to_two_digits() -> None:
    """What is left of a limit is no other one; the end of a limit may never come."""
    schedule = PilotSchedule()
    for due, limit in ((5, 0), (5, 0), (9, 0), (30 * SECOND, 30 * SECOND), (30 * SECOND, 29_999_000_000)):
        assert schedule.late("main/ada", due, limit) == 0
    assert schedule.late("ada#1/up", 9, kind="delivery") == 0
    assert schedule.late("main/ada/meshsync reader of ada", 9, kind="turn") == 0
    dues = (5, 5, 9, 30 * SECOND, 30 * SECOND)
    steps = [Step("main/ada", "step", number, due) for number, due in enumerate(dues, 1)]
    steps.append(Step("ada#1/up", "delivery", 1, 9))
    assert schedule.result == Pilot((5, 9), (30 * SECOND,), ("main/ada", "ada#1/up"), tuple(steps))


def test_aimed_lateness_comes_behind_another_step() -> None:
    """Of steps at 1, 2 and 5 s; in five runs of six."""
    steps = (*(Step("main/ada", "sleep", n, SECOND) for n in range(1, 10)), Step("bob#1/up", "delivery", 1, 2 * SECOND))
    pilot = Pilot((), (), (), (*steps, Step("main/eve", "sleep", 1, 5 * SECOND)))
    stream = Random(3)
    drawn = [pilot.aim(stream) for _ in range(2000)]
    assert 0.8 < sum(map(bool, drawn)) / 2000 < 0.87
    assert {len(lates) for lates in drawn if lates} <= set(range(1, 12)), "of so many steps"
    late = [one for lates in drawn for one in lates]
    ends = Counter((one.who, (_due(one.who) + one.by) // SECOND) for one in late)
    assert {who for who, _ in ends} == {"main/ada", "bob#1/up", "main/eve"}
    assert {end for who, end in ends if who == "main/ada"} == {2, 5, 6, 7, 8}, "behind bob's, eve's, or all of the run"
    assert {end for who, end in ends if who == "bob#1/up"} == {5, 6, 7, 8}
    assert Pilot((), ()).aim(stream) == ()


def _due(who: str) -> int:
    return {"main/ada": 1, "bob#1/up": 2, "main/eve": 5}[who] * SECOND


def test_aimed_schedule_leaves_who_goes_on_to_another() -> None:
    """And is late at the given steps alone."""
    schedule = schedule_named("late+random", Seeds(1), None, [Late("a", 2, 500)])
    assert isinstance(schedule, AimedSchedule)
    assert [schedule.late("a", 0), schedule.late("a", 7)] == [0, 500]
    taken = [schedule.choose(["a", "b"], is_preemption=False) for _ in range(20)]
    assert set(taken) == {0, 1}
    assert len(schedule.deviations) == sum(taken)


@pytest.mark.parametrize(("name", "base"), [("late", None), ("late+random", RandomSchedule)])
def test_schedules_are_made_by_name(name: str, base: type | None) -> None:
    """Without a pilot, lateness follows from the seed."""
    schedules = [schedule_named(name, Seeds(seed)) for seed in (1, 1, 2)]
    assert all(isinstance(one, LateSchedule) for one in schedules)
    assert isinstance(schedules[0]._base, base or type(None))  # type: ignore[union-attr]
    drawn = [[one.late("main", 0) for _ in range(200)] for one in schedules]  # type: ignore[union-attr]
    assert drawn[0] == drawn[1] != drawn[2]


def test_sleep_wait_and_first_turn_come_as_late_as_recorded() -> None:
    """A task begins 1 s late, sleeps 2 s longer, and gives up a wait of 10 s after 13."""
    lates = [Late("main/ada", 1, by * SECOND, kind) for kind, by in (("turn", 1), ("sleep", 2), ("wait", 3))]
    seen: list[float] = []
    with VirtualRuntime(1, schedule=ReplaySchedule(lates=lates)) as runtime:

        def ada() -> None:
            seen.append(runtime.now)
            runtime.sleep(5)
            seen.append(runtime.now)
            with runtime.condition() as never:
                assert not never.wait(10)
            seen.append(runtime.now)

        runtime.spawn(ada, name="ada").join()
    assert seen == [1.0, 8.0, 21.0]


def test_notified_waiter_goes_on_as_late_as_recorded() -> None:
    """It was notified before its time limit, and so its wait succeeds, 4 s later."""
    with VirtualRuntime(1, schedule=ReplaySchedule(lates=[Late("main/ada", 2, 4 * SECOND, "turn")])) as runtime:
        condition = runtime.condition()
        result: list[tuple[bool, float]] = []

        def ada() -> None:
            with condition:
                result.append((condition.wait(2), runtime.now))

        task = runtime.spawn(ada, name="ada")
        runtime.sleep(1)
        with condition:
            condition.notify_all()
        task.join()
    assert result == [(True, 5.0)]
