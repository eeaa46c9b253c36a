"""Models as messages between whole clients: sent, received, asked and answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import typing_extensions

from meshsync import InvalidMessage, ReceiveTimeout, RequestFailed, RequestRefused, RoomMessageEvent
from simulator import participants
from tests.simulation.test_asking import Pair
from tests.support.worlds import simulated


@dataclass
class Add:
    """A question."""

    a: int
    b: int


@dataclass(frozen=True)
class Sum:
    """Its answer."""

    value: int


class Point(msgspec.Struct):
    """A struct."""

    x: int


class Entry(typing_extensions.TypedDict):
    """A TypedDict."""

    n: int


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return Alice and Bob, on links of 10 ms."""
    with simulated(seed=5, latency=0.01) as sim:
        yield Pair(sim)


def test_objects_are_sent_in_every_form(pair: Pair) -> None:
    """By each call that sends, of the model's type or of the one that is given; the attachment stays beside them."""
    messaging, bob = pair.alice.messaging, pair.peer
    with pair.bob.messaging.messages() as came:
        messaging.send_message(bob, Sum(1), attachment=b"\x01")
        messaging.send_message(bob, message=Sum(2))
        messaging.send_message(bob, "total", Sum(3))
        messaging.send_message(bob, Sum, {"value": 4})
        messaging.send_message({"to": bob, "type": "total", "message": Sum(5)})
        messaging.send_message(bob, Sum(6), confirm=True)
        messaging.send_message_nowait(bob, Sum(7)).wait()
        messaging.broadcast_message(Sum(8))
        messaging.broadcast_message(message=Sum(9))
        messaging.broadcast_message_nowait("total", Point(10)).wait()
        messaging.broadcast_message(Entry, {"n": 11})
        pair.sim.sleep(1)
        got = [came.get(0) for _ in range(came.pending)]
    assert sorted((message.type, *message.message.values()) for message in got) == sorted(
        [("Sum", n) for n in (1, 2, 4, 6, 7, 8, 9)] + [("total", n) for n in (3, 5, 10)] + [("Entry", 11)]
    )
    assert got[0].attachment == b"\x01"


def test_a_wrong_object_is_not_sent(pair: Pair) -> None:
    """It is named with the place, before anything is on its way."""
    before = pair.alice.stats().packets_sent
    wrong: Any = "many"
    for send in (
        lambda: pair.alice.messaging.send_message(pair.peer, Sum(wrong)),
        lambda: pair.alice.messaging.broadcast_message(Sum(wrong)),
        lambda: pair.alice.messaging.ask(pair.peer, Sum(wrong)),
    ):
        with pytest.raises(InvalidMessage, match=r"test_typed_messages\.Sum: message\['value'\]: Input should"):
            send()
    assert pair.alice.stats().packets_sent == before


def test_receivers_and_subscriptions_get_objects(pair: Pair) -> None:
    """Each its own, of the model's type alone or of another one that is given."""
    got: list[Any] = []
    messaging = pair.bob.messaging

    @messaging.on_message(Sum)
    def one(event: RoomMessageEvent[Sum]) -> None:
        got.append(event.message.message)

    messaging.on_message(Sum, lambda event: got.append(event.message.message.value), type="total")
    messaging.on_message("Sum", lambda event: got.append(event.message.message))
    with messaging.messages(Sum) as typed, messaging.messages(Point, pair.bob.messaging.remote_participants[0]) as none:
        pair.alice.messaging.send_message(pair.peer, Sum(1), attachment=b"\x02")
        pair.alice.messaging.send_message(pair.peer, "total", Sum(2))
        message = typed.get(1)
        pair.sim.sleep(1)
        assert (message.message, message.attachment, message.sender and message.sender.name) == (
            Sum(1),
            b"\x02",
            "alice",
        )
        assert (typed.pending, none.pending) == (0, 0)
    assert got == [Sum(1), {"value": 1}, 2]
    task = pair.sim.spawn(lambda: got.append(messaging.wait_for_message(Entry, timeout=5).message))
    pair.sim.sleep(0.1)
    pair.alice.messaging.send_message(pair.peer, Entry, {"n": 3})
    task.join()
    assert got[-1] == {"n": 3}


def test_a_wrong_body_is_reported_and_stops_nothing(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The receiver is not called, the subscription goes on; the log and ``receiver_failed`` have the place."""
    messaging, got = pair.bob.messaging, list[Any]()
    failures: list[RoomMessageEvent] = []
    messaging.on("receiver_failed", failures.append)

    def one(event: RoomMessageEvent[Sum]) -> None:
        got.append(event.message.message)

    messaging.on_message(Sum, one)
    with messaging.messages(Sum) as typed, caplog.at_level(logging.WARNING, "meshsync"):
        pair.alice.messaging.send_message(pair.peer, "Sum", {"value": "many"})
        with pytest.raises(ReceiveTimeout, match=r"one that came was left out: .*Sum: message\['value'\]"):
            typed.get(1)
        pair.alice.messaging.send_message(pair.peer, Sum(2))
        assert typed.get(1).message == Sum(2)
        pair.sim.sleep(1)
    assert got == [Sum(2)]
    assert [type(event.error) for event in failures] == [InvalidMessage] * 2
    assert [event.message.message["receiver"] for event in failures] == [
        f"{__name__}.{one.__qualname__}",
        "a subscription",
    ]
    text = "does not get a message of type 'Sum' of 'alice'"
    assert [record.levelname for record in caplog.records if text in record.getMessage()] == ["WARNING"] * 2


def test_questions_and_answers_are_objects(pair: Pair) -> None:
    """The asker gets the answer's object; a handler gets the question's, and may return either."""
    pair.sim.failing_receivers = "log"
    messaging = pair.bob.messaging

    @messaging.on_request(Add)
    def add(event: RoomMessageEvent[Add]) -> Sum:
        return Sum(event.message.message.a + event.message.message.b)

    messaging.on_request("plain", lambda event: {"value": 5})
    messaging.on_request(Point, lambda event: (Sum(event.message.message.x), b"\x03"))
    messaging.on_request("checked", lambda event: {"value": "many"}, reply_type=Sum)
    messaging.on_message("told", lambda event: event.reply(Sum(8)))
    ask = pair.alice.messaging.ask
    assert ask(pair.peer, Add(1, 2), reply_type=Sum) == Sum(3)
    answer = ask(pair.peer, Add(1, 2))
    assert (answer.type, answer.message) == ("Sum", {"value": 3})
    assert ask(pair.peer, "plain", {}, reply_type=Sum) == Sum(5)
    assert ask(pair.peer, Point(4)).attachment == b"\x03"
    assert ask(pair.peer, "told", {}).type == "Sum"
    assert list(pair.alice.messaging.ask_all(Add(2, 2), reply_type=Sum)) == [Sum(4)]
    pair.fails(RequestFailed, "'bob' failed", 0.04, lambda: ask(pair.peer, "checked", {}))


def test_wrong_questions_and_answers_are_told_with_the_place(pair: Pair) -> None:
    """To the asker: its question is refused, or its answer is no such object."""
    failures: list[BaseException | None] = []
    messaging = pair.bob.messaging
    messaging.on("receiver_failed", lambda event: failures.append(event.error))
    messaging.on_request(Add, lambda event: Sum(0))
    messaging.on_message(Point, lambda event: event.reply(Sum(0)))
    ask = pair.alice.messaging.ask
    ask(pair.peer, Add(0, 0))
    text = r"test_typed_messages\.Add: message\['b'\]: Field required"
    pair.fails(RequestRefused, text, 0.04, lambda: ask(pair.peer, "Add", {"a": 1}))
    pair.fails(RequestRefused, r"Point: message: .*`x`|Point: message", 0.04, lambda: ask(pair.peer, "Point", {}))
    messaging.on_request("Wrong", lambda event: {"value": "many"})
    text = r"the answer of 'bob', of type 'Sum': .*Sum: message\['value'\]"
    pair.fails(InvalidMessage, text, 0.04, lambda: ask(pair.peer, "Wrong", {}, reply_type=Sum))
    assert [type(error) for error in failures] == [InvalidMessage] * 2
    answers = pair.alice.messaging.ask_all("Wrong", {}, reply_type=Sum)
    assert list(answers) == []
    assert [type(error) for error in answers.failures.values()] == [InvalidMessage]


def test_others_answer_with_objects_too(pair: Pair) -> None:
    """By an ordinary message of the model's type."""
    echo = participants.Echo("echo")
    echo.confirms = False
    pair.room.add(echo)
    peer = pair.alice.messaging.wait_for_participant("echo")
    assert pair.alice.messaging.ask(peer, "Sum", {"value": 3}, reply_type=Sum) == Sum(3)


def test_what_is_no_model_is_named(pair: Pair) -> None:
    """A class without its decorator, and an object of it."""

    class Forgotten:
        pass

    messaging: Any = pair.alice.messaging
    for call in (messaging.on_message, messaging.messages, messaging.on_request, messaging.wait_for_message):
        with pytest.raises(TypeError, match="Forgotten is no model, which is a dataclass"):
            call(Forgotten)
    with pytest.raises(TypeError, match="Forgotten is no model"):
        messaging.ask(pair.peer, "x", {}, reply_type=Forgotten)
    for send in (messaging.send_message, messaging.ask):
        with pytest.raises(InvalidMessage, match="nor an object of a dataclass"):
            send(pair.peer, Forgotten())
    with pytest.raises(InvalidMessage, match="nor an object of a dataclass"):
        messaging.broadcast_message(Forgotten())
