"""The limits of what a participant names."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from meshsync.errors import InvalidMessage
from meshsync.protocol.codec import encode_request
from meshsync.protocol.content import Binary, Control, Empty, Error, File, LinkContent
from meshsync.protocol.dialects import dialect
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    CallMessage,
    Enable,
    OpenCall,
    Request,
    Send,
    SetAttributes,
)
from meshsync.protocol.packets import split
from simulator.room.limits import MAX_ID_SIZE, MAX_MEMBERS, MAX_NAME_SIZE, find_fault, is_longer
from simulator.room.rules import RoomStats
from tests.support.seats import Hall, packets_of, read
from tests.unit.room.test_calls import Hall as CallHall
from tests.unit.room.test_rules import make_room


def members(count: int) -> dict[str, Any]:
    """Return an object of so many members."""
    return {str(number): 0 for number in range(count)}


ID, NAME = "é" * (MAX_ID_SIZE // 2), "é" * (MAX_NAME_SIZE // 2)
BOUNDS: dict[str, tuple[Request, Request]] = {
    "recipient": (Send(ID, "t", {}), Send(ID + "x", "t", {})),
    "type": (Broadcast(NAME, {}), Broadcast(NAME + "x", {})),
    "call": (OpenCall(ID), OpenCall(ID + "x")),
    "call of a chunk": (CallChunk(ID, Empty()), CallChunk(ID + "x", Empty())),
    "call of an answer": (AnswerChunk(1, ID, Empty()), AnswerChunk(1, ID + "x", Empty())),
    "recipient of a call": (
        CallChunk("X", CallMessage("t", {}, to=ID)),
        CallChunk("X", CallMessage("t", {}, to=ID + "x")),
    ),
    "type on a call": (CallChunk("X", CallMessage(NAME, {})), CallChunk("X", CallMessage(NAME + "x", {}))),
    "stream": (Send("p", "stream.open", {"stream_id": ID}), Send("p", "stream.open", {"stream_id": ID + "x"})),
    "secret": (
        Send("p", "stream.open", {"meshsync": {"resume": {"secret": ID}}}),
        Send("p", "stream.open", {"meshsync": {"resume": {"secret": ID + "x"}}}),
    ),
    "header": (
        Broadcast("stream.chunk", {"header": members(MAX_MEMBERS)}),
        Broadcast("stream.chunk", {"header": members(MAX_MEMBERS + 1)}),
    ),
    "attribute": (SetAttributes({NAME: 1}), SetAttributes({NAME + "x": 1})),
    "name": (SetAttributes({"name": NAME}), SetAttributes({"name": NAME + "x"})),
    "file": (CallChunk("X", File(NAME, NAME, b"")), CallChunk("X", File(NAME, NAME + "x", b""))),
    "link": (CallChunk("X", LinkContent(NAME, "u")), CallChunk("X", LinkContent(NAME + "x", "u"))),
    "binary": (
        CallChunk("X", Binary(b"", members(MAX_MEMBERS))),
        CallChunk("X", Binary(b"", members(MAX_MEMBERS + 1))),
    ),
}
"""The longest that is accepted, and one more."""


@pytest.mark.parametrize("part", BOUNDS)
def test_names_have_a_length(part: str) -> None:
    """In bytes of UTF-8, or members; one more is refused, and the text says what has too many."""
    longest, longer = BOUNDS[part]
    assert find_fault(longest) is None
    assert "has more than" in str(find_fault(longer))


def test_half_a_surrogate_pair_counts_as_three_bytes() -> None:
    """A text cut short in JavaScript has one."""
    assert not is_longer("\ud83d" * 85, 256)
    assert is_longer("\ud83d" * 86, 256)


def test_other_messages_hold_what_they_like() -> None:
    """Only those of streams have a stream's id and header."""
    assert find_fault(Send("p", "chat", {"stream_id": "x" * 999, "header": members(2000)})) is None


def test_only_known_kinds_are_kept() -> None:
    """Of the kinds of streams that a client declares, and of what controls a call."""
    hall = CallHall(ada="classic")
    hall.ask("ada", Enable(("x" * 4_000_000, "duplex", "duplex", "odd")))
    assert hall.members["ada"].streams == {"duplex"}
    assert find_fault(CallChunk("X", Control("close"))) is None
    for request in (CallChunk("X", Control("pause")), AnswerCall(1, Control("")), AnswerChunk(1, "X", Control("odd"))):
        assert "unknown method" in str(find_fault(request))


@pytest.mark.parametrize("what", ["name", "role"])
def test_name_of_a_token_has_a_length(what: str) -> None:
    """A participant with a longer one does not join."""
    room = make_room()
    with pytest.raises(InvalidMessage, match=f"the participant's {what} has more than 1024 bytes"):
        room.join(**{"name": "ada", "role": "user", what: NAME + "x"}, form=GreetingForm.ENVELOPE)
    room.join(**{"name": "ada", "role": "user", what: NAME}, form=GreetingForm.ENVELOPE)
    assert len(room.members) == 1


@pytest.mark.once
def test_hundred_openings_with_ids_of_4_mb_leave_nothing_behind() -> None:
    """Each is refused under its id; what decoding takes is free again before the next, and nothing is kept."""
    hall, b3 = Hall("ada"), dialect("B3")
    ada = hall["ada"]
    opening = split(2, *encode_request(OpenCall("x" * 4_000_000), b3), size=1 << 30)
    offer = packets_of(Send(ada.member.id, "stream.open", {"stream_id": "x" * 4_000_000, "header": {}}), 2)
    tracemalloc.start()

    for packets in (opening, offer):
        for _ in range(50):
            ada.feed(packets)
            (answer,) = read(ada)
            assert (answer.request_id, answer.content.code) == (2, 1002)  # type: ignore[attr-defined]

    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (held < 1 << 20, peak < 40 << 20) == (True, True), (held, peak)
    assert hall.room.rules.stats() == RoomStats(0, 0, 0)  # type: ignore[attr-defined]


def test_chunk_of_an_answer_with_a_long_id_ends_no_call_of_another() -> None:
    """It bears the id of a call that is not its sender's."""
    hall = CallHall(ada="duplex", ben="duplex", eve="duplex")
    push_id = hall.connect("ada", "ben")
    assert hall.ask("eve", AnswerChunk(push_id, "x" * 999, Empty()), push_id) == []
    assert hall.room.stats().calls == 1


def test_request_with_a_long_id_is_refused_under_its_own() -> None:
    """Whatever it asks for."""
    hall = CallHall(ada="duplex")
    refusal = Error("the call's id has more than 256 bytes", 1002)
    assert hall.ask("ada", OpenCall("x" * 257), 5) == [("ada", (5, refusal))]
    assert hall.ask("ada", CallChunk("x" * 257, Empty()), 6) == [("ada", (6, refusal))]
