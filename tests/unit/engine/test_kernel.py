from __future__ import annotations

import math

import pytest

from simulator.engine.kernel import Kernel

SECOND = 1_000_000_000


def run(kernel: Kernel) -> list[int]:
    """Take every timer, and return the instants at which they happened."""
    instants = []
    while (callback := kernel.take()) is not None:
        callback()
        instants.append(kernel.now)
    return instants


def test_timers_happen_in_order_of_time() -> None:
    """The clock goes from one to the next, whatever the order in which they were asked for."""
    kernel, seen = Kernel(), []
    for seconds in (3, 1, 2):
        kernel.after(seconds, lambda seconds=seconds: seen.append((seconds, kernel.now)))
    run(kernel)
    assert seen == [(1, SECOND), (2, 2 * SECOND), (3, 3 * SECOND)]


def test_timers_of_one_instant_happen_in_the_order_of_asking() -> None:
    """Ties in time fall in scheduling order, also for those asked for at that instant."""
    kernel, seen = Kernel(), []
    for name in "abc":
        kernel.after(1, lambda name=name: seen.append(name))
    kernel.after(1, lambda: kernel.after(0, lambda: seen.append("later")))
    kernel.after(1, lambda: seen.append("d"))
    run(kernel)
    assert seen == ["a", "b", "c", "d", "later"]


def test_cancelled_timer_does_not_happen_nor_move_the_clock() -> None:
    """What is cancelled leaves no trace; cancelling again, or too late, does nothing."""
    kernel, seen = Kernel(), []
    first = kernel.after(1, lambda: seen.append("first"))
    last = kernel.after(9, lambda: seen.append("last"))
    last.cancel()
    last.cancel()
    assert run(kernel) == [SECOND]
    first.cancel()
    assert (seen, kernel.now, len(kernel), kernel.foreground) == (["first"], SECOND, 0, 0)


def test_many_cancelled_timers_take_no_room() -> None:
    """A time-out per message that never happens does not fill the heap: 10,000 leave fewer than 200 entries."""
    kernel = Kernel()
    kept = kernel.after(5, lambda: None)
    for _ in range(10_000):
        kernel.after(30, lambda: None).cancel()
    assert len(kernel._heap) < 200
    assert (len(kernel), kernel.foreground, kernel.next_deadline) == (1, 1, kept.when)


def test_background_timers_are_counted_apart() -> None:
    """Only foreground timers count as something going on, until they happen or are cancelled."""
    kernel = Kernel()
    beat = kernel.after(1, lambda: None, background=True)
    work = kernel.after(2, lambda: None)
    assert (len(kernel), kernel.foreground, beat.is_background, work.is_background) == (2, 1, True, False)
    work.cancel()
    assert (len(kernel), kernel.foreground) == (1, 0)
    beat.cancel()
    assert (len(kernel), kernel.foreground) == (0, 0)


def test_part_of_a_nanosecond_moves_the_clock() -> None:
    """However short, a wait ends later than it began: 0.4 ns rounded down would be no time at all."""
    kernel = Kernel()
    assert kernel.instant(4e-10) == 1
    assert kernel.instant(5e-324) == 1
    kernel.move(10**18)  # 31 years, where floats are 4 ns apart
    assert kernel.instant(1e-12) == 10**18 + 1


@pytest.mark.parametrize("seconds", [0.1, 0.02, 0.3, 1 / 3, 1e-9, 2.5e-7, 59.999999999])
def test_clock_shows_what_was_asked_for(seconds: float) -> None:
    """At the end of a wait the clock in seconds is not less than asked, and at most a nanosecond more."""
    kernel = Kernel()
    kernel.after(seconds, lambda: None)
    run(kernel)
    assert 0 <= kernel.now / SECOND - seconds < 1e-9


def test_round_times_stay_round() -> None:
    """A tenth of a second is 100,000,000 ns, although the nearest float is a little more than a tenth."""
    assert Kernel().instant(0.1) == 100_000_000


def test_waiting_for_the_rest_until_a_deadline_ends() -> None:
    """A loop that waits for deadline minus now ends within two rounds, at any reading of the clock."""
    for start in (0, 1, 123_456_789, 987_654_321_012, 10**15 + 7):
        kernel = Kernel()
        kernel.move(start)
        deadline = kernel.now / SECOND + 0.1
        rounds = 0
        while (left := deadline - kernel.now / SECOND) > 0:
            kernel.after(left, lambda: None)
            run(kernel)
            rounds += 1
        assert rounds <= 2


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
def test_no_time_is_now(seconds: float) -> None:
    """Zero or less means this instant."""
    kernel = Kernel()
    kernel.move(5)
    assert kernel.instant(seconds) == 5
    kernel.at(3, lambda: None)
    assert run(kernel) == [5]


@pytest.mark.parametrize(("seconds", "error"), [(math.nan, ValueError), (math.inf, OverflowError)])
def test_what_is_no_time_is_refused(seconds: float, error: type[Exception]) -> None:
    """NaN and infinity are no instants."""
    with pytest.raises(error):
        Kernel().after(seconds, lambda: None)


def test_clock_is_not_moved_past_a_timer_or_back() -> None:
    """The clock moves by hand only over time in which nothing happens."""
    kernel = Kernel()
    kernel.after(1, lambda: None)
    kernel.move(SECOND)
    for instant in (SECOND - 1, SECOND + 1):
        with pytest.raises(ValueError, match="cannot move"):
            kernel.move(instant)
    assert kernel.now == SECOND
