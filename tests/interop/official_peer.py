"""A participant on an unchanged official SDK, told what to do by JSON lines and telling what happens in JSON lines.

This file runs *inside* the environment of one release (see ``releases.py``), as a program of its own; ``peers.py`` is
its other end. It imports nothing of this project but its neighbours; what differs between releases is in
``official_sdk.py``. ``official_peer.mjs`` is the same on the TypeScript SDK.

A command is ``{"ref": 7, "do": "send", …}``. It is answered, when done, by ``{"event": "done", "ref": 7, …}`` or
``{"event": "failed", "ref": 7, "error": "RoomException", "text": "…"}``; commands run one after the other. Everything
else that is told is an event of the SDK: ``message``, ``participant_added``, ``participant_removed``,
``participant_attributes_updated``, ``messaging_enabled``, ``disconnected``, ``reconnected``, and of its streams:
``stream_offered``, ``chunk``, ``stream_ended``.

It connects as users of a release do: the address and the key come from the environment, ``MESHAGENT_API_URL``,
``MESHAGENT_PROJECT_ID``, ``MESHAGENT_KEY_ID`` and ``MESHAGENT_SECRET``, which the command to connect brings along.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import platform
import sys
from typing import Any

import official_sdk as sdk
from attachments import attachment_of, fingerprint

MESSAGING_EVENTS = (
    "participant_added",
    "participant_removed",
    "participant_attributes_updated",
    "messaging_enabled",
)
"""What the SDK's messaging client reports besides messages."""
ROOM_EVENTS = ("disconnected", "reconnected")
"""What the SDK's room client reports (0.38.0)."""


def describe(participant: Any) -> dict[str, Any]:
    """Return what tests ask about a participant."""
    return {
        "id": participant.id,
        "name": participant.get_attribute("name"),
        "role": getattr(participant, "role", None),
        "attributes": dict(participant._attributes),  # older releases have no public way to list them
    }


class Peer:
    """One client of the SDK and what it was told to do."""

    def __init__(self) -> None:
        self.output = os.fdopen(os.dup(1), "w", encoding="ascii")
        os.dup2(2, 1)  # whatever the SDK prints goes to standard error
        self.room: Any = None
        self.changed = asyncio.Event()
        """Set whenever the roster may have changed."""
        self.streams: dict[str, Any] = {}
        """Open streams by the names that this program gave them."""
        self.reading: set[asyncio.Task[None]] = set()
        self.names = itertools.count(1)

    def tell(self, event: str, **details: Any) -> None:
        """Write one event."""
        print(json.dumps({"event": event, **details}), file=self.output, flush=True)

    async def run(self) -> None:
        """Obey until the input ends."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            ref, do = command.pop("ref"), command.pop("do")
            try:
                self.tell("done", ref=ref, **(await getattr(self, f"do_{do}")(**command) or {}))
            except Exception as error:
                self.tell("failed", ref=ref, error=type(error).__name__, text=str(error))
        await self.do_close()

    # --- commands -----------------------------------------------------------------------------------------------------

    async def do_connect(
        self, room: str, name: str, environ: dict[str, str], role: str | None = None, token: str | None = None
    ) -> Any:
        """Join a room, with a token made as the release makes them unless one is given."""
        os.environ.update(environ)
        client = sdk.make_client(room, token or sdk.make_token(room, name, role))
        client.messaging.on("message", self.on_message)
        for event in MESSAGING_EVENTS:
            client.messaging.on(event, lambda event=event, **details: self.on_event(event, details))
        for event in ROOM_EVENTS:
            client.on(event, lambda event=event, **_: self.tell(event))
        self.streamer = sdk.streams_of(client.messaging, self.on_stream)
        await client.__aenter__()
        self.room = client
        if client.local_participant is None:  # 0.6.0 to 0.35.8, when the room hangs up at once
            return {"participant": None}
        return {"participant": describe(client.local_participant), "room_name": client.room_name}

    async def do_enable(self, streams: bool = True) -> Any:
        """Enable messaging; the answer comes when the release's own ``enable`` has returned.

        With ``streams``, offers are accepted, or whatever ``refuse_streams`` says; without, nobody looks at them.
        """
        await self.streamer.enable(accepting=streams)

    async def do_roster(self) -> Any:
        """Tell who else is here, as far as the release knows."""
        return {"participants": [describe(other) for other in self.others()]}

    async def do_wait_for_peer(self, name: str) -> Any:
        """Wait, without limit, until somebody of that name is in the roster."""
        while not (found := [other for other in self.others() if other.get_attribute("name") == name]):
            self.changed.clear()
            await self.changed.wait()
        return {"participant": describe(found[0])}

    async def do_send(self, to: str, type: str, message: Any, size: int | None = None, seed: int = 0) -> Any:
        """Send to the peer of that name, or of that id where nobody has the name, and wait for the acknowledgement."""
        attachment = None if size is None else attachment_of(size, seed)
        await self.room.messaging.send_message(to=self.find(to), type=type, message=message, attachment=attachment)

    async def do_broadcast(self, type: str, message: Any, size: int | None = None, seed: int = 0) -> Any:
        """Send to everybody."""
        attachment = None if size is None else attachment_of(size, seed)
        await self.room.messaging.broadcast_message(type=type, message=message, attachment=attachment)

    async def do_set_attribute(self, name: str, value: Any) -> Any:
        """Set one of its own attributes."""
        await self.room.local_participant.set_attribute(name, value)

    async def do_disable(self) -> Any:
        """Disable messaging."""
        await self.room.messaging.disable()

    async def do_refuse_streams(self, reason: str | None) -> Any:
        """Reject offers from now on, or accept them again."""
        self.streamer.refusal = reason

    async def do_open_stream(self, to: str, header: Any) -> Any:
        """Open a stream to the peer of that name; the answer comes when it has been accepted."""
        return {"stream": self.keep(await self.streamer.open(self.find(to), header))}

    async def do_write(self, stream: str, header: Any, size: int = 0, seed: int = 0) -> Any:
        """Write a chunk; the answer comes when the release's own ``write`` has returned."""
        await self.streamer.write(self.streams[stream], header, attachment_of(size, seed))

    async def do_close_stream(self, stream: str) -> Any:
        """Close a stream from this end."""
        await self.streams[stream].close()

    async def do_stream_id(self, stream: str) -> Any:
        """Tell the id under which the wire knows a stream."""
        return {"id": self.streams[stream]._stream_id}

    async def do_use_storage(self) -> Any:
        """Ask for something that has nothing to do with messaging."""
        return {"exists": await self.room.storage.exists(path="nothing")}

    async def do_may_use_api(self, token: str) -> Any:
        """Tell how the release reads a token."""
        return {"may": sdk.may_use_api(token)}

    async def do_close(self) -> Any:
        """Leave, unless that has been done; another ``connect`` may follow."""
        room, self.room = self.room, None
        for reading in self.reading:
            reading.cancel()
        self.streams.clear()
        if room is not None:
            await room.__aexit__(None, None, None)

    # --- events -------------------------------------------------------------------------------------------------------

    def on_message(self, message: Any) -> None:
        """Tell of a message; of its attachment the size and a fingerprint."""
        told = {"type": message.type, "message": message.message, "sender": message.from_participant_id}
        self.tell("message", **told, **fingerprint(message.attachment or b""))

    def on_event(self, event: str, details: dict[str, Any]) -> None:
        """Tell of somebody who came, went or changed."""
        participant = details.get("participant")
        self.tell(event, **({} if participant is None else {"participant": describe(participant)}))
        self.changed.set()

    def on_stream(self, stream: Any, header: Any, sender: str) -> None:
        """Tell of a stream that was offered and accepted."""
        self.tell("stream_offered", stream=self.keep(stream), header=header, sender=sender)

    def keep(self, stream: Any) -> str:
        """Name a stream and, if this end can be read, read it to its end, telling of each chunk."""
        name = f"stream-{next(self.names)}"
        self.streams[name] = stream
        if not self.streamer.is_readable(stream):
            return name
        reading = asyncio.ensure_future(self.read(name, stream))
        self.reading.add(reading)
        reading.add_done_callback(self.reading.discard)
        return name

    async def read(self, name: str, stream: Any) -> None:
        """Tell of what comes on a stream, and of its end."""
        async for header, data in self.streamer.read(stream):
            self.tell("chunk", stream=name, header=header, **fingerprint(data))
        self.tell("stream_ended", stream=name)

    # --- asking the release -------------------------------------------------------------------------------------------

    def others(self) -> list[Any]:
        """Return the other participants."""
        return list(self.room.messaging.remote_participants)

    def find(self, name: str) -> Any:
        """Return the participant of that name, else one made up for that id, which the room may not know."""
        from meshagent.api import RemoteParticipant

        named = [other for other in self.others() if name in (other.get_attribute("name"), other.id)]
        return named[0] if named else RemoteParticipant(id=name, role="user", attributes={})


async def main() -> None:
    """Say hello with what this really is, then obey."""
    from importlib.metadata import version

    peer = Peer()
    peer.tell("hello", release=version("meshagent-api"), runs_on=platform.python_version())
    await peer.run()


if __name__ == "__main__":
    asyncio.run(main())
