"""Numbers, the window and repetitions at the sender."""

from __future__ import annotations

import pytest

from meshsync.confirming.bodies import WINDOW, Confirmed, Identity
from meshsync.confirming.sender import WINDOW_SIZE, ConfirmedSend, ConfirmedSender, SendState


def submit(sender: ConfirmedSender, count: int = 1, size: int = 10) -> list[ConfirmedSend]:
    """Submit some messages."""
    sends = [ConfirmedSend(Identity("0" * 32, "ben"), "chat", {}, b"", size) for _ in range(count)]
    for send in sends:
        sender.submit(send)
    return sends


def numbers(sender: ConfirmedSender) -> list[tuple[int, int]]:
    """Return number and base of what is to be sent."""
    return [(body.number, body.base) for _, body in sender.drain()]


@pytest.fixture
def sender() -> ConfirmedSender:
    """Return a sender on its first route."""
    sender = ConfirmedSender()
    sender.resume(0, 0)
    return sender


def test_nothing_goes_out_before_a_route() -> None:
    """Messages wait for a proven recipient."""
    sender = ConfirmedSender()
    submit(sender, 2)
    assert numbers(sender) == []
    sender.resume(0, 0)
    assert numbers(sender) == [(1, 1), (2, 1)]
    assert numbers(sender) == []


def test_window_is_full_until_a_report(sender: ConfirmedSender) -> None:
    """64 messages are outstanding at most."""
    sends = submit(sender, WINDOW)
    assert not sender.has_room(0)
    with pytest.raises(RuntimeError):
        submit(sender)
    sender.drain()
    assert sender.take(Confirmed(1, 1)) == sends[:1]
    assert sender.has_room(0)
    assert sends[0].state is SendState.CONFIRMED


def test_window_is_bytes_too(sender: ConfirmedSender) -> None:
    """A message larger than the window goes alone."""
    submit(sender, 1, WINDOW_SIZE + 1)
    assert not sender.has_room(0)
    sender.drain()
    sender.take(Confirmed(1, 1))
    submit(sender, 1, WINDOW_SIZE - 1)
    assert sender.has_room(1)
    assert not sender.has_room(2)


def test_given_up_ones_keep_their_place_in_the_window(sender: ConfirmedSender) -> None:
    """The recipient may hold 64 that nobody waits for, so that no more may follow."""
    for send in submit(sender, WINDOW):
        sender.drain()
        sender.give_up(send)
        assert send.state is SendState.UNKNOWN
    submit(sender)
    assert numbers(sender) == []
    sender.take(Confirmed(1, WINDOW))
    assert numbers(sender) == [(WINDOW + 1, WINDOW + 1)]


def test_message_given_up_before_it_went_out_leaves_no_gap(sender: ConfirmedSender) -> None:
    """It never had a number."""
    sender.suspend()
    first, second = submit(sender, 2)
    sender.give_up(first)
    sender.resume(0, 0)
    assert first.state is SendState.WITHDRAWN
    assert numbers(sender) == [(1, 1)]
    assert second.number == 1


def test_new_route_repeats_what_did_not_come(sender: ConfirmedSender) -> None:
    """What was handled is confirmed by the report of before, and what is held is not sent again."""
    sends = submit(sender, 4)
    sender.drain()
    sender.suspend()
    assert sender.resume(1, 2) == sends[:1]
    assert numbers(sender) == [(3, 2), (4, 2)]


def test_gap_is_not_jumped_before_the_base_is_there(sender: ConfirmedSender) -> None:
    """Behind one given up in the middle the next waits until the one before is confirmed."""
    sends = submit(sender, 3)
    sender.drain()
    sender.suspend()
    sender.give_up(sends[1])
    sender.resume(0, 0)
    assert numbers(sender) == [(1, 1)]
    sender.take(Confirmed(1, 1))
    assert numbers(sender) == [(3, 3)]


def test_recipient_that_asks_gets_it_again(sender: ConfirmedSender) -> None:
    """All above what came goes again."""
    submit(sender, 3)
    sender.drain()
    sender.take(Confirmed(1, 1, is_asking=True))
    assert numbers(sender) == [(2, 2), (3, 2)]


def test_settled_one_stays(sender: ConfirmedSender) -> None:
    """Giving up what is confirmed changes nothing."""
    (send,) = submit(sender)
    sender.drain()
    sender.take(Confirmed(1, 1))
    sender.give_up(send)
    assert send.state is SendState.CONFIRMED
    assert sender.is_idle


def test_report_of_what_was_never_sent_confirms_no_later_one(sender: ConfirmedSender) -> None:
    """A recipient that runs ahead gets the next number all the same."""
    sender.take(Confirmed(1000, 1000))
    submit(sender)
    assert numbers(sender) == [(1, 1)]
