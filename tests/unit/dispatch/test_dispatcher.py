"""The dispatcher: jobs in order on one task, what is dropped, which tasks run the program's code, and the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshsync.dispatch.dispatcher import Dispatcher
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE


class Running:
    """A dispatcher that runs, and what it reports of what was dropped."""

    def __init__(self) -> None:
        self.drops: list[int] = []
        self.dispatcher = Dispatcher(ThreadRuntime(), "me in lab", self.drops.append)
        self.dispatcher.start()

    def inside(self, target: Callable[[], object]) -> Any:
        """Run something on the dispatcher and return what it returns."""
        done, outcome = threading.Event(), list[Any]()

        def run() -> None:
            outcome.append(target())
            done.set()

        self.dispatcher.post(run)
        assert done.wait(PATIENCE)
        return outcome[0]

    def end(self) -> None:
        """Have it run what is there, and end."""
        self.dispatcher.finish()
        assert self.dispatcher.join(PATIENCE)


@pytest.fixture
def running() -> Iterator[Running]:
    """Return a dispatcher that runs."""
    made = Running()
    yield made
    made.end()


def test_posted_jobs_run_in_order_on_one_task(running: Running) -> None:
    """One after the other, and not on the poster's task."""
    ran: list[tuple[int, int]] = []
    for number in range(5):
        running.dispatcher.post(lambda number=number: ran.append((number, threading.get_ident())))
    ident = running.inside(threading.get_ident)
    assert ran == [(number, ident) for number in range(5)]
    assert ident != threading.get_ident()


def test_fault_of_ours_loses_one_event_and_no_more(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Receivers are shielded one by one; should that fail itself, the next job still runs."""

    def fail() -> None:
        raise ZeroDivisionError("oops")

    running.dispatcher.post(fail)
    assert running.inside(lambda: "next") == "next"
    assert "an event was lost in dispatching" in caplog.text


def test_what_was_posted_before_the_end_still_runs(running: Running) -> None:
    """After it nothing is taken, and finishing again does nothing."""
    let_go, ran = threading.Event(), list[int]()
    running.dispatcher.post(lambda: let_go.wait(PATIENCE) and None)
    running.dispatcher.post(lambda: ran.append(1))
    running.dispatcher.finish()
    running.dispatcher.post(lambda: ran.append(2))
    let_go.set()
    running.end()
    assert ran == [1]


def test_full_backlog_drops_the_oldest_and_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest go, counted and reported before the next job, with what was dropped elsewhere."""
    # A backlog of 3 behind one that runs: 5 posted, 2 dropped; and 4 on their way here.
    monkeypatch.setattr("meshsync.dispatch.dispatcher.BACKLOG", 3)
    running = Running()
    busy, let_go, ran = threading.Event(), threading.Event(), list[int]()

    def keep_busy() -> None:
        busy.set()
        let_go.wait(PATIENCE)

    running.dispatcher.post(keep_busy)
    assert busy.wait(PATIENCE)
    for number in range(5):
        running.dispatcher.post(lambda number=number: ran.append(number))
    running.dispatcher.count_dropped(4)
    let_go.set()
    running.end()
    assert (ran, running.drops, running.dispatcher.dropped) == ([2, 3, 4], [6], 6)


def test_code_of_the_program_knows_that_it_is_inside(running: Running) -> None:
    """On the dispatcher and in a task of a hook or callback, and nowhere else."""
    seen: list[bool] = []
    task = running.dispatcher.spawn(lambda: seen.append(running.dispatcher.is_inside), "hook")
    assert task.join(PATIENCE)
    assert (seen, running.inside(lambda: running.dispatcher.is_inside)) == ([True], True)
    assert not running.dispatcher.is_inside
    assert task.name == "meshsync hook of me in lab"


def test_tasks_that_have_ended_are_forgotten(running: Running) -> None:
    """A client that runs for weeks opens many streams."""
    for _ in range(20):
        assert running.dispatcher.spawn(lambda: None, "stream").join(PATIENCE)
    assert len(running.dispatcher.tasks) <= 2
