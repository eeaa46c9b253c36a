"""How many bytes of a stream may be on their way: enough to fill it, and hardly more."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.protocol.pacing import (
    CONFIRM_AT_LAST,
    CONFIRM_EVERY,
    CONFIRM_PAUSE,
    JOINED_IN_FLIGHT,
    LARGEST_JOINED,
    LARGEST_PART,
    LEAST_FLIGHT,
    PART_SIZE,
    Confirming,
    Pace,
    confirm_at_last,
    flight_of,
)
from meshsync.protocol.stream_messages import MOST_JOINED, Close, StreamChunk

SIZE = 64 * 1024


def drive(pace: Pace, rate: float, delay: float, seconds: float, begin: float = 0.0) -> None:
    """Send as much as may be over a way of so many bytes per second, confirmed after ``delay`` seconds each."""
    now, free, way = begin, begin, []
    while now < begin + seconds:
        while pace.may_send(SIZE):
            pace.sent(SIZE, now, is_last=False)
            free = max(free, now) + SIZE / rate
            way.append(free + delay)
        now = way.pop(0)
        pace.confirmed(1, now)


@pytest.mark.parametrize(("rate", "delay"), [(2e6, 0.16), (20e6, 0.1), (2e6, 0.01)])
def test_as_much_is_on_its_way_as_it_holds(rate: float, delay: float) -> None:
    """Rate times time, and not more than half as much again, or little more than what may always be."""
    pace = Pace()
    drive(pace, rate, delay, 60)
    holds = rate * (delay + SIZE / rate)
    assert min(holds, LEAST_FLIGHT) <= pace.limit <= max(1.5 * holds, LEAST_FLIGHT) + CONFIRM_EVERY


def test_it_follows_a_way_that_becomes_slower() -> None:
    """The rate of some round trips ago counts no more."""
    pace = Pace()
    drive(pace, 20e6, 0.1, 30)
    before = pace.limit
    pace.lost()
    drive(pace, 2e6, 0.1, 200, begin=30)
    assert pace.limit < before / 3


def test_little_never_waits() -> None:
    """The reader does not confirm it; and after a loss nothing is on its way."""
    pace = Pace()
    pace.sent(CONFIRM_AT_LAST, 0, is_last=False)
    assert pace.may_send(4 * 1024 * 1024)
    pace.sent(LEAST_FLIGHT, 0, is_last=False)
    assert not pace.may_send(1)
    pace.lost()
    assert (pace.in_flight, pace.may_send(SIZE)) == (0, True)


def test_confirmations_of_nothing_do_no_harm() -> None:
    """Such as of chunks that were sent before a loss."""
    pace = Pace()
    pace.confirmed(3, 1)
    assert (pace.in_flight, pace.limit) == (0, LEAST_FLIGHT)


@pytest.mark.parametrize(
    ("rate", "size"), [(2e6, PART_SIZE), (6e6, PART_SIZE), (20e6, 200_000), (50e6, 500_000), (300e6, LARGEST_PART)]
)
def test_parts_are_what_the_way_carries_in_ten_milliseconds(rate: float, size: int) -> None:
    """Within bounds: what is lost with a connection is sent again, and a small message costs as much as a large one."""
    pace = Pace()
    assert pace.part_size == PART_SIZE
    drive(pace, rate, 0.02, 60)
    assert pace.part_size == pytest.approx(size, rel=0.01)


def test_what_comes_slowly_is_confirmed_each_time_there_is_enough() -> None:
    """Counted by bytes alone."""
    confirming = Confirming()
    half = CONFIRM_EVERY // 2
    assert [confirming.is_due(half, second) for second in range(6)] == [False, True] * 3


def test_what_comes_fast_is_confirmed_half_as_often() -> None:
    """The first at once; and where nothing more comes behind it, what is left does not keep its writer from sending."""
    confirming = Confirming()
    moments = [step * CONFIRM_PAUSE / 4 for step in range(9)]
    assert [confirming.is_due(CONFIRM_EVERY, now) for now in moments] == [True] + [False, True] * 4
    pace = Pace()
    pace.sent(CONFIRM_AT_LAST - 1, 0, is_last=False)
    assert pace.may_send(LARGEST_PART)
    # A writer that knows only the first bound sends parts of 64 KiB, for each of which there is room.
    assert CONFIRM_AT_LAST + PART_SIZE <= LEAST_FLIGHT


def test_after_a_loss_nothing_is_left_to_confirm() -> None:
    """Both sides state then what they have."""
    confirming = Confirming()
    confirming.is_due(CONFIRM_EVERY - 1, 0)
    confirming.lost()
    assert not confirming.is_due(CONFIRM_EVERY - 1, 1)


def test_what_is_put_off_is_due_when_the_pause_is_over() -> None:
    """Or with what comes before that."""
    confirming = Confirming()
    assert [confirming.is_due(CONFIRM_EVERY, 0), confirming.is_put_off] == [True, False]
    assert [confirming.is_due(CONFIRM_EVERY, 0), confirming.is_put_off] == [False, True]
    assert [confirming.is_due(0, CONFIRM_PAUSE), confirming.is_put_off] == [True, False]


# --- several chunks in one message ------------------------------------------------------------------------------------


def chunks(*sizes: int, header: dict[str, Any] | None = None) -> list[StreamChunk]:
    """Return chunks with so many bytes of data."""
    return [StreamChunk("s", header or {}, bytes(size)) for size in sizes]


@pytest.mark.parametrize(
    ("waiting", "count"),
    [
        (chunks(), 0),
        (chunks(PART_SIZE + 1, 1), 0),
        (chunks(PART_SIZE, 1), 1),
        (chunks(PART_SIZE // 2, PART_SIZE // 2, 0, 1), 3),
        (chunks(*[0] * 300), MOST_JOINED),
        ([*chunks(1, 1), StreamChunk("s", {}, b"", is_partial=True), *chunks(1)], 2),
        ([*chunks(1), Close("s"), *chunks(1)], 1),
        (chunks(1, 1, 1, header={"text": "x" * 7000}), 2),
        (chunks(1, 1, header={"list": [[]] * 60}), 0),
    ],
)
def test_chunks_that_wait_go_together_as_far_as_one_message_may_be(waiting: list[Any], count: int) -> None:
    """Whole ones, no more data than in a part, and with headers that are neither long nor deep together."""
    assert Pace().join(waiting, PART_SIZE) == tuple(waiting[:count])


def test_no_more_are_joined_than_may_be_on_their_way() -> None:
    """One that was sent leaves room for fewer."""
    pace = Pace()
    pace.sent(LEAST_FLIGHT - 2 * flight_of(*chunks(1000)), 0, is_last=False)
    assert len(pace.join(chunks(*[1000] * 3), PART_SIZE)) == 2


def test_where_chunks_are_joined_several_messages_are_on_their_way() -> None:
    """However short it is: a reader that confirms at every third one never lets its writer wait."""
    pace, other = Pace(), Pace()
    pace.is_joining = True
    for one in (pace, other):
        drive(one, 300e6, 0.0001, 1)
    assert (pace.part_size, other.part_size) == (LARGEST_PART, LARGEST_PART)
    assert other.limit < 2 * LARGEST_JOINED
    pace.lost()
    of_one = sum(map(flight_of, pace.join(chunks(*[PART_SIZE] * 9), pace.part_size)))
    assert of_one == LARGEST_JOINED // PART_SIZE * flight_of(*chunks(PART_SIZE))
    assert JOINED_IN_FLIGHT * of_one <= pace.limit <= JOINED_IN_FLIGHT * 1.1 * of_one
    assert confirm_at_last(of_one) <= pace.limit / 2
    assert confirm_at_last(1000) == CONFIRM_AT_LAST


def test_as_many_are_on_their_way_where_each_is_a_large_chunk() -> None:
    """Also of chunks that are as large as a message may be, which are joined with nothing."""
    pace = Pace()
    pace.is_joining = True
    (large,) = chunks(LARGEST_PART)
    for _ in range(2):  # The first shows how fast the way is.
        pace.sent(flight_of(large), 0, is_last=False)
        pace.confirmed(1, 0.001)
    assert pace.join([large, large], pace.part_size) == ()
    assert pace.limit >= JOINED_IN_FLIGHT * flight_of(large)
    assert confirm_at_last(flight_of(large)) <= pace.limit / 2


def parts(*sizes: int) -> list[StreamChunk]:
    """Return the parts of one chunk."""
    last = len(sizes) - 1
    return [StreamChunk("s", {}, bytes(size), index < last) for index, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("waiting", "count"),
    [
        (parts(1, 2, 3), 3),
        ([*parts(1, 2), *parts(3, 4)], 2),
        ([*parts(1, 2)[:1], Close("s")], 1),
        (parts(PART_SIZE, 1), 1),
        (parts(PART_SIZE - 1, 1, 1), 2),
        (parts(PART_SIZE + 1, 1), 0),
    ],
)
def test_parts_that_wait_go_as_one_as_far_as_one_may_be(waiting: list[Any], count: int) -> None:
    """Those of one chunk, and no more data than in a part."""
    assert Pace().gather(waiting, PART_SIZE) == waiting[:count]


def test_no_larger_part_is_made_than_may_be_on_its_way() -> None:
    """One that was sent leaves room for fewer."""
    pace = Pace()
    pace.sent(LEAST_FLIGHT - 2 * PART_SIZE, 0, is_last=False)
    assert len(pace.gather(parts(*[PART_SIZE // 2] * 8), LARGEST_PART)) == 3


def test_six_larger_parts_may_be_on_their_way_before_the_first_of_them_went() -> None:
    """Where parts wait that were cut small, what went says nothing of how large they will be."""
    pace = Pace()
    pace.is_joining = True
    pace.gather(parts(PART_SIZE, PART_SIZE), PART_SIZE)
    for _ in range(2):
        pace.sent(PART_SIZE, 0, is_last=False)
        pace.confirmed(1, 0.0001)
    assert pace.part_size == LARGEST_PART
    assert pace.limit >= JOINED_IN_FLIGHT * LARGEST_PART
    pace.join(chunks(PART_SIZE, PART_SIZE), PART_SIZE)
    pace.sent(PART_SIZE, 1, is_last=False)
    pace.confirmed(1, 1.0001)
    assert pace.limit < 2 * JOINED_IN_FLIGHT * LARGEST_JOINED


def test_what_comes_joined_is_confirmed_at_every_third_message() -> None:
    """As long as they come fast."""
    confirming, size = Confirming(), LARGEST_PART
    moments = [step * CONFIRM_PAUSE / 100 for step in range(7)]
    assert [confirming.is_due(size, now, confirm_at_last(size)) for now in moments] == [True] + [False, False, True] * 2
