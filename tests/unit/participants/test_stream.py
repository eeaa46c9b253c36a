"""A participant's side of a stream: flow control, ends, and that it understands what the client understands."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.errors import InvalidMessage, UsageError
from meshsync.protocol import flow_control
from meshsync.protocol import stream_messages as client
from simulator.participants.peers import Peer
from simulator.participants.stream import Stream, StreamState, size_of, window_in

EMPTY = 256 + 2
"""What a chunk with an empty header counts beside its data."""


class Side:
    """One side of a stream to bob, and what it says."""

    def __init__(self, window: int | None = 1000, *, is_opener: bool = True) -> None:
        self.said: list[tuple[str, dict[str, Any], bytes]] = []
        self.ended = 0
        bob = Peer("b-1", "agent", {"name": "bob"})
        self.stream = Stream(
            lambda type, body, data: self.said.append((type, body, data)),
            lambda stream: self._end(),
            bob,
            "s-1",
            {"kind": "test"},
            window=window,
            is_opener=is_opener,
        )

    def _end(self) -> None:
        self.ended += 1

    def types(self) -> list[str]:
        """Return what was said since the last call, without ``stream.``."""
        types = [type.removeprefix("stream.") for type, _, _ in self.said]
        self.said.clear()
        return types


def opened(window: int | None = 1000, theirs: int | None = 1000) -> Side:
    """Return the opener's side of a stream that was accepted."""
    side = Side(window)
    side.stream.accepted(theirs)
    return side


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "theirs"), [(5000, 700), (5000, None), (None, 700), (None, None)])
def test_the_client_understands_what_is_said(window: int | None, theirs: int | None) -> None:
    """Every word, as its own implementation reads it; a window is told only to those who have one."""
    side = Side(window, is_opener=False)
    side.stream.offer()
    side.stream.accept(theirs)
    side.stream.write(b"data", {"n": 1})
    side.stream.took(5000)
    side.stream.cancel("enough")
    is_agreed = None not in (window, theirs)
    assert [client.decode_stream_message(*said) for said in side.said] == [
        client.Open("s-1", {"kind": "test"}, window),
        client.Accept("s-1", window if is_agreed else None),
        client.StreamChunk("s-1", {"n": 1}, b"data"),
        *([client.Credit("s-1", 5000)] if is_agreed else []),
        client.Cancel("s-1", "enough") if is_agreed else client.Close("s-1"),
    ]


@pytest.mark.parametrize("header", [{}, {"n": 1}, {"text": "ünïcode ✓", "list": [1.5, None, True, {"a": "\n"}]}])
def test_a_chunk_counts_what_it_counts_for_the_client(header: dict[str, Any]) -> None:
    """Data, header and the same for each."""
    assert size_of(header, b"12345") == flow_control.size_of(header, b"12345")


@pytest.mark.parametrize("window", [1, 700])
def test_the_clients_window_is_read(window: int) -> None:
    """Of its offer and of its acceptance."""
    for word in (client.Open("s-1", {}, window), client.Accept("s-1", window)):
        assert window_in(client.encode_stream_message(word)[1]) == window


@pytest.mark.parametrize(
    "own",
    [
        None,
        {},
        "1",
        {"version": 2, "window": 5},
        {"version": 1},
        {"version": 1, "window": 0},
        {"version": 1, "window": "5"},
        {"version": 1, "window": True},
    ],
)
def test_what_is_no_window_is_none(own: object) -> None:
    """Another version, and what cannot be one."""
    assert window_in({"stream_id": "s-1", "meshsync": own}) is None
    assert client.decode_stream_message("stream.accept", {"stream_id": "s-1", "meshsync": own}, b"").window is None


# --- flow control -----------------------------------------------------------------------------------------------------


def test_a_chunk_goes_out_while_there_is_any_room() -> None:
    """1,000 bytes of room take chunks of 600 and their 258: the second is begun with 142 left, the third waits."""
    side = opened()
    for _ in range(3):
        side.stream.write(bytes(600))
    assert side.types() == ["chunk", "chunk"]
    side.stream.credited(716)
    assert side.types() == []
    side.stream.credited(1)
    assert side.types() == ["chunk"]


def test_without_agreement_nothing_waits() -> None:
    """Whichever side knows no flow control."""
    for side in (opened(None, 1000), opened(1000, None)):
        for _ in range(5):
            side.stream.write(bytes(600))
        assert side.types() == ["chunk"] * 5
        assert side.stream.may_write


def test_credit_is_given_at_half_a_window() -> None:
    """499 of 1,000 are not worth a word; one more gives all 500."""
    side = opened()
    side.stream.took(499)
    assert side.said == []
    side.stream.took(1)
    assert side.said == [("stream.meshsync.credit", {"stream_id": "s-1", "bytes": 500}, b"")]
    side.stream.took(400)
    assert len(side.said) == 1


def test_whether_it_may_be_written_to() -> None:
    """Only while it is open and has room."""
    side = Side()
    assert not side.stream.may_write
    side.stream.accepted(EMPTY)
    assert side.stream.may_write
    side.stream.write()
    assert not side.stream.may_write
    side.stream.credited(EMPTY)
    assert side.stream.may_write
    side.stream.close()
    assert not side.stream.may_write


# --- ends -------------------------------------------------------------------------------------------------------------


def test_closing_comes_behind_what_was_written() -> None:
    """What waits for room goes out first; writing is over at once."""
    side = opened(theirs=100)
    side.stream.write(b"1")
    side.stream.write(b"2")
    side.stream.close()
    assert (side.types(), side.ended, side.stream.state) == (["chunk"], 0, StreamState.CLOSING)
    with pytest.raises(UsageError, match="cannot be written to: it is to be closed"):
        side.stream.write(b"3")
    side.stream.credited(500)
    assert (side.types(), side.ended, side.stream.state) == (["chunk", "close"], 1, StreamState.ENDED)


def test_cancelling_drops_what_was_written() -> None:
    """It ends at once, also while it is being closed, and only once."""
    side = opened(theirs=100)
    side.stream.write(b"1")
    side.stream.write(b"2")
    side.stream.close()
    side.stream.cancel("enough")
    side.stream.cancel("again")
    side.stream.close()
    assert (side.types(), side.ended) == (["chunk", "meshsync.cancel"], 1)
    side.stream.credited(500)
    assert side.said == []


def test_the_other_sides_end_is_the_end() -> None:
    """Nothing more is said, credits included."""
    side = opened()
    side.stream.over()
    side.stream.over()
    side.stream.took(900)
    side.stream.close()
    side.stream.cancel()
    assert (side.said, side.ended, side.stream.state) == ([], 1, StreamState.ENDED)


def test_an_offer_can_be_taken_back() -> None:
    """In the word that official clients know."""
    for end in (Stream.close, Stream.cancel):
        side = Side()
        side.stream.offer()
        end(side.stream)
        assert (side.types(), side.ended) == (["open", "close"], 1)


def test_it_is_accepted_once() -> None:
    """Again is a fault of this library's."""
    side = opened()
    with pytest.raises(RuntimeError, match="a stream cannot go from OPEN to OPEN"):
        side.stream.accepted(None)


def test_a_header_that_is_no_json_is_refused() -> None:
    """And nothing goes out."""
    side = opened()
    with pytest.raises(InvalidMessage, match="header"):
        side.stream.write(b"", {"set": {1}})
    assert side.said == []
