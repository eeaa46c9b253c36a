"""Programs that talk to each other whatever happens, and write down what they did: in a simulation and on real sockets.

Each has one client at a time, and makes another when that has ended. After a while they fall silent and only stay
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
from meshsync.participants import RoomParticipant
from tests.support.ledger import Ledger, Note, StreamNote

__all__ = ["RECONNECTING", "Agent", "Habits", "numbers"]

STEP = 0.5
"""Seconds between two actions, on average."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How programs go about it."""

    reconnects: bool = False
    """Whether a client comes back by itself after a loss; else its first loss is its end."""
    confirms: bool = False
    """Whether some messages have to be confirmed by the recipient's client."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of connecting."""


RECONNECTING = Habits(reconnects=True, confirms=True)
"""What clients do without being asked to, and all that they can be asked to."""


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
        habits: Habits,
    ) -> None:
        self.name = name
        self.client: RoomClient | None = None
        """Its client, once that takes part in messaging."""
        self.clients = 0
        """How many it has had."""
        self.returns = 0
        """How often they came back after a loss."""
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
            self.clients += 1
            self._live(client, f"{self.name}/{self.clients}")
        for task in self._tasks:
            task.join(100)

    def _live(self, client: RoomClient, key: str) -> None:
        self._ledger.names[key] = self.name
        try:
            self._listen(client, key)
            client.local_participant.set_attribute("client", key)  # Before it enters; others know it by that.
            while not (self.is_stopped or client.state.is_over):
                if not client.messaging.is_enabled:  # Also where the room refused it to a client that came back.
                    self._enable(client)
                    self.client = client
                if meshsync.monotonic() < self._silent_from:
                    self._act(client, key)
                meshsync.sleep(2 * STEP * self._chance.random() + 0.001)
        except MeshsyncError:
            pass  # Its end, or it could not even set an attribute.
        finally:
            self.client = None
            if self.is_stopped and not client.state.is_over:
                self._ledger.stayed[client.local_participant.id] = key
            else:
                self._ledger.ended.add(key)
            client.close()
            self._ledger.dropped[key] = client.stats().events_dropped
            self._settle()

    def _listen(self, client: RoomClient, key: str) -> None:
        received, moves, ways = self._ledger.received[key], self._ledger.moves[key], self._ledger.ways[key]

        def note(event: RoomMessageEvent) -> None:
            received.append((event.message.from_participant_id, event.message.message["number"]))

        def meet(event: RoomMessageEvent) -> None:
            assert event.participant is not None
            self._meet(event.participant)
            moves.append((event.participant.id, True))

        def see_off(event: RoomMessageEvent) -> None:
            moves.append((event.message.message["id"], False))

        def go(event: RoomMessageEvent) -> None:
            ways.append("went offline" if event.message.message["will_retry"] else "ended")

        def come_back(event: RoomMessageEvent) -> None:
            self.returns += 1
            ways.append("came back")

        client.messaging.on_message("note", note)
        client.messaging.on("participant_added", meet)
        client.messaging.on("participant_removed", see_off)
        client.messaging.on("disconnected", go)
        client.messaging.on("reconnected", come_back)

    def _enable(self, client: RoomClient) -> None:
        while True:
            try:
                client.messaging.enable(self._accept)
            except MeshsyncError:
                if client.state.is_over:
                    raise
                meshsync.sleep(1)
            else:
                return

    def _settle(self) -> None:
        """Write down what became of the messages of a client that has ended."""
        for note, delivery in self._deliveries:
            note.error = delivery.error
            note.is_acknowledged = delivery.is_done and delivery.error is None
            if not delivery.is_done:
                note.error = AssertionError("its delivery outlives its client")
        self._deliveries.clear()

    # --- what it does -------------------------------------------------------------------------------------------------

    def _act(self, client: RoomClient, key: str) -> None:
        """Do one thing; only the end of the client is an error."""
        self._meet(client.local_participant)
        others = [one for one in client.messaging.remote_participants if one.role == "agent"]
        drawn = self._chance.random()
        try:
            if drawn < 0.1:
                client.local_participant.set_attribute("mood", next(self._numbers))
            elif drawn < 0.2:
                self._send(client, Note(key, next(self._numbers), None, audience=tuple(one.id for one in others)))
            elif drawn < 0.22:
                self._leave(client)
            elif drawn < 0.24:
                client.reconnect_now()
            elif drawn < (0.245 if self._habits.reconnects else 0.26):
                client.close()
            elif others:
                to = others[int(self._chance.random() * len(others))]
                if drawn < 0.4:
                    self._stream(client, to)
                else:
                    for _ in range(1 + int(self._chance.random() * 3)):
                        self._send(client, Note(key, next(self._numbers), to.id), to)
        except MeshsyncError:
            if client.state.is_over:
                raise

    def _meet(self, one: RoomParticipant) -> None:
        """Write down which client a participant is."""
        if one.id and "client" in one.attributes:
            self._ledger.clients[one.id] = one.attributes["client"]

    def _leave(self, client: RoomClient) -> None:
        """Disable messaging for a moment."""
        self._ledger.left.add(client.local_participant.id)
        try:
            client.messaging.disable()
        finally:
            self._ledger.left.add(client.local_participant.id)  # It may be another one meanwhile.
            self._enable(client)  # Also where it is not known whether the room has done it.

    def _send(self, client: RoomClient, note: Note, to: Any = None) -> None:
        self._ledger.notes[note.number] = note
        body, data = {"number": note.number}, bytes(int(self._chance.random() ** 4 * 9000))
        note.is_confirmed = to is not None and self._habits.confirms and self._chance.random() < 0.5
        messaging, drawn = client.messaging, self._chance.random()
        options: dict[str, Any] = {"if_offline": "raise"} if drawn > 0.9 else {}
        options |= {"confirm": True} if note.is_confirmed else {}
        try:
            if to is None:
                delivery = messaging.broadcast_message_nowait("note", body, data, **options)
            elif drawn < (0.4 if note.is_confirmed else 0.1):
                messaging.send_message(to, "note", body, data, **options)
                note.is_acknowledged = True
                return
            else:
                delivery = messaging.send_message_nowait(to, "note", body, data, **options)
        except MeshsyncError as error:
            note.error = error.with_traceback(None)
            raise
        self._deliveries.append((note, delivery))

    def _stream(self, client: RoomClient, to: Any) -> None:
        number = next(self._numbers)
        self._ledger.streams[number] = note = StreamNote(number, client.local_participant.id, to.id)
        sizes = [int(self._chance.random() ** 4 * 20_000) for _ in range(int(self._chance.random() * 8))]
        pause = self._chance.random() * 0.2
        self._tasks = [task for task in self._tasks if not task.is_done]
        self._tasks.append(meshsync.spawn(lambda: self._write(client, note, to, sizes, pause)))

    def _write(self, client: RoomClient, note: StreamNote, to: Any, sizes: list[int], pause: float) -> None:
        try:
            writer = client.messaging.create_stream(to, {"number": note.number}, timeout=10)
        except BaseException as error:
            note.opening_error = error.with_traceback(None)  # Whose frames keep what is unread.
            return
        note.is_open, note.opener = True, client.local_participant.id  # It may have waited for a connection.
        try:
            for part, size in enumerate(sizes):
                note.attempted += 1
                writer.write(MessageStreamChunk({"part": part}, bytes(size)))
                meshsync.sleep(pause)
            note.closing = True
            writer.close()
            note.closed = True
        except BaseException as error:
            note.writing_error = error.with_traceback(None)
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
            note.reading_error = error.with_traceback(None)
            if not isinstance(error, MeshsyncError):
                raise


def numbers() -> Iterator[int]:
    """Return numbers for all programs of one ledger."""
    return count(1)
