"""Programs that talk to each other whatever happens, and write down what they did: in a simulation and on real sockets.

Each has one connection at a time, and comes back when it is lost. After a while they fall silent and only stay
connected, so that what was under way can arrive; then they are stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk, RoomClient, RoomMessageEvent
from tests.support.ledger import Ledger, Note, StreamNote

__all__ = ["HABITS", "Agent", "Habits", "numbers"]

STEP = 0.5
"""Seconds between two actions, on average."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How programs go about it."""

    reconnects: bool = False
    """Whether a client comes back by itself after a loss; else the program connects anew."""
    confirms: bool = False
    """Whether some messages have to be confirmed by the recipient's client."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of connecting."""


HABITS = Habits()
"""What clients can do without being asked to."""


class Agent:
    """One program.

    Args:
        connect: Connects a client: called with the name and options of ``meshsync.connect``.
        numbers: Of messages and streams, unlike those of all other programs.
        silent_from: When it stops talking, on the clock of `meshsync.monotonic`.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        connect: Callable[..., RoomClient],
        numbers: Iterator[int],
        chance: Random,
        silent_from: float,
        habits: Habits = HABITS,
    ) -> None:
        self.name = name
        self.client: RoomClient | None = None
        """Its connection while messaging is enabled."""
        self.connections = 0
        """How many it has had."""
        self.is_stopped = False
        self._ledger = ledger
        self._connect = connect
        self._numbers = numbers
        self._chance = chance
        self._silent_from = silent_from
        self._habits = habits
        self._tasks: list[Any] = []
        self._deliveries: list[tuple[Note, meshsync.Delivery]] = []

    def run(self) -> None:
        """Take part until it is stopped."""
        options = {**self._habits.options, "reconnect": self._habits.reconnects}
        while not self.is_stopped:
            try:
                client = self._connect(self.name, **options)
            except MeshsyncError:
                meshsync.sleep(0.2 + self._chance.random())
                continue
            self.connections += 1
            self._live(client)
        for task in self._tasks:
            task.join(100)

    def _live(self, client: RoomClient) -> None:
        id = client.local_participant.id
        self._ledger.names[id] = self.name
        why = "it left"
        try:
            self._listen(client, id)
            self._enable(client, id)
            while not self.is_stopped and (client.is_connected or self._habits.reconnects):
                if meshsync.monotonic() < self._silent_from:
                    self._act(client, id)
                meshsync.sleep(2 * STEP * self._chance.random() + 0.001)
        except MeshsyncError as error:
            why = repr(error)
        finally:
            self.client = None
            if not self.is_stopped:
                self._ledger.left[id] = why
            client.close()
            self._ledger.dropped[id] = client.stats().events_dropped
            self._settle()

    def _listen(self, client: RoomClient, id: str) -> None:
        received, told = self._ledger.received[id], self._ledger.told

        def note(event: RoomMessageEvent) -> None:
            received.append((event.message.from_participant_id, event.message.message["number"]))

        def see_off(event: RoomMessageEvent) -> None:
            told.add((id, event.message.message["id"]))

        client.messaging.on_message("note", note)
        client.messaging.on("participant_removed", see_off)

    def _enable(self, client: RoomClient, id: str) -> None:
        while True:
            try:
                client.messaging.enable(self._accept)
            except MeshsyncError:
                if not client.is_connected:
                    raise
                meshsync.sleep(1)
            else:
                self.client = client
                return

    def _settle(self) -> None:
        """Write down what became of the messages of a connection that has ended."""
        for note, delivery in self._deliveries:
            note.error = delivery.error
            note.is_acknowledged = delivery.is_done and delivery.error is None
            if not delivery.is_done:
                note.error = AssertionError("its delivery outlives its connection")
        self._deliveries.clear()

    # --- what it does -------------------------------------------------------------------------------------------------

    def _act(self, client: RoomClient, id: str) -> None:
        """Do one thing; only the end of the connection is an error."""
        others = [one for one in client.messaging.remote_participants if one.role == "agent"]
        drawn = self._chance.random()
        try:
            if drawn < 0.1:
                client.local_participant.set_attribute("mood", next(self._numbers))
            elif drawn < 0.2:
                self._send(client, Note(id, next(self._numbers), None, audience=tuple(one.id for one in others)))
            elif drawn < 0.22:
                self._ledger.left[id] = "it disabled messaging"
                try:
                    client.messaging.disable()
                finally:
                    self._enable(client, id)  # Also where it is not known whether the room has done it.
            elif drawn < 0.24:
                client.close()
            elif others:
                to = others[int(self._chance.random() * len(others))]
                if drawn < 0.4:
                    self._stream(client, id, to)
                else:
                    for _ in range(1 + int(self._chance.random() * 3)):
                        self._send(client, Note(id, next(self._numbers), to.id, to.name or ""), to)
        except MeshsyncError:
            if not client.is_connected and not self._habits.reconnects:
                raise

    def _send(self, client: RoomClient, note: Note, to: Any = None) -> None:
        self._ledger.notes[note.number] = note
        body, data = {"number": note.number}, bytes(int(self._chance.random() ** 4 * 9000))
        note.is_confirmed = to is not None and self._habits.confirms and self._chance.random() < 0.5
        try:
            if to is None:
                delivery = client.messaging.broadcast_message_nowait("note", body, data)
            elif note.is_confirmed or self._chance.random() < 0.1:
                options: dict[str, Any] = {"confirm": True} if note.is_confirmed else {}
                client.messaging.send_message(to, "note", body, data, **options)
                note.is_acknowledged = True
                return
            else:
                delivery = client.messaging.send_message_nowait(to, "note", body, data)
        except MeshsyncError as error:
            note.error = error
            raise
        self._deliveries.append((note, delivery))

    def _stream(self, client: RoomClient, id: str, to: Any) -> None:
        number = next(self._numbers)
        self._ledger.streams[number] = note = StreamNote(number, id, to.id)
        sizes = [int(self._chance.random() ** 4 * 20_000) for _ in range(int(self._chance.random() * 8))]
        pause = self._chance.random() * 0.2
        self._tasks = [task for task in self._tasks if not task.is_done]
        self._tasks.append(meshsync.spawn(lambda: self._write(client, note, to, sizes, pause)))

    def _write(self, client: RoomClient, note: StreamNote, to: Any, sizes: list[int], pause: float) -> None:
        try:
            writer = client.messaging.create_stream(to, {"number": note.number}, timeout=10)
        except BaseException as error:
            note.opening_error = error
            return
        note.is_open = True
        try:
            for part, size in enumerate(sizes):
                note.attempted += 1
                writer.write(MessageStreamChunk({"part": part}, bytes(size)))
                meshsync.sleep(pause)
            note.closing = True
            writer.close()
            note.closed = True
        except BaseException as error:
            note.writing_error = error
            writer.abort()

    def _accept(self, reader: Any) -> None:
        note = self._ledger.streams[reader.header["number"]]
        if note.number % 7 == 0:
            reader.reject("not now")
            return
        try:
            reader.accept()
            note.is_accepted = True
            for chunk in reader:
                note.read.append(chunk.header["part"])
                if note.number % 5 == 0 and len(note.read) == 3:
                    note.has_left_early = True
                    reader.close("enough")
                    return
            note.is_complete = True
        except BaseException as error:
            note.reading_error = error
            if not isinstance(error, MeshsyncError):
                raise


def numbers() -> Iterator[int]:
    """Return numbers for all programs of one ledger."""
    return count(1)
