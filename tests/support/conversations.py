"""Conversations to be recorded and said again: a program with several rounds, threads and streams."""

from __future__ import annotations

import meshsync
from meshsync import MessageStreamChunk, RoomClient

__all__ = ["ROOM", "hold"]

ROOM = "lab"


def hold(rounds: int = 3) -> None:
    """Let four participants talk, each in a task of its own, and return when they are done.

    Nothing depends on which of them is faster: each waits for what it needs.
    """
    tasks = [meshsync.spawn(_answer, rounds), meshsync.spawn(_listen, rounds)]
    tasks += [meshsync.spawn(_ask, name, rounds) for name in ("ada", "ben")]
    for task in tasks:
        assert task.join(30)
        if task.error is not None:
            raise task.error


def _join(name: str, role: str = "user") -> RoomClient:
    room = meshsync.connect(ROOM, name=name, role=role)
    room.local_participant.set_attribute("team", {"of": name})
    return room


def _together(room: RoomClient) -> None:
    """Wait until all are there."""
    for name in {"ada", "ben", "bot", "sink"} - {room.local_participant.name}:
        room.messaging.wait_for_participant(name=name, timeout=20)


def _ask(name: str, rounds: int) -> None:
    with _join(name) as room, room.messaging.messages("end") as ends:
        room.messaging.enable()
        _together(room)
        bot = room.messaging.wait_for_participant(name="bot", timeout=20)
        sink = room.messaging.wait_for_participant(name="sink", timeout=20)
        with room.messaging.messages("answer") as answers:
            for number in range(rounds):
                body = {"number": number, "from": room.local_participant.id, "text": "é\n𝄞"}
                room.messaging.send_message(bot, "ask", body, bytes([number]) * 2000)
                assert answers.get(20).message == {"number": number, "for": [room.local_participant.id]}
        with room.messaging.create_stream(sink, {"of": name}) as writer:
            for number in range(rounds):
                writer.write(MessageStreamChunk({"number": number}, bytes([number]) * 100))
        try:
            room.messaging.create_stream(bot, {})
        except meshsync.StreamRejected:
            room.messaging.send_message(bot, "bye", {})
        try:
            room.messaging.send_message("an-id-that-nobody-has", "chat", {"to": "nobody"})
        except meshsync.ParticipantNotFound:
            room.local_participant.set_attribute("state", "done")
        ends.get(20)


def _answer(rounds: int) -> None:
    with _join("bot", "agent") as room, room.messaging.messages() as messages:
        room.messaging.enable()
        _together(room)
        byes = 0
        while byes < 2:
            event = messages.get(20)
            if event.type == "bye":
                byes += 1
                continue
            assert event.sender is not None
            body = {"number": event.message["number"], "for": [event.sender.id]}
            room.messaging.send_message(event.from_participant_id, "answer", body)
        room.messaging.broadcast_message("end", {"rounds": rounds}, b"the end")


def _listen(rounds: int) -> None:
    with _join("sink") as room, room.messaging.streams() as offers, room.messaging.messages("end") as ends:
        room.messaging.enable()
        for _ in range(2):
            assert len(list(offers.get(20))) == rounds
        ends.get(20)
