"""A program that lives in any world: it knows nothing of simulations, and returns what it has observed.

It takes what makes a token for a name, since that differs, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessageStreamChunk, RoomMessageEvent
from meshsync.streams.interfaces import StreamReader

Observation = tuple[object, ...]


def program(room_name: str) -> list[Observation]:
    """Hold a conversation of four in a room, lose one of them, and return what each saw, in a certain order."""
    names = ("ada", "ben", "cyd")
    # What receivers hear comes apart: they run beside the program.
    listeners = [*(f"{name} hears" for name in names), "ben serves", "guest"]
    seen: dict[str, list[Observation]] = {name: [] for name in (*names, *listeners)}
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
    seen["ada"].append(("waited", meshsync.monotonic() - begun > 0.19))
    meshsync.sleep(0.05)

    # Streams: rejected, both ways, given up by either side.
    was_here = ada.messaging.wait_for_participant(name="cyd", timeout=10)
    served = seen["ben serves"]
    ben.messaging.enable(lambda reader: _serve(reader, served))
    seen["ada"].append(_said(lambda: ada.messaging.create_stream(was_here, {})))
    seen["ada"].append(_said(lambda: ada.messaging.create_stream(to_ben, {"want": "nothing"})))
    with ada.messaging.create_stream(to_ben, {"want": "capitals"}) as writer:
        for number, data in enumerate([b"one", b"", b"three" * 20_000]):
            writer.write(MessageStreamChunk({"number": number}, data))
        for _ in range(3):
            chunk = writer.reader.read(10)
            seen["ada"].append(("chunk", chunk and (chunk.header, len(chunk.data), chunk.data[:5])))
    _until(lambda: len(served) == 2)
    writer = ada.messaging.create_stream(to_ben, {"want": "little"})
    seen["ada"].append(_said(lambda: _write_for_ever(writer)))
    _until(lambda: len(served) == 3)
    writer = ada.messaging.create_stream(to_ben, {"want": "all"})
    writer.write(b"so far")
    writer.abort("changed my mind")
    _until(lambda: len(served) == 4)

    # Losing a peer, which reads one stream and writes another.
    with cyd.messaging.streams() as offers:
        task = meshsync.spawn(lambda: offers.get(10).read(10))
        to_cyd = ada.messaging.create_stream(was_here, {"want": "all"})
    to_cyd.write(b"for cyd")
    from_cyd = cyd.messaging.create_stream(cyd.messaging.wait_for_participant(name="ben", timeout=10), {"want": "all"})
    from_cyd.write(b"from cyd")
    from_cyd.flush()
    seen["cyd"].append(("has read", task.join(10)))
    cyd.close()
    _until(lambda: not was_here.online and ben.messaging.get_participant_by_name("cyd") is None)
    _until(lambda: len(served) == 5)
    seen["ada"].append(_said(lambda: _write_for_ever(to_cyd)))
    seen["cyd"].append(_error(lambda: from_cyd.write(b"too late")))
    seen["ada"].append(_error(lambda: ada.messaging.send_message(was_here, "chat", {})))
    seen["cyd"].append(_error(lambda: cyd.messaging.broadcast_message("chat", {})))

    # A task of its own, that comes, sees and goes.
    task = meshsync.spawn(_guest, room_name, seen["guest"])
    seen["ada"].append(("the guest has gone", task.join(10)))
    for room in (ada, ben):
        room.close()
        seen[room.local_participant.name].append(("closed", room.wait_closed(10), room.is_connected))
    return [(name, *observation) for name, observations in seen.items() for observation in observations]


def _serve(reader: StreamReader, noted: list[Observation]) -> None:
    """Do what the header of a stream asks for, and note what came of it."""
    match reader.header["want"]:
        case "nothing":
            noted.append(("rejects", reader.sender.name))
            raise meshsync.StreamRejected("not today")
        case "capitals":
            chunks = []
            for chunk in reader:
                chunks.append((chunk.header, len(chunk.data)))
                reader.writer.write(MessageStreamChunk(chunk.header, bytes(chunk.data).upper()))
            noted.append(("chunks", reader.sender.name, chunks))
        case "little":
            chunk = reader.read(10)
            reader.close("enough")
            noted.append(("has read", chunk and chunk.data))
        case "all":
            chunk = reader.read(10)
            noted.append(("has read", chunk and chunk.data, _said(lambda: reader.read(10))))


def _write_for_ever(writer: meshsync.MessageStreamWriter) -> None:
    while True:
        writer.write(b"more")
        meshsync.sleep(0.01)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = meshsync.monotonic() + 20
    while not is_so():
        assert meshsync.monotonic() < deadline
        meshsync.sleep(0.01)


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

    def turned(event: RoomMessageEvent) -> None:
        who = event.participant.name if event.participant is not None else None
        body = event.message.message
        noted.append((event.name, who, {key: value for key, value in body.items() if key != "stream_id"}))

    room.messaging.on("message", came)
    room.messaging.on("participant_attributes_updated", lambda event: noted.append((event.name, event.message.message)))
    room.messaging.on("participant_removed", went)
    for name in ("stream_opened", "stream_closed"):
        room.messaging.on(name, turned)


def _answer(room: meshsync.RoomClient, event: RoomMessageEvent) -> None:
    if event.participant is not None:
        size = len(event.message.attachment)
        room.messaging.send_message(event.participant, "answer", {"size": size}, event.message.attachment[::-1])


def _said(action: Callable[[], object]) -> Observation:
    """Return which error it was and, since none of these names an id, in which words."""
    try:
        action()
    except meshsync.MeshsyncError as error:
        return ("error", type(error).__name__, str(error), error.retryable, error.connection_alive)
    return ("no error",)


def _error(action: Callable[[], object]) -> Observation:
    try:
        action()
    except meshsync.MeshsyncError as error:
        return ("error", type(error).__name__, getattr(error, "code", None), error.retryable, error.connection_alive)
    return ("no error",)
