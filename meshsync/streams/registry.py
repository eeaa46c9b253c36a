"""The streams of a client, present and past: the state that they share, and their keys.

Opening streams is the business of ``opening``, deciding on those that peers offer that of ``offers``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Receipt
from meshsync.connection.failures import another
from meshsync.errors import ClientClosed, InvalidMessage, MeshsyncError, SendTimeout, StreamInterrupted
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.protocol.flow_control import next_window, size_of
from meshsync.protocol.operations import Broadcast, Request, Send
from meshsync.protocol.session import Encoded
from meshsync.protocol.stream_messages import StreamMessage
from meshsync.runtime.deadlines import Limit
from meshsync.runtime.interfaces import Runtime
from meshsync.signals import log_warning
from meshsync.streams.channels import Channel, StreamConnection
from meshsync.streams.duplex import StreamCalls
from meshsync.streams.endpoints import Endpoints
from meshsync.streams.life import StreamKey, StreamLife
from meshsync.streams.stream import ClientStream

__all__ = ["StreamRegistry", "StreamStats", "header_size"]

PAST = 1024
"""Ended streams that are remembered: messages that were on their way to one are no fault."""


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Figures of a client's streams, as they are now."""

    live: int
    """Streams that have not ended."""
    remembered: int
    """Streams that have ended, and whose late messages are no fault."""
    refused: int
    """Streams that were rejected or failed because too much was unread."""


class StreamRegistry:
    """The streams of one client by their keys, and the `StreamHost` of each.

    Args:
        publish: Called with events for receivers, and with the bytes that each holds.
        limit: The client's.
    """

    def __init__(
        self,
        connection: StreamConnection,
        *,
        publish: Callable[[RoomMessageEvent, int], None],
        limit: Limit,
    ) -> None:
        self.runtime: Runtime = connection.runtime
        self.budget: ByteBudget = connection.budget
        self.limit = limit
        self.refuse_to_block: Callable[[str], None] = connection.refuse_to_block
        self.calls: StreamCalls = StreamCalls(connection)
        """Calls that carry streams or offer them."""
        self.on_ended: Callable[[str], None] = _do_nothing
        """Called with the id of each stream that has ended or was refused."""
        self._connection = connection
        self._publish = publish
        self._condition = connection.runtime.condition()
        self._streams: dict[StreamKey, Endpoints] = {}
        self._past: dict[StreamKey, bool] = {}
        """Streams that have ended, the latest last; true for those that this client gave up unanswered."""
        self._is_leaving = False
        self._shut_by: MeshsyncError | None = None
        """Why no stream can go on: the client has ended, or takes part in messaging no longer."""
        self._refused = 0

    # --- the streams --------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> tuple[ClientStream, ...]:
        """The streams that have not ended, in order of their offers."""
        return tuple(ends.stream for ends in list(self._streams.values()))

    def stats(self) -> StreamStats:
        """Return the figures of this moment."""
        return StreamStats(len(self._streams), len(self._past), self._refused)

    def find(self, key: StreamKey) -> Endpoints | None:
        """Return the stream with that key, if it is here and has not ended."""
        return self._streams.get(key)

    def add(self, stream: ClientStream) -> Endpoints:
        """Add a stream that is offered, by this client or to it; return it with its ends.

        Raises:
            ClientClosed: If this client is leaving: no task would end the stream.
            MeshsyncError: After `shut`, for the same reason.
        """
        ends, key = Endpoints(stream), stream.identity.key
        with self._condition:
            if self._is_leaving:
                raise ClientClosed("the client is being closed by this program; connect again")
            if self._shut_by is not None:
                raise another(self._shut_by)
            self._past.pop(key, None)
            self._streams[key] = ends
        return ends

    def remove(self, key: StreamKey) -> None:
        """Forget a stream on which the program was not asked to decide."""
        self._connection.cancel_alarm(key)
        self.calls.forget(key)
        with self._condition:
            self._streams.pop(key, None)
        self.on_ended(key[1])

    def begin_leaving(self) -> tuple[ClientStream, ...]:
        """Add no more streams; return those that have not ended."""
        with self._condition:
            self._is_leaving = True
        return self.streams

    def shut(self, failure: MeshsyncError) -> tuple[ClientStream, ...]:
        """Add no more streams until `reopen`, as a call may be on its way here with one; return those to be ended."""
        with self._condition:
            self._shut_by = failure
        return self.streams

    def reopen(self) -> None:
        """Add streams again: the client takes part in messaging."""
        self._shut_by = None

    def is_past(self, key: StreamKey) -> bool:
        """Return whether a stream with that key ended a short while ago."""
        return key in self._past

    def was_given_up(self, key: StreamKey) -> bool:
        """Return whether this client gave up, a short while ago, a stream with that key that it had offered."""
        return self._past.get(key, False)

    def lose(self, stream: ClientStream) -> None:
        """End a stream because its connection has ended."""
        failure = self._connection.failure()
        if stream.is_opening:
            stream.end(failure, str(failure))
        else:
            stream.end(StreamInterrupted(str(failure), connection_alive=failure.connection_alive), str(failure))

    # --- the host of each stream --------------------------------------------------------------------------------------

    def window(self) -> int:
        """Return the window of one more stream, in bytes."""
        with self._condition:
            return next_window(sum(ends.stream.account.window for ends in self._streams.values()))

    def encode(self, request: Request) -> Encoded:
        """Return a request's form on the wire."""
        return self._connection.session.encode(request)

    def check(self, request: Send | Broadcast) -> None:
        """Raise if a request cannot be carried."""
        self._connection.session.check(request)

    def opened(self, life: StreamLife) -> None:
        """Note that a stream was accepted, here or by its peer, and report it. Called while it cannot end."""
        key = life.identity.key
        self._connection.cancel_alarm(key)
        ends = self._streams.get(key)
        if ends is not None:
            body = {"stream_id": life.identity.stream_id, "header": dict(life.identity.header)}
            # The event holds the stream, and what is unread of it. That is counted at its end, when it is known.
            self._publish(_event("stream_opened", RoomMessage("stream.open", body), ends), header_size(life))

    def ended(self, life: StreamLife, reason: str) -> None:
        """Note that a stream has ended, in any way, and report it if its opening was."""
        key = life.identity.key
        self._connection.cancel_alarm(key)
        self.calls.forget(key)
        with self._condition:
            ends = self._streams.pop(key, None)
            self._past[key] = life.identity.is_opener and not life.was_open
            if len(self._past) > PAST:
                del self._past[next(iter(self._past))]
        self.on_ended(key[1])
        if life.was_open and ends is not None:
            body = {"stream_id": life.identity.stream_id, "reason": reason}
            account = ends.stream.account
            size = header_size(life) + (account.unread if account.is_agreed else 0)  # Else the stream itself counts it.
            self._publish(_event("stream_closed", RoomMessage("stream.close", body), ends), size)

    def refused(self) -> None:
        """Count a stream that was rejected or failed because too much of it was unread, and warn. On the reader."""
        self._refused += 1
        self.budget.warn("stream refused", "a stream was rejected or failed: too much of it was unread")

    def send_unawaited(
        self, channel: Channel, message: StreamMessage, what: str, receipt: Receipt | None = None
    ) -> None:
        """Send a message for which no task waits: at once, from the connection's reserve, or not at all."""
        try:
            channel.send(message, what, 0, receipt, is_reserved=True)
        except (SendTimeout, InvalidMessage) as error:  # No reason causes the second; neither must pass unseen.
            log_warning("%s was not sent: %s", what, error)
        except MeshsyncError:
            pass  # The connection has ended.


def _do_nothing(stream_id: str) -> None:
    pass


def header_size(life: StreamLife) -> int:
    """Return the bytes that the header of a stream takes."""
    return size_of(life.identity.header, b"")


def _event(name: str, message: RoomMessage, ends: Endpoints) -> RoomMessageEvent:
    identity = ends.stream.identity
    return RoomMessageEvent(name, message, identity.peer, stream=ends.writer if identity.is_opener else ends.reader)
