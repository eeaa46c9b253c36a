"""Classic streams between classic clients: who would wait for ever when the other end disappears is told."""

from __future__ import annotations

import pytest

from simulator.room.classic_streams import MAX_STREAMS
from tests.unit.room.test_calls import LEAVINGS, Hall

OFFER = {"stream_id": "S", "header": {}}
WORD = {"stream_id": "S"}
REJECTION = {"stream_id": "S", "error": "the participant was not found"}


def opened(opener: str, acceptor: str, *, is_accepted: bool = True) -> Hall:
    """Return a room in which ada has opened a stream to ben."""
    hall = Hall(ada=opener, ben=acceptor)
    hall.send("ada", "ben", "open", OFFER)
    if is_accepted:
        hall.send("ben", "ada", "accept", WORD)
    return hall


def left(hall: Hall, name: str, how: str) -> list[object]:
    """Let somebody leave; return what the other is told behind that."""
    (_, news), *rest = LEAVINGS[how](hall, name)
    assert isinstance(news, tuple)
    assert news[1] == "participant.disabled"
    return [what for _, what in rest]


@pytest.mark.parametrize("how", LEAVINGS)
@pytest.mark.parametrize(("leaver", "stayer"), [("ada", "ben"), ("ben", "ada")])
def test_old_client_is_told_that_its_stream_is_closed(leaver: str, stayer: str, how: str) -> None:
    """At either end: before 0.10.0 the leaving of the other ends nothing."""
    hall = opened("old", "old")
    assert left(hall, leaver, how) == [(leaver, "close", WORD, b"")]
    assert hall.room.stats().classic_streams == 0


@pytest.mark.parametrize("kind", ["classic", "both"])
def test_newer_client_ends_its_streams_itself(kind: str) -> None:
    """And so do those that say what they understand."""
    assert left(opened("old", kind), "ada", "gone") == []
    assert left(opened(kind, "old"), "ben", "gone") == []


@pytest.mark.parametrize(("kind", "told"), [("old", 1), ("classic", 1), ("both", 0)])
def test_opener_without_an_answer_is_rejected(kind: str, told: int) -> None:
    """No official client gives up waiting for it."""
    hall = opened(kind, "old", is_accepted=False)
    assert left(hall, "ben", "gone") == [("ben", "reject", REJECTION, b"")][:told]
    assert hall.room.stats().classic_streams == 0


@pytest.mark.parametrize("last", [("ada", "ben", "close", WORD), ("ben", "ada", "close", WORD)])
def test_stream_that_has_ended_is_not_closed_again(last: tuple[str, str, str, object]) -> None:
    """Whoever ended it."""
    hall = opened("old", "old")
    hall.send(*last)
    assert hall.room.stats().classic_streams == 0
    assert left(hall, "ada", "gone") == []


def test_rejected_offer_is_forgotten() -> None:
    """There is nothing to end."""
    hall = opened("old", "old", is_accepted=False)
    hall.send("ben", "ada", "reject", REJECTION)
    assert left(hall, "ben", "gone") == []


def test_acceptor_of_an_offer_without_an_answer_is_closed() -> None:
    """It may be accepting just now."""
    assert left(opened("old", "old", is_accepted=False), "ada", "gone") == [("ada", "close", WORD, b"")]


def test_streams_that_are_remembered_are_bounded() -> None:
    """The latest are, for each participant."""
    hall = Hall(ada="old", ben="old")
    for number in range(MAX_STREAMS + 10):
        hall.send("ada", "ben", "open", {"stream_id": str(number), "header": {}})
    assert hall.room.stats().classic_streams == 2 * MAX_STREAMS
    assert len(left(hall, "ada", "gone")) == MAX_STREAMS


@pytest.mark.parametrize("body", [{}, {"stream_id": 7}, {"stream_id": ["S"]}])
def test_malformed_words_are_not_remembered(body: object) -> None:
    """They are passed on all the same."""
    hall = Hall(ada="old", ben="old")
    assert len(hall.send("ada", "ben", "open", body)) == 2
    assert hall.room.stats().classic_streams == 0
