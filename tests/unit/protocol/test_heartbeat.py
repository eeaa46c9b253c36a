"""Deadlines of the heartbeat; time is a number here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol.heartbeat import INTERVAL, TIMEOUT, Beat, Heartbeat


def test_silence_is_asked_after_once() -> None:
    """30 s after the last sign of life a ping is due, and only one."""
    heartbeat = Heartbeat(100.0)
    assert heartbeat.deadline == 130.0
    assert heartbeat.look(129.9) is None
    assert heartbeat.look(130.0) is Beat.ASKED
    assert heartbeat.look(130.0) is None


def test_a_peer_that_does_not_answer_is_given_up() -> None:
    """30 s + 15 s = 45 s after the last sign of life it is dead."""
    heartbeat = Heartbeat(0.0)
    heartbeat.look(30.0)
    assert heartbeat.deadline == 45.0
    assert heartbeat.look(44.9) is None
    assert heartbeat.look(45.0) is Beat.DEAD
    assert heartbeat.state is Beat.DEAD


def test_death_is_final() -> None:
    """A sign of life after giving up changes nothing, and it is reported once."""
    heartbeat = Heartbeat(0.0)
    heartbeat.look(30.0)
    heartbeat.look(45.0)
    heartbeat.alive(46.0)
    assert heartbeat.look(200.0) is None
    assert (heartbeat.state, heartbeat.deadline) == (Beat.DEAD, None)


def test_an_answer_begins_a_new_interval() -> None:
    """Any sign of life while asked leads back, and the next ping is an interval later."""
    heartbeat = Heartbeat(0.0)
    heartbeat.look(30.0)
    heartbeat.alive(31.0)
    assert (heartbeat.state, heartbeat.deadline) == (Beat.ALIVE, 61.0)
    assert heartbeat.look(60.9) is None
    assert heartbeat.look(61.0) is Beat.ASKED


def test_a_late_look_asks_before_it_condemns() -> None:
    """A process that slept for an hour first pings: the answers may be waiting unread."""
    heartbeat = Heartbeat(0.0)
    assert heartbeat.look(3600.0) is Beat.ASKED
    assert heartbeat.deadline == 3615.0
    assert heartbeat.look(3614.9) is None
    assert heartbeat.look(3615.0) is Beat.DEAD


def test_without_an_interval_there_is_no_heartbeat() -> None:
    """None never asks and never gives up."""
    heartbeat = Heartbeat(0.0, interval=None)
    heartbeat.alive(5.0)
    assert heartbeat.deadline is None
    assert heartbeat.look(1e9) is None


@pytest.mark.parametrize(("interval", "timeout"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_durations_must_be_positive(interval: float, timeout: float) -> None:
    """Zero, negative and no numbers are refused."""
    with pytest.raises(ValueError, match="positive"):
        Heartbeat(0.0, interval=interval, timeout=timeout)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 60.0)), max_size=60))
def test_punctual_looks_give_up_exactly_when_promised(steps: list[tuple[bool, float]]) -> None:
    """Whatever the signs of life, with a look at each deadline death comes 45 s after the last, never earlier."""
    now = last = 0.0
    heartbeat = Heartbeat(now)
    for is_sign, pause in steps:
        until = now + pause
        while heartbeat.deadline is not None and heartbeat.deadline <= until:
            now = heartbeat.deadline
            if heartbeat.look(now) is Beat.DEAD:
                assert now - last == pytest.approx(INTERVAL + TIMEOUT)
                return
        now = until
        assert now - last < INTERVAL + TIMEOUT + 1e-9
        if is_sign:
            heartbeat.alive(now)
            last = now
