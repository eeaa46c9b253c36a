"""Deadlines of the heartbeat; time is a number here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol.heartbeat import INTERVAL, TIMEOUT, Beat, Heartbeat, Outflow


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


# --- acknowledgements -------------------------------------------------------------------------------------------------


def known(end: float, unacknowledged: float) -> Outflow:
    """Return what a system tells that knows."""
    return Outflow(int(end), int(unacknowledged), is_known=True)


def fate(heartbeat: Heartbeat, outflow: Callable[[float], Outflow], until: float) -> list[tuple[float, Beat]]:
    """Look at each deadline before ``until``, in seconds; return when there was something to do, and what."""
    beats: list[tuple[float, Beat]] = []
    while heartbeat.deadline is not None and heartbeat.deadline < until:
        now = heartbeat.deadline
        beat = heartbeat.look(now, outflow(now))
        if beat is not None:
            beats.append((now, beat))
    return beats


def test_a_slow_link_is_not_given_up() -> None:
    """3 MB at 60 kB/s take 50 s; the ping asked for at 30 s arrives behind them, and 20 s later its answer is due."""
    size = 3_000_000
    heartbeat = Heartbeat(0.0)
    beats = fate(heartbeat, lambda now: known(size, max(0.0, size - 60_000 * now)), 69.0)
    assert beats == [(30.0, Beat.ASKED)]
    assert fate(heartbeat, lambda _: known(size, 0), 200.0) == [(pytest.approx(70.0, abs=0.5), Beat.DEAD)]


@pytest.mark.parametrize("last", [0.0, 10.0, 29.0, 31.0, 40.0])
def test_a_write_that_no_longer_progresses_is_given_up_in_time(last: float) -> None:
    """45 s after the last acknowledgement, whatever is pending: found to a 64th of 15 s, 0.23 s, never later."""
    heartbeat = Heartbeat(0.0)
    heartbeat.watch(0.0)
    beats = fate(heartbeat, lambda now: known(10**6, 10**6 - 1000 * min(now, last)), 300.0)
    assert [beat for _, beat in beats] == [Beat.ASKED, Beat.DEAD]
    assert max(45.0, last + 45.0 - 2 * TIMEOUT / 64) <= beats[-1][0] <= last + 45.0 + TIMEOUT / 64


def test_acceptance_by_the_network_is_no_sign_of_life() -> None:
    """Ever more bytes are handed over and none is acknowledged: 45 s, as without them."""
    assert fate(Heartbeat(0.0), lambda now: known(1000 * now, 1000 * now), 300.0)[-1] == (45.0, Beat.DEAD)


def test_a_system_that_acknowledges_for_a_dead_program_is_no_sign_of_life() -> None:
    """All that is sent is acknowledged, the ping too: its answer is due 15 s after it arrived."""
    heartbeat = Heartbeat(0.0)
    beats = fate(heartbeat, lambda now: known(1000 * now, 10), 300.0)
    assert beats == [(30.0, Beat.ASKED), (45.0, Beat.DEAD)]


def test_nothing_before_the_ping_means_no_further_looks() -> None:
    """All was acknowledged when it was asked for, so the next look is 15 s later."""
    heartbeat = Heartbeat(0.0)
    assert heartbeat.look(30.0, known(500, 0)) is Beat.ASKED
    assert heartbeat.deadline == 45.0


def test_an_answer_may_take_as_long_as_the_ping() -> None:
    """A ping that took 40 s to arrive, at 70 s, is answered by 110 s; one that took 60 s by 45 s later, not 60."""
    for took, limit in [(40.0, 40.0), (60.0, 45.0)]:
        arrives = 30.0 + took
        beats = fate(Heartbeat(0.0), lambda now, a=arrives: known(1000, max(0, 1000 * (1 - now / a))), 300.0)
        assert beats[-1] == (pytest.approx(arrives + limit, abs=0.75), Beat.DEAD)


def test_a_late_look_that_finds_progress_does_not_give_up() -> None:
    """The process slept from 31 s to 500 s, and so did its looks: the next one, 0.23 s later, decides."""
    heartbeat = Heartbeat(0.0)
    heartbeat.look(30.0, known(1000, 900))
    heartbeat.look(31.0, known(1000, 900))
    assert heartbeat.look(500.0, known(1000, 500)) is None
    assert heartbeat.deadline == 500.0 + TIMEOUT / 64
    assert heartbeat.look(501.0, known(1000, 500)) is Beat.DEAD


def test_where_nothing_is_known_the_limit_grows_with_what_lies_before_the_ping() -> None:
    """720 KiB that may be under way are 15 s more, 45 + 15 = 60; and nothing is looked at in between."""
    heartbeat = Heartbeat(0.0)
    assert heartbeat.look(30.0, Outflow(10**7, 720 * 1024)) is Beat.ASKED
    assert heartbeat.deadline == 60.0
    assert heartbeat.look(60.0, Outflow(10**8, 0)) is Beat.DEAD


def test_watching_is_for_those_who_have_a_heartbeat_and_live() -> None:
    """It brings no deadline where there is none, and moves none to later."""
    silent, dead = Heartbeat(0.0, interval=None), Heartbeat(0.0)
    silent.watch(5.0)
    fate(dead, lambda _: Outflow(), 50.0)
    dead.watch(50.0)
    assert silent.deadline is dead.deadline is None
    near = Heartbeat(0.0)
    near.watch(29.9)
    assert near.deadline == 30.0


@given(
    st.lists(st.tuples(st.sampled_from(["byte", "acknowledged", "sent"]), st.floats(0.0, 60.0)), max_size=60),
    st.booleans(),
)
def test_nobody_lives_longer_than_its_last_sign_of_life_allows(steps: list[tuple[str, float]], watches: bool) -> None:
    """Death comes 45 s (and 0.23 s) after the last sign at the latest, and 15 s after a ping at the earliest."""
    now = last = asked = 0.0
    sent = acknowledged = 1000
    heartbeat = Heartbeat(now)
    for kind, pause in steps:
        until = now + pause
        while heartbeat.deadline is not None and heartbeat.deadline <= until:
            now = heartbeat.deadline
            beat = heartbeat.look(now, known(sent, sent - acknowledged))
            if beat is Beat.ASKED:
                asked = now
            if beat is Beat.DEAD:
                assert now >= asked + TIMEOUT
                return
        now = until
        assert now - last <= INTERVAL + TIMEOUT + TIMEOUT / 64 + 1e-6
        if kind == "byte":
            heartbeat.alive(now)
            last = now
        elif kind == "sent":
            sent += 1000
            if watches:
                heartbeat.watch(now)
        elif acknowledged < sent:
            acknowledged += 500
            last = now
