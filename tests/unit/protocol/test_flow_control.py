"""One side's account of a stream: windows, what may be sent, and what is unread."""

from __future__ import annotations

import pytest

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.flow_control import (
    CHUNK_OVERHEAD,
    LEAST_WINDOW,
    UNREAD_LIMIT,
    WINDOW,
    Account,
    Charge,
    next_window,
    size_of,
)

MIB = 1024 * 1024


def test_a_chunk_counts_its_content_and_what_it_takes_besides() -> None:
    """Data, header as compact JSON, and 256 bytes; the sides have to agree to the byte."""
    assert size_of({}, b"") == 256 + 2
    assert size_of({"n": 1}, b"abc") == 256 + 7 + 3
    assert size_of({"ä": "x"}, memoryview(b"abcd")) == size_of({"ä": "x"}, b"abcd")
    assert CHUNK_OVERHEAD == 256
    with pytest.raises(InvalidMessage, match=r"header\['n'\]"):
        size_of({"n": {1}}, b"")


def test_windows_get_smaller_while_others_are_open() -> None:
    """8 MiB, then half of what is left of 32 MiB, never below 256 KiB."""
    granted, windows = 0, []
    for _ in range(9):
        windows.append(next_window(granted))
        granted += windows[-1]
    assert windows == [8 * MIB, 8 * MIB, 8 * MIB, 4 * MIB, 2 * MIB, MIB, MIB // 2, MIB // 4, MIB // 4]
    assert next_window(100 * MIB) == LEAST_WINDOW == 256 * 1024
    assert next_window(0) == WINDOW == 8 * MIB


# --- flow control -----------------------------------------------------------------------------------------------------


def opened(window: int = 1000, peer_window: int | None = 1000) -> Account:
    """Return the account of a stream that was accepted."""
    account = Account(window)
    account.open(peer_window)
    return account


def test_sending_goes_on_while_anything_is_left_of_the_window() -> None:
    """The last chunk may be larger than that; credit has to make up for it."""
    account = opened(peer_window=100)
    assert account.is_agreed
    account.send(Charge(99))
    assert account.may_send
    account.send(Charge(50))
    assert not account.may_send
    account.make_room(49)
    assert not account.may_send
    account.make_room(1)
    assert account.may_send


def test_without_an_agreement_sending_always_goes_on() -> None:
    """No credit would ever come."""
    account = opened(peer_window=None)
    account.send(Charge(10**9))
    assert account.may_send
    assert not account.is_agreed


def test_nothing_is_sent_before_the_other_sides_window_is_known() -> None:
    """Credit that comes before is not counted on top of it."""
    account = Account(1000)
    account.make_room(500)
    account.open(1)
    account.send(Charge(1))
    assert not account.may_send


def read(account: Account, size: int) -> None:
    """Have bytes read, as the incoming direction counts them."""
    account.unread -= size
    account.owed += size


def test_a_chunk_that_was_not_sent_is_refunded_once() -> None:
    """However often that is asked for; and not if it was not counted."""
    account, charge = opened(peer_window=10), Charge(10)
    account.refund(charge)
    account.send(charge)
    assert not account.may_send
    account.refund(charge)
    account.refund(charge)
    account.send(Charge(10))
    assert not account.may_send


def test_credit_is_given_by_the_half_window() -> None:
    """Not for each chunk, which would double the messages; and each byte once."""
    account = opened(window=1000)
    account.arrive(900)
    read(account, 499)
    assert account.credit_due == 0
    read(account, 1)
    assert account.credit_due == 500
    assert account.credit_due == 500, "until it is sent"
    assert account.unread == 400


def test_no_credit_is_given_to_who_does_not_know_it() -> None:
    """A classic peer would pass it on to its program."""
    account = opened(window=10, peer_window=None)
    account.arrive(10)
    read(account, 10)
    assert account.credit_due == 0


def test_a_wider_window_is_told_with_the_next_credit() -> None:
    """The difference is owed."""
    account = opened(window=100)
    account.widen(1000)
    assert (account.window, account.credit_due) == (1000, 900)


def test_at_most_the_window_and_one_chunk_are_held() -> None:
    """The chunk that was let through last may be 4 MiB and the overhead; a byte more is a violation."""
    account = opened(window=1000)
    account.arrive(1000 + 4 * MIB + 256)
    with pytest.raises(ProtocolError, match="despite flow control; at most"):
        account.arrive(1)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_without_an_agreement_64_mib_are_held(is_accepted: bool) -> None:
    """Also while it is undecided; a byte more ends it. What was read counts no more."""
    account = opened(peer_window=None) if is_accepted else Account(1000)
    account.arrive(UNREAD_LIMIT)
    read(account, 10)
    account.arrive(10)
    with pytest.raises(ProtocolError, match=f"{64 * MIB + 1} bytes are unread, and the other side knows no flow"):
        account.arrive(1)
