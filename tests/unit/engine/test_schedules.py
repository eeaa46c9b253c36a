from __future__ import annotations

import itertools

import pytest

from simulator.engine.lateness import ReplaySchedule, schedule_named
from simulator.engine.schedules import Deviation, PctSchedule, RandomSchedule
from simulator.engine.seeds import Seeds


def test_random_schedule_is_the_same_on_every_python() -> None:
    """A seed fixes the picks."""
    schedule = RandomSchedule(Seeds(7).stream("schedule"))
    assert [schedule.choose([1, 2, 3], is_preemption=False) for _ in range(10)] == [0, 0, 0, 0, 2, 2, 0, 1, 0, 2]


def test_random_schedule_preempts_as_often_as_it_is_told() -> None:
    """A probability of 0.3 preempts 300 times in 1000, give or take 5 standard deviations of 14.5."""
    schedule = RandomSchedule(Seeds(1).stream("schedule"), probability=0.3)
    preempted = sum(schedule.choose([1, 2, 3], is_preemption=True) > 0 for _ in range(1000))
    assert abs(preempted - 300) < 73


def test_probability_of_zero_draws_nothing() -> None:
    """Never preempting leaves the stream where it was."""
    seeds = Seeds(1)
    schedule = RandomSchedule(seeds.stream("schedule"), probability=0)
    assert not any(schedule.choose([1, 2], is_preemption=True) for _ in range(100))
    assert seeds.stream("schedule").random() == Seeds(1).stream("schedule").random()


def test_only_candidate_is_no_decision() -> None:
    """Where one actor can go on there is nothing to choose, draw or record."""
    schedule = RandomSchedule(Seeds(1).stream("schedule"))
    assert [schedule.choose([5], is_preemption=False) for _ in range(9)] == [0] * 9
    assert (schedule.decisions, schedule.deviations) == (0, [])


def test_replay_repeats_the_recorded_picks() -> None:
    """The deviations of a run are enough to take every decision again."""
    candidates = [list(range(2 + number % 4)) for number in range(200)]
    recorded = RandomSchedule(Seeds(3).stream("schedule"))
    picks = [recorded.choose(each, is_preemption=False) for each in candidates]
    replay = ReplaySchedule(recorded.deviations)
    assert [replay.choose(each, is_preemption=False) for each in candidates] == picks
    assert replay.deviations == recorded.deviations
    assert 0 < len(recorded.deviations) < 200


def test_replay_leaves_out_what_does_not_fit() -> None:
    """A deviation to somebody who is no candidate is none, so that a shrunk schedule still runs."""
    there, gone = Deviation("a", True, 2, "b"), Deviation("a", True, 1, "c")
    replay = ReplaySchedule([gone, there])
    assert [replay.choose(["a", "b"], is_preemption=True) for _ in range(3)] == [0, 1, 0]
    assert replay.deviations == [there]


def test_deviation_is_found_again_whatever_others_decide() -> None:
    """It counts how often its own actor was asked about, alone too; the decisions of others before it do not matter."""
    replay = ReplaySchedule([Deviation("a", False, 2, "b")])
    others = [replay.choose(["c", "a"], is_preemption=False) for _ in range(3)]
    picks = [replay.choose(candidates, is_preemption=False) for candidates in (["a"], ["a", "b"], ["a", "b"])]
    assert (others, picks) == ([0, 0, 0], [0, 1, 0])


def test_random_schedule_leaves_behind_who_was_set_back() -> None:
    """Those come again when nobody else is there, or when the one that runs is preempted and no other could go on."""
    schedule = RandomSchedule(Seeds(1).stream("schedule"), probability=1)
    picks = {schedule.choose(["a", "b", "c"], is_preemption=False, set_back=1) for _ in range(50)}
    last = {schedule.choose(["b", "c"], is_preemption=False, set_back=2) for _ in range(50)}
    preempted = {schedule.choose(["a", "b", "c"], is_preemption=True, set_back=2) for _ in range(50)}
    assert (picks, last, preempted) == ({0, 1}, {0, 1}, {1, 2})


def test_pct_keeps_its_priorities() -> None:
    """Without change points the same actor wins every decision it takes part in."""
    schedule = PctSchedule(Seeds(1).stream("schedule"), depth=1)
    first = [1, 2, 3][schedule.choose([1, 2, 3], is_preemption=False)]
    for candidates in ([3, 2, 1], [2, 1, 3], [first, 9 if first == 1 else 1]):
        index = schedule.choose(candidates, is_preemption=True)
        assert candidates[index] == first or candidates[index] == 9


def test_pct_puts_an_actor_that_yields_behind_all_others() -> None:
    """Whoever gives up its turn does not get it back while another is ready."""
    schedule = PctSchedule(Seeds(1).stream("schedule"), depth=1)
    for _ in range(10):
        winner = [1, 2, 3][schedule.choose([1, 2, 3], is_preemption=False)]
        schedule.yielded(winner)
        assert [1, 2, 3][schedule.choose([1, 2, 3], is_preemption=False)] != winner


def test_pct_changes_priorities_depth_minus_one_times() -> None:
    """Over its length, a schedule of depth 4 switches between two equal actors at most 3 times, and does switch."""
    switches = []
    for seed in range(20):
        schedule = PctSchedule(Seeds(seed).stream("schedule"), depth=4, length=100)
        picks = [schedule.choose([1, 2], is_preemption=False) for _ in range(200)]
        switches.append(sum(a != b for a, b in itertools.pairwise(picks)))
    assert max(switches) == 3
    assert min(switches) >= 1


def test_pct_without_a_length_changes_priorities_again_and_again() -> None:
    """However long the run: about twice in each stretch, whose length is drawn from those that there are."""
    switches = []
    for seed in range(20):
        schedule = PctSchedule(Seeds(seed).stream("schedule"))
        picks = [schedule.choose([1, 2], is_preemption=False) for _ in range(10_000)]
        switches.append(sum(a != b for a, b in itertools.pairwise(picks)))
    assert min(switches) >= 5
    assert 1_500 <= max(switches) <= 2_000


@pytest.mark.parametrize(("name", "kind"), [("fifo", type(None)), ("random", RandomSchedule), ("pct", PctSchedule)])
def test_schedules_are_found_by_name(name: str, kind: type[object]) -> None:
    """Each name gives its schedule."""
    assert type(schedule_named(name, Seeds(1))) is kind


def test_unknown_schedule_is_refused() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(ValueError, match=r"'lifo'.*'fifo', 'random', 'pct', 'late'"):
        schedule_named("lifo", Seeds(1))


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_probability_outside_its_range_is_refused(probability: float) -> None:
    """A probability is between 0 and 1."""
    with pytest.raises(ValueError, match="probability"):
        RandomSchedule(Seeds(1).stream("schedule"), probability=probability)
