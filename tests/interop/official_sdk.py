"""All that differs between SDK releases, behind one face. The release is asked what it has, never for its number.

Runs inside the environment of one release, beside ``official_peer.py``, and imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from meshagent import api
from meshagent.api import room_server_client as sdk

Offered = Callable[[Any, dict[str, Any], str], None]


def make_client(room: str, token: str) -> Any:
    """Return a client that is to be entered."""
    options = {"url": api.websocket_room_url(room_name=room), "token": token}
    if "protocol_factory" in inspect.signature(api.RoomClient.__init__).parameters:  # 0.38.0
        return api.RoomClient(protocol_factory=lambda: api.WebSocketClientProtocol(**options))
    return api.RoomClient(protocol=api.WebSocketClientProtocol(**options))


def make_token(room: str, name: str, role: str | None) -> str:
    """Return a participant's token, signed with the key of the environment."""
    token = api.ParticipantToken(
        name=name, project_id=os.environ["MESHAGENT_PROJECT_ID"], api_key_id=os.environ["MESHAGENT_KEY_ID"]
    )
    token.add_room_grant(room)
    if role is not None:
        token.add_role_grant(role)
    if hasattr(token, "add_api_grant"):  # 0.6.0
        token.add_api_grant(api.ApiScope.agent_default())
    return str(token.to_jwt(token=os.environ["MESHAGENT_SECRET"]))


def may_use_api(token: str) -> bool:
    """Return whether the release takes a token for one with access to the room's services (0.6.0)."""
    return api.ParticipantToken.from_jwt(token, validate=False).get_api_grant() is not None


def streams_of(messaging: Any, offered: Offered) -> Streams:
    """Return the streams that the release has, for one client."""
    if hasattr(messaging, "create_stream"):
        return ClassicStreams(messaging, offered)
    if hasattr(messaging, "stream"):  # 0.47.1
        return DuplexStreams(messaging, offered)
    return NoStreams(messaging, offered)


class Streams(ABC):
    """One client's streams: opened, offered, written to, read and closed in one way.

    Args:
        messaging: The client's messaging.
        offered: Is called with each accepted stream, the opener's header and the opener's id.
    """

    kind: str

    def __init__(self, messaging: Any, offered: Offered) -> None:
        self.messaging = messaging
        self.offered = offered
        self.refusal: str | None = None
        """What offers are rejected with; None to accept them."""

    @abstractmethod
    def enable(self, accepting: bool) -> Awaitable[None]:
        """Enable messaging, with or without something that decides about offers."""

    @abstractmethod
    async def open(self, to: Any, header: dict[str, Any]) -> Any:
        """Return a stream when it has been accepted."""

    @abstractmethod
    async def write(self, stream: Any, header: dict[str, Any], data: bytes) -> None:
        """Send a chunk."""

    def is_readable(self, stream: Any) -> bool:
        """Return whether this end of a stream can be read."""
        return True

    @abstractmethod
    def read(self, stream: Any) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        """Yield chunks until the stream has ended."""


class NoStreams(Streams):
    """0.35.7 to 0.47.0."""

    kind = "none"

    def enable(self, accepting: bool) -> Awaitable[None]:
        return self.messaging.enable()

    async def open(self, to: Any, header: dict[str, Any]) -> Any:
        raise NotImplementedError("this release has no streams")

    async def write(self, stream: Any, header: dict[str, Any], data: bytes) -> None:
        raise NotImplementedError("this release has no streams")

    def read(self, stream: Any) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        raise NotImplementedError("this release has no streams")


class ClassicStreams(Streams):
    """Up to 0.35.6; both ends can write from 0.9.0."""

    @property
    def kind(self) -> str:
        return "both ways" if hasattr(sdk, "MessageStream") else "one way"

    def enable(self, accepting: bool) -> Awaitable[None]:
        return self.messaging.enable(on_stream_accept=self._on_offer if accepting else None)

    def _on_offer(self, stream: Any) -> None:
        if self.refusal is not None:
            raise RuntimeError(self.refusal)
        # The whole opening message, with the opener's header as a member.
        self.offered(stream, stream.header["header"], stream._to.id)

    async def open(self, to: Any, header: dict[str, Any]) -> Any:
        return await self.messaging.create_stream(to=to, header=header)

    async def write(self, stream: Any, header: dict[str, Any], data: bytes) -> None:
        await stream.write(sdk.MessageStreamChunk(header=header, data=data))

    def is_readable(self, stream: Any) -> bool:
        return hasattr(stream, "read_chunks")  # up to 0.8.4 an opener's is not

    async def read(self, stream: Any) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        async for chunk in stream.read_chunks():
            yield chunk.header, chunk.data or b""


class DuplexStreams(Streams):
    """From 0.47.1: a stream carries messages, so a header is a message's body and data its attachment."""

    kind = "duplex"

    OPENING = "stream.open"
    CHUNK = "stream.chunk"

    def __init__(self, messaging: Any, offered: Offered) -> None:
        super().__init__(messaging, offered)
        self._deciding: set[asyncio.Task[None]] = set()

    def enable(self, accepting: bool) -> Awaitable[None]:
        if accepting:
            self.messaging.on("stream_requested", self._on_request)
        return self.messaging.enable()

    def _on_request(self, request: Any) -> None:
        deciding = asyncio.ensure_future(self._decide(request))
        self._deciding.add(deciding)
        deciding.add_done_callback(self._deciding.discard)

    async def _decide(self, request: Any) -> None:
        if self.refusal is not None:
            await request.reject(message=self.refusal)
        else:
            self.offered(await request.accept(), request.message, request.from_participant_id)

    async def open(self, to: Any, header: dict[str, Any]) -> Any:
        return await self.messaging.stream(to=to, type=self.OPENING, message=header)

    async def write(self, stream: Any, header: dict[str, Any], data: bytes) -> None:
        await stream.send_message(type=self.CHUNK, message=header, attachment=data)

    async def read(self, stream: Any) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        async for event in stream:
            if isinstance(event, sdk.RoomMessage):
                yield event.message, event.attachment or b""
