"""Right lines and wrong ones: type checkers are to report each line that is marked as wrong, and no other.

It is never run. ``python -m tools.wrong_lines`` compares what a type checker says of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import BaseModel
from typing_extensions import TypedDict, assert_type

import meshsync
from meshsync import Answers, Refuse, Registration, RoomMessage, RoomMessageEvent, Subscription


@dataclass
class Add:
    """A dataclass."""

    a: int


@dataclass(frozen=True)
class Sum:
    """A frozen one."""

    value: int


class Order(BaseModel):
    """A pydantic model."""

    item: str


class Move(msgspec.Struct):
    """A msgspec struct."""

    to: str


class Entry(TypedDict):
    """A TypedDict."""

    n: int


room = meshsync.connect("demo", name="ada")
messaging = room.messaging
bob = messaging.wait_for_participant(name="bob")


def plain(event: RoomMessageEvent) -> None:
    """A receiver of plain messages."""
    assert_type(event.message.message["n"], Any)


def of_add(event: RoomMessageEvent[Add]) -> Sum:
    """A receiver of a model's objects."""
    return Sum(event.message.message.a)


def no_receiver() -> None:
    """A function that takes no event."""


def is_right(message: RoomMessage) -> bool:
    """Tell whether a message is the answer."""
    return bool(message.message.get("ok"))


# --- sending ----------------------------------------------------------------------------------------------------------

messaging.send_message(bob, "chat", {"text": "hi"})
messaging.send_message(to=bob, type="chat", message={"text": "hi"}, attachment=b"\x01", timeout=5)
messaging.send_message({"to": bob, "type": "chat", "message": {}}, confirm=True)
messaging.send_message(bob.id, Add(1))
messaging.send_message(bob, Order(item="tea"), attachment=b"\x01", if_offline="raise")
messaging.send_message(bob, message=Move("here"), timeout=None)
messaging.send_message(bob, "other", Add(1))
messaging.send_message(bob, Entry, {"n": 1})
messaging.send_message(bob, Add, {"a": 1})
messaging.send_message_nowait(bob, Add(1), confirm=True).wait(5)
messaging.broadcast_message("chat", {})
messaging.broadcast_message(Add(1))
messaging.broadcast_message(message=Order(item="tea"))
messaging.broadcast_message_nowait("chat", Move("here")).wait()

messaging.send_message(bob, "chat")  # wrong
messaging.send_message(bob, "chat", "hi")  # wrong
messaging.send_message(bob, "chat", ["hi"])  # wrong
messaging.send_message(room, "chat", {})  # wrong
messaging.send_message(bob, "chat", {}, "bytes")  # wrong
messaging.send_message(bob, "chat", {}, timeout="5")  # wrong
messaging.send_message(bob, "chat", {}, confirmed=True)  # wrong
messaging.send_message(bob, "chat", {}, if_offline="drop")  # wrong
messaging.send_message(bob, 5, {})  # wrong
messaging.send_message(bob, Add(1), {"a": 1})  # wrong
messaging.send_message(bob, Add)  # wrong
messaging.broadcast_message("chat")  # wrong
messaging.broadcast_message("chat", {}, confirm=True)  # wrong
messaging.broadcast_message(5)  # wrong
messaging.send_message_nowait(bob, "chat", {}).wait("soon")  # wrong

# --- receiving --------------------------------------------------------------------------------------------------------

assert_type(messaging.on("message", plain), Registration)
messaging.on("participant_added", lambda event: print(event.participant))
messaging.on_message("chat", plain)
messaging.on_message(Add, of_add)
messaging.on_message(Add, of_add, type="other")
messaging.on_message(Entry, lambda event: print(event.message.message["n"]))
messaging.off("disconnected")
assert_type(messaging.messages("chat", bob), Subscription)
assert_type(messaging.messages(type="chat", sender=bob, timeout=5).get(), RoomMessage)
assert_type(messaging.messages(Order), Subscription[Order])
assert_type(messaging.messages(Order, bob, type="other", overflow="drop_oldest").get(5).message, Order)
assert_type(messaging.wait_for_message("chat"), RoomMessage)
assert_type(messaging.wait_for_message(Move, timeout=5).message.to, str)


@messaging.on("disconnected")
@messaging.on_message("chat")
def decorated(event: RoomMessageEvent) -> None:
    """Both decorators return the function as it is."""


@messaging.on_message(Add)
def decorated_add(event: RoomMessageEvent[Add]) -> None:
    """It gets the model's objects."""
    assert_type(event.message.message.a, int)


messaging.on("mesage", plain)  # wrong
messaging.on("participant_joined", plain)  # wrong
messaging.off("disconnect")  # wrong
messaging.on("message", no_receiver)  # wrong
messaging.on_message("chat", no_receiver)  # wrong
messaging.on_message("chat", of_add)  # wrong
messaging.on_message(Add, plain)  # wrong
messaging.on_message(Sum, of_add)  # wrong
messaging.on_message(5, plain)  # wrong
messaging.messages(5)  # wrong
messaging.messages("chat", overflow="drop")  # wrong
messaging.messages("chat", maxsize="all")  # wrong
print(messaging.messages(Order).get().message.name)  # wrong
print(messaging.wait_for_message("chat").text)  # wrong
messaging.wait_for_participant(5)  # wrong

# --- asking -----------------------------------------------------------------------------------------------------------

assert_type(messaging.ask(bob, "sum", {"a": 1}), RoomMessage)
assert_type(messaging.ask(bob, "sum", {"a": 1}, b"\x01", timeout=5, reply_type="total", match=is_right), RoomMessage)
assert_type(messaging.ask(bob, Add(1)), RoomMessage)
assert_type(messaging.ask(bob, Add(1), reply_type=Sum), Sum)
assert_type(messaging.ask(bob, "add", {"a": 1}, reply_type=Sum).value, int)
assert_type(messaging.ask_all(Add(1), reply_type=Sum, n=2), Answers[Sum])
for answer in messaging.ask_all("sum", {}, timeout=5):
    assert_type(answer, RoomMessage)
messaging.on_request("sum", lambda event: {"sum": event.message.message["a"]})
messaging.on_request("sum", lambda event: ({"sum": 1}, b"\x01"), reply_type="total")
messaging.on_request(Add, of_add)
messaging.on_request(Add, of_add, type="add", reply_type=Sum)
messaging.off_request(Add)


@messaging.on_request("typed")
def answer_plain(event: RoomMessageEvent) -> dict[str, Any]:
    """It may refuse."""
    raise Refuse("no")


@messaging.on_request(Add)
def answer_add(event: RoomMessageEvent[Add]) -> Sum:
    """It may answer by itself."""
    event.reply(Sum(event.message.message.a)).wait(5)
    return Sum(1)


messaging.ask(bob, "sum")  # wrong
messaging.ask(bob, "sum", {}, 5)  # wrong
messaging.ask(bob, "sum", {}, timeout="5")  # wrong
messaging.ask(bob, "sum", {}, match="reply")  # wrong
messaging.ask(bob, "sum", {}, reply_type=5)  # wrong
messaging.ask(room, "sum", {})  # wrong
print(messaging.ask(bob, Add(1), reply_type=Sum).message)  # wrong
print(messaging.ask(bob, Add(1)).value)  # wrong
messaging.ask_all(bob, "sum", {})  # wrong
messaging.ask_all("sum", {}, n="all")  # wrong
messaging.on_request("sum", lambda event: 5)  # wrong
messaging.on_request("sum", lambda event: "text")  # wrong
messaging.on_request("sum", no_receiver)  # wrong
messaging.on_request(Sum, of_add)  # wrong
messaging.off_request()  # wrong


def replying(event: RoomMessageEvent) -> None:
    """Reply in ways that are wrong."""
    event.reply("yes")  # wrong
    event.reply({}, "bytes")  # wrong
    event.reply({}, type=5)  # wrong
