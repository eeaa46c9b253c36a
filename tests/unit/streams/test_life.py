"""The life of a stream: which phases follow each other, and what each kind of end comes to."""

from __future__ import annotations

import pytest

from meshsync.errors import (
    MeshsyncError,
    NotSent,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    UsageError,
    WouldDeadlock,
)
from meshsync.participants import RemoteParticipant
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.life import EndKind, Phase, StreamEnd, StreamIdentity, StreamLife

IDENTITY = StreamIdentity("s-1", RemoteParticipant("p-2", "user", {"name": "bob"}), {}, is_opener=False)


def new_life(*phases: Phase) -> StreamLife:
    """Return a life that went through these phases after the offer."""
    life = StreamLife(IDENTITY, ThreadRuntime().condition())
    for phase in phases:
        life.move(phase)
    return life


@pytest.mark.parametrize(
    ("way", "is_allowed"),
    [
        ([Phase.OPEN, Phase.ENDED], True),
        ([Phase.ACCEPTING, Phase.OPEN], True),
        ([Phase.ACCEPTING, Phase.ENDED], True),
        ([Phase.UNOPENED], True),
        ([Phase.OFFERED], False),
        ([Phase.ENDED], False),
        ([Phase.ACCEPTING, Phase.UNOPENED], False),
        ([Phase.OPEN, Phase.OPEN], False),
        ([Phase.OPEN, Phase.ACCEPTING], False),
        ([Phase.OPEN, Phase.OFFERED], False),
        ([Phase.OPEN, Phase.ENDED, Phase.ENDED], False),
        ([Phase.OPEN, Phase.ENDED, Phase.OPEN], False),
        ([Phase.UNOPENED, Phase.OPEN], False),
    ],
)
def test_a_stream_is_offered_opened_and_ended_in_this_order(way: list[Phase], is_allowed: bool) -> None:
    """It ends once; any other move is a fault of ours, and changes nothing."""
    *before, last = way
    life = new_life(*before)
    if is_allowed:
        life.move(last)
        assert life.phase is last
        return
    phase = life.phase
    with pytest.raises(RuntimeError, match=f"a stream cannot go from {phase.name} to {last.name}"):
        life.move(last)
    assert life.phase is phase


@pytest.mark.parametrize(
    ("phases", "last", "was_open"),
    [
        ((), Phase.UNOPENED, False),
        ((Phase.ACCEPTING,), Phase.ENDED, True),
        ((Phase.OPEN,), Phase.ENDED, True),
    ],
)
def test_an_end_tells_whether_the_stream_was_open(phases: tuple[Phase, ...], last: Phase, was_open: bool) -> None:
    """Programs are told of the end of what they were told is open, and a second end is a fault of ours."""
    life = new_life(*phases)
    end = StreamEnd(EndKind.CLOSED_BY_PEER)
    with life.condition:
        life.finish(end)
        with pytest.raises(RuntimeError):
            life.finish(StreamEnd(EndKind.CLOSED_HERE))
    assert (life.phase, life.end, life.was_open, life.phase.is_over) == (last, end, was_open, True)


def test_a_consent_that_is_sent_after_the_end_opens_nothing() -> None:
    """The end stands."""
    life = new_life(Phase.ACCEPTING)
    with life.condition:
        life.finish(StreamEnd(EndKind.CLOSED_BY_PEER))
        life.consent_is_sent()
    assert life.phase is Phase.ENDED


@pytest.mark.parametrize("kind", EndKind)
def test_leaving_after_the_end_makes_it_one_of_this_program(kind: EndKind) -> None:
    """A rejection stays one; before the end there is nothing to be changed."""
    life = new_life(Phase.OPEN)
    life.leave()
    assert life.end is None
    with life.condition:
        life.finish(StreamEnd(kind))
    life.leave()
    assert life.end == StreamEnd(kind if kind is EndKind.REJECTED_HERE else EndKind.ABORTED_HERE)


REJECTED, CANCELLED, LOST = StreamRejected("no"), StreamInterrupted("bob ended the stream early"), NotSent("lost")


@pytest.mark.parametrize(
    ("end", "for_reader", "for_writer", "reading", "writing"),
    [
        (StreamEnd(EndKind.CLOSED_HERE), None, None, UsageError, UsageError),
        (StreamEnd(EndKind.ABORTED_HERE), None, None, UsageError, UsageError),
        (StreamEnd(EndKind.REJECTED_HERE, REJECTED), StreamRejected, StreamRejected, WouldDeadlock, UsageError),
        (StreamEnd(EndKind.CLOSED_BY_PEER), None, None, StreamCancelled, StreamCancelled),
        (
            StreamEnd(EndKind.CANCELLED_BY_PEER, CANCELLED),
            StreamInterrupted,
            StreamCancelled,
            StreamCancelled,
            StreamCancelled,
        ),
        (StreamEnd(EndKind.FAILED, LOST), NotSent, NotSent, NotSent, NotSent),
    ],
)
def test_each_end_has_its_errors(
    end: StreamEnd,
    for_reader: type[MeshsyncError] | None,
    for_writer: type[MeshsyncError] | None,
    reading: type[MeshsyncError],
    writing: type[MeshsyncError],
) -> None:
    """For what waits, and for what is called afterwards."""
    assert type(end.for_reader()) is (for_reader or type(None))
    assert type(end.for_writer()) is (for_writer or type(None))
    assert type(end.refusal(IDENTITY, "read")) is reading
    assert type(end.refusal(IDENTITY, "written to")) is writing


def test_each_caller_gets_an_error_of_its_own_with_the_cause() -> None:
    """One that was raised keeps its callers' variables alive."""
    error = StreamInterrupted("cut off")
    error.__cause__ = LOST
    end = StreamEnd(EndKind.FAILED, error)
    first, second = end.for_reader(), end.for_writer()
    assert first is not None
    assert second is not None
    assert first is not second is not error
    assert first.__cause__ is second.__cause__ is LOST
