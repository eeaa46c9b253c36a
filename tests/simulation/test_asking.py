"""Questions and answers between whole clients on virtual time: what the asker gets, and when."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import meshsync
from meshsync import (
    ClientClosed,
    ConnectionLost,
    InvalidMessage,
    MeshsyncError,
    MessagingClient,
    NotEnabled,
    ParticipantNotFound,
    ReceiveTimeout,
    Refuse,
    RemoteParticipant,
    RequestFailed,
    RequestInterrupted,
    RequestRefused,
    RoomClient,
    RoomMessage,
    RoomMessageEvent,
    SendTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.confirming.bodies import Answer
from simulator import Simulation, faults, latency
from simulator.participants import Message, Participant
from simulator.simulation import SimulatedRoom
from tests.support.worlds import simulated, told


class Pair:
    """Alice, who asks, and Bob, who answers ``sum``."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.room: SimulatedRoom = sim.room("demo")
        self.alice: RoomClient = self.room.join("alice", enable=True)
        self.bob: RoomClient = self.room.join("bob", enable=True)
        self.peer: RemoteParticipant = self.alice.messaging.wait_for_participant("bob")
        self.bob.messaging.wait_for_participant("alice")
        self.bob.messaging.on_request("sum", add)

    def ask(self, type: str = "sum", message: dict[str, Any] | None = None, **options: Any) -> RoomMessage:
        """Ask Bob on Alice's behalf."""
        answer: RoomMessage = self.alice.messaging.ask(self.peer, type, message or {"a": 1, "b": 2}, **options)
        return answer

    def fails(self, kind: type[MeshsyncError], match: str, seconds: float, ask: Callable[[], object]) -> MeshsyncError:
        """Check how asking fails, and after how many seconds."""
        before = self.sim.now
        with pytest.raises(kind, match=match) as caught:
            ask()
        assert type(caught.value) is kind
        assert round(self.sim.now - before, 3) == seconds
        return caught.value

    def cut(self, name: str, seconds: float) -> None:
        """Lose a connection, and get none for a while."""
        self.sim.plan(faults.during(self.sim.now, self.sim.now + seconds, faults.refuse_connect(name)))
        self.sim.plan(faults.reset(name))
        self.sim.sleep(0.05)


def add(event: RoomMessageEvent) -> dict[str, Any]:
    """Answer with a sum."""
    body = event.message.message
    return {"sum": body["a"] + body["b"]}


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return the two, on links of 10 ms, proven to each other."""
    with simulated(seed=5, latency=0.01) as sim:
        pair = Pair(sim)
        pair.ask()
        yield pair


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_takes_two_ways(pair: Pair) -> None:
    """A question and an answer of two times 10 ms each; it comes from Bob, with the question's type."""
    before = pair.sim.now
    answer = pair.ask(message={"a": 3, "b": 4})
    assert round(pair.sim.now - before, 3) == 0.04
    assert (answer.type, answer.message, answer.attachment) == ("sum", {"sum": 7}, b"")
    assert answer.sender is pair.peer


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"n": 1}, ({"n": 1}, b"")),
        (({"n": 1}, b"\x01\x02"), ({"n": 1}, b"\x01\x02")),
        (({"n": 1}, None), ({"n": 1}, b"")),
        (None, ({}, b"")),
    ],
)
def test_what_a_handler_returns_is_the_answer(pair: Pair, result: Any, expected: tuple[dict[str, Any], bytes]) -> None:
    """A body, a body with an attachment, or nothing for an empty body; the question's attachment comes, too."""
    seen: list[bytes] = []

    @pair.bob.messaging.on_request("any")
    def answer(event: RoomMessageEvent) -> Any:
        seen.append(event.message.attachment)
        return result

    got = pair.ask("any", attachment=b"\x03")
    assert (got.message, got.attachment) == expected
    assert seen == [b"\x03"]


def test_the_type_of_an_answer_is_the_handlers_then_the_askers_then_the_questions(pair: Pair) -> None:
    """And what ``reply`` is given beats them all."""
    pair.bob.messaging.on_request("typed", lambda event: {}, reply_type="own")
    pair.bob.messaging.on_message("told", lambda event: event.reply({}, type="told so"))
    assert pair.ask("sum").type == "sum"
    assert pair.ask("sum", reply_type="total").type == "total"
    assert pair.ask("typed", reply_type="total").type == "own"
    assert pair.ask("told", reply_type="total").type == "told so"


def test_receivers_answer_by_reply_now_or_later(pair: Pair) -> None:
    """One that is registered for the type may keep the event; the handle of the answer can be waited for."""
    kept: list[RoomMessageEvent] = []
    pair.bob.messaging.on_message("later", kept.append)

    def answer() -> None:
        pair.sim.sleep(3)
        kept[0].reply({"late": True}, b"\x01").wait(1)

    task = pair.sim.spawn(answer)
    before = pair.sim.now
    answered = pair.ask("later")
    assert (answered.message, answered.attachment, round(pair.sim.now - before)) == ({"late": True}, b"\x01", 3)
    task.join()
    assert task.error is None


def test_a_question_is_a_message_too_and_an_answer_is_none(pair: Pair) -> None:
    """Receivers and subscriptions get the question once; nothing but the asker gets the answer."""
    seen: list[tuple[str, str]] = []
    for client, name in ((pair.alice, "alice"), (pair.bob, "bob")):
        client.messaging.on("message", lambda event, name=name: seen.append((name, event.message.type)))
    with pair.bob.messaging.messages("sum") as questions, pair.alice.messaging.messages() as none:
        pair.ask()
        assert questions.get(0).message == {"a": 1, "b": 2}
        assert none.pending == 0
    assert seen == [("bob", "sum")]


def test_each_receiver_of_a_question_has_its_own_body(pair: Pair) -> None:
    """A handler and a receiver that change what they got change nothing of each other's."""
    bodies: list[dict[str, Any]] = []

    def spoil(event: RoomMessageEvent) -> None:
        body: Any = event.message.message
        body["a"] = 100
        bodies.append(body)

    pair.bob.messaging.on_message("sum", spoil)
    assert pair.ask().message == {"sum": 3}
    assert bodies == [{"a": 100, "b": 2}]


# --- no answer --------------------------------------------------------------------------------------------------------


def test_refusing_tells_the_reason_and_failing_tells_none(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The text of a `Refuse` reaches the asker; of anything else an id does, which the answerer's log has."""
    pair.sim.failing_receivers = "log"
    failures: list[BaseException | None] = []
    pair.bob.messaging.on("receiver_failed", lambda event: failures.append(event.error))

    @pair.bob.messaging.on_request("refused")
    def refuse(event: RoomMessageEvent) -> None:
        raise Refuse("the shop is closed")

    @pair.bob.messaging.on_request("failing")
    def fail(event: RoomMessageEvent) -> None:
        raise ValueError("a secret")

    pair.fails(RequestRefused, "^the shop is closed$", 0.04, lambda: pair.ask("refused"))
    assert not failures
    with caplog.at_level(logging.ERROR, "meshsync"):
        error = pair.fails(RequestFailed, "'bob' failed at the question 'failing'", 0.04, lambda: pair.ask("failing"))
    assert isinstance(error, RequestFailed)
    assert len(error.id) == 8
    assert error.id in str(error)
    assert "secret" not in str(error)
    (record,) = caplog.records
    assert error.id in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is failures[0]


@pytest.mark.parametrize("result", [{1, 2}, {"n": object()}, ["a list"], "text", ({"n": 1}, 2, 3), ({}, "no bytes")])
def test_an_answer_that_cannot_be_carried_is_a_failure(pair: Pair, result: Any) -> None:
    """Of the handler, and once more it answers the next question."""
    pair.sim.failing_receivers = "log"
    pair.bob.messaging.on_request("odd", lambda event: result)
    pair.fails(RequestFailed, "'bob' failed", 0.04, lambda: pair.ask("odd"))
    assert pair.ask().message == {"sum": 3}


def test_no_handler_is_told_at_once(pair: Pair) -> None:
    """With the types that have one; a receiver of all messages alone has to answer before it returns."""
    text = "'bob' has no handler for questions of type 'product'; its handlers are for 'sum'$"
    pair.fails(RequestRefused, text, 0.04, lambda: pair.ask("product"))
    seen: list[str] = []
    pair.bob.messaging.on("message", lambda event: seen.append(event.message.type))
    pair.fails(RequestRefused, text, 0.04, lambda: pair.ask("product"))
    assert seen == ["product"]
    pair.bob.messaging.on("message", lambda event: event.reply({"type": event.message.type}))
    assert pair.ask("product").message == {"type": "product"}


def test_a_receiver_that_raises_fails_the_question(pair: Pair) -> None:
    """Unless it has answered; and `Refuse` refuses here, too."""
    pair.sim.failing_receivers = "log"

    @pair.bob.messaging.on_message("twice")
    def twice(event: RoomMessageEvent) -> None:
        event.reply({"n": 1})
        event.reply({"n": 2})

    @pair.bob.messaging.on_message("refused")
    def refuse(event: RoomMessageEvent) -> None:
        raise Refuse("no")

    failures: list[BaseException | None] = []
    pair.bob.messaging.on("receiver_failed", lambda event: failures.append(event.error))
    pair.bob.messaging.on_message("broken", lambda event: 1 / 0)
    assert pair.ask("twice").message == {"n": 1}
    pair.fails(RequestRefused, "^no$", 0.04, lambda: pair.ask("refused"))
    pair.fails(RequestFailed, "'bob' failed", 0.04, lambda: pair.ask("broken"))
    assert [type(error) for error in failures] == [UsageError, ZeroDivisionError]
    assert "answered already" in str(failures[0])


def test_what_is_no_question_has_no_answer(pair: Pair) -> None:
    """Neither an ordinary message, nor another event, nor a copy of a question's event."""
    errors: list[str] = []

    def answer(event: RoomMessageEvent) -> None:
        try:
            event.reply({})
        except UsageError as error:
            errors.append(str(error))

    pair.bob.messaging.on_message("plain", answer)
    pair.bob.messaging.on("participant_added", answer)

    @pair.bob.messaging.on_message("copied")
    def answer_copies(event: RoomMessageEvent) -> None:
        for copied in (replace(event, error=None), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
            answer(copied)
        event.reply({})

    pair.alice.messaging.send_message(pair.peer, "plain", {})
    pair.alice.messaging.send_message(pair.peer, "plain", {}, confirm=True)
    pair.room.join("carol", enable=True)
    pair.ask("copied")
    pair.sim.sleep(1)
    assert [text.partition(" is no question")[0] for text in errors] == [
        "a message of type 'plain'",
        "a message of type 'plain'",
        "the event 'participant_added'",
        *["a message of type 'copied'"] * 3,
    ]


def test_time_outs_tell_what_became_of_the_question(pair: Pair) -> None:
    """It is with the answerer, or on its way, or was never sent; a late answer is dropped and counted."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(5))
    before = pair.alice.stats().answers_dropped
    error = pair.fails(ReceiveTimeout, "not answered within 2 s: it has it", 2, lambda: pair.ask("slow", timeout=2))
    assert not error.retryable
    pair.sim.sleep(4)
    assert pair.alice.stats().answers_dropped == before + 1
    pair.sim.plan(faults.at(pair.sim.now, faults.pause("bob", 30)))
    text = "within 1 s: it was sent, and may be handled"
    pair.fails(ReceiveTimeout, text, 1, lambda: pair.ask("slow", timeout=1))
    pair.cut("alice", 90)
    error = pair.fails(SendTimeout, "not sent", 3, lambda: pair.ask("slow", timeout=3))
    assert error.retryable


def test_the_default_is_the_rooms_or_thirty_seconds(pair: Pair) -> None:
    """As of other calls."""
    pair.bob.messaging.on_message("never", lambda event: None)
    pair.fails(ReceiveTimeout, "within 30 s", 30, lambda: pair.ask("never"))
    pair.alice.default_timeout = 4
    pair.fails(ReceiveTimeout, "within 4 s", 4, lambda: pair.ask("never"))
    pair.fails(ReceiveTimeout, "within 1 s", 1, lambda: pair.ask("never", timeout=1))


def test_mistakes_are_refused_before_anything_is_sent(pair: Pair) -> None:
    """Whose they are, and what to do instead."""
    messaging, peer = pair.alice.messaging, pair.peer
    ask: Any = messaging.ask
    before = pair.alice.stats().packets_sent
    for kind, text, arguments, options in [
        (UsageError, "cannot ask itself: call the function", (pair.alice.local_participant, "sum", {}), {}),
        (UsageError, "cannot ask itself", (pair.alice.local_participant.id, "sum", {}), {}),
        (ParticipantNotFound, r"is a name and no id: give get_participant_by_name\('bob'\)", ("bob", "sum", {}), {}),
        (ParticipantNotFound, "'nobody' does not take part", ("nobody", "sum", {}), {}),
        (TypeError, "RoomClient", (pair.bob, "sum", {}), {}),
        (InvalidMessage, "type: needs a text", (peer, "", {}), {}),
        (InvalidMessage, r"message\['n'\]", (peer, "sum", {"n": object()}), {}),
        (InvalidMessage, "attachment", (peer, "sum", {}, 5), {}),
        (InvalidMessage, "meshsync's own", (peer, "meshsync.x", {}), {}),
        (TypeError, "match is called", (peer, "sum", {}), {"match": 5}),
        (TypeError, "the type of a message is a str", (peer, "sum", {}), {"reply_type": 5}),
        (TypeError, "timeout is a number of seconds", (peer, "sum", {}), {"timeout": "5"}),
    ]:
        with pytest.raises(kind, match=text):
            ask(*arguments, **options)
    with pytest.raises(ValueError, match="n is at least 1"):
        messaging.ask_all("sum", {}, n=0)
    assert pair.alice.stats().packets_sent == before
    pair.alice.messaging.disable()
    for call in (lambda: ask(peer, "sum", {}), lambda: messaging.ask_all("sum", {})):
        with pytest.raises(NotEnabled):
            call()


def test_one_handler_answers_a_type(pair: Pair) -> None:
    """A second one is refused, with the name of the first and the way to remove it, by which it can be registered."""
    messaging = pair.bob.messaging
    with pytest.raises(UsageError, match=r"test_asking\.add: remove it first, by off_request\('sum'\)"):
        messaging.on_request("sum", add)
    messaging.off_request("sum")
    messaging.on_request("other", add)
    with pytest.raises(ValueError, match=r"no handler is registered for questions of type 'sum'; there are 'other'"):
        messaging.off_request("sum")
    messaging.off_request("other")
    registration = messaging.on_request("sum", lambda event: {"sum": 0})
    assert pair.ask().message == {"sum": 0}
    registration.cancel()
    pair.fails(RequestRefused, "it has no handlers", 0.04, pair.ask)
    with pytest.raises(ValueError, match="give another type"):
        messaging.on_request("sum", add, reply_type="sum")
    for wrong in (None, 5):
        with pytest.raises(TypeError, match="cannot be called"):
            messaging.on_request("sum", wrong)  # type: ignore[call-overload]


# --- losses and leaving -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_question_outlives_the_loss_of_either_connection(pair: Pair, name: str) -> None:
    """While the handler is at work, so that the answer finds the asker, or comes of the answerer, under another id."""
    calls: list[float] = []

    @pair.bob.messaging.on_request("slow")
    def answer(event: RoomMessageEvent) -> dict[str, Any]:
        calls.append(pair.sim.now)
        meshsync.sleep(2)
        return {"done": True}

    now = pair.sim.now
    pair.sim.plan(faults.during(now + 1, now + 4, faults.refuse_connect(name)), faults.at(now + 1, faults.reset(name)))
    assert pair.ask("slow", timeout=60).message == {"done": True}
    assert pair.sim.now - now > 4
    assert len(calls) == 1


def test_a_client_that_leaves_tells_those_that_wait(pair: Pair) -> None:
    """By closing and by disabling messaging; handlers that are under way do not matter."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(0.5))
    pair.sim.spawn(lambda: (pair.sim.sleep(0.2), pair.bob.messaging.disable()))
    text = "'bob' left before it answered the question 'slow': its program disabled messaging"
    pair.fails(RequestInterrupted, text, 0.22, lambda: pair.ask("slow"))
    pair.bob.messaging.enable()
    pair.sim.sleep(1)
    pair.sim.spawn(lambda: (pair.sim.sleep(0.2), pair.bob.close()))
    pair.fails(RequestInterrupted, "'slow': its program closed it", 0.22, lambda: pair.ask("slow"))
    pair.fails(ReceiveTimeout, "but the answerer left .*and is not back", 2, lambda: pair.ask("slow", timeout=2))
    pair.fails(
        SendTimeout,
        "'slow' to 'bob': its answerer was not reached within 2 s; not sent; one that was started anew is another "
        "participant: find it by wait_for_participant, and ask that",
        2,
        lambda: pair.ask("slow", timeout=2),
    )


def test_an_answerer_that_is_gone_is_named_when_the_time_is_over(pair: Pair) -> None:
    """It may have come back, as a client that lost its connection does; this one does not."""
    pair.bob.messaging.on_message("never", lambda event: None)
    now = pair.sim.now
    pair.sim.plan(faults.at(now + 1, faults.reset("bob")))
    pair.sim.plan(faults.during(now + 1, now + 100, faults.refuse_connect("bob")))
    text = (
        "it has it, but the answerer left 1.01 s after it was asked and is not back; one that was started anew is "
        "another participant: find it by wait_for_participant, and ask that"
    )
    pair.fails(ReceiveTimeout, text, 20, lambda: pair.ask("never", timeout=20))


def test_an_answerer_that_came_back_is_not_said_to_have_left(pair: Pair) -> None:
    """It is there, with another id, when the time is over."""
    pair.bob.messaging.on_message("never", lambda event: None)
    pair.sim.plan(faults.at(pair.sim.now + 1, faults.reset("bob")))
    text = "within 100 s: it has it; give a longer timeout= if the answer takes longer"
    pair.fails(ReceiveTimeout, text, 100, lambda: pair.ask("never", timeout=100))


def test_the_end_of_the_asker_ends_its_questions(pair: Pair) -> None:
    """By disabling, by closing, by a loss for good."""
    pair.bob.messaging.on_message("never", lambda event: None)
    sleep = pair.sim.sleep
    pair.sim.spawn(lambda: (sleep(1), pair.alice.messaging.disable()))
    pair.fails(RequestInterrupted, "messaging was disabled on this client", 1, lambda: pair.ask("never"))
    pair.alice.messaging.enable()
    pair.peer = pair.alice.messaging.wait_for_participant("bob")
    pair.sim.spawn(lambda: (sleep(1), pair.alice.close()))
    with pytest.raises(ClientClosed):
        pair.ask("never")
    carol = pair.room.join("carol", enable=True, reconnect=False)
    pair.sim.plan(faults.at(pair.sim.now + 1, faults.reset("carol")))
    with pytest.raises(ConnectionLost):
        carol.messaging.ask(carol.messaging.wait_for_participant("bob"), "never", {})
    with pytest.raises(ConnectionLost):
        carol.messaging.ask(pair.peer, "never", {})


# --- asking within ----------------------------------------------------------------------------------------------------


def test_handlers_may_ask_their_own_asker(pair: Pair) -> None:
    """To any depth that there are tasks for: Bob asks Alice, who asks Bob, and so on."""

    def count(room: RoomClient) -> Callable[[RoomMessageEvent], dict[str, Any]]:
        def answer(event: RoomMessageEvent) -> dict[str, Any]:
            n = event.message.message["n"]
            assert event.participant is not None
            inner = room.messaging.ask(event.participant, "count", {"n": n - 1}).message["sum"] if n else 0
            return {"sum": inner + n}

        return answer

    pair.alice.messaging.on_request("count", count(pair.alice))
    pair.bob.messaging.on_request("count", count(pair.bob))
    assert pair.ask("count", {"n": 20}).message == {"sum": 210}


def test_two_clients_ask_each_other_at_once(pair: Pair) -> None:
    """From programs, and from receivers, which answers do not wait for."""
    pair.alice.messaging.on_request("sum", add)
    alice = pair.bob.messaging.get_participant_by_name("alice")
    assert alice is not None
    results: list[int] = []

    def ask(room: RoomClient, peer: RemoteParticipant) -> None:
        results.append(room.messaging.ask(peer, "sum", {"a": 1, "b": 1}).message["sum"])

    tasks = [pair.sim.spawn(lambda: ask(pair.alice, pair.peer)), pair.sim.spawn(lambda: ask(pair.bob, alice))]
    for task in tasks:
        task.join()
        assert task.error is None
    pair.alice.messaging.on_message("go", lambda event: ask(pair.alice, pair.peer))
    pair.bob.messaging.on_message("go", lambda event: ask(pair.bob, alice))
    carol = pair.room.join("carol", enable=True)
    carol.messaging.broadcast_message("go", {})
    pair.sim.sleep(1)
    assert results == [2, 2, 2, 2]


def test_long_handlers_keep_nothing_else(pair: Pair) -> None:
    """Others run beside them, up to 64 at once: 100 of one second take two."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(1))
    tasks = [pair.sim.spawn(lambda: pair.ask("slow", timeout=30)) for _ in range(50)]
    pair.sim.sleep(0.5)
    carol = pair.room.join("carol", enable=True)
    bob = carol.messaging.wait_for_participant("bob")
    tasks += [pair.sim.spawn(lambda: carol.messaging.ask(bob, "slow", {}, timeout=30)) for _ in range(50)]
    assert pair.ask().message == {"sum": 3}
    for task in tasks:
        task.join()
        assert task.error is None
    assert 2 < pair.sim.now < 3


def test_the_hook_that_answers_pass_cannot_ask_and_may_drop_them() -> None:
    """That would wait for itself; a question that it drops is refused, and an answer that it drops is named."""
    errors: list[MeshsyncError] = []

    class Hooked(MessagingClient):
        def received(self, message: RoomMessage) -> RoomMessage | None:
            if message.type == "dropped":
                return None
            if message.type == "ask":
                try:
                    assert message.sender is not None
                    self.ask(message.sender, "sum", {})
                except MeshsyncError as error:
                    errors.append(error)
            return message

    with simulated(latency=0.01) as sim:
        pair = Pair(sim)
        room = sim.room("demo")
        hooked = room.join("hooked", enable=True, messaging=Hooked)
        peer = pair.alice.messaging.wait_for_participant("hooked")
        hooked.messaging.on_request("own", lambda event: {"n": 1})
        with pytest.raises(RequestRefused, match="drops such messages"):
            pair.alice.messaging.ask(peer, "dropped", {})
        assert pair.alice.messaging.ask(peer, "own", {}).message == {"n": 1}
        pair.bob.messaging.on_request("odd", lambda event: {}, reply_type="dropped")
        bob = hooked.messaging.wait_for_participant("bob")
        with pytest.raises(RequestInterrupted, match="was dropped by this client's hook"):
            hooked.messaging.ask(bob, "odd", {})
        with pytest.raises(RequestRefused, match="no handler"):
            hooked.messaging.ask(bob, "nothing", {})
        pair.alice.messaging.send_message(peer, "ask", {})
        sim.sleep(1)
        assert [type(error) for error in errors] == [WouldDeadlock]


# --- asking all -------------------------------------------------------------------------------------------------------


def test_all_are_asked_and_answers_come_as_they_do(pair: Pair) -> None:
    """Each in its own time; who refuses and who is late is told, and who cannot be asked."""
    messaging = pair.alice.messaging
    delays = {"carol": 1.0, "dave": 2.0, "eve": 20.0}
    for name, delay in delays.items():
        room = pair.room.join(name, enable=True)
        room.messaging.on_request("sum", lambda event, delay=delay: meshsync.sleep(delay))
    pair.room.join("frank", enable=True)
    pair.room.add(Plain("grace"))
    pair.sim.sleep(1)
    with messaging.ask_all("sum", {"a": 1, "b": 2}, timeout=5) as answers:
        assert [peer.name for peer in answers.asked] == ["bob", "carol", "dave", "eve", "frank"]
        assert [peer.name for peer in answers.not_asked] == ["grace"]
        before = pair.sim.now
        got = [(answer.sender and answer.sender.name, round(pair.sim.now - before, 1)) for answer in answers]
    assert got == [("bob", 0.0), ("carol", 1.1), ("dave", 2.1)]
    assert {peer.name: type(error) for peer, error in answers.failures.items()} == {
        "frank": RequestRefused,
        "eve": ReceiveTimeout,
    }
    assert round(pair.sim.now - before, 1) == 5.0
    assert [answer.message for answer in messaging.ask_all("sum", {"a": 1, "b": 2}, n=1)] == [{"sum": 3}]
    assert list(messaging.ask_all("sum", {"a": 1, "b": 2}, timeout=0.0)) == []


def test_asking_an_empty_room_ends_at_once() -> None:
    """There is nothing to wait for."""
    with simulated() as sim:
        alone = sim.room("demo").join("alone", enable=True)
        answers = alone.messaging.ask_all("sum", {})
        assert (list(answers), answers.asked, sim.now) == ([], (), 0)


# --- others -----------------------------------------------------------------------------------------------------------


class Plain(Participant):
    """Takes part as an official client does, and answers by ordinary messages: two, the second of which is right."""

    confirms = False

    def on_message(self, message: Message) -> None:
        """Answer a question after a second."""

        def answer() -> None:
            self.send(message.sender, "noise", {})
            for right in (False, True):
                self.send(message.sender, "reply", {"right": right, "seen": dict(message.message)}, message.attachment)

        if message.type == "ask":
            self.after(1, answer)
        elif message.type == "leave":
            self.after(1, self.leave)


def test_others_answer_by_messages_that_match(pair: Pair) -> None:
    """Their question is an ordinary message with nothing added; the answer is one too, which receivers get as well."""
    pair.room.add(Plain("grace"))
    grace = pair.alice.messaging.wait_for_participant("grace")
    ask = pair.alice.messaging.ask
    seen: list[str] = []
    pair.alice.messaging.on("message", lambda event: seen.append(event.message.type))
    first = ask(grace, "ask", {"n": 1}, b"\x01", reply_type="reply")
    assert (first.message, first.attachment) == ({"right": False, "seen": {"n": 1}}, b"\x01")
    assert ask(grace, "ask", {"n": 1}, match=lambda message: message.message.get("right") is True).message["right"]
    assert ask(grace, "ask", {"n": 1}, match=lambda message: message.type == "noise").type == "noise"
    pair.sim.sleep(1)
    assert seen == ["noise", "reply", "reply"] * 3
    assert [kind for _, kind, name in told(pair.room.transcript, "message") if name == "alice"].count("ask") == 3
    with pytest.raises(UsageError, match=r"'grace' is no client of this package.*reply_type= or match="):
        ask(grace, "ask", {})
    with pytest.raises(ValueError, match="a fault"):
        ask(grace, "ask", {}, match=_fault)


def _fault(message: RoomMessage) -> bool:
    raise ValueError("a fault of match")


def test_others_that_leave_fail_the_question_at_once(pair: Pair) -> None:
    """They come back as strangers; and so does the asker, whose loss has the same effect."""
    pair.room.add(Plain("grace"))
    grace = pair.alice.messaging.wait_for_participant("grace")
    ask = pair.alice.messaging.ask
    now = pair.sim.now
    pair.sim.plan(faults.at(now + 1, faults.reset("alice")))
    text = "the connection was lost before 'grace' answered the question 'nothing'"
    pair.fails(RequestInterrupted, text, 1, lambda: ask(grace, "nothing", {}, reply_type="reply"))
    pair.sim.sleep(10)
    text = "'grace' left before it answered the question 'leave'"
    pair.fails(RequestInterrupted, text, 1.04, lambda: ask(grace, "leave", {}, reply_type="reply"))
    with pytest.raises(ParticipantNotFound, match="'grace' has left"):
        ask(grace, "leave", {}, reply_type="reply")


def test_ordinary_messages_are_answered_where_the_handler_says_how(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """By ordinary messages of that type; without it they are no questions, which is warned of once."""
    pair.bob.messaging.on_request("ask", lambda event: {"ok": True}, reply_type="reply")
    other = Caller("grace")
    pair.room.add(other)
    pair.sim.sleep(2)
    assert [(message.type, message.message) for message in other.got] == [("reply", {"ok": True})]
    with caplog.at_level(logging.WARNING, "meshsync"):
        for _ in range(2):
            pair.alice.messaging.send_message(pair.peer, "sum", {"a": 1, "b": 2})
        pair.sim.sleep(1)
    (record,) = caplog.records
    assert "'sum' came that is no question of ask(): its handler is not called" in record.getMessage()


class Caller(Participant):
    """Asks Bob as an official client does, after a second."""

    confirms = False

    def on_start(self) -> None:
        """Ask, and keep what comes."""
        self.got: list[Message] = []
        self.after(1, lambda: self.send(self.peer("bob") or "", "ask", {}))

    def on_message(self, message: Message) -> None:
        """Keep it."""
        self.got.append(message)


def test_our_clients_may_answer_by_messages_that_match_too(pair: Pair) -> None:
    """So that a program that asks all kinds need not know which is which; the first answer counts."""

    @pair.bob.messaging.on_message("ask")
    def answer(event: RoomMessageEvent) -> None:
        assert event.participant is not None
        pair.bob.messaging.send_message(event.participant, "reply", {"by": "message"})

    assert pair.ask("ask", reply_type="reply").message == {"by": "message"}
    answers = pair.alice.messaging.ask_all("ask", {}, reply_type="reply")
    assert [answer.message for answer in answers] == [{"by": "message"}]


def test_a_subclass_that_encrypts_sees_all_that_is_asked_and_answered() -> None:
    """Sending and receiving go through it, both ways; refusals have no body, and so do not."""
    sent: list[str] = []

    class Shifted(MessagingClient):
        def send_message_nowait(
            self, to: Any, type: Any = None, message: Any = None, *rest: Any, **options: Any
        ) -> Any:
            hidden = {"hidden": json.dumps(message)[::-1]}
            sent.append(type)
            return super().send_message_nowait(to, type, hidden, *rest, **options)

        def received(self, message: RoomMessage) -> RoomMessage:
            return replace(message, message=json.loads(message.message["hidden"][::-1]))

    with simulated(latency=0.01) as sim:
        room = sim.room("demo")
        ada, bob = (room.join(name, enable=True, messaging=Shifted) for name in ("ada", "bob"))
        peer = ada.messaging.wait_for_participant("bob")
        bob.messaging.on_request("sum", add)
        bob.messaging.on_message("told", lambda event: event.reply({"told": event.message.message["n"]}))
        assert ada.messaging.ask(peer, "sum", {"a": 1, "b": 2}).message == {"sum": 3}
        assert ada.messaging.ask(peer, "told", {"n": 5}).message == {"told": 5}
        for _ in range(2):
            with pytest.raises(RequestRefused, match="no handler"):
                ada.messaging.ask(peer, "other", {})
    assert sent == ["sum", "sum", "told", "told", "other", "other"]


def test_a_client_is_asked_by_its_own_participant_too(pair: Pair) -> None:
    """What another client of the process knows itself by, and an id."""
    ask = pair.alice.messaging.ask
    assert ask(pair.bob.local_participant, "sum", {"a": 1, "b": 1}).message == {"sum": 2}
    assert ask(pair.bob.local_participant.id, "sum", {"a": 1, "b": 2}).message == {"sum": 3}


def outcomes_of(
    pair: Pair, room: RoomClient, peer: RemoteParticipant, times: int, timeout: float | None = 10
) -> list[type]:
    """Ask so many times at once, and return a list to which each adds what it gets."""
    outcomes: list[type] = []

    def ask() -> None:
        try:
            outcomes.append(type(room.messaging.ask(peer, "slow", {}, timeout=timeout)))
        except MeshsyncError as error:
            outcomes.append(type(error))

    for _ in range(times):
        pair.sim.spawn(ask)
    return outcomes


def test_a_handler_that_is_removed_leaves_the_questions_refused_that_wait_for_it(pair: Pair) -> None:
    """64 are at work, and go on; 16 of 80 are not."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(1))
    carol = pair.room.join("carol", enable=True)
    outcomes = [outcomes_of(pair, room, room.messaging.wait_for_participant("bob"), 40) for room in (pair.alice, carol)]
    pair.sim.sleep(0.7)
    pair.bob.messaging.off_request("slow")
    pair.sim.sleep(5)
    assert Counter(outcomes[0] + outcomes[1]) == {RoomMessage: 64, RequestRefused: 16}


def test_an_asker_that_is_gone_costs_nothing(pair: Pair) -> None:
    """Its answers wait for it as long as it would have waited; others are answered meanwhile."""
    carol = pair.room.join("carol", enable=True, reconnect=False)
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(2))
    outcomes = outcomes_of(pair, carol, carol.messaging.wait_for_participant("bob"), 30)
    pair.sim.plan(faults.at(pair.sim.now + 1, faults.reset("carol")))
    pair.sim.sleep(2)
    assert outcomes == [ConnectionLost] * 30
    assert pair.ask().message == {"sum": 3}
    pair.sim.sleep(20)
    assert pair.ask().message == {"sum": 3}
    pair.sim.sleep(1)
    assert not pair.bob._meshsync.confirmation._pending


def test_answers_to_an_asker_that_is_gone_do_not_keep_others_waiting(pair: Pair) -> None:
    """Of 200 that would wait for ever 64 are kept for it; the tasks of the others are soon free."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(1))
    carol = pair.room.join("carol", enable=True, reconnect=False)
    outcomes = outcomes_of(pair, carol, carol.messaging.wait_for_participant("bob"), 200, timeout=None)
    pair.sim.plan(faults.at(pair.sim.now + 0.5, faults.reset("carol")))
    pair.sim.sleep(0.7)
    before = pair.sim.now
    assert pair.ask().message == {"sum": 3}
    assert pair.sim.now - before < 5
    assert outcomes == [ConnectionLost] * 200


def test_an_answer_of_another_is_none(pair: Pair) -> None:
    """Neither a marked one with the right number, nor a message that would fit; they are dropped, or messages."""
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(2) or {"by": "bob"})
    eve = pair.room.join("eve", enable=True)
    alice = eve.messaging.wait_for_participant("alice")
    before = pair.alice.stats().answers_dropped
    forged = [Answer(id) for id in range(1, 10)]

    def forge() -> None:
        pair.sim.sleep(1)
        for mark in forged:
            eve._meshsync.confirmation.submit(alice, "slow", {"by": "eve"}, b"", 5, mark=mark)
        eve.messaging.send_message(alice, "reply", {"by": "eve"})

    pair.sim.spawn(forge)
    assert pair.ask("slow", reply_type="reply").message == {"by": "bob"}
    assert pair.alice.stats().answers_dropped == before + len(forged)


def test_both_ends_may_be_restarted_by_the_program(pair: Pair) -> None:
    """A bot that is started again is another participant; its predecessor's questions are not its own."""
    pair.bob.messaging.on_message("never", lambda event: None)
    pair.sim.spawn(lambda: (pair.sim.sleep(1), pair.bob.close())[0])
    pair.fails(RequestInterrupted, "left before it answered", 1.02, lambda: pair.ask("never"))
    again = pair.room.join("bob", enable=True)
    again.messaging.on_request("sum", add)
    pair.peer = pair.alice.messaging.wait_for_participant("bob")
    assert pair.ask().message == {"sum": 3}


def test_a_question_that_waits_for_a_task_is_as_it_came(pair: Pair) -> None:
    """Though a receiver has changed its own body meanwhile."""

    def spoil(event: RoomMessageEvent) -> None:
        body: Any = event.message.message
        body["a"] = 100

    pair.bob.messaging.on_message("sum", spoil)
    pair.bob.messaging.on_request("slow", lambda event: meshsync.sleep(1))
    busy = pair.room.join("busy", enable=True)
    outcomes = outcomes_of(pair, busy, busy.messaging.wait_for_participant("bob"), 64)
    pair.sim.sleep(0.5)
    assert pair.ask().message == {"sum": 3}
    assert outcomes == [RoomMessage] * 64


@pytest.mark.parametrize("seed", range(3))
def test_questions_among_clients_that_are_reset_all_the_time_are_answered_and_handled_once(seed: int) -> None:
    """Three of them, each reset every 3 s on average, on links of 5 to 100 ms, and the server restarted once."""
    handled: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []

    def doubled(event: RoomMessageEvent) -> dict[str, Any]:
        body = event.message.message
        handled[body["from"], body["n"]] += 1
        meshsync.sleep(0.05)
        return {"double": 2 * body["n"]}

    def go(room: RoomClient, name: str) -> None:
        peers = [room.messaging.wait_for_participant(other) for other in names if other != name]
        for n in range(40):
            answer = room.messaging.ask(peers[n % 2], "double", {"from": name, "n": n}, timeout=60)
            if answer.message != {"double": 2 * n}:
                wrong.append(f"{name} {n}: {answer.message}")

    names = ("ada", "ben", "cyd")
    logging.getLogger("meshsync").setLevel(logging.ERROR)
    try:
        with simulated(seed, latency=latency.uniform(0.005, 0.1)) as sim:
            room = sim.room("demo")
            rooms = {name: room.join(name, enable=True) for name in names}
            for client in rooms.values():
                client.messaging.on_request("double", doubled)
            tasks = [sim.spawn(go, client, name) for name, client in rooms.items()]
            sim.plan(*(faults.every(latency.exponential(3), faults.reset(name)) for name in names))
            sim.plan(faults.at(5, faults.restart(down=1)))
            for task in tasks:
                task.join()
            dropped = [client.stats().answers_dropped for client in rooms.values()]
    finally:
        logging.getLogger("meshsync").setLevel(logging.NOTSET)
    assert wrong == []
    assert set(handled.values()) == {1}
    assert len(handled) == 120
    assert dropped == [0, 0, 0]


def test_spellings_that_programs_try_are_answered(pair: Pair) -> None:
    """With the name here; and nothing is to be awaited."""
    messaging: Any = pair.alice.messaging
    for name, text in [("request", "it is ask"), ("on_ask", "it is on_request"), ("reply", "it is event.reply")]:
        with pytest.raises(AttributeError, match=text):
            getattr(messaging, name)
    answer: Any = pair.ask()
    with pytest.raises(AttributeError, match="it is reply of the event"):
        _ = answer.reply
    with pytest.raises(TypeError, match="write 'for' in place of 'async for' over a Answers"):
        messaging.ask_all("sum", {"a": 1, "b": 2}).__aiter__()
