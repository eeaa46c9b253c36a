"""Shared by tests of streams between whole clients: Alice, who opens, and Bob, who accepts or is scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from meshsync import MeshsyncError, MessagingClient, RoomClient
from meshsync.connection.deliveries import Delivery
from meshsync.connection.uplink import Uplink
from meshsync.protocol import events
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk
from simulator import Simulation, current
from tests.support.worlds import simulated

__all__ = ["MIB", "Pair", "Result", "Scripted", "accept", "account", "held", "is_tidy", "scripted", "send_all"]

MIB = 1024 * 1024
"""Bytes."""


class Pair:
    """Alice opens, Bob accepts."""

    def __init__(
        self, simulation: Simulation, on_stream: Callable[[Any], object] | None = None, **options: Any
    ) -> None:
        self.simulation = simulation
        self.room = simulation.room("demo")
        self.alice = self.room.join("alice", enable=True)
        self.bob = self.room.join("bob", **options)
        self.bob.messaging.enable(on_stream)

    def to(self, name: str = "bob") -> Any:
        """Return a participant as Alice sees it."""
        return self.alice.messaging.wait_for_participant(name=name, timeout=10)

    def open(self, header: dict[str, Any] | None = None, to: str = "bob", **options: Any) -> Any:
        """Have Alice open a stream."""
        return self.alice.messaging.create_stream(self.to(to), header, **options)

    def both(self, **options: Any) -> tuple[Any, Any]:
        """Return a writer of Alice's and the reader of Bob's that belongs to it, accepted."""
        with self.bob.messaging.streams() as offers:
            opening = Result(self.simulation, lambda: self.open(**options))
            reader = offers.get(10)
            reader.accept()
            return opening.get(), reader

    def are_tidy(self) -> bool:
        """Whether neither has a stream, an alarm, a request or a task left over."""
        return is_tidy(self.alice) and is_tidy(self.bob)


def is_tidy(client: RoomClient) -> bool:
    """Return whether a client that is connected has, a second later, nothing left of its streams."""
    current().sleep(1)
    inner = client._meshsync
    tasks = [task for task in inner.tasks if not task.is_done]
    table, connection = inner.streams, inner.connection
    return not (table.streams or connection.alarms or connection.stats().pending or table.callbacks) and len(tasks) == 2


class Result:
    """The result of a function, run by an actor of its own."""

    def __init__(self, simulation: Simulation, function: Callable[..., Any], *arguments: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.value = function(*arguments)
            except Exception as error:
                self.error = error

        self._task = simulation.spawn(run)

    def get(self, timeout: float = 100.0) -> Any:
        """Wait for it."""
        assert self._task.join(timeout), "it does not end"
        if self.error is not None:
            raise self.error
        return self.value


class Scripted(MessagingClient):
    """A peer whose program sends and receives the messages of streams itself.

    ``answers`` maps a type to the answer sent at once to its sender: the type and the members besides the id.
    """

    def __init__(self, room: Any) -> None:
        super().__init__(room)
        self.words: list[tuple[str, dict[str, Any], bytes]] = []
        self.answers: dict[str, tuple[str, dict[str, Any]]] = {}
        self._meshsync.connection._handler = _Between(self, self._meshsync.uplink)

    def say(self, to: Any, type: str, stream_id: object, data: bytes = b"", **body: Any) -> None:
        """Send a message of a stream."""
        self.send_message_nowait(to, type, {"stream_id": stream_id} | body, data)

    def heard(self, type: str) -> list[dict[str, Any]]:
        """Return the bodies of the received messages of a type."""
        return [body for kind, body, _ in self.words if kind == type]


class _Between:
    """Stands between a connection and its client, where no program could, and takes out the messages of streams."""

    def __init__(self, peer: Scripted, uplink: Uplink) -> None:
        self._peer = peer
        self._uplink = uplink

    def received(self, event: events.Event) -> None:
        if isinstance(event, (Call, CallChunk, AnswerChunk)):
            return  # It does not understand calls.
        peer = self._peer
        if not isinstance(event, events.Received) or not event.type.startswith("stream."):
            self._uplink.received(event)
            return
        peer.words.append((event.type, dict(event.message), event.attachment))
        if event.type in peer.answers:
            type, body = peer.answers[event.type]
            peer.say(event.sender, type, event.message["stream_id"], **body)

    def comes_back(self, error: MeshsyncError) -> bool:
        return self._uplink.comes_back(error)

    def ended(self, error: MeshsyncError | None, unwritten: Sequence[Delivery]) -> None:
        self._uplink.ended(error, unwritten)


@contextmanager
def scripted(**answers: tuple[str, dict[str, Any]]) -> Iterator[tuple[Pair, Scripted]]:
    """Open a simulation in which Bob is scripted; ``open=("accept", {…})`` is an answer."""
    with simulated() as sim:
        pair = Pair(sim, messaging=Scripted, packet_size=65536)
        bob: Any = pair.bob.messaging
        bob.answers = {f"stream.{word}": (f"stream.{type}", body) for word, (type, body) in answers.items()}
        yield pair, bob


def accept(reader: Any) -> None:
    """Accept a stream, as a callback, by returning."""


def account(end: Any) -> Any:
    """Return the account of the stream of a writer or a reader."""
    return end._stream.account


def held(end: Any) -> int:
    """Return how many bytes of data wait to be read at one end."""
    return sum(len(chunk.data) for chunk, _ in end._stream.unread)


def send_all(writer: Any, *pieces: bytes) -> None:
    """Write pieces and close."""
    with writer:
        for piece in pieces:
            writer.write(piece)
