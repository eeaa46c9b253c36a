from __future__ import annotations

from dataclasses import replace

from simulator.engine.stalls import BusyDetector, Observation, StallDetector

QUIET = Observation(time=0.0, progress=10, processor=1.0, is_outside=False, is_runnable=False)


def first_stall(observations: list[Observation]) -> float | None:
    """Return when a detector with a limit of 5 s finds a stall, in seconds."""
    detector = StallDetector(5.0)
    return next((seen.time for seen in observations if detector.observe(seen)), None)


def test_blocked_actor_is_found_after_the_limit() -> None:
    """Nothing moves and nothing is computed for 5 s: a stall."""
    assert first_stall([replace(QUIET, time=float(second)) for second in range(9)]) == 5.0


def test_progress_starts_the_count_anew() -> None:
    """A turn at second 3 puts the stall off until second 8."""
    seen = [replace(QUIET, time=float(second), progress=10 + (second >= 3)) for second in range(12)]
    assert first_stall(seen) == 8.0


def test_computing_is_no_stall() -> None:
    """An actor that uses a processor for half of the time is at work."""
    assert first_stall([replace(QUIET, time=float(second), processor=second / 2) for second in range(60)]) is None


def test_waiting_for_a_processor_is_no_stall() -> None:
    """On a machine that is overloaded an actor may get none for long."""
    assert first_stall([replace(QUIET, time=float(second), is_runnable=True) for second in range(60)]) is None


def test_creating_thread_may_take_its_time() -> None:
    """Between two cells of a notebook the world stands still, and that is no stall."""
    assert first_stall([replace(QUIET, time=float(second), is_outside=True) for second in range(60)]) is None


def test_sleeping_machine_is_no_stall() -> None:
    """A gap of an hour between two looks starts the count anew."""
    times = [0.0, 1.0, 2.0, 3600.0, 3601.0, 3602.0]
    assert first_stall([replace(QUIET, time=time) for time in times]) is None


def reports(observations: list[Observation]) -> list[float]:
    """Return when a detector with a limit of 30 s reports a turn that lasts, in seconds."""
    detector = BusyDetector(30.0)
    return [seen.time for seen in observations if detector.observe(seen)]


def test_turn_that_lasts_is_reported_once() -> None:
    """An actor computes from 0 s on: reported at 30 s, and not again."""
    assert reports([replace(QUIET, time=float(second), processor=float(second)) for second in range(100)]) == [30.0]


def test_next_turn_that_lasts_is_reported_again() -> None:
    """The first ends at 40 s, so that the next one is reported 30 s later; the creating thread may take its time."""
    seen = [replace(QUIET, time=float(second), progress=10 + (second >= 40)) for second in range(80)]
    assert reports(seen) == [30.0, 70.0]
    assert reports([replace(one, is_outside=True) for one in seen]) == []
