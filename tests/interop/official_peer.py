"""A participant on an unchanged official SDK, told what to do by JSON lines and telling what happens in JSON lines.

This file runs *inside* the environment of one release (see ``releases.py``), as a program of its own; ``peers.py`` is
its other end. It imports nothing of this project, and asks the release for what differs between releases.

A command is ``{"ref": 7, "do": "send", …}``. It is answered, when done, by ``{"event": "done", "ref": 7, …}`` or
``{"event": "failed", "ref": 7, "error": "RoomException", "text": "…"}``; commands run one after the other. Everything
else that is told is an event of the SDK: ``message``, ``participant_added``, ``participant_removed``,
``participant_attributes_updated``, ``messaging_enabled``.

It connects as users of a release do: the address and the key come from the environment, ``MESHAGENT_API_URL``,
``MESHAGENT_PROJECT_ID``, ``MESHAGENT_KEY_ID`` and ``MESHAGENT_SECRET``.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import os
import platform
import random
import sys
from typing import Any

OWN_EVENTS = ("participant_added", "participant_removed", "participant_attributes_updated", "messaging_enabled")
"""What the SDK's messaging client reports besides messages."""


def attachment_of(size: int, seed: int) -> bytes:
    """Return the bytes that both ends of a test agree on without sending them through the pipe."""
    return random.Random(seed).randbytes(size)


def describe(participant: Any) -> dict[str, Any]:
    """Return what tests ask about a participant."""
    return {
        "id": participant.id,
        "name": participant.get_attribute("name"),
        "role": getattr(participant, "role", None),
        "attributes": dict(participant._attributes),  # no release has a public way to list them
    }


class Peer:
    """One client of the SDK and what it was told to do."""

    def __init__(self) -> None:
        self.output = os.fdopen(os.dup(1), "w", encoding="ascii")
        os.dup2(2, 1)  # whatever the SDK prints goes to standard error
        self.room: Any = None
        self.changed = asyncio.Event()
        """Set whenever the roster may have changed."""

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

    async def do_connect(self, room: str, name: str, role: str | None = None, token: str | None = None) -> Any:
        """Join a room, with a token made as the release makes them unless one is given."""
        from meshagent.api import RoomClient, WebSocketClientProtocol, websocket_room_url

        options = {"url": websocket_room_url(room_name=room), "token": token or self.make_token(room, name, role)}
        if "protocol_factory" in inspect.signature(RoomClient.__init__).parameters:  # 0.38.0
            self.room = RoomClient(protocol_factory=lambda: WebSocketClientProtocol(**options))
        else:
            self.room = RoomClient(protocol=WebSocketClientProtocol(**options))
        self.room.messaging.on("message", self.on_message)
        for event in OWN_EVENTS:
            self.room.messaging.on(event, lambda event=event, **details: self.on_event(event, details))
        await self.room.__aenter__()
        return {"participant": describe(self.room.local_participant), "room_name": self.room.room_name}

    def make_token(self, room: str, name: str, role: str | None) -> str:
        """Return a participant's token, signed with the key of the environment."""
        from meshagent import api

        token = api.ParticipantToken(
            name=name, project_id=os.environ["MESHAGENT_PROJECT_ID"], api_key_id=os.environ["MESHAGENT_KEY_ID"]
        )
        token.add_room_grant(room)
        if role is not None:
            token.add_role_grant(role)
        if hasattr(token, "add_api_grant"):  # 0.6.0
            token.add_api_grant(api.ApiScope.agent_default())
        jwt = token.to_jwt(token=os.environ["MESHAGENT_SECRET"])
        return str(jwt)

    async def do_enable(self) -> Any:
        """Enable messaging; the answer comes when the release's own ``enable`` has returned."""
        await self.room.messaging.enable()

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

    async def do_close(self) -> Any:
        """Leave, unless that has been done; another ``connect`` may follow."""
        room, self.room = self.room, None
        if room is not None:
            await room.__aexit__(None, None, None)

    # --- events -------------------------------------------------------------------------------------------------------

    def on_message(self, message: Any) -> None:
        """Tell of a message; of its attachment the size and a fingerprint."""
        attachment = message.attachment or b""
        self.tell(
            "message",
            type=message.type,
            message=message.message,
            sender=message.from_participant_id,
            size=len(attachment),
            sha256=hashlib.sha256(attachment).hexdigest(),
        )

    def on_event(self, event: str, details: dict[str, Any]) -> None:
        """Tell of somebody who came, went or changed."""
        participant = details.get("participant")
        self.tell(event, **({} if participant is None else {"participant": describe(participant)}))
        self.changed.set()

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

    import meshagent.api  # noqa: F401 - a release that cannot be imported fails before it says hello

    peer = Peer()
    peer.tell("hello", release=version("meshagent-api"), python=platform.python_version())
    await peer.run()


if __name__ == "__main__":
    asyncio.run(main())
