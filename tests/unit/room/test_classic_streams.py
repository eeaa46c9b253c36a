"""Classic streams between classic clients: who would wait for ever when the other end disappears is told."""

from __future__ import annotations

import pytest

from meshsync.protocol.operations import Broadcast, CallChunk, CallMessage, OpenCall, SetAttributes
from meshsync.protocol.stream_messages import proof_of
from simulator.room.classic_streams import MAX_STREAMS
from simulator.room.rules import RoomStats
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


def test_nobody_pushes_out_the_streams_of_others() -> None:
    """Each opener has a table of its own, whoever it offers streams to."""
    hall = Hall(ada="old", ben="old", mal="old")
    hall.send("ada", "ben", "open", OFFER)
    for number in range(2 * MAX_STREAMS):
        hall.send("mal", "ben", "open", {"stream_id": str(number), "header": {}})
    assert ("ada", "reject", REJECTION, b"") not in left(hall, "mal", "gone")
    assert left(hall, "ben", "gone") == [("ben", "reject", REJECTION, b"")]


# --- third participants -----------------------------------------------------------------------------------------------

FOREIGN = ("the stream is another participant's", 1002)


def refused(answers: list[tuple[str, object]]) -> bool:
    """Return whether an answer refuses a message about another's stream, and nothing else goes out."""
    return [(who, answer[1].text, answer[1].code) for who, answer in answers] == [("mal", *FOREIGN)]  # type: ignore


@pytest.mark.parametrize("word", ["open", "accept", "reject", "chunk", "close", "meshsync.credit", "meshsync.cancel"])
@pytest.mark.parametrize("to", ["ada", "ben"])
def test_third_participant_has_no_say_in_a_stream(word: str, to: str) -> None:
    """Official clients would believe it: they look at the id alone."""
    hall = opened("old", "old")
    hall.join("mal", "old")
    assert refused(hall.send("mal", to, word, {**OFFER, "bytes": 1, "error": "", "reason": ""}))
    assert hall.send("ada", "ben", "chunk", OFFER)[0] == ("ben", ("ada", "chunk", OFFER, b""))


def test_third_participant_cannot_broadcast_the_end_of_a_stream() -> None:
    """To clients, a broadcast looks like any other message."""
    hall = opened("old", "old")
    hall.join("mal", "old")
    assert refused(hall.ask("mal", Broadcast("stream.close", WORD)))


def test_third_participant_has_no_say_in_a_translated_stream() -> None:
    """Neither to its classic end nor to its duplex one; and nobody calls a classic client by an id that it knows."""
    hall = Hall(ada="classic", ben="duplex", mal="classic", dup="duplex")
    hall.send("ada", "ben", "open", OFFER)
    for to in ("ada", "ben"):
        assert refused(hall.send("mal", to, "close", WORD))
    hall.ask("dup", OpenCall("S"), 5)
    answer = hall.ask("dup", CallChunk("S", CallMessage("ask", {}, to=hall.id("ada"))), 6)[1]
    assert (answer[0], answer[1][1].code) == ("dup", 1004)  # type: ignore[index]


def test_word_about_a_stream_that_is_over_is_passed_on() -> None:
    """It may have crossed the end on its way; nobody is harmed by it."""
    hall = opened("old", "old")
    hall.send("ben", "ada", "close", WORD)
    assert hall.send("ada", "ben", "chunk", OFFER)[0] == ("ben", ("ada", "chunk", OFFER, b""))


# --- streams that outlive losses --------------------------------------------------------------------------------------

SECRET = "5" * 128
RESUME = {"version": 1, "window": 1, "resume": {"seconds": 60, "number": 1}}
RESUMABLE = {**OFFER, "meshsync": {**RESUME, "resume": {"seconds": 60, "number": 1, "secret": SECRET}}}


def agreed(opener: str = "old", acceptor: str = "old") -> Hall:
    """Return a room in which ada and ben have a stream that outlives losses."""
    hall = Hall(ada=opener, ben=acceptor)
    hall.send("ada", "ben", "open", RESUMABLE)
    hall.send("ben", "ada", "accept", {**WORD, "meshsync": RESUME})
    return hall


def resume(hall: Hall, name: str, to: str, secret: str = SECRET, word: str = "meshsync.resume") -> bool:
    """Have a participant resume the stream; return whether the message arrived."""
    proof = proof_of(secret, "S", hall.id(name), hall.id(to))
    return hall.send(name, to, word, {**WORD, "proof": proof, "position": 0, "granted": 1, "number": 1})[0][0] == to


def lose(hall: Hall, name: str) -> None:
    """End a participant's connection; nothing is said in its name."""
    assert left(hall, name, "gone") == []


@pytest.mark.parametrize(("leaver", "stayer"), [("ada", "ben"), ("ben", "ada")])
def test_end_that_comes_back_takes_its_place_by_its_proof(leaver: str, stayer: str) -> None:
    """Until then it is a third one, as is everyone else; afterwards its old id would be."""
    hall = agreed()
    lose(hall, leaver)
    hall.join("mal", "old")
    hall.join("back", "old")
    chunk = {**OFFER}
    assert refused(hall.send("mal", stayer, "chunk", chunk))
    assert hall.send("back", stayer, "chunk", chunk)[0][0] == "back"
    assert not resume(hall, "mal", stayer, secret="guessed")
    assert resume(hall, "back", stayer)
    assert hall.send("back", stayer, "chunk", chunk)[0][0] == stayer
    assert hall.send(stayer, "back", "chunk", chunk)[0][0] == "back"
    assert refused(hall.send("mal", "back", "chunk", chunk))


def test_proof_for_other_ids_is_none() -> None:
    """A third one that has seen a proof cannot use it."""
    hall = agreed()
    hall.join("mal", "old")
    proof = proof_of(SECRET, "S", hall.id("ada"), hall.id("ben"))
    assert refused(hall.send("mal", "ben", "meshsync.resume", {**WORD, "proof": proof}))
    assert refused(hall.send("mal", "ben", "close", {**WORD, "proof": None}))


def test_proof_is_that_of_its_sender() -> None:
    """The end that stays may ask first, and may ask an impostor: that one is no end before it has proven itself."""
    hall = agreed()
    lose(hall, "ada")
    hall.join("mal", "old")
    hall.join("back", "old")
    assert resume(hall, "ben", "mal")
    assert refused(hall.send("mal", "ben", "close", WORD))
    assert resume(hall, "ben", "back")
    assert hall.send("back", "ben", "chunk", OFFER)[0][0] == "back"
    assert resume(hall, "back", "ben")
    assert hall.send("back", "ben", "chunk", OFFER)[0][0] == "ben"


def test_cancel_with_its_proof_ends_the_stream_from_a_new_id() -> None:
    """An end that has come back may have nothing to resume."""
    hall = agreed()
    lose(hall, "ada")
    hall.join("back", "old")
    proof = proof_of(SECRET, "S", hall.id("back"), hall.id("ben"))
    assert hall.send("back", "ben", "meshsync.cancel", {**WORD, "proof": proof})[0][0] == "ben"
    assert hall.room.stats().classic_streams == 0


def test_offer_made_again_to_a_new_id_makes_that_the_other_end() -> None:
    """An acceptor whose answer was lost comes back; its opener gives it the secret once more."""
    hall = Hall(ada="old", ben="old")
    hall.send("ada", "ben", "open", RESUMABLE)
    lose(hall, "ben")
    hall.join("back", "old")
    hall.send("ada", "back", "open", RESUMABLE)
    assert hall.send("back", "ada", "accept", {**WORD, "meshsync": RESUME})[0][0] == "ada"


def test_offer_that_is_made_again_after_a_loss_is_the_same_stream() -> None:
    """It has the secret itself."""
    hall = Hall(ada="old", ben="old")
    hall.send("ada", "ben", "open", RESUMABLE)
    ada = hall.members.pop("ada")
    hall.room.leave(ada)
    hall.join("mal", "old")
    hall.join("back", "old")
    hall.send("back", "ben", "open", RESUMABLE)
    assert refused(hall.send("mal", "ben", "close", WORD))
    assert hall.send("ben", "back", "accept", {**WORD, "meshsync": RESUME})[0][0] == "back"


def test_end_under_its_old_id_may_leave_later() -> None:
    """A connection that is dead may be noticed after its client has come back; the stream goes on."""
    hall = agreed()
    hall.join("back", "old")
    assert resume(hall, "back", "ben")
    outputs = hall.room.leave(hall.members["ada"])
    assert [output.what.type for output in outputs] == ["participant.disabled"]  # type: ignore[union-attr]
    assert hall.send("ben", "back", "chunk", OFFER)[0][0] == "back"


def test_stream_of_two_that_are_gone_is_forgotten() -> None:
    """Both may come back, and prove themselves to each other; no third one can harm what the room does not know."""
    hall = agreed()
    lose(hall, "ada")
    hall.room.leave(hall.members.pop("ben"))
    assert hall.room.stats() == RoomStats(0, 0, 0)


@pytest.mark.parametrize("word", ["meshsync.closed", "meshsync.cancel", "reject"])
def test_stream_that_outlives_losses_is_remembered_until_its_end_is_confirmed(word: str) -> None:
    """A closing may be lost, and is then sent again."""
    hall = agreed()
    hall.send("ada", "ben", "close", WORD)
    assert hall.room.stats().classic_streams == 2
    hall.send("ben", "ada", word, WORD)
    assert hall.room.stats().classic_streams == 0


def test_client_that_can_resume_streams_is_sent_no_closing() -> None:
    """It says so in an attribute, and knows which streams it waits for."""
    for waits, count in ((True, 0), (False, 1)):
        hall = opened("old", "old")
        hall.ask("ben", SetAttributes({"meshsync": {"v": 1, "instance": "0" * 32, "resume": int(waits)}}))
        assert len(left(hall, "ada", "gone")) == count


def test_without_consent_a_stream_ends_with_its_connections() -> None:
    """An official acceptor does not know of it."""
    hall = Hall(ada="old", ben="old")
    hall.send("ada", "ben", "open", RESUMABLE)
    hall.send("ben", "ada", "accept", WORD)
    assert left(hall, "ada", "gone") == [("ada", "close", WORD, b"")]


@pytest.mark.parametrize("body", [{}, {"stream_id": 7}, {"stream_id": ["S"]}])
def test_malformed_words_are_not_remembered(body: object) -> None:
    """They are passed on all the same."""
    hall = Hall(ada="old", ben="old")
    assert len(hall.send("ada", "ben", "open", body)) == 2
    assert hall.room.stats().classic_streams == 0
