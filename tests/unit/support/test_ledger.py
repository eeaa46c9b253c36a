"""The ledger by which disturbed programs are judged: each forged entry that must not be is found, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshsync import DeliveryUnknown, NotSent, RoomError, SendTimeout, StreamInterrupted
from tests.support.ledger import Ledger, Note, StreamNote

GOOD = StreamNote(
    9, "a1", "b1", is_open=True, attempted=2, closing=True, closed=True, is_accepted=True, read=[0, 1], is_complete=True
)


def ledger(*notes: Note, **received: list[tuple[str, int]]) -> Ledger:
    """Return a ledger of Ada, whose client is ``ada``, and of Ben, who has two clients, ``ben`` and ``ben2``.

    They are the participants a1, b1 and b2; Ada's was a0 before, on a connection that was lost.
    """
    made = Ledger()
    made.names |= {"ada": "ada", "ben": "ben", "ben2": "ben"}
    made.clients |= {"a0": "ada", "a1": "ada", "b1": "ben", "b2": "ben2"}
    made.stayed |= {"a1": "ada", "b1": "ben", "b2": "ben2"}
    made.notes |= {note.number: note for note in notes}
    made.received.update(received)
    return made


def sent(number: int, to: str | None = "b1", **more: object) -> Note:
    """Return a message of Ada's that was acknowledged."""
    return Note(**{"sender": "ada", "number": number, "to": to, "is_acknowledged": True} | more)


def failed(number: int, error: BaseException) -> Note:
    """Return a message of Ada's that failed."""
    return sent(number, is_acknowledged=False, error=error)


def test_what_went_well_is_no_violation() -> None:
    """Messages that arrived once and in order, and a whole stream, are as they should be."""
    made = ledger(sent(1), sent(2), sent(3, None), ben=[("a1", 1), ("a1", 2), ("a1", 3)])
    made.streams[9] = GOOD
    assert list(made.violations()) == []


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (ledger(sent(1), ben=[("a1", 1), ("a1", 1)]), "received 1 of ada after 1"),
        (ledger(sent(1), sent(2), ben=[("a1", 2), ("a1", 1)]), "received 1 of ada after 2"),
        (ledger(sent(1, None), ben=[("a1", 1)], ben2=[("a1", 1)]), "ben received 1 2 times"),
        (ledger(ben=[("a1", 1)]), "not sent to it"),
        (ledger(sent(1), ben=[("b2", 1)]), "not sent to it"),
        (ledger(sent(1), ben2=[("a1", 1)]), "not sent to it"),
        (ledger(failed(1, NotSent("no")), ben=[("a1", 1)]), "which was told NotSent"),
        (ledger(failed(1, RoomError("no", 1)), ben=[("a1", 1)]), "which was told RoomError"),
        (ledger(failed(1, SendTimeout("no", retryable=True)), ben=[("a1", 1)]), "which was told SendTimeout"),
        (ledger(sent(1, None, audience=("b1", "b2")), ben=[("a1", 1)]), "b2, still there, has not received it"),
        (ledger(sent(1)), "b1, still there, has not received it"),
        (ledger(sent(1, error=NotSent("no")), ben=[("a1", 1)]), "was acknowledged, and failed"),
        (ledger(sent(1, is_confirmed=True)), "confirmed, and ben has not received it"),
    ],
)
def test_each_violation_is_found(made: Ledger, text: str) -> None:
    """A message that is lost, doubled, out of order or other than its sender was told has a line that says so."""
    assert any(text in line for line in made.violations())


@pytest.mark.parametrize("error", [DeliveryUnknown("?"), SendTimeout("?")])
def test_what_is_unknown_may_have_arrived_or_not(error: BaseException) -> None:
    """Where the sender was told nothing certain, either is fine."""
    assert not list(ledger(failed(1, error), ben=[("a1", 1)]).violations())
    assert not list(ledger(failed(1, error)).violations())


def test_what_is_lost_with_its_recipient_is_fine_once_the_sender_knows() -> None:
    """A recipient that left takes messages with it, and its sender has to be told that it left."""
    made = ledger(sent(1))
    del made.stayed["b1"]
    assert any("not told that b1 left" in line for line in made.violations())
    made.moves["ada"] += [("b1", True), ("b1", False)]
    assert not list(made.violations())


def test_a_client_that_has_ended_need_not_be_told_who_left() -> None:
    """A sender that ended before its recipient left cannot be told of it."""
    made = ledger(sent(1))
    made.left.add("b1")
    made.ended.add("ada")
    assert not list(made.violations())


def test_a_client_is_one_over_all_of_its_connections() -> None:
    """What a client sent before and after a loss is of one sender, in one order, whoever it was each time."""
    assert not list(ledger(sent(1), sent(2), ben=[("a0", 1), ("a1", 2)]).violations())
    made = ledger(sent(1), sent(2), ben=[("a0", 2), ("a1", 1)])
    assert list(made.violations()) == ["ben received 1 of ada after 2"]


def test_what_is_confirmed_arrives_in_whatever_connection() -> None:
    """A confirmed message to a participant that is gone may have arrived at the client that it was."""
    made = ledger(sent(1, "b0", is_confirmed=True), ben=[("a1", 1)])
    made.clients["b0"] = "ben"
    assert not list(made.violations())
    made.received.clear()
    assert list(made.violations()) == ["1 of ada was confirmed, and ben has not received it"]


def test_dropped_events_are_violations() -> None:
    """Memory is bounded by dropping, and nothing here is slow."""
    made = ledger()
    made.dropped["ben"] = 3
    assert list(made.violations()) == ["ben dropped 3 events"]


@pytest.mark.parametrize(
    ("moves", "text"),
    [
        ([("b1", True)], "not told that b1 left"),
        ([("b1", True), ("b1", True), ("b1", False)], "b1 came when it had"),
        ([("b1", False)], "b1 left when it had"),
    ],
)
def test_whoever_came_leaves_once(moves: list[tuple[str, bool]], text: str) -> None:
    """Arrivals and departures alternate, and nobody is there when the client has ended."""
    made = ledger()
    made.moves["ada"] = moves
    assert [text in line for line in made.violations()] == [True]
    made.moves["ada"] = [("b1", True), ("b1", False)] * 2
    assert not list(made.violations())


@pytest.mark.parametrize(
    "ways",
    [
        [],
        ["came back", "ended"],
        ["went offline", "came back"],
        ["went offline", "went offline", "ended"],
        ["ended"] * 2,
    ],
)
def test_a_client_comes_back_once_for_each_loss_and_ends_once(ways: list[str]) -> None:
    """Losses and returns alternate, and the last event of all is an end."""
    made = ledger()
    made.ways["ada"] = ways
    assert len(list(made.violations())) == 1
    for good in (["ended"], ["went offline", "ended"], ["went offline", "came back", "ended"]):
        made.ways["ada"] = good
        assert not list(made.violations())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"read": [1, 0]}, "chunks [1, 0] were read"),
        ({"read": [1]}, "chunks [1] were read"),
        ({"read": [0, 1, 2]}, "chunks [0, 1, 2] were read"),
        ({"read": [0]}, "was told that this is all"),
        ({"closing": False, "closed": False, "writing_error": RuntimeError()}, "it failed with RuntimeError"),
        ({"closing": False}, "was told that this is all"),
        ({"is_open": False}, "its opener still waits"),
        ({"closed": False}, "its writer still waits"),
        ({"is_complete": False}, "its reader still waits"),
        ({"is_accepted": False, "is_complete": False}, "and not accepted"),
        ({"is_complete": False, "reading_error": StreamInterrupted("cut")}, "its writer closed it"),
    ],
)
def test_each_violation_of_a_stream_is_found(changes: dict[str, object], text: str) -> None:
    """A stream that is neither whole nor known to be cut has a line that says so."""
    made = ledger()
    made.streams[9] = replace(GOOD, **changes)  # type: ignore[arg-type]
    assert any(text in line for line in made.violations())


def test_a_stream_may_be_cut_where_an_end_of_it_left() -> None:
    """A closed stream whose reader's participant left is cut, and that is all that can be known."""
    made = ledger()
    made.streams[9] = replace(GOOD, is_complete=False, read=[0], reading_error=StreamInterrupted("cut"))
    del made.stayed["b1"]
    assert not list(made.violations())
