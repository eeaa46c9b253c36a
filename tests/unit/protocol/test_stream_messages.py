"""What the two sides of a stream say to each other, and one side's account of it."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol.flow_control import (
    CHUNK_OVERHEAD,
    LEAST_WINDOW,
    UNREAD_LIMIT,
    WINDOW,
    Account,
    next_window,
    size_of,
)
from meshsync.protocol.stream_messages import (
    STREAM_TYPES,
    Accept,
    Cancel,
    Close,
    Credit,
    Open,
    Reject,
    StreamChunk,
    StreamMessage,
    decode_stream_message,
    encode_stream_message,
)

MIB = 1024 * 1024
ID = {"stream_id": "s"}

WORDS: list[tuple[StreamMessage, str, dict[str, Any]]] = [
    (Open("s", {"kind": "audio"}), "stream.open", ID | {"header": {"kind": "audio"}}),
    (Open("s", {}, 5), "stream.open", ID | {"header": {}, "meshsync": {"version": 1, "window": 5}}),
    (Accept("s"), "stream.accept", ID),
    (Accept("s", 7), "stream.accept", ID | {"meshsync": {"version": 1, "window": 7}}),
    (Reject("s", "busy"), "stream.reject", ID | {"error": "busy"}),
    (Reject("s", ""), "stream.reject", ID | {"error": ""}),
    (StreamChunk("s", {"n": 1}, b"data"), "stream.chunk", ID | {"header": {"n": 1}}),
    (StreamChunk("s", {}, b"data"), "stream.chunk", ID | {"header": {}}),
    (Close("s"), "stream.close", ID),
    (Close("s", is_complete=False), "stream.close", ID | {"meshsync": {"version": 1, "is_complete": False}}),
    (Credit("s", 12), "stream.meshsync.credit", ID | {"bytes": 12}),
    (Cancel("s", "enough"), "stream.meshsync.cancel", ID | {"reason": "enough"}),
]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "type", "body"), WORDS)
def test_words_are_written_and_read(word: StreamMessage, type: str, body: dict[str, Any]) -> None:
    """Each has one form on the wire, and is itself when it is read again."""
    assert encode_stream_message(word) == (type, body)
    assert decode_stream_message(type, body, b"data") == word


def test_every_word_is_kept_from_programs() -> None:
    """What programs never get as messages is just what is said here."""
    assert {type for _, type, _ in WORDS} == STREAM_TYPES


@pytest.mark.parametrize(
    ("type", "body", "text"),
    [
        ("stream.open", {"header": {}}, "stream.open lacks 'stream_id'"),
        ("stream.close", {"stream_id": 3}, "stream.close has a wrong type of 'stream_id'"),
        ("stream.open", ID | {"header": []}, "stream.open has a wrong type of 'header'"),
        ("stream.chunk", ID, "stream.chunk lacks 'header'"),
        ("stream.chunk", ID | {"header": None}, "stream.chunk has a wrong type of 'header'"),
        ("stream.meshsync.credit", ID, "stream.meshsync.credit lacks 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": 1.0}, "stream.meshsync.credit has a wrong type of 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": True}, "stream.meshsync.credit has a wrong type of 'bytes'"),
        ("stream.meshsync.credit", ID | {"bytes": -1}, "stream.meshsync.credit of -1 bytes"),
        ("stream.pause", ID, "'stream.pause' is no word of a stream"),
    ],
)
def test_words_that_lack_something_are_no_words(type: str, body: dict[str, Any], text: str) -> None:
    """The error says what is wrong with which."""
    with pytest.raises(ProtocolError) as caught:
        decode_stream_message(type, body, b"")
    assert str(caught.value) == text


def test_what_official_peers_leave_out_has_its_meaning() -> None:
    """An offer without a header, and a rejection or cancellation without a reason."""
    assert decode_stream_message("stream.open", ID, b"") == Open("s", {})
    assert decode_stream_message("stream.open", ID | {"header": None}, b"") == Open("s", {})
    no_reason = Reject("s", "The stream was rejected by the remote client")
    assert decode_stream_message("stream.reject", ID, b"") == no_reason
    assert decode_stream_message("stream.reject", ID | {"error": 7}, b"") == no_reason
    assert decode_stream_message("stream.meshsync.cancel", ID | {"reason": None}, b"") == Cancel("s", "")


@pytest.mark.parametrize(
    "own",
    [
        None, 1, [], "x", {}, {"version": 1}, {"window": 5}, {"version": 2, "window": 5}, {"version": "1", "window": 5},
        {"version": 1, "window": 0}, {"version": 1, "window": -5}, {"version": 1, "window": True},
        {"version": 1, "window": 5.0}, {"version": 1, "window": "5"}, {"version": 1, "window": None},
    ],
)  # fmt: skip
def test_a_malformed_agreement_is_none(own: Any) -> None:
    """Who writes it so knows no flow control that we know."""
    assert decode_stream_message("stream.open", ID | {"meshsync": own}, b"") == Open("s", {}, None)
    assert decode_stream_message("stream.accept", ID | {"meshsync": own}, b"") == Accept("s", None)
    assert decode_stream_message("stream.close", ID | {"meshsync": own}, b"") == Close("s")


def test_unknown_members_are_ignored() -> None:
    """Beside the known ones, at every place."""
    own = {"version": 1, "window": 5, "later": True}
    body = ID | {"meshsync": own, "header": {}, "__meshagent__": {"v": 1}}
    assert decode_stream_message("stream.accept", body, b"") == Accept("s", 5)
    assert decode_stream_message("stream.close", ID | {"meshsync": {"is_complete": 0}}, b"") == Close("s")


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
    account.send(99)
    assert account.may_send
    account.send(50)
    assert not account.may_send
    account.make_room(49)
    assert not account.may_send
    account.make_room(1)
    assert account.may_send


def test_without_an_agreement_sending_always_goes_on() -> None:
    """Nobody would say when to."""
    account = opened(peer_window=None)
    account.send(10**9)
    assert account.may_send
    assert not account.is_agreed


def test_nothing_is_sent_before_the_other_sides_window_is_known() -> None:
    """Credit that comes before is not counted on top of it."""
    account = Account(1000)
    account.make_room(500)
    account.open(1)
    account.send(1)
    assert not account.may_send


def test_credit_is_given_by_the_half_window() -> None:
    """Not for each chunk, which would double the messages; and each byte once."""
    account = opened(window=1000)
    account.arrive(900)
    account.read(499)
    assert account.take_credit() == 0
    account.read(1)
    assert account.take_credit() == 500
    assert account.take_credit() == 0
    assert account.unread == 400


def test_credit_that_was_not_sent_is_owed() -> None:
    """It goes with the next."""
    account = opened(window=1000)
    account.arrive(600)
    account.read(600)
    credit = account.take_credit()
    account.owe(credit)
    assert account.take_credit() == 600


def test_no_credit_is_given_to_who_does_not_know_it() -> None:
    """A classic peer would pass it on to its program."""
    account = opened(window=10, peer_window=None)
    account.arrive(10)
    account.read(10)
    assert account.take_credit() == 0


def test_a_wider_window_is_told_with_the_next_credit() -> None:
    """The difference is owed."""
    account = opened(window=100)
    account.widen(1000)
    assert (account.window, account.take_credit()) == (1000, 900)


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
    account.read(10)
    account.arrive(10)
    with pytest.raises(ProtocolError, match=f"{64 * MIB + 1} bytes are unread, and the other side knows no flow"):
        account.arrive(1)
