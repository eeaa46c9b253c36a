"""The streams of one client over a recorded connection, in a room with Bob, played by the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import ClientClosed, MeshsyncError, SendTimeout
from meshsync.messages import RoomMessageEvent
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol import events
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Request, Send
from meshsync.protocol.roster import RosterEntry
from meshsync.protocol.session import Session
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.endpoints import Endpoints
from meshsync.streams.table import StreamTable

__all__ = ["NO_HANDLER", "RecordingConnection", "TableOfStreams", "answer_offers"]

NO_HANDLER = "Streams are not allowed by this client"
RUNTIME = ThreadRuntime()


class RecordingConnection:
    """A connection that records its calls, and acknowledges each request unless it refuses."""

    def __init__(self) -> None:
        self.runtime: Runtime = RUNTIME
        self.is_open = True
        self.budget = ByteBudget(RUNTIME)
        self.session = Session(dialect("A"))
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.alarms: dict[object, tuple[float, Callable[[], None]]] = {}
        self.tasks: list[Callable[[], None]] = []
        self.is_full = False
        """Whether only the reserve has room."""
        self.refusal: BaseException | None = None
        """The exception that sending raises."""
        self.spawn_error: Exception | None = None
        self.on_send: Callable[[], object] = lambda: None
        self.timeouts: list[float | None] = []

    def request(
        self,
        request: Request,
        what: str,
        timeout: float | None,
        on_done: Callable[[MeshsyncError | None], None] | None = None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        self.timeouts.append(timeout)
        if self.refusal is not None:
            raise self.refusal
        if self.is_full and not is_reserved:
            raise SendTimeout("full", retryable=True)
        assert isinstance(request, Send)
        self.sent.append((request.type, dict(request.message)))
        if receipt is not None:
            receipt.is_sent = True
        delivery = Delivery(what, RUNTIME, self.refuse_to_block)
        delivery._resolve(None)
        self.on_send()
        return delivery

    def disregard(self, delivery: Delivery) -> None:
        pass

    def refuse_to_block(self, what: str) -> None:
        pass

    def set_alarm(self, key: object, seconds: float, ring: Callable[[], None]) -> None:
        self.alarms[key] = (seconds, ring)

    def cancel_alarm(self, key: object) -> None:
        self.alarms.pop(key, None)

    def spawn(self, target: Callable[[], None], name: str) -> None:
        if self.spawn_error is not None:
            raise self.spawn_error
        self.tasks.append(target)

    def failure(self) -> MeshsyncError:
        return ClientClosed("the client was closed")


class TableOfStreams:
    """A table over a line, in a room with Bob."""

    def __init__(self) -> None:
        self.line = RecordingConnection()
        self.published: list[RoomMessageEvent] = []
        self.reports: list[BaseException] = []
        participants = ParticipantDirectory(RUNTIME)
        self.bob: RemoteParticipant = participants.enter(RosterEntry("p-2", "user", {"name": "bob"}))
        self.table = StreamTable(
            self.line,
            participants,
            publish=lambda event, size: self.published.append(event),
            limit=lambda timeout, default: default and 0.0 if timeout == "default" else timeout,
            hook=lambda reader: reader,
            report=lambda accepter, error: self.reports.append(error),
            refuse_to_receive=self.line.refuse_to_block,
        )

    def hear(self, type: str, id: str = "s-1", sender: str = "p-2", **body: Any) -> None:
        """Have a stream message arrive."""
        self.table.take(events.Received(sender, f"stream.{type}", {"stream_id": id} | body, b""))

    def open(self) -> Endpoints:
        """Open a stream to Bob, whose time to answer is 0 s unless he is set to answer."""
        return self.table.open(self.bob, {"kind": "x"}, "default", "classic")

    @property
    def is_tidy(self) -> bool:
        """Whether nothing is left of any stream, but for the tasks of callbacks."""
        return not (self.table.streams or self.table.calls or self.line.alarms)


def answer_offers(client: TableOfStreams, *answers: Callable[[str], None]) -> None:
    """Have Bob answer offers, one after the other."""
    waiting = list(answers)

    def answer() -> None:
        type, body = client.line.sent[-1]
        if type == "stream.open":
            waiting.pop(0)(body["stream_id"])

    client.line.on_send = answer
