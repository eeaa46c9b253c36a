"""Participants without a thread that are asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from meshsync import MessagingClient, ReceiveTimeout, RemoteParticipant, RequestRefused
from meshsync.errors import UsageError
from simulator import Simulation, faults, participants
from simulator.participants import Message, Participant, Question
from simulator.simulation import SimulatedRoom
from tests.support.worlds import simulated


class Clerk(Participant):
    """Answers in all the ways there are."""

    errors: list[str]

    def on_start(self) -> None:
        """Begin."""
        self.errors = []

    def on_request(self, question: Question) -> None:
        """Answer at once, later, twice, or not; refuse."""
        match question.type:
            case "add":
                question.reply({"sum": question.message["a"] + 1}, question.attachment)
            case "later":
                self.after(2, lambda: question.reply({"at": self.now}, type="done"))
            case "twice":
                question.reply({"n": 1})
                try:
                    question.refuse("too late")
                except UsageError as error:
                    self.errors.append(str(error))
            case "refused":
                question.refuse("closed")


class Old(Participant):
    """Knows nothing of questions, and answers by ordinary messages."""

    def on_message(self, message: Message) -> None:
        """Answer a second later."""
        self.after(1, lambda: self.send(message.sender, "reply", message.message))


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """Return a simulation on links of 10 ms."""
    with simulated(seed=3, latency=0.01) as sim:
        yield sim


def met(room: SimulatedRoom, *others: Participant) -> tuple[MessagingClient, list[RemoteParticipant]]:
    """Return the messaging of a client, and the others as it sees them."""
    messaging = room.join("ada", enable=True).messaging
    room.add(*others)
    return messaging, [messaging.wait_for_participant(other.name) for other in others]


def test_it_answers_at_once_or_later(sim: Simulation) -> None:
    """With the attachment and the type that it chooses; a second answer is an error at the participant."""
    clerk = Clerk("clerk")
    ada, (peer,) = met(sim.room("demo"), clerk)
    answer = ada.ask(peer, "add", {"a": 1}, b"\x01")
    assert (answer.type, answer.message, answer.attachment, answer.sender) == ("add", {"sum": 2}, b"\x01", peer)
    assert ada.ask(peer, "add", {"a": 1}, reply_type="sum").type == "sum"
    before = sim.now
    later = ada.ask(peer, "later", {})
    assert (later.type, round(sim.now - before, 2)) == ("done", 2.04)
    assert ada.ask(peer, "twice", {}).message == {"n": 1}
    assert clerk.errors == ["a question of type 'twice' was answered already"]
    with pytest.raises(RequestRefused, match=r"^closed$"):
        ada.ask(peer, "refused", {})


def test_it_outlives_losses(sim: Simulation) -> None:
    """Of the asker's connection, while the answer is on its way."""
    ada, (peer,) = met(sim.room("demo"), Clerk("clerk"))
    now = sim.now
    sim.plan(faults.at(now + 1, faults.reset("ada")), faults.during(now + 1, now + 4, faults.refuse_connect("ada")))
    assert ada.ask(peer, "later", {}, timeout=60).type == "done"
    assert sim.now - now > 4


def test_many_answers_wait_for_room(sim: Simulation) -> None:
    """More than 64 that are unconfirmed: 100 of them, and large ones."""
    ada, (peer,) = met(sim.room("demo"), Clerk("clerk"))
    got: list[Any] = []
    tasks = [
        sim.spawn(lambda n=n: got.append(ada.ask(peer, "add", {"a": n}, bytes(100_000), timeout=60).message["sum"]))
        for n in range(100)
    ]
    for task in tasks:
        task.join()
        assert task.error is None
    assert sorted(got) == list(range(1, 101))


def test_an_echo_answers_every_question(sim: Simulation) -> None:
    """With the same type, body and attachment, after its delay."""
    ada, (peer,) = met(sim.room("demo"), participants.Echo("echo", delay=1))
    answer = ada.ask(peer, "any", {"n": 1}, b"\x02")
    assert (answer.type, answer.message, answer.attachment) == ("any", {"n": 1}, b"\x02")


def test_one_that_knows_no_questions_refuses_them_unless_a_message_may_answer(sim: Simulation) -> None:
    """At once; and it still gets them as messages."""
    scripted = participants.Scripted("scripted", [])
    ada, (old, other) = met(sim.room("demo"), Old("old"), scripted)
    for peer in (old, other):
        with pytest.raises(RequestRefused, match="has no answer to questions of type 'ask'"):
            ada.ask(peer, "ask", {"n": 1})
    assert [message.type for message in scripted.received] == ["ask"]
    assert ada.ask(old, "ask", {"n": 2}, match=lambda message: message.message["n"] == 2).type == "reply"
    answers = ada.ask_all("ask", {"n": 3}, reply_type="reply", timeout=5)
    assert [(answer.sender and answer.sender.name, answer.message) for answer in answers] == [("old", {"n": 3})]
    assert [type(error) for error in answers.failures.values()] == [ReceiveTimeout]
