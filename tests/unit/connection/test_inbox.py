"""A bounded queue: who writes never waits, who reads gets things in order until the end."""

from __future__ import annotations

import pytest

from meshsync.connection.budget import ByteBudget
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.runtime.threads import ThreadRuntime
from tests.support.scripted import PATIENCE

RUNTIME = ThreadRuntime()


def test_items_come_out_in_order() -> None:
    """First in, first out."""
    inbox: Inbox[int] = Inbox(RUNTIME, 3)
    assert [inbox.put(number) for number in (1, 2, 3)] == [True, True, True]
    assert len(inbox) == 3
    assert [inbox.get(0) for _ in range(3)] == [1, 2, 3]


def test_full_inbox_takes_nothing_more() -> None:
    """With 2 places the third item is refused, and what is there stays."""
    inbox: Inbox[int] = Inbox(RUNTIME, 2)
    assert [inbox.put(number) for number in (1, 2, 3)] == [True, True, False]
    assert [inbox.get(0), inbox.get(0)] == [1, 2]
    assert inbox.put(4)


def test_dropping_keeps_the_newest_and_counts_the_rest() -> None:
    """With 2 places and 4 items, each of the last two drops one."""
    inbox: Inbox[int] = Inbox(RUNTIME, 2)
    assert [inbox.put_dropping(number) for number in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert [inbox.get(0), inbox.get(0)] == [3, 4]


def test_kept_items_are_never_dropped() -> None:
    """What is not kept makes way for them, and where all are kept, for nothing more."""
    inbox: Inbox[int] = Inbox(RUNTIME, 2)
    assert [inbox.put_dropping(1), inbox.put_dropping(2)] == [0, 0]
    assert not inbox.has_room(0, is_dropping=False)
    assert inbox.has_room(0, is_dropping=True)
    assert [inbox.keep(3, 0, is_dropping=True), inbox.keep(4, 0, is_dropping=True)] == [1, 1]
    assert not inbox.has_room(0, is_dropping=True)
    assert inbox.put_dropping(5) == 1
    assert inbox.get(0) == 3
    assert inbox.has_room(0, is_dropping=True)
    assert [inbox.put_dropping(6), inbox.put_dropping(7)] == [0, 1]
    assert [inbox.get(0), inbox.get(0)] == [4, 7]


def test_bytes_are_freed_for_kept_items_where_others_may_be_dropped() -> None:
    """Of 1000 bytes 900 are held, of which 600 may go: 700 fit then, and 701 do not."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[str] = Inbox(RUNTIME, 10, budget.share())
    other = budget.share()
    assert other.take(300)
    assert [inbox.put_dropping("a", 300), inbox.put_dropping("b", 300)] == [0, 0]
    assert not inbox.has_room(700, is_dropping=False)
    assert inbox.has_room(700, is_dropping=True)
    assert inbox.keep("c", 700, is_dropping=True) == 2
    assert (budget.held, inbox.put_dropping("d", 10), budget.held) == (1000, 1, 1000)
    assert not inbox.has_room(10, is_dropping=True)
    assert inbox.get(0) == "c"
    assert budget.held == 300


def test_kept_item_that_another_task_was_faster_than_is_taken_all_the_same() -> None:
    """Asking for room and keeping are two steps: the bound is exceeded by that one."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[str] = Inbox(RUNTIME, 1, budget.share())
    assert inbox.put("a", 900)
    assert inbox.keep("b", 900, is_dropping=False) == 0
    assert budget.held == 1800
    assert [inbox.get(0), inbox.get(0)] == ["a", "b"]
    assert budget.held == 0


def test_closed_inbox_ignores_what_is_kept() -> None:
    """It is in nobody's way."""
    inbox: Inbox[int] = Inbox(RUNTIME, 1)
    assert inbox.put(1)
    inbox.close()
    assert inbox.has_room(5, is_dropping=False)
    assert inbox.keep(2, 5, is_dropping=False) == 0
    assert inbox.get(0) == 1
    with pytest.raises(InboxClosed):
        inbox.get(0)


def test_nothing_in_time_is_a_time_out() -> None:
    """Polling an empty inbox raises at once."""
    with pytest.raises(TimeoutError):
        Inbox[int](RUNTIME, 1).get(0)


def test_closed_inbox_is_read_to_its_end() -> None:
    """After closing, what is there comes first, then the cause, again and again; nothing more is taken."""
    inbox: Inbox[int] = Inbox(RUNTIME, 2)
    cause = ValueError("why")
    inbox.put(1)
    inbox.close(cause)
    inbox.close()
    assert (inbox.put(2), inbox.put_dropping(3)) == (None, 0)
    assert inbox.get(None) == 1
    for _ in range(2):
        with pytest.raises(InboxClosed) as info:
            inbox.get(None)
        assert info.value.cause is cause


def test_reader_that_waits_is_woken_by_an_item_and_by_the_end() -> None:
    """Somebody blocked in ``get`` with no limit gets the item, and the next one the end."""
    inbox: Inbox[int] = Inbox(RUNTIME, 2)
    got: list[object] = []

    def read() -> None:
        try:
            got.append(inbox.get(None))
        except InboxClosed as closed:
            got.append(closed.cause)

    reader = RUNTIME.spawn(read, name="reads")
    inbox.put(1)
    assert reader.join(PATIENCE)
    reader = RUNTIME.spawn(read, name="reads")
    inbox.close()
    assert reader.join(PATIENCE)
    assert got == [1, None]


def test_each_item_goes_to_one_of_several_readers() -> None:
    """Four readers share 200 items: none is lost, none is read twice."""
    inbox: Inbox[int] = Inbox(RUNTIME, 200)
    got: list[int] = []

    def read() -> None:
        try:
            while True:
                got.append(inbox.get(None))
        except InboxClosed:
            pass

    readers = [RUNTIME.spawn(read, name="reads") for _ in range(4)]
    for number in range(200):
        inbox.put(number)
    inbox.close()
    assert all(reader.join(PATIENCE) for reader in readers)
    assert sorted(got) == list(range(200))


def test_cutting_returns_what_was_unread_and_closes() -> None:
    """Its reader gets none of it."""
    inbox: Inbox[int] = Inbox(RUNTIME, 3)
    inbox.put(1)
    inbox.put(2)
    assert inbox.cut() == [1, 2]
    assert inbox.cut() == []
    assert inbox.put(3) is None
    with pytest.raises(InboxClosed):
        inbox.get(PATIENCE)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_inbox_without_bytes_left_takes_nothing_more() -> None:
    """Of 1000 bytes 900 are unread: 101 more are refused, until some are read."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[int] = Inbox(RUNTIME, 9, budget.share())
    assert [inbox.put(number, 450) for number in (1, 2)] == [True, True]
    assert (inbox.put(3, 101), inbox.put(3, 100), inbox.put(4)) == (False, True, True)
    assert [inbox.get(0), inbox.put(5, 450), budget.held] == [1, True, 1000]


def test_dropping_for_bytes_spares_what_counts_none() -> None:
    """Of 1000 bytes 900 are unread: 800 more cost both large items, and not the notices between them."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[str] = Inbox(RUNTIME, 9, budget.share())
    for item, size in (("a", 0), ("b", 450), ("c", 0), ("d", 450)):
        assert inbox.put_dropping(item, size) == 0
    assert inbox.put_dropping("e", 800) == 2
    assert ([inbox.get(0) for _ in range(3)], budget.held) == (["a", "c", "e"], 0)


def test_item_larger_than_all_is_taken_alone() -> None:
    """What is unread makes way for it, and it makes way for the next."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[int] = Inbox(RUNTIME, 9, budget.share())
    assert [inbox.put_dropping(number, size) for number, size in ((1, 500), (2, 5000), (3, 1))] == [0, 1, 1]
    assert (inbox.get(0), budget.held) == (3, 0)
    assert [inbox.put(4, 5000), inbox.put(5, 1)] == [True, False]


def test_items_dropped_for_want_of_places_count_no_more() -> None:
    """Two places: the bytes of the third one's victim are free."""
    budget = ByteBudget(RUNTIME, 1000)
    inbox: Inbox[int] = Inbox(RUNTIME, 2, budget.share())
    assert [inbox.put_dropping(number, number) for number in (100, 200, 300)] == [0, 0, 1]
    assert budget.held == 500
