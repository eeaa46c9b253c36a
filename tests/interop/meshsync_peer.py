"""meshsync as a participant that tests drive like the official ones."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import meshsync
from tests.interop.attachments import attachment_of, fingerprint
from tests.interop.peers import Event, Peer, PeerFailed


class MeshsyncPeer(Peer):
    """A participant on meshsync, in this process, that finds the room through the environment as users do."""

    description = "meshsync"

    EVENTS = ("participant_added", "participant_removed", "participant_attributes_updated", "messaging_enabled")

    def __init__(self, dialect: str = "B") -> None:
        super().__init__()
        self._dialect = dialect
        self._room: meshsync.RoomClient | None = None
        self._refusal: str | None = None
        self._writers: dict[str, meshsync.MessageStreamWriter] = {}
        """This end of each stream, by the names that they were given here."""
        self._names = itertools.count(1)

    @property
    def room(self) -> meshsync.RoomClient:
        """The client of this peer, once it has connected."""
        assert self._room is not None
        return self._room

    def do(self, do: str, timeout: float = 30, **arguments: Any) -> Event:
        """Do it here and now; the calls have time limits of their own."""
        try:
            return {"event": "done", **(getattr(self, f"_{do}")(**arguments) or {})}
        except meshsync.MeshsyncError as error:
            raise PeerFailed(type(error).__name__, str(error)) from error

    def end(self) -> None:
        """Leave, if that has not been done."""
        if self._room is not None:
            self._close()

    # --- commands -----------------------------------------------------------------------------------------------------

    def _connect(self, room: str, name: str, role: str | None = None, token: str | None = None) -> Event:
        self._room = meshsync.connect(room, name=name, role=role or "user", token=token, dialect=self._dialect)
        for event in self.EVENTS:
            self._room.messaging.on(event, self._on_event)
        self._room.messaging.on("message", self._on_message)
        return {"participant": self._describe(self._room.local_participant), "room_name": self._room.room_name}

    def _enable(self, streams: bool = True) -> None:
        self.room.messaging.enable(self._on_offer if streams else None)

    def _disable(self) -> None:
        self.room.messaging.disable()

    def _close(self) -> None:
        self.room.close()
        self._room = None

    def _roster(self) -> Event:
        return {"participants": [self._describe(other) for other in self.room.messaging.remote_participants]}

    def _wait_for_peer(self, name: str) -> Event:
        return {"participant": self._describe(self.room.messaging.wait_for_participant(name=name, timeout=30))}

    def _send(self, to: str, type: str, message: Any, size: int | None = None, seed: int = 0) -> None:
        attachment = None if size is None else attachment_of(size, seed)
        self.room.messaging.send_message(to=self._find(to), type=type, message=message, attachment=attachment)

    def _broadcast(self, type: str, message: Any, size: int | None = None, seed: int = 0) -> None:
        attachment = None if size is None else attachment_of(size, seed)
        self.room.messaging.broadcast_message(type=type, message=message, attachment=attachment)

    def _set_attribute(self, name: str, value: Any) -> None:
        self.room.local_participant.set_attribute(name, value)

    def _refuse_streams(self, reason: str | None) -> None:
        self._refusal = reason

    def _open_stream(self, to: str, header: Any) -> Event:
        # As with official clients, a stream ends with its connection.
        writer = self.room.messaging.create_stream(to=self._find(to), header=header, timeout=30, resume_for=0)
        name = self._keep(writer)
        threading.Thread(target=self._read, args=(name, writer.reader), name=name, daemon=True).start()
        return {"stream": name}

    def _write(self, stream: str, header: Any, size: int = 0, seed: int = 0) -> None:
        self._writers[stream].write(meshsync.MessageStreamChunk(header, attachment_of(size, seed)))

    def _close_stream(self, stream: str) -> None:
        self._writers[stream].close()

    # --- events -------------------------------------------------------------------------------------------------------

    def _on_message(self, event: meshsync.RoomMessageEvent) -> None:
        message = event.message
        told = {"type": message.type, "message": message.message, "sender": message.from_participant_id}
        self._tell({"event": "message", **told, **fingerprint(message.attachment)})

    def _on_event(self, event: meshsync.RoomMessageEvent) -> None:
        told: Event = {"event": event.name}
        if event.participant is not None:
            told["participant"] = self._describe(event.participant)
        self._tell(told)

    def _on_offer(self, reader: meshsync.MessageStreamReader) -> None:
        if self._refusal is not None:
            reader.reject(self._refusal)
            return
        reader.accept()
        name = self._keep(reader.writer)
        told = {"stream": name, "header": dict(reader.header), "sender": reader.sender.id}
        self._tell({"event": "stream_offered", **told})
        self._read(name, reader)

    def _read(self, name: str, reader: meshsync.MessageStreamReader) -> None:
        """Tell of what comes on a stream, and of its end."""
        try:
            for chunk in reader:
                told = {"stream": name, "header": dict(chunk.header), **fingerprint(bytes(chunk.data or b""))}
                self._tell({"event": "chunk", **told})
        except meshsync.MeshsyncError as error:
            self._tell({"event": "stream_ended", "stream": name, "error": type(error).__name__})
        else:
            self._tell({"event": "stream_ended", "stream": name})

    # --- asking the client --------------------------------------------------------------------------------------------

    def _keep(self, writer: meshsync.MessageStreamWriter) -> str:
        name = f"stream-{next(self._names)}"
        self._writers[name] = writer
        return name

    def _find(self, to: str) -> meshsync.RemoteParticipant | str:
        return self.room.messaging.get_participant_by_name(to) or to

    @staticmethod
    def _describe(participant: meshsync.LocalParticipant | meshsync.RemoteParticipant) -> Event:
        return {
            "id": participant.id,
            "name": participant.name,
            "role": participant.role,
            "attributes": dict(participant.attributes),
        }
