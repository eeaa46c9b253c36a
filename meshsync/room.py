"""A joined room, as ``meshsync.connect`` returns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from meshsync.arguments import hinted_call, made_by
from meshsync.client import CLOSE_TIMEOUT, Client
from meshsync.connection.reconnecting import ReconnectPlan
from meshsync.connection.states import ClientState
from meshsync.errors import ClientClosed
from meshsync.hints import HintedRoomClient
from meshsync.messaging import MessagingClient
from meshsync.participants import LocalParticipant
from meshsync.protocol.session import Session
from meshsync.runtime.deadlines import Timeout, check_duration, check_timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.stop_signals import StopAsked, stop_signals
from meshsync.transport.interfaces import Transport

__all__ = ["ClientStats", "RoomClient"]


@dataclass(frozen=True, slots=True)
class ClientStats:
    """The counts of a client so far."""

    bytes_sent: int
    """Bytes handed to the network, framing included."""
    bytes_received: int
    packets_sent: int
    packets_received: int
    bytes_buffered: int
    """Bytes accepted and not yet handed to the network."""
    pending: int
    """Requests that the room has not acknowledged."""
    events_dropped: int
    """Events dropped because receivers were too slow."""
    bytes_unacknowledged: int
    """Bytes of the messages and chunks that the room has not acknowledged."""
    bytes_unread: int
    """Bytes held for receivers, subscriptions and streams without flow control, about as they take memory."""
    messages_dropped: int
    """Messages dropped by subscriptions that drop their oldest."""
    subscriptions_failed: int
    """Subscriptions that ended because too much was unread."""
    streams_refused: int
    """Streams rejected or failed because too much was unread."""
    answers_dropped: int
    """Answers to questions of this client that came late, or again."""

    def _repr_html_(self) -> str:
        from meshsync.notebook import stats_html  # Programs need it in notebooks alone.

        return stats_html(self)


class RoomClient(HintedRoomClient):
    """A connection to a room. Any method may be called from any task; a context manager closes it.

    Made by ``meshsync.connect``. A subclass may define any name but ``_meshsync``: nothing here calls it.

    Attributes:
        messaging: The room's messaging.
    """

    @made_by("meshsync.connect makes it")
    def __init__(
        self,
        transport: Transport,
        session: Session,
        runtime: Runtime,
        plan: ReconnectPlan | None = None,
        *,
        role: str,
        default_timeout: float | None = None,
        messaging: Callable[[RoomClient], MessagingClient] = MessagingClient,
        name: str = "",
    ) -> None:
        # All that is ours lies behind this one name, which no subclass chooses by chance.
        self._meshsync = Client(
            transport, session, runtime, plan, role=role, default_timeout=default_timeout, name=name
        )
        self._meshsync.faces.enter(self)
        self.messaging: MessagingClient = messaging(self)

    # --- identity -----------------------------------------------------------------------------------------------------

    @property
    def local_participant(self) -> LocalParticipant:
        """This client's own participant."""
        return self._meshsync.local_participant

    @property
    def room_name(self) -> str:
        """The room's name, as the room gives it."""
        greeting = self._meshsync.greeting
        return greeting.room_name if greeting else ""

    @property
    def room_url(self) -> str:
        """The room's address, as the room gives it."""
        greeting = self._meshsync.greeting
        return greeting.room_url if greeting else ""

    @property
    def session_id(self) -> str:
        """The id that the room gave to its session."""
        greeting = self._meshsync.greeting
        return greeting.session_id if greeting else ""

    @property
    def is_connected(self) -> bool:
        """Whether the client is online now; after a loss it may be again."""
        return self._meshsync.is_online

    @property
    def state(self) -> ClientState:
        """Where the client is in its life: ``connecting``, ``online``, ``offline``, ``closing``, ``closed``, ``lost``.

        Each is equal to that text. ``offline`` means that the connection was lost and the client is trying to come
        back; ``lost`` that it has ended though the program did not close it.
        """
        return self._meshsync.uplink.state

    def reconnect_now(self) -> None:
        """While offline, try at once and not after the present delay. Otherwise this does nothing.

        Raises:
            ForkedClientError: In a child process.
        """
        self._meshsync.home.check()
        self._meshsync.uplink.reconnect_now()

    @property
    def default_timeout(self) -> float | None:
        """The time limit of every call that is not given one, in seconds; None for each one's own. Can be set.

        ``wait_closed``, ``get`` and ``read`` are such calls too; a ``for`` loop is none.
        """
        return self._meshsync.default_timeout

    @default_timeout.setter
    def default_timeout(self, seconds: float | None) -> None:
        check_timeout(seconds, "default_timeout")
        self._meshsync.default_timeout = None if seconds is None else check_duration(seconds, "default_timeout")

    def stats(self) -> ClientStats:
        """Return this client's counts so far.

        Raises:
            ForkedClientError: In a child process.
        """
        client = self._meshsync
        client.home.check()
        connection, routed = client.uplink.stats(), client.router.stats()
        carried = connection.traffic
        return ClientStats(
            bytes_sent=carried.bytes_sent,
            bytes_received=carried.bytes_received,
            packets_sent=carried.packets_sent,
            packets_received=carried.packets_received,
            bytes_buffered=carried.bytes_buffered,
            pending=connection.pending,
            events_dropped=client.router.dispatcher.dropped,
            bytes_unacknowledged=connection.bytes_unacknowledged,
            bytes_unread=client.budget.held,
            messages_dropped=routed.messages_dropped,
            subscriptions_failed=routed.subscriptions_failed,
            streams_refused=client.streams.stats().refused,
            answers_dropped=client.asking.answers_dropped,
        )

    # --- ending -------------------------------------------------------------------------------------------------------

    @hinted_call
    def close(self, timeout: Timeout = "default", *, wait: bool | None = None) -> None:
        """Leave the room: wait for acknowledgements, send a close frame, run the receivers, ``disconnected`` last.

        When it has returned, no call of a receiver, hook or callback begins: events that did not fit ``timeout`` are
        dropped and counted in ``stats``, and a call that is still running is named in a warning. That does not hold
        where closing is only begun. In a child process it does nothing.

        New calls are refused at once. For half of ``timeout`` it waits for acknowledgements; each request without
        one then fails with `DeliveryUnknown` or `NotSent`. Closing again only waits.

        Args:
            timeout: The longest wait, in seconds; 5 by default and for None, since closing always ends. 0 sends
                no close frame.
            wait: Whether to return when it is done. By default, yes; but from a receiver, from a hook, and when the
                process is exiting, closing is only begun.
        Raises:
            WouldDeadlock: If asked to wait where that would never end; nothing has changed.
        """
        client = self._meshsync
        limit = client.limit(timeout, CLOSE_TIMEOUT)
        client.close(CLOSE_TIMEOUT if limit is None else limit, wait)

    @hinted_call
    def wait_closed(self, timeout: Timeout = "default") -> bool:
        """Wait until the client has ended, and its receivers have run.

        Args:
            timeout: The longest wait in seconds; None waits for ever. By default `default_timeout`, or for ever.
        Returns:
            True if this program closed it, False if the time is over.
        Raises:
            ConnectionLost: If it ended otherwise, so that a script that lost its room does not end as if all were well;
                `ProtocolError` if the room broke the protocol.
            NotEnabled: If it would wait for ever, and receivers are registered that would never be called, since
                messaging is not enabled.
            WouldDeadlock: If called from a receiver.
        """
        client = self._meshsync
        limit = client.limit(timeout, None)
        if limit is None and not client.router.has_ended and client.router.receivers.need_messaging:
            client.membership.refuse_to_receive("wait_closed()")
        return client.wait_closed(limit)

    def run_forever(self) -> None:
        """Wait until the room ends or the process is asked to end, then close: the last line of a script of receivers.

        At SIGTERM or Ctrl-C it closes as ``close`` does and returns, so that the script ends as if it had come to its
        end; a second signal has its usual effect. That holds in the main thread of a program that has not set handlers
        of its own, which stay in force. In a simulation there are no signals.

        Raises:
            ConnectionLost: If the connection ended otherwise than by this program.
            NotEnabled: If messaging is not enabled, since no receiver would ever be called.
            WouldDeadlock: If called from a receiver.
            ForkedClientError: In a child process.
        """
        client = self._meshsync
        if not client.router.has_ended:
            client.membership.refuse_to_receive("run_forever()")
        try:
            with stop_signals(client.runtime):
                self.wait_closed(None)
        except StopAsked:
            self.close()
            return
        except KeyboardInterrupt:  # Of a handler of the program's own.
            self.close()
            raise

    def __enter__(self) -> RoomClient:
        if self._meshsync.router.is_leaving:
            raise ClientClosed("'with' on a client that this program has closed: it does not open again; connect anew")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "_meshsync" in vars(self):  # Else it was not even begun.
            self._meshsync.faces.leave(self)

    def _repr_html_(self) -> str:
        from meshsync.notebook import room_html  # As above.

        return room_html(self)

    def __repr__(self) -> str:
        client = self._meshsync
        room = client.greeting.room_name if client.greeting else ""
        return f"<RoomClient {client.local_participant.name!r} in {room!r}: {client.uplink.state}>"
