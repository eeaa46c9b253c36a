"""One side of a stream that outlives losses, message by message; the state machine has both, cut at every place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol.resuming import (
    Accepted,
    Credited,
    Ending,
    Link,
    Outcome,
    Progress,
    ResumableStream,
    ResumeEvent,
    TakenIn,
)
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Closed,
    Credit,
    Open,
    Reject,
    Resume,
    ResumeConsent,
    ResumeOffer,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    proof_of,
)
from tests.support.interrupts import Interrupt

CHUNKS = [StreamChunk("s", {"n": number}, b"x") for number in range(4)]


def side(*, is_opener: bool = True) -> ResumableStream:
    """Return a side that knows of its peer: the opener is a, the acceptor b."""
    stream = ResumableStream("s", seconds=60, secret="key", window=100, header={"k": 1} if is_opener else None)
    stream.meet("a1" if is_opener else "b1", "b1" if is_opener else "a1", 0)
    return stream


def drain(stream: ResumableStream) -> list[StreamMessage]:
    """Take what is to be sent."""
    out, stream.out = stream.out, []
    return out


def opened() -> ResumableStream:
    """Return an opener whose offer was accepted, with two chunks written."""
    stream = side()
    stream.receive("b1", Accept("s", 50, ResumeConsent(30, 1)), 0)
    for chunk in CHUNKS[:2]:
        stream.write(chunk, 10)
    drain(stream)
    return stream


def resume(sender: str, recipient: str, position: int, number: int, seen: int, granted: int = 50) -> Resume:
    """Return what a side says when it is back."""
    return Resume("s", proof_of("key", "s", sender, recipient), position, granted, number, seen)


def meet(stream: ResumableStream, position: int, granted: int = 50) -> list[ResumeEvent]:
    """Lose the connection of the opener and have it meet its peer, which has taken in so many chunks."""
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    (own,) = drain(stream)
    assert isinstance(own, Resume)
    return stream.receive("b1", resume("b1", "a2", position, 1, own.number, granted), 3)


# --- several chunks in one message ------------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_chunks_are_joined_where_both_sides_read_that(here: bool, there: bool) -> None:
    """Each says so in its offer or its consent; a side that does not says nothing of it."""
    opener = ResumableStream("s", seconds=60, secret="key", window=100, header={})
    acceptor = ResumableStream("s", seconds=60, secret="key", window=100, header=None)
    opener.joins, acceptor.joins = here, there
    opener.meet("a1", "b1", 0)
    (offer,) = drain(opener)
    assert offer == Open("s", {}, 100, ResumeOffer(60, "key", 1, joins=here))
    acceptor.own_id = "b1"
    acceptor.receive("a1", offer, 0)
    acceptor.accept()
    (consent,) = drain(acceptor)
    assert consent == Accept("s", 100, ResumeConsent(60, 1, joins=here and there))
    opener.receive("b1", consent, 0)
    assert opener.joins is acceptor.joins is (here and there)


def test_joined_chunks_count_each() -> None:
    """They are taken in as if they had come one by one."""
    stream = opened()
    events = stream.receive("b1", StreamChunks("s", tuple(CHUNKS)), 0)
    assert events == [TakenIn(chunk) for chunk in CHUNKS]
    stream.confirm()
    assert drain(stream) == [Credit("s", 0, 4)]


# --- the offer --------------------------------------------------------------------------------------------------------


def test_the_smaller_time_of_both_sides_counts() -> None:
    """And a peer that does not agree has none."""
    stream = side()
    assert drain(stream) == [Open("s", {"k": 1}, 100, ResumeOffer(60, "key", 1))]
    assert stream.receive("b1", Accept("s", 50, ResumeConsent(30, 1)), 0) == [Accepted(50)]
    assert (stream.seconds, stream.progress) == (30, Progress.OPEN)
    stream = side()
    stream.receive("b1", Accept("s", 50), 0)
    stream.lose(5)
    assert stream.expire(5) == [Ending(Outcome.EXPIRED)]


def test_a_lost_offer_is_repeated_under_its_id() -> None:
    """An answer to an earlier one does not count: the one to the latest is on its way."""
    stream = side()
    drain(stream)
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    assert drain(stream) == [Open("s", {"k": 1}, 100, ResumeOffer(60, "key", 2))]
    assert stream.receive("b1", Accept("s", 50, ResumeConsent(60, 1)), 3) == []
    assert stream.receive("b1", Accept("s", 50, ResumeConsent(60, 2)), 3) == [Accepted(50)]


def test_an_acceptor_answers_each_offer_once_it_has_decided() -> None:
    """What it wrote behind a lost consent comes again behind the next."""
    stream = side(is_opener=False)
    stream.receive("a1", Open("s", {}, 50, ResumeOffer(60, "key", 1)), 0)
    assert drain(stream) == []
    stream.accept()
    stream.write(CHUNKS[0], 10)
    assert drain(stream) == [Accept("s", 100, ResumeConsent(60, 1)), CHUNKS[0]]
    stream.receive("a2", Open("s", {}, 50, ResumeOffer(60, "key", 2)), 1)
    assert drain(stream) == [Accept("s", 100, ResumeConsent(60, 2)), CHUNKS[0]]
    assert stream.peer_id == "a2"
    stream.receive("x", Open("s", {}, 50, ResumeOffer(60, "guess", 3)), 1)
    stream.receive("a1", Open("s", {}, 50, ResumeOffer(60, "key", 1)), 1)
    assert (drain(stream), stream.peer_id) == ([], "a2")


def test_a_rejection_is_repeated() -> None:
    """The program is not asked again."""
    stream = side(is_opener=False)
    stream.receive("a1", Open("s", {}, 50, ResumeOffer(60, "key", 1)), 0)
    stream.reject("busy", 0)
    stream.receive("a2", Open("s", {}, 50, ResumeOffer(60, "key", 2)), 1)
    assert drain(stream) == [Reject("s", "busy"), Reject("s", "busy")]


# --- meeting ----------------------------------------------------------------------------------------------------------


def test_what_was_not_taken_in_is_sent_again_behind_the_position() -> None:
    """With what was written meanwhile, and credit that was lost is made up for."""
    stream = opened()
    stream.lose(1)
    stream.write(CHUNKS[2], 10)
    assert drain(stream) == []
    assert meet(stream, 1, granted=70) == [Credited(20)]
    assert drain(stream) == [resume("a2", "b1", 0, 2, 1, granted=100), CHUNKS[1], CHUNKS[2]]
    assert (stream.link, stream.held, stream.position) == (Link.UP, 20, 3)


def test_while_they_meet_nothing_is_taken_in() -> None:
    """A chunk of before may arrive behind the position that was stated without it."""
    stream = opened()
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    assert stream.receive("b1", CHUNKS[0], 2) == []
    drain(stream)
    stream.receive("b1", resume("b1", "a2", 2, 1, 2), 3)
    assert stream.receive("b1", CHUNKS[0], 3) == [TakenIn(CHUNKS[0])]
    assert stream.receive("b0", CHUNKS[1], 3) == []


def test_credit_that_is_granted_while_they_meet_is_sent_afterwards() -> None:
    """The position that was stated lacks it."""
    stream = opened()
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    stream.grant(25)
    drain(stream)
    stream.receive("b1", resume("b1", "a2", 2, 1, 2), 3)
    assert drain(stream) == [resume("a2", "b1", 0, 2, 1, granted=125)]


def test_a_position_of_before_the_meeting_does_not_count() -> None:
    """The peer may have taken in more since: it is told this side's, and states its own again."""
    stream = opened()
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    drain(stream)
    assert stream.receive("b1", resume("b1", "a2", 0, 1, 0), 3) == []
    assert (stream.link, drain(stream)) == (Link.MEETING, [resume("a2", "b1", 0, 2, 1, granted=100)])
    stream.grant(25)
    stream.receive("b1", resume("b1", "a2", 1, 1, 2), 3)
    assert drain(stream) == [Credit("s", 25, 0), CHUNKS[1]]


def test_what_an_earlier_connection_of_the_peer_says_is_late() -> None:
    """It arrives behind the words of a later one, from another id."""
    stream = opened()
    stream.receive("b2", resume("b2", "a1", 0, 2, 0), 1)
    drain(stream)
    for number in (1, 2):
        assert stream.receive("b1", resume("b1", "a1", 0, number, 2), 2) == []
    assert (stream.peer_id, stream.link, drain(stream)) == ("b2", Link.MEETING, [])


def test_without_the_proof_nobody_resumes_a_stream() -> None:
    """Nor with that of another pair of participants."""
    stream = opened()
    before = stream.link
    for message in (Resume("s", "0" * 64, 0, 50, 9, 0), resume("b1", "a1", 0, 9, 0)):
        assert stream.receive("x", message, 1) == []
    assert (stream.link, stream.peer_id, drain(stream)) == (before, "b1", [])


@pytest.mark.parametrize(("position", "granted"), [(3, 50), (0, 50), (1, 49)])
def test_a_position_that_cannot_be_is_an_error_of_the_peer(position: int, granted: int) -> None:
    """More than was written, less than was confirmed, or a grant taken back."""
    stream = opened()
    stream.receive("b1", Credit("s", 0, 1), 0)
    with pytest.raises(ProtocolError):
        meet(stream, position, granted)


def test_a_credit_releases_what_was_taken_in() -> None:
    """So that no more is held than the window."""
    stream = opened()
    assert stream.receive("b1", Credit("s", 10, 1), 0) == [Credited(10)]
    assert stream.held == 10


def test_a_close_behind_a_consent_that_does_not_count_does_not_either() -> None:
    """Both come again; a side that takes in all of a close says so."""
    stream = side()
    stream.lose(1)
    stream.meet("a2", "b1", 2)
    drain(stream)
    for message in (Accept("s", 50, ResumeConsent(60, 1)), Close("s")):
        assert stream.receive("b1", message, 3) == []
    stream.receive("b1", Accept("s", 50, ResumeConsent(60, 2)), 3)
    assert stream.receive("b1", Close("s"), 3) == [Ending(Outcome.CLOSED_BY_PEER)]
    assert drain(stream) == [Closed("s")]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_close_is_done_when_the_peer_confirms_it() -> None:
    """After a loss it is sent again, behind what was not taken in."""
    stream = opened()
    stream.close()
    assert drain(stream) == [Close("s")]
    meet(stream, 1)
    assert drain(stream)[1:] == [CHUNKS[1], Close("s")]
    assert stream.receive("b1", Closed("s"), 4) == [Ending(Outcome.CLOSED_HERE)]


def test_a_close_without_an_answer_is_not_known_to_have_arrived() -> None:
    """The peer may have all of it."""
    stream = opened()
    stream.close()
    stream.lose(10)
    assert stream.expire(39.9) == []
    assert stream.expire(40) == [Ending(Outcome.UNCONFIRMED)]
    assert stream.is_forgotten


PROOF = proof_of("key", "s", "a1", "b2")
ENDS: list[tuple[StreamMessage, StreamMessage]] = [
    (Close("s"), Closed("s", PROOF)),
    (Cancel("s", "no"), Cancel("s", "no", PROOF)),
]


@pytest.mark.parametrize(("end", "answer"), ENDS)
def test_an_end_is_kept_for_a_peer_that_has_missed_it(end: StreamMessage, answer: StreamMessage) -> None:
    """For as long as a loss may last."""
    stream = opened()
    stream.receive("b1", end, 10)
    drain(stream)
    stream.receive("b2", resume("b2", "a1", 0, 1, 0), 20)
    assert (drain(stream), stream.peer_id) == ([answer], "b2")
    stream.expire(40)
    assert stream.is_forgotten


def test_a_loss_counts_from_its_beginning_until_they_have_met() -> None:
    """Being back is not enough; once they have met, the next loss has all the time again."""
    stream = opened()
    meet(stream, 2)
    assert stream.deadline is None
    stream.lose(10)
    stream.meet("a3", "b1", 20)
    stream.lose(25)
    assert stream.deadline == 40
    assert stream.expire(40) == [Ending(Outcome.EXPIRED)]


def test_a_withdrawn_offer_reaches_an_acceptor_that_has_not_decided() -> None:
    """It asks for nothing, so the opener comes back for it."""
    stream, other = side(), side(is_opener=False)
    other.receive("a1", Open("s", {}, 50, ResumeOffer(60, "key", 1)), 0)
    stream.lose(1)
    stream.cancel("enough", 2)
    stream.meet("a2", "b1", 3)
    (message,) = drain(stream)
    assert other.receive("a2", message, 4) == [Ending(Outcome.CANCELLED_BY_PEER)]


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda stream: stream.write(CHUNKS[2], 10, [(CHUNKS[3], 10)]),
        lambda stream: stream.close(),
        lambda stream: stream.cancel("enough", 0),
        lambda stream: stream.grant(10),
    ],
    ids=["write", "close", "cancel", "grant"],
)
def test_an_interrupted_call_is_done_or_not_done(call: Callable[[ResumableStream], None]) -> None:
    """What it changes and what its peer is sent belong together: the one without the other would wait for ever."""

    def state(stream: ResumableStream) -> tuple[object, ...]:
        return stream.position, stream.held, stream.progress, stream.ending, stream._granted_told, stream.out

    before, after = opened(), opened()
    call(after)
    assert state(before) != state(after)
    for place in range(1, 100):
        stream = opened()
        was_interrupted = Interrupt(place).run(partial(call, stream))
        assert state(stream) in (state(before), state(after)), f"interrupted at place {place}"
        if not was_interrupted:
            break
    assert 3 < place < 99
