"""The clock of a loop: callbacks in order, at their times, whatever one of them does. Time is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from simulator.emulator.loop_clock import LoopClock

SECOND = 10**9


class Handle:
    """A callback that the loop was given."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class SetLoop:
    """A loop whose time stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> Handle:
        return self.call_at(self.now, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        self.handles.append(Handle(when, callback))
        return self.handles[-1]

    @property
    def waiting(self) -> list[float]:
        """When callbacks are due, from now."""
        return [round(one.when - self.now, 6) for one in self.handles if one.callback is not None]

    def turn(self) -> None:
        """Call what is due, once."""
        due = [one for one in self.handles if one.callback is not None and one.when <= self.now]
        self.handles = [one for one in self.handles if one not in due and one.callback is not None]
        for one in due:
            assert one.callback is not None
            one.callback()

    def move(self, seconds: float) -> None:
        """Let time pass at once."""
        self.now += seconds
        self.turn()


class Bench:
    """A clock on a loop, and what it called."""

    def __init__(self) -> None:
        self.loop = SetLoop()
        self.failed: list[Exception] = []
        self.called: list[Any] = []
        self.clock = LoopClock(cast(asyncio.AbstractEventLoop, self.loop), self.failed.append)

    def after(self, seconds: float, what: object) -> Any:
        return self.clock.after(seconds, lambda: self.called.append(what))


def test_callbacks_come_in_time_and_in_order() -> None:
    """Those of one instant in the order in which they were made; the loop waits for the earliest alone."""
    bench = Bench()
    bench.after(2, "late")
    for number in range(20):
        bench.after(1, number)
    assert bench.loop.waiting == [1]
    bench.loop.move(0.5)
    assert bench.called == []
    bench.loop.move(0.5)
    assert bench.called == list(range(20))
    assert bench.loop.waiting == [1]
    bench.loop.move(3)
    assert bench.called[-1] == "late"
    assert bench.loop.waiting == []


def test_time_is_the_loops_since_the_start() -> None:
    """An instant is rounded up, and never one that is past."""
    bench = Bench()
    assert bench.clock.now == 0
    bench.loop.now += 1.5
    assert bench.clock.now == 1.5 * SECOND
    assert bench.clock.instant(0.25) == 1.75 * SECOND
    assert bench.clock.instant(-1) == bench.clock.now
    bench.clock.at(0, lambda: bench.called.append("past"))
    assert bench.loop.waiting == [0]


def test_a_cancelled_callback_is_not_made() -> None:
    """Nor waited for."""
    bench = Bench()
    timer = bench.after(1, "cancelled")
    bench.after(2, "kept")
    timer.cancel()
    bench.loop.move(3)
    assert bench.called == ["kept"]


def test_what_is_due_at_once_waits_for_the_loop() -> None:
    """A callback for now is not made within the call that asks for it, and one that asks for another neither."""
    bench = Bench()

    def again() -> None:
        bench.called.append("first")
        bench.after(0, "second")
        assert bench.called == ["first"]

    bench.clock.after(0, again)
    assert bench.called == []
    bench.loop.turn()
    bench.loop.turn()
    assert bench.called == ["first", "second"]


def test_the_loop_has_its_turn_however_much_is_due() -> None:
    """Callbacks that take 4 ms each are made three at a time: a turn ends after 10 ms."""
    bench = Bench()

    def slow() -> None:
        bench.loop.now += 0.004
        bench.called.append("slow")

    for _ in range(7):
        bench.clock.after(0, slow)
    turns = []
    while len(bench.called) < 7:
        bench.loop.turn()
        turns.append(len(bench.called))
    assert turns == [3, 6, 7]


def test_a_callback_that_raises_costs_the_others_nothing() -> None:
    """What it raises is reported."""
    bench = Bench()
    error = ZeroDivisionError()

    def fail() -> None:
        raise error

    bench.clock.after(1, fail)
    bench.after(1, "other")
    bench.loop.move(1)
    assert (bench.failed, bench.called) == ([error], ["other"])


def test_a_stopped_clock_calls_nothing() -> None:
    """The loop waits for it no longer."""
    bench = Bench()
    bench.after(1, "never")
    bench.clock.stop()
    assert bench.loop.waiting == []
    bench.loop.move(2)
    assert bench.called == []
