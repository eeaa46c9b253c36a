"""A program that asks and answers in any world, and returns what it has observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import meshsync
from meshsync import MeshsyncError, Refuse, RoomClient, RoomMessageEvent

__all__ = ["program"]

Observation = tuple[object, ...]


@dataclass
class Add:
    """A question."""

    numbers: list[int]


@dataclass
class Sum:
    """Its answer."""

    value: int


def program(room_name: str) -> list[Observation]:
    """Have three clients ask each other in all the ways there are."""
    names = ("ada", "ben", "cyd")
    rooms = {name: meshsync.connect(room_name, name=name) for name in names}
    ada, ben, cyd = rooms.values()
    for room in (ben, cyd):
        _answer(room)
    for room in rooms.values():
        room.messaging.enable()
    to_ben = ada.messaging.wait_for_participant(name="ben", timeout=10)
    to_cyd = ada.messaging.wait_for_participant(name="cyd", timeout=10)
    ben.messaging.wait_for_participant(name="cyd", timeout=10)
    ask, seen = ada.messaging.ask, list[Observation]()

    def note(call: Callable[[], Any]) -> None:
        try:
            result = call()
        except MeshsyncError as error:
            seen.append((type(error).__name__, str(error).partition(": its log")[0], error.retryable))
        else:
            seen.append((result.type, result.message, len(result.attachment)))

    note(lambda: ask(to_ben, "sum", {"numbers": [1, 2]}))
    note(lambda: ask(to_ben, "size", {}, bytes(70_000)))
    note(lambda: ask(to_ben, "size", {}, reply_type="measure"))
    note(lambda: ask(to_ben, "sum", {"numbers": []}))
    note(lambda: ask(to_ben, "sum", {"numbers": ["a", 1]}))
    note(lambda: ask(to_ben, "product", {}))
    note(lambda: ask(to_ben, "never", {}, timeout=0.3))
    note(lambda: ask(to_ben, "told", {}))
    note(lambda: ask(to_ben, "forward", {"numbers": [4, 5], "to": "cyd"}))
    note(lambda: ask(to_ben, "told", {}, match=lambda message: message.type == "nothing"))
    note(lambda: ask(to_ben, Add([1, 2, 3])))
    seen.append(("typed", ask(to_ben, Add([7]), reply_type=Sum)))
    note(lambda: ask(to_ben, "Add", {"numbers": "many"}))
    answers = ada.messaging.ask_all("sum", {"numbers": [1]}, timeout=10)
    seen.append(("all", sorted((answer.sender.name, answer.message["sum"]) for answer in answers if answer.sender)))
    cyd.close()
    while to_cyd.online:
        meshsync.sleep(0.01)
    note(lambda: ask(to_cyd, "sum", {"numbers": [1]}, timeout=0.3))
    ben.close()
    ada.close()
    return seen


def _answer(room: RoomClient) -> None:
    messaging = room.messaging

    @messaging.on_request("sum")
    def add(event: RoomMessageEvent) -> dict[str, Any]:
        numbers = event.message.message["numbers"]
        if not numbers:
            raise Refuse("nothing to add")
        return {"sum": sum(numbers)}

    @messaging.on_request("size")
    def measure(event: RoomMessageEvent) -> tuple[dict[str, Any], bytes]:
        return {"size": len(event.message.attachment)}, event.message.attachment

    @messaging.on_request("forward")
    def forward(event: RoomMessageEvent) -> dict[str, Any]:
        body = event.message.message
        peer = messaging.wait_for_participant(name=body["to"], timeout=10)
        return dict(messaging.ask(peer, "sum", {"numbers": body["numbers"]}, timeout=10).message)

    @messaging.on_request(Add)
    def add_typed(event: RoomMessageEvent[Add]) -> Sum:
        return Sum(sum(event.message.message.numbers))

    messaging.on_message("never", lambda event: None)
    messaging.on_message("told", lambda event: event.reply({"told": True}, type="telling"))
