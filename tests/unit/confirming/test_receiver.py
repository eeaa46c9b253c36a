"""What is new, held, skipped and reported at the recipient."""

from __future__ import annotations

import pytest

from meshsync.confirming.bodies import WINDOW, Confirmed, Numbered
from meshsync.confirming.receiver import ConfirmedReceiver
from meshsync.errors import ProtocolError


def take(receiver: ConfirmedReceiver, number: int, base: int = 1, size: int = 10) -> tuple[bool, int]:
    """Have a number come."""
    return receiver.take(Numbered(number, base, "chat", {}), size)


def test_what_waits_for_room_is_not_confirmed() -> None:
    """The report follows the placing."""
    receiver = ConfirmedReceiver()
    assert take(receiver, 1) == (True, 0)
    assert receiver.drain() is None
    receiver.place()
    assert receiver.drain() == Confirmed(1, 1)
    assert receiver.drain() is None


def test_repeated_number_is_reported_again() -> None:
    """It is not new, and its sender learns so."""
    receiver = ConfirmedReceiver()
    take(receiver, 1)
    receiver.place()
    receiver.drain()
    assert take(receiver, 1) == (False, 0)
    assert receiver.drain() == Confirmed(1, 1)


def test_held_one_that_comes_again_stays_unconfirmed() -> None:
    """A repetition does not place it."""
    receiver = ConfirmedReceiver()
    take(receiver, 1)
    assert take(receiver, 1) == (False, 0)
    assert receiver.drain() == Confirmed(0, 1)


def test_below_the_base_is_skipped_and_dropped_later() -> None:
    """Three given up are missed; one of them that comes later is not new."""
    receiver = ConfirmedReceiver()
    assert take(receiver, 4, base=4) == (True, 3)
    assert take(receiver, 2, base=2) == (False, 0)
    receiver.place()
    assert receiver.drain() == Confirmed(4, 4)


def test_gap_is_asked_for_once() -> None:
    """What follows a gap is not taken, and one question is enough until something comes."""
    receiver = ConfirmedReceiver()
    assert take(receiver, 2) == (False, 0)
    assert receiver.drain() == Confirmed(0, 0, is_asking=True)
    take(receiver, 3)
    assert receiver.drain() is None
    assert take(receiver, 1) == (True, 0)
    take(receiver, 3)
    assert receiver.drain() == Confirmed(0, 1, is_asking=True)


def test_report_that_did_not_go_out_is_repeated() -> None:
    """With its question."""
    receiver = ConfirmedReceiver()
    take(receiver, 2)
    report = receiver.drain()
    assert report is not None
    receiver.repeat(report)
    assert receiver.drain() == report


def test_sender_beyond_all_windows_is_refused() -> None:
    """Twice the window may be held, however far the base runs ahead; nothing changes."""
    receiver = ConfirmedReceiver()
    for number in range(1, 2 * WINDOW + 1):
        take(receiver, number, base=number)
    with pytest.raises(ProtocolError):
        take(receiver, 2 * WINDOW + 1, base=2 * WINDOW + 1)
    assert receiver.arrived == 2 * WINDOW


def test_bytes_are_bounded_too() -> None:
    """Twice 1 MiB and a largest message: 10 MiB (protocol limit of 4 MiB)."""
    receiver = ConfirmedReceiver()
    take(receiver, 1, size=10 * 1024 * 1024)
    with pytest.raises(ProtocolError):
        take(receiver, 2, size=1)
