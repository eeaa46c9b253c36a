"""Semaphores and queues of a simulation against a plain model of first come, first served."""

from __future__ import annotations

import heapq
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

import meshsync
from tests.support.profiles import examples
from tests.support.worlds import simulated

Step = tuple[int, int, int]
"""Sleep so long, take a permit of that semaphore, keep it so long."""

SPANS = st.integers(1, 10**6)
STEPS = st.lists(st.tuples(SPANS, st.integers(0, 1), SPANS), min_size=1, max_size=4)
PERMITS = st.tuples(st.integers(1, 3), st.integers(1, 3))


def expected(permits: tuple[int, int], tasks: list[list[Step]]) -> list[list[int]]:
    """Return when each task gets each of its permits: a queue of instants, and a line before each semaphore."""
    free, lines = list(permits), [deque[int](), deque[int]()]
    got: list[list[int]] = [[] for _ in tasks]
    due = [(steps[0][0], number, "asks") for number, steps in enumerate(tasks)]
    heapq.heapify(due)

    def take(number: int, now: int) -> None:
        _, _, keeps = tasks[number][len(got[number])]
        got[number].append(now)
        heapq.heappush(due, (now + keeps, number, "gives"))

    while due:
        now, number, what = heapq.heappop(due)
        if what == "asks":
            kind = tasks[number][len(got[number])][1]
            if free[kind] and not lines[kind]:
                free[kind] -= 1
                take(number, now)
            else:
                lines[kind].append(number)
            continue
        kind = tasks[number][len(got[number]) - 1][1]
        if lines[kind]:
            take(lines[kind].popleft(), now)
        else:
            free[kind] += 1
        if len(got[number]) < len(tasks[number]):
            heapq.heappush(due, (now + tasks[number][len(got[number])][0], number, "asks"))
    return got


def distinct(tasks: list[list[Step]]) -> list[list[Step]]:
    """Return the same with spans of which no two sums are equal: ties in time are the schedule's to decide."""
    count = iter(range(1000))
    return [
        [(wait * 2**40 + 2 ** next(count), kind, keep * 2**40 + 2 ** next(count)) for wait, kind, keep in steps]
        for steps in tasks
    ]


@examples(60)
@given(PERMITS, st.lists(STEPS, min_size=1, max_size=5), st.sampled_from(["fifo", "random", "pct"]))
def test_permits_are_got_when_the_model_says(permits: tuple[int, int], tasks: list[list[Step]], schedule: str) -> None:
    """By each task, to the nanosecond, in whatever order tasks of one instant run."""
    tasks = distinct(tasks)
    got: list[list[int]] = [[] for _ in tasks]
    with simulated(schedule=schedule) as sim:
        semaphores = [meshsync.Semaphore(count) for count in permits]

        def program(number: int) -> None:
            for wait, kind, keep in tasks[number]:
                sleep(wait)
                with semaphores[kind]:
                    got[number].append(sim.kernel.now)
                    sleep(keep)

        def sleep(span: int) -> None:
            sim.kernel.at(sim.kernel.now + span, (event := meshsync.Event()).set)
            event.wait()

        for task in [sim.spawn(program, number) for number in range(len(tasks))]:
            task.join()
    assert got == expected(permits, tasks)
