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
    """Return a ledger of Ada, who is a1, and Ben, who is b1 and later b2."""
    made = Ledger()
    made.names |= {"a1": "ada", "b1": "ben", "b2": "ben"}
    made.notes |= {note.number: note for note in notes}
    made.received.update(received)
    return made


def sent(number: int, to: str | None = "b1", **more: object) -> Note:
    """Return a message of Ada's that was acknowledged."""
    return Note(**{"sender": "a1", "number": number, "to": to, "name": "ben", "is_acknowledged": True} | more)


def failed(number: int, error: BaseException) -> Note:
    """Return a message of Ada's that failed."""
    return sent(number, is_acknowledged=False, error=error)


def test_what_went_well_is_no_violation() -> None:
    """Messages that arrived once and in order, and a whole stream, are as they should be."""
    made = ledger(sent(1), sent(2), sent(3, None), b1=[("a1", 1), ("a1", 2), ("a1", 3)])
    made.streams[9] = GOOD
    assert list(made.violations()) == []


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (ledger(sent(1), b1=[("a1", 1), ("a1", 1)]), "received 1 of a1 after 1"),
        (ledger(sent(1), sent(2), b1=[("a1", 2), ("a1", 1)]), "received 1 of a1 after 2"),
        (ledger(sent(1, None), b1=[("a1", 1)], b2=[("a1", 1)]), "ben received 1 2 times"),
        (ledger(b1=[("a1", 1)]), "not sent to it"),
        (ledger(sent(1), b1=[("b2", 1)]), "not sent to it"),
        (ledger(sent(1), b2=[("a1", 1)]), "not sent to it"),
        (ledger(failed(1, NotSent("no")), b1=[("a1", 1)]), "which was told NotSent"),
        (ledger(failed(1, RoomError("no", 1)), b1=[("a1", 1)]), "which was told RoomError"),
        (ledger(failed(1, SendTimeout("no", retryable=True)), b1=[("a1", 1)]), "which was told SendTimeout"),
        (ledger(sent(1, None, audience=("b1", "b2")), b1=[("a1", 1)]), "b2, still there, has not received it"),
        (ledger(sent(1)), "b1, still there, has not received it"),
        (ledger(sent(1, error=NotSent("no")), b1=[("a1", 1)]), "was acknowledged, and failed"),
        (ledger(sent(1, is_confirmed=True)), "confirmed, and ben has not received it"),
    ],
)
def test_each_violation_is_found(made: Ledger, text: str) -> None:
    """A message that is lost, doubled, out of order or other than its sender was told has a line that says so."""
    assert any(text in line for line in made.violations())


@pytest.mark.parametrize("error", [DeliveryUnknown("?"), SendTimeout("?")])
def test_what_is_unknown_may_have_arrived_or_not(error: BaseException) -> None:
    """Where the sender was told nothing certain, either is fine."""
    assert not list(ledger(failed(1, error), b1=[("a1", 1)]).violations())
    assert not list(ledger(failed(1, error)).violations())


def test_what_is_lost_with_its_recipient_is_fine_once_the_sender_knows() -> None:
    """A recipient that left takes messages with it, and its sender has to be told that it left."""
    made = ledger(sent(1))
    made.left["b1"] = "it left"
    assert any("not told that b1 left" in line for line in made.violations())
    made.told.add(("a1", "b1"))
    assert not list(made.violations())


def test_what_is_confirmed_arrives_in_whatever_connection() -> None:
    """A confirmed message may arrive at the program that came back as another participant."""
    made = ledger(sent(1, "b2", is_confirmed=True), b2=[("a1", 1)])
    made.left["b1"] = "it left"
    assert not list(made.violations())


def test_dropped_events_are_violations() -> None:
    """Memory is bounded by dropping, and nothing here is slow."""
    made = ledger()
    made.dropped["b1"] = 3
    assert list(made.violations()) == ["b1 dropped 3 events"]


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
    made.left["b1"] = "it left"
    assert not list(made.violations())
