"""A program that lives in any world: it knows nothing of simulations, and returns what it has observed.

It takes what makes a token for a name, since that differs, and nothing else.
"""

from __future__ import annotations

import meshsync
from meshsync import RoomMessageEvent

Observation = tuple[object, ...]


def program(room_name: str) -> list[Observation]:
    """Hold a conversation of four in a room, lose one of them, and return what each saw, in a certain order."""
    names = ("ada", "ben", "cyd")
    # What receivers hear comes apart: they run beside the program.
    seen: dict[str, list[Observation]] = {name: [] for name in (*names, *(f"{name} hears" for name in names), "guest")}
    rooms = {name: meshsync.connect(room_name, name=name, role="user") for name in names}
    for name, room in rooms.items():
        _watch(room, seen[f"{name} hears"])
    ada, ben, cyd = rooms.values()

    # One after the other, so that the order of what each one sees follows from the program alone.
    for room in rooms.values():
        room.local_participant.set_attribute("team", "red")
        room.messaging.enable()
    for room in rooms.values():
        room.messaging.wait_for_participant(name="cyd" if room is not cyd else "ada", timeout=10)

    # A direct message and its answer, from a receiver.
    ben.messaging.on_message("ask", lambda event: _answer(ben, event))
    to_ben = ada.messaging.wait_for_participant(name="ben", timeout=10)
    with ada.messaging.messages("answer", sender=to_ben) as answers:
        ada.messaging.send_message(to_ben, "ask", {"text": "how long is this?"}, b"\x00\x01\x02")
        answer = answers.get(10)
    seen["ada"].append(("answer", answer.message, answer.attachment))

    # A broadcast with an attachment of many packets.
    with ben.messaging.messages("news") as bens, cyd.messaging.messages("news") as cyds:
        ada.messaging.broadcast_message("news", {"headline": "ünïcode ✓", "items": [1, 2.5, None, True]}, bytes(70_000))
        seen["ben"].append(("news", len(bens.get(10).attachment)))
        seen["cyd"].append(("news", len(cyds.get(10).attachment)))

    # Attributes, seen by the others when they change.
    cyd.local_participant.set_attribute("mood", {"now": "calm", "was": ["angry"]})
    for room in (ada, ben):
        room.messaging.wait_for_participant(where=lambda one: one.get_attribute("mood") is not None, timeout=10)

    # What cannot work, and waiting for what does not come.
    seen["ada"].append(_error(lambda: ada.messaging.send_message("nobody-with-this-id", "chat", {})))
    seen["ada"].append(_error(lambda: ada.messaging.send_message(to_ben, "chat", {"set": {1}})))
    begun = meshsync.monotonic()
    seen["ada"].append(_error(lambda: ada.messaging.wait_for_message("never", timeout=0.2)))
    seen["ada"].append(("waited", 0.2 <= meshsync.monotonic() - begun < 5))
    meshsync.sleep(0.05)

    # Losing a peer.
    was_here = ada.messaging.wait_for_participant(name="cyd", timeout=10)
    cyd.close()
    while was_here.online or ben.messaging.get_participant_by_name("cyd") is not None:
        meshsync.sleep(0.01)
    seen["ada"].append(_error(lambda: ada.messaging.send_message(was_here, "chat", {})))
    seen["cyd"].append(_error(lambda: cyd.messaging.broadcast_message("chat", {})))

    # A task of its own, that comes, sees and goes.
    task = meshsync.spawn(_guest, room_name, seen["guest"])
    seen["ada"].append(("the guest has gone", task.join(10)))
    for room in (ada, ben):
        room.close()
        seen[room.local_participant.name].append(("closed", room.wait_closed(10), room.is_connected))
    return [(name, *observation) for name, observations in seen.items() for observation in observations]


def _guest(room_name: str, noted: list[Observation]) -> None:
    with meshsync.connect(room_name, name="guest", role="agent") as room:
        room.messaging.enable()
        names = sorted(str(one.name) for one in room.messaging.remote_participants)
        noted.append(("the guest sees", names, room.room_name, room.local_participant.role))


def _watch(room: meshsync.RoomClient, noted: list[Observation]) -> None:
    """Note messages and removals. Who was there already and who came differs by a hair's breadth, and is not noted."""

    def came(event: RoomMessageEvent) -> None:
        who = event.participant.name if event.participant is not None else None
        noted.append((event.name, who, event.message.type, event.message.message, len(event.message.attachment)))

    def went(event: RoomMessageEvent) -> None:
        who = event.participant.name if event.participant is not None else None
        if who == "cyd":
            noted.append((event.name, who))

    room.messaging.on("message", came)
    room.messaging.on("participant_attributes_updated", lambda event: noted.append((event.name, event.message.message)))
    room.messaging.on("participant_removed", went)


def _answer(room: meshsync.RoomClient, event: RoomMessageEvent) -> None:
    if event.participant is not None:
        size = len(event.message.attachment)
        room.messaging.send_message(event.participant, "answer", {"size": size}, event.message.attachment[::-1])


def _error(action: object) -> Observation:
    try:
        action()  # type: ignore[operator]
    except meshsync.MeshsyncError as error:
        return ("error", type(error).__name__, getattr(error, "code", None), error.retryable, error.connection_alive)
    return ("no error",)
